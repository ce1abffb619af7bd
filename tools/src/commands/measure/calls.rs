//! What a call costs, as the kernel's tests measure it: an idle machine with two tasks.

use anyhow::{Context as _, Result};

use super::Bench;
use super::figure::Figure;
use crate::guest::{Machine, kernel_tests};
use crate::ui::{Step, Ui};

/// Microseconds that a call and its reply may take.
const ROUND_TRIP_US_MAX: f64 = 10.0;

pub fn take(bench: &Bench, _step: &Step) -> Result<Vec<Figure>> {
    let machine =
        kernel_tests::machine(&bench.prepared.project, bench.folder.path(), &Ui::new(true))?;
    let machine = Machine {
        accelerator: bench.accelerator,
        ..machine
    };
    let measured = kernel_tests::run(&machine, |_| {})?;
    let us = |name: &str| {
        let found = measured.iter().find(|(measured, _)| measured == name);
        found
            .map(|(_, ns)| ns / 1e3)
            .context("the kernel's tests measured no call")
    };
    Ok(vec![
        Figure::new(
            "call and reply",
            us("call round trip")?,
            "µs",
            ROUND_TRIP_US_MAX,
        )
        .with("between two tasks, one at a time"),
        Figure::plain(
            "the same, in batches",
            us("call round trip in batches of 16")?,
            "µs",
        )
        .with("16 submitted at once, for each call"),
    ])
}
