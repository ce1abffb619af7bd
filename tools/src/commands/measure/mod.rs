//! `measure`: figures of the booted stack, beside what they should be.

mod calls;
mod figure;
mod instructions;
mod postmark;
mod start;

use anyhow::Result;

use self::figure::{Figure, Figures};
use crate::cli::{Measure, Measurement};
use crate::guest::{Accelerator, Disk, Guest, Machine, Prepared};
use crate::host::folder::TempFolder;
use crate::host::images;
use crate::ui::{self, Ui};

/// Size of each disk.
const DISK_BYTES: u64 = 1 << 30;

/// Memory of a guest in MiB.
const MEMORY_MIB: u32 = 512;

/// Takes the measurements asked for, or all, and prints them.
pub fn run(options: &Measure) -> Result<()> {
    let ui = Ui::new(options.json);
    let prepared = Prepared::new(&ui)?;
    let machine = prepared.machine("mirror", MEMORY_MIB)?;
    let accelerator = prepared.accelerator(options.accel, &machine, &ui);
    let folder = TempFolder::new(prepared.project.target(), "measure-")?;
    let bench = Bench {
        prepared,
        accelerator,
        folder,
    };
    let mut figures = Figures::new(accelerator);
    for (measurement, name, take) in MEASUREMENTS {
        if options.only.is_empty() || options.only.contains(&measurement) {
            let step = ui.step(name);
            let taken = take(&bench, &step)?;
            step.done("");
            figures.add(taken);
        }
    }
    ui::print(&if options.json {
        serde_json::to_string_pretty(&figures)?
    } else {
        figures.to_string()
    });
    Ok(())
}

type Take = fn(&Bench, &crate::ui::Step) -> Result<Vec<Figure>>;

const MEASUREMENTS: [(Measurement, &str, Take); 7] = [
    (Measurement::Call, "Calls between two tasks", calls::take),
    (Measurement::Boot, "From power-on to mounted", start::boot),
    (Measurement::Idle, "An idle guest", start::idle),
    (
        Measurement::Postmark,
        "PostMark on one disk and on a mirror",
        postmark::speed,
    ),
    (
        Measurement::Instructions,
        "Instructions of PostMark's transactions",
        instructions::take,
    ),
    (
        Measurement::Recovery,
        "PostMark under 300 kills",
        postmark::recovery,
    ),
    (
        Measurement::Reset,
        "Resets in the middle of PostMark",
        postmark::reset,
    ),
];

/// What a measurement needs.
struct Bench {
    prepared: Prepared,
    accelerator: Accelerator,
    folder: TempFolder,
}

impl Bench {
    /// A machine with so many empty disks.
    fn machine(&self, disks: usize) -> Result<Machine> {
        let stack = if disks == 1 { "single" } else { "mirror" };
        let mut machine = self.prepared.machine(stack, MEMORY_MIB)?;
        machine.accelerator = self.accelerator;
        let path = |number| self.folder.path().join(format!("{disks}-{number}.img"));
        machine.disks = Disk::numbered((0..disks).map(path));
        for disk in &machine.disks {
            // The measurement before had one of this name.
            let _ = std::fs::remove_file(&disk.image);
            images::create(&disk.image, DISK_BYTES)?;
        }
        Ok(machine)
    }

    /// A guest with a new file system, mounted.
    fn formatted(&self, disks: usize) -> Result<(Machine, Guest)> {
        let machine = self.machine(disks)?;
        let guest = formatted(&machine)?;
        Ok((machine, guest))
    }
}

/// The same on this machine.
fn formatted(machine: &Machine) -> Result<Guest> {
    let mut guest = Guest::boot(machine, None)?;
    guest.wait_ready(start::LIMIT)?;
    guest.expect("format yes", start::LIMIT)?;
    guest.expect("mount", start::LIMIT)?;
    Ok(guest)
}
