//! `test`: every test the project has, of all three kinds, and one line that counts them.

use std::process::Command;

use anyhow::Result;

use super::checkers;
use crate::Failure;
use crate::cli::{Test, TestKind};
use crate::guest::Prepared;
use crate::guest::kernel_tests;
use crate::host::accelerator::Choice;
use crate::host::cargo_test::{self, Count};
use crate::host::folder::TempFolder;
use crate::ui::{self, Ui};

/// The package with the tests of the booted stack.
const BOOTED: &str = "booted-tests";

/// Guests that run at once under test: each keeps a core busy.
const GUESTS_MAX: usize = 4;

/// Runs the tests and prints `N passed, N failed` last.
pub fn run(options: &Test) -> Result<()> {
    let ui = Ui::new(false);
    let prepared = Prepared::with_tests(&ui)?;
    let wanted = |kind| options.only.is_none_or(|only| only == kind);
    let mut count = Count::default();
    if wanted(TestKind::Host) {
        count += host(&prepared, options, &ui)?;
    }
    if wanted(TestKind::Kernel) {
        count += kernel(&prepared, options, &ui)?;
    }
    if wanted(TestKind::Booted) {
        count += booted(&prepared, options, &ui)?;
    }
    ui::print(&format!("{} passed, {} failed", count.passed, count.failed));
    match (count.failed, count.passed) {
        (0, 0) => Err(Failure::Check("no test was run; is --filter right?".into()).into()),
        (0, _) => Ok(()),
        (failed, _) => Err(Failure::Check(format!("{failed} failed")).into()),
    }
}

fn host(prepared: &Prepared, options: &Test, ui: &Ui) -> Result<Count> {
    let mut cargo = cargo_test::command(&prepared.project);
    cargo.args(["--workspace", "--exclude", BOOTED]);
    add_filter(&mut cargo, options, &[]);
    let mut count = cargo_test::run(&mut cargo, ui, false)?;
    for slice in checkers::slices() {
        let filter = options.filter.as_ref();
        if filter.is_none_or(|filter| slice.name.contains(filter)) {
            count.add(checkers::slice(&slice)?);
        }
    }
    Ok(count)
}

fn kernel(prepared: &Prepared, options: &Test, ui: &Ui) -> Result<Count> {
    let folder = TempFolder::new(prepared.project.target(), "kernel-tests-")?;
    let machine = kernel_tests::machine(&prepared.project, folder.path(), ui)?;
    let accelerator = prepared.accelerator(options.accel, &machine, ui);
    let step = ui.step("The kernel's guarantees");
    let mut count = Count::default();
    kernel_tests::run(
        &crate::guest::Machine {
            accelerator,
            ..machine
        },
        |test| {
            step.progress(&test.name);
            if options
                .filter
                .as_ref()
                .is_none_or(|filter| test.name.contains(filter))
            {
                let name = format!("kernel: {}", test.name);
                step.above(|| ui.result(&name, test.failed.as_deref()));
                count.add(test.failed.is_none());
            }
        },
    )?;
    step.forget();
    Ok(count)
}

fn booted(prepared: &Prepared, options: &Test, ui: &Ui) -> Result<Count> {
    let mut cargo = cargo_test::command(&prepared.project);
    cargo.args(["--package", BOOTED]);
    if let Some(accel) = clap::ValueEnum::to_possible_value(&options.accel)
        && options.accel != Choice::Auto
    {
        cargo.env("GALAGO_ACCEL", accel.get_name());
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = format!("--test-threads={}", cores.min(GUESTS_MAX));
    add_filter(&mut cargo, options, &[&threads]);
    cargo_test::run(&mut cargo, ui, true)
}

fn add_filter(cargo: &mut Command, options: &Test, harness: &[&str]) {
    cargo.arg("--").args(harness);
    cargo.args(&options.filter);
}
