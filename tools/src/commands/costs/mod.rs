//! `costs`: what each part of recovery costs, beside the tables I to III of the Loris paper.
//!
//! Everything is a ratio of runs that took turns in the same minutes on fresh volumes. Beside it is what
//! does not depend on the host at all: requests, flushes, calls, and, if asked for, instructions.

mod crash;
mod fsync;
mod plot;
mod postmark;
mod ratio;
mod tables;
mod variant;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::Failure;
use crate::cli::costs::{Costs, Part};
use crate::failure::reason;
use crate::guest::{Accelerator, Disk, Guest, Machine, Prepared, with_argument};
use crate::host::accelerator::Choice;
use crate::host::folder::TempFolder;
use crate::host::images;
use crate::ui::{self, Ui};

/// Size of each disk.
const DISK_BYTES: u64 = 1 << 30;

/// Memory of a guest in MiB.
const MEMORY_MIB: u32 = 512;

/// How long a boot or a command may take, far more than it does.
const LIMIT: Duration = Duration::from_secs(600);

/// The same where instructions are counted, which takes several times as long.
const LIMIT_COUNTING: Duration = Duration::from_secs(6000);

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Figures {
    accelerator: String,
    /// Pages of the cache.
    cache_pages: u32,
    /// Seconds between checkpoints.
    sync_seconds: u32,
    postmark: Option<postmark::PostMark>,
    fsync: Option<Vec<fsync::Row>>,
    crashes: Option<crash::Crashes>,
}

/// Measures what is asked for, or everything, and prints it.
pub fn run(options: &Costs) -> Result<()> {
    let ui = Ui::new(options.json);
    let prepared = Prepared::new(&ui)?;
    let machine = prepared.machine("single", MEMORY_MIB)?;
    let accelerator = match options.count_instructions {
        true if options.accel == Choice::Kvm => {
            let what = "instructions are counted under emulation only: leave out --accel kvm";
            return Err(Failure::Usage(what.into()).into());
        }
        true => Accelerator::CountingTcg,
        false => prepared.accelerator(options.accel, &machine, &ui),
    };
    let folder = TempFolder::new(prepared.project.target(), "costs-")?;
    let bench = Bench {
        prepared,
        accelerator,
        folder,
        options,
    };
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    let mut figures = Figures {
        accelerator: accelerator.to_string(),
        cache_pages: options.cache_pages,
        sync_seconds: options.sync_seconds,
        postmark: None,
        fsync: None,
        crashes: None,
    };
    if wanted(Part::Postmark) {
        let step = ui.step("PostMark, by turns");
        figures.postmark = Some(postmark::run(&bench, &step)?);
        step.done("");
    }
    if wanted(Part::Fsync) {
        let step = ui.step("Appends, each made durable");
        figures.fsync = Some(fsync::run(&bench, &step)?);
        step.done("");
    }
    if wanted(Part::Crash) {
        let step = ui.step("Crashes of the machine in PostMark");
        figures.crashes = Some(crash::run(&bench, &step)?);
        step.done("");
    }
    if let (Some(path), Some(postmark)) = (&options.plot, &figures.postmark) {
        std::fs::write(path, plot::costs_drawn(&postmark.costs)?)
            .map_err(|error| Failure::Host(format!("{}: {}", path.display(), reason(&error))))?;
    }
    ui::print(&if options.json {
        serde_json::to_string_pretty(&figures)?
    } else {
        figures.to_string()
    });
    Ok(())
}

/// What the parts measure with.
struct Bench<'a> {
    prepared: Prepared,
    accelerator: Accelerator,
    folder: TempFolder,
    options: &'a Costs,
}

impl Bench<'_> {
    fn limit(&self) -> Duration {
        match self.accelerator {
            Accelerator::CountingTcg => LIMIT_COUNTING,
            _ => LIMIT,
        }
    }

    /// A machine with new, empty disks; `change` has the last word about its description.
    fn machine(
        &self,
        stack: &str,
        disks: usize,
        change: impl FnOnce(&str) -> String,
    ) -> Result<Machine> {
        let mut machine = self.prepared.machine(stack, MEMORY_MIB)?;
        machine.accelerator = self.accelerator;
        let path = |number| self.folder.path().join(format!("{number}.img"));
        machine.disks = Disk::numbered((0..disks).map(path));
        for disk in &machine.disks {
            // The guest before had one of this name.
            let _ = std::fs::remove_file(&disk.image);
            images::create(&disk.image, DISK_BYTES)?;
        }
        let (pages, seconds) = (self.options.cache_pages, self.options.sync_seconds);
        let text = &mut machine.archive.description;
        *text = with_argument(text, "cache", "pages", &pages.to_string());
        *text = with_argument(text, "naming", "sync_seconds", &seconds.to_string());
        *text = change(text);
        Ok(machine)
    }

    /// A guest on such a machine with a new volume, mounted.
    fn formatted(
        &self,
        stack: &str,
        disks: usize,
        change: impl FnOnce(&str) -> String,
    ) -> Result<Guest> {
        let machine = self.machine(stack, disks, change)?;
        let mut guest = Guest::boot(&machine, None)?;
        guest.wait_ready(self.limit())?;
        guest.expect("format yes", self.limit())?;
        guest.expect("mount", self.limit())?;
        Ok(guest)
    }
}
