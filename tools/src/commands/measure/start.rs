//! Boot, and doing nothing.

use std::time::Duration;

use anyhow::Result;

use super::Bench;
use super::figure::Figure;
use crate::Failure;
use crate::guest::Guest;
use crate::host::cpu_time;
use crate::ui::Step;

/// How long a boot or a command may take.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Milliseconds of guest time from power-on to a mounted volume.
const MOUNTED_MS_MAX: f64 = 500.0;

/// Per cent of a host core.
const IDLE_PERCENT_MAX: f64 = 3.0;

/// How long idleness is watched, and how long the guest settles before.
const IDLE_WATCH: Duration = Duration::from_secs(10);
const IDLE_SETTLE: Duration = Duration::from_secs(3);

pub fn boot(bench: &Bench, _step: &Step) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (disks, name) in [(1, "one disk"), (2, "mirror")] {
        let (machine, guest) = bench.formatted(disks)?;
        guest.power_off(LIMIT, |_| {})?;
        let mut guest = Guest::boot(&machine, None)?;
        let mounted_ms = mounted_ms(&mut guest)?;
        let what = format!("power-on to mounted, {name}, guest time");
        figures.push(Figure::new(what, mounted_ms, "ms", MOUNTED_MS_MAX));
        guest.power_off(LIMIT, |_| {})?;
    }
    Ok(figures)
}

/// Milliseconds of guest time at which the volume was mounted.
pub fn mounted_ms(guest: &mut Guest) -> Result<f64> {
    let ready = guest.wait_ready(LIMIT)?;
    let ns = ready
        .number("mounted_ns")
        .ok_or_else(|| Failure::Check(format!("the volume was not mounted at boot: {ready}")))?;
    Ok(ns as f64 / 1e6)
}

pub fn idle(bench: &Bench, step: &Step) -> Result<Vec<Figure>> {
    let (_, guest) = bench.formatted(2)?;
    step.progress("watching for ten seconds");
    std::thread::sleep(IDLE_SETTLE);
    let share = cpu_time::share(guest.process_id(), IDLE_WATCH)?;
    guest.power_off(LIMIT, |_| {})?;
    Ok(vec![Figure::new(
        "host core used by an idle guest",
        100.0 * share,
        "%",
        IDLE_PERCENT_MAX,
    )])
}
