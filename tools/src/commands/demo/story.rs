//! What happens in the two boots of the demo, step by step.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::TAR_NUMBER;
use super::summary::Summary;
use crate::Failure;
use crate::commands::progress;
use crate::guest::{Accelerator, Guest, Recoveries, Restarts, succeeded};
use crate::ui::Ui;

/// How long any one command may take.
const LIMIT: Duration = Duration::from_secs(300);

/// Where the source tree goes.
const SOURCE: &str = "/source";

/// Milliseconds from one kill to the next.
const KILL_EVERY_MS: u32 = 200;

/// PostMark as it is run, files and sizes as in the Loris paper, fewer of them, so that the demo ends in
/// two minutes without KVM. The files stay, so that they can be checked later.
const POSTMARK: &str = "postmark loris-tenth files=1000 transactions=4000 keep=true";

/// What is known so far.
pub struct Story {
    seed: u64,
    recoveries: Recoveries,
    summary: Summary,
}

impl Story {
    pub fn new(seed: u64, checksum: String, files: usize, accelerator: Accelerator) -> Self {
        let summary = Summary {
            seed,
            accelerator: accelerator.to_string(),
            source_files: files,
            checksum_host: checksum,
            ..Summary::default()
        };
        Self {
            seed,
            recoveries: Recoveries::default(),
            summary,
        }
    }

    /// Format, import, PostMark under kills, check.
    pub fn first_boot(&mut self, guest: &mut Guest, ui: &Ui) -> Result<()> {
        self.step(guest, ui, "Formatting both disks", "format yes")?;
        self.step(guest, ui, "Mounting them as a mirror", "mount")?;
        let import = format!("import virtio-blk.{TAR_NUMBER} {SOURCE}");
        self.step(guest, ui, "Importing the source tree", &import)?;
        self.checksum(guest, ui)?;
        self.postmark_under_kills(guest, ui)?;
        self.verify(guest, ui)?;
        self.checksum(guest, ui)?;
        Ok(())
    }

    /// The same files again, from the disks.
    pub fn second_boot(&mut self, guest: &mut Guest, ui: &Ui) -> Result<()> {
        self.step(guest, ui, "Mounting", "mount")?;
        self.verify(guest, ui)?;
        self.checksum(guest, ui)?;
        Ok(())
    }

    pub fn summary(self) -> Summary {
        self.summary
    }

    fn postmark_under_kills(&mut self, guest: &mut Guest, ui: &Ui) -> Result<()> {
        let seed = self.seed;
        guest.expect(
            &format!("kill all every={KILL_EVERY_MS}ms seed={seed}"),
            LIMIT,
        )?;
        let name = format!("PostMark, a layer killed every {KILL_EVERY_MS} ms");
        let report = self.step(guest, ui, &name, &self.postmark("bench"))?;
        let stopped = guest.expect("kill stop", LIMIT)?;
        self.summary.kills = number(&stopped, "kills")?;
        self.summary.transactions = number(&report, "transactions")?;
        self.summary.errors += number(&report["errors"], "count")?;
        let seconds = number(&report, "transactions_ns")? as f64 / 1e9;
        self.summary.transactions_per_second = self.summary.transactions as f64 / seconds;
        self.summary.longest_wait_ms = number(&report, "transaction_ns_max")? as f64 / 1e6;
        let restarts = Restarts::from_result(&guest.expect("restarts", LIMIT)?)?;
        self.summary.restarts = restarts.by_task();
        self.summary.recovery = self.recoveries.times();
        Ok(())
    }

    fn verify(&mut self, guest: &mut Guest, ui: &Ui) -> Result<()> {
        let command = self.postmark("verify");
        let verified = self.step(
            guest,
            ui,
            "Checking every byte of PostMark's files",
            &command,
        )?;
        self.summary.errors += number(&verified["errors"], "count")?;
        self.summary
            .files_verified
            .push(number(&verified, "files")?);
        Ok(())
    }

    fn postmark(&self, verb: &str) -> String {
        format!("{verb} {POSTMARK} seed={}", self.seed)
    }

    fn checksum(&mut self, guest: &mut Guest, ui: &Ui) -> Result<()> {
        let command = format!("sha256 {SOURCE}");
        let result = self.step(guest, ui, "Checksum of the source tree", &command)?;
        let text = result["sha256"]
            .as_str()
            .context("`sha256` told no checksum")?;
        self.summary.checksums_guest.push(text.to_owned());
        Ok(())
    }

    /// A command as a step on the screen.
    fn step(&mut self, guest: &mut Guest, ui: &Ui, name: &str, command: &str) -> Result<Value> {
        let step = ui.step(name);
        let id = guest.start(command)?;
        let recoveries = &mut self.recoveries;
        let done = guest.finish(id, command, LIMIT, |event| {
            recoveries.note(event);
            if event.kind() == "progress" && event.id() == Some(id) {
                progress::show(&step, event);
                if recoveries.count() > 0 {
                    step.note(&format!("{} recoveries", recoveries.count()));
                }
            }
        })?;
        let result = succeeded(command, done)?;
        step.done(&outcome(command, &result));
        Ok(result)
    }
}

/// What came out of a command, in a few words.
fn outcome(command: &str, result: &Value) -> String {
    let text = |name: &str| {
        result[name]
            .as_str()
            .map(|text| text.chars().take(12).collect())
    };
    let count = |name: &str| result[name].as_u64();
    match command.split(' ').take(2).collect::<Vec<_>>().as_slice() {
        ["sha256", ..] => text("sha256").unwrap_or_default(),
        ["bench", ..] => {
            count("transactions").map_or_else(String::new, |n| format!("{n} transactions"))
        }
        ["verify", ..] => {
            count("files").map_or_else(String::new, |n| format!("{n} files as they should be"))
        }
        _ => String::new(),
    }
}

/// A number that a result must hold.
fn number(result: &Value, name: &str) -> Result<u64> {
    let number = result[name].as_u64();
    Ok(number.ok_or_else(|| Failure::Check(format!("the guest told no `{name}`: {result}")))?)
}
