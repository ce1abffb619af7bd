//! What has to be resynchronised after a crash of the machine in the middle of PostMark.
//!
//! The paper gives the most data that would have to be if all were mirrored (Table II); here they are, and
//! it is counted what was compared and what was written again. Crashes alternate: the reset button, which
//! leaves on the disks all that they were given, and a power cut, which takes away what was not flushed.

use anyhow::Result;
use serde::Serialize;

use super::Bench;
use super::ratio::median_of;
use crate::Failure;
use crate::guest::{Event, Guest, with_argument};
use crate::ui::Step;

/// PostMark's transactions between which the crashes come.
const TRANSACTIONS_STEP: u64 = 700;

/// A crash, and what came after it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Crash {
    /// By which means.
    pub how: &'static str,
    /// Transactions that were done.
    pub transactions: u64,
    /// Checksum records in the logs of both disks.
    pub records: u64,
    /// Blocks of the logs.
    pub log_blocks: u64,
    /// Blocks that were compared.
    pub compared: u64,
    /// Copies that were written again.
    pub rewritten: u64,
    /// Blocks of which no disk had a whole copy.
    pub lost: u64,
    /// KiB of the volume that are in use.
    pub used_kib: u64,
    /// Milliseconds of the guest's time until it was mounted.
    pub mounted_ms: f64,
    /// The same at the next boot, after which there is nothing to resynchronise.
    pub clean_ms: f64,
}

/// All of them.
#[derive(Clone, Debug, Serialize)]
pub struct Crashes {
    /// Each.
    pub crashes: Vec<Crash>,
    /// KiB that had to be compared, in the median.
    pub kib_median: f64,
    /// And at most.
    pub kib_max: u64,
}

/// Crashes a mirror again and again.
pub fn run(bench: &Bench, step: &Step) -> Result<Crashes> {
    let mut crashes = Vec::new();
    let wanted = bench.options.crashes;
    for (how, stack) in [("reset", "mirror"), ("power cut", "mirror-faulty")] {
        let mut guest = bench.formatted(stack, 2, |text| {
            with_argument(text, "twinfs", "overwrite", "in-place")
        })?;
        for number in 0..wanted.div_ceil(2) {
            step.position(crashes.len() as u64, u64::from(wanted));
            step.progress(how);
            crashes.push(crash(bench, &mut guest, how, u64::from(number) + 1)?);
        }
        guest.power_off(bench.limit(), |_| {})?;
    }
    let kib = |crash: &Crash| 4 * crash.compared;
    Ok(Crashes {
        kib_median: median_of(crashes.iter().map(|it| kib(it) as f64)),
        kib_max: crashes.iter().map(kib).max().unwrap_or(0),
        crashes,
    })
}

fn crash(bench: &Bench, guest: &mut Guest, how: &'static str, number: u64) -> Result<Crash> {
    let seed = format!("seed={number}");
    let command = format!("bench postmark {} {seed}", bench.options.postmark);
    let id = guest.start(&command)?;
    let wanted = TRANSACTIONS_STEP * number;
    let transactions = guest.wait_for(&command, bench.limit(), |event| {
        let under_way = event
            .text("text")
            .is_some_and(|text| text.starts_with("transactions"));
        let done = event.number("done").filter(|done| *done >= wanted);
        let ended = event.done(id).map(|_| None);
        let here = event.id() == Some(id) && under_way;
        ended.or_else(|| done.filter(|_| here).map(Some))
    })?;
    let Some(transactions) = transactions else {
        let what = format!("`{command}` ended before {wanted} transactions");
        return Err(Failure::Usage(format!("{what}: take fewer crashes")).into());
    };
    let mut crash = Crash {
        how,
        transactions,
        ..Crash::default()
    };
    let mut note = |event: &Event| crash.note(event);
    match how {
        "reset" => guest.restart("reset", bench.limit(), &mut note)?,
        _ => guest.restart(&format!("power-cut {seed}"), bench.limit(), &mut note)?,
    }
    let found = guest.expect(&format!("verify postmark found {seed}"), bench.limit());
    if crash.lost == 0 {
        found?;
    }
    let usage = guest.expect("df", bench.limit())?;
    let blocks = |name: &str| usage[name].as_u64().unwrap_or(0);
    crash.used_kib = 4 * blocks("blocks").saturating_sub(blocks("blocks_free"));
    let mut clean = Crash::default();
    guest.restart("reboot", bench.limit(), |event| clean.note(event))?;
    crash.clean_ms = clean.mounted_ms;
    Ok(crash)
}

impl Crash {
    /// Takes note of what the boot after it tells.
    fn note(&mut self, event: &Event) {
        let number = |name: &str| event.number(name).unwrap_or(0);
        match event.kind() {
            "records" => {
                self.records += number("records");
                self.log_blocks += number("blocks");
            }
            "resync" => {
                self.compared = number("blocks");
                self.rewritten = number("rewritten");
                self.lost = number("bad");
            }
            "ready" => self.mounted_ms = number("mounted_ns") as f64 / 1e6,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_boot_tells_is_added_up_over_the_disks() {
        let mut crash = Crash::default();
        for line in [
            r#"{"event":"records","blocks":2,"records":170,"task":"twinfs.0"}"#,
            r#"{"event":"records","blocks":3,"records":340,"task":"twinfs.1"}"#,
            r#"{"event":"resync","blocks":30,"rewritten":4,"bad":1}"#,
            r#"{"event":"ready","mounted_ns":125000000}"#,
        ] {
            crash.note(&Event::parse(line).expect("an event"));
        }
        assert_eq!((crash.records, crash.log_blocks), (510, 5));
        assert_eq!((crash.compared, crash.rewritten, crash.lost), (30, 4, 1));
        assert!((crash.mounted_ms - 125.0).abs() < 1e-9);
    }
}
