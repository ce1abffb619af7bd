//! What one `fsync` costs whoever waits for it, and the disks.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::Bench;
use crate::guest::{Accelerator, with_argument};
use crate::ui::Step;

/// Times that something is made durable.
const COUNT: u32 = 200;

/// Seconds between checkpoints that nobody asks for: none while this lasts.
const SYNC_SECONDS: &str = "86400";

/// How TwinFS overwrites data. Appends of 1000 bytes overwrite the last block of a file again and again.
const OVERWRITES: [&str; 2] = ["relocate", "in-place"];

/// What is done: for people, and as it is typed.
const WORK: [(&str, &str); 4] = [
    ("fsync after each append of 1000 bytes", "writes=1"),
    ("fsync after 8 of them", "writes=8"),
    ("fsync after 64 of them", "writes=64"),
    ("sync after each", "writes=1 with=sync"),
];

/// One of them on one stack; figures are for one `fsync`, with the appends before it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The stack.
    pub stack: String,
    /// What was done.
    pub what: &'static str,
    /// Half of the calls took no longer, milliseconds of the guest's time.
    pub median_ms: f64,
    /// Ninety-nine of a hundred took no longer.
    pub p99_ms: f64,
    /// Thousands of instructions, if they were counted.
    pub instructions_k: Option<f64>,
    /// Flushes of all disks.
    pub flushes: f64,
    /// Requests that wrote.
    pub writes: f64,
    /// KiB written.
    pub kib_written: f64,
    /// Requests that read.
    pub reads: f64,
    /// Calls between tasks.
    pub calls: f64,
}

/// Measures all of them.
pub fn run(bench: &Bench, step: &Step) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let all = 2 * OVERWRITES.len() * WORK.len();
    for (stack, disks, name) in [("single", 1, "one disk"), ("mirror", 2, "mirror")] {
        for overwrite in OVERWRITES {
            let mut guest = bench.formatted(stack, disks, |text| {
                let text = with_argument(text, "naming", "sync_seconds", SYNC_SECONDS);
                with_argument(&text, "twinfs", "overwrite", overwrite)
            })?;
            for (what, words) in WORK {
                step.position(rows.len() as u64, all as u64);
                step.progress(&format!("{name}, {overwrite}, {what}"));
                let command = format!("bench fsync count={COUNT} size=1000 {words}");
                let before = guest.disk_work()?;
                let report = guest.expect(&command, bench.limit())?;
                let disks = guest.disk_work()? - before;
                let each = |count: u64| count as f64 / f64::from(COUNT);
                let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
                let counters = &report["counters"];
                let busy_ns =
                    number(&report, "total_ns").saturating_sub(number(counters, "idle_ns"));
                let counted = bench.accelerator == Accelerator::CountingTcg;
                rows.push(Row {
                    stack: format!("{name}, {overwrite}"),
                    what,
                    median_ms: number(&report, "median_ns") as f64 / 1e6,
                    p99_ms: number(&report, "p99_ns") as f64 / 1e6,
                    instructions_k: counted.then(|| each(busy_ns) / 1e3),
                    flushes: each(disks.flushes),
                    writes: each(disks.writes),
                    kib_written: each(disks.bytes_written) / 1024.0,
                    reads: each(disks.reads),
                    calls: each(number(counters, "calls")),
                });
            }
            guest.power_off(bench.limit(), |_| {})?;
        }
    }
    Ok(rows)
}
