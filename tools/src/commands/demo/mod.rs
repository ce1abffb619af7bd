//! `demo`: the main job, unattended. Files go onto two mirrored disks while the layers that store them
//! are killed; then every byte is checked, before and after a reboot.

mod story;
mod summary;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::story::Story;
use crate::Failure;
use crate::cli::Demo;
use crate::guest::{Disk, Guest, Machine, Prepared};
use crate::host::folder::TempFolder;
use crate::host::images;
use crate::tree::{self, Tree};
use crate::ui::{self, Ui};

/// Size of each disk.
const DISK_BYTES: u64 = 1 << 30;

/// Memory of the guest in MiB.
const MEMORY_MIB: u32 = 512;

/// The place of the tar, after the two disks.
const TAR_NUMBER: u32 = 2;

/// How long the guest may take to come up.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

/// Runs it, and prints the summary.
pub fn run(options: &Demo) -> Result<()> {
    let ui = Ui::new(options.json);
    let prepared = Prepared::new(&ui)?;
    let folder = TempFolder::new(prepared.project.target(), "demo-")?;
    let folder = folder.path();

    let step = ui.step("Packing this project's own source");
    let tree = Tree::of_source(prepared.project.root())?;
    let (checksum, tar) = pack(&tree, folder)?;
    let (files, bytes) = tree.size();
    step.done(&format!("{files} files, {} KiB", bytes >> 10));

    let mut machine = prepared.machine("mirror", MEMORY_MIB)?;
    machine.disks = Disk::numbered([folder.join("0.img"), folder.join("1.img")]);
    for disk in &machine.disks {
        images::create(&disk.image, DISK_BYTES)?;
    }
    machine.disks.push(Disk::tar(TAR_NUMBER, tar));
    machine.accelerator = prepared.accelerator(options.accel, &machine, &ui);

    let mut story = Story::new(options.seed, checksum, files, machine.accelerator);
    let mut guest = boot(&machine, &ui, "Booting the unikernel on two empty disks")?;
    story.first_boot(&mut guest, &ui)?;
    power_off(guest, &ui)?;
    let mut guest = boot(&machine, &ui, "Booting again from the same disks")?;
    story.second_boot(&mut guest, &ui)?;
    power_off(guest, &ui)?;

    let summary = story.summary();
    ui::print(&if options.json {
        serde_json::to_string_pretty(&summary)?
    } else {
        summary.to_string()
    });
    match summary.broken().as_slice() {
        [] => Ok(()),
        broken => Err(Failure::Check(broken.join("; ")).into()),
    }
}

/// The tree's checksum, computed here, and its tar.
fn pack(tree: &Tree, folder: &Path) -> Result<(String, PathBuf)> {
    let tar = folder.join("source.tar");
    let file = std::fs::File::create(&tar).with_context(|| tar.display().to_string())?;
    tree::pack(tree, std::io::BufWriter::new(file))?;
    Ok((tree::checksum(tree), tar))
}

fn boot(machine: &Machine, ui: &Ui, name: &str) -> Result<Guest> {
    let step = ui.step(name);
    let mut guest = Guest::boot(machine, None)?;
    guest.wait_ready(BOOT_LIMIT)?;
    step.done(&machine.accelerator.to_string());
    Ok(guest)
}

fn power_off(guest: Guest, ui: &Ui) -> Result<()> {
    let step = ui.step("Powering off");
    guest.power_off(BOOT_LIMIT, |_| {})?;
    step.done("");
    Ok(())
}
