//! What the user's options ask for: checked before anything is installed, built or made.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Description, Disk, Machine, Prepared, WriteLog};
use crate::Failure;
use crate::cli;
use crate::host::images;
use crate::host::project::Project;
use crate::tree::checked_import;
use crate::ui::Ui;

/// Most disks beside an imported tar; QEMU's root bus has few more places.
const DISKS_MAX: usize = 16;

/// Size of an image that is made, if none is said.
const IMAGE_BYTES: u64 = 1 << 30;

/// Options that make sense together, and files that are what they should be.
#[derive(Debug)]
pub struct Request<'a> {
    options: &'a cli::Machine,
    stack: &'a str,
    images: Vec<PathBuf>,
    tar: Option<Disk>,
    logs: Vec<WriteLog>,
}

impl<'a> Request<'a> {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Failure::Usage`] if they make no sense or a file is not what it should be.
    pub fn check(options: &'a cli::Machine) -> Result<Self> {
        let cli::Bus::Virtio = options.bus;
        let project = Project::find()?;
        let images = images(options, &project)?;
        let stack = match (&options.stack, images.len()) {
            (Some(stack), _) => stack.as_str(),
            (None, 1) => "single",
            (None, 2) => "mirror",
            (None, count) => {
                let what = format!("no stack is known for {count} disks; name one with --stack");
                return Err(Failure::Usage(what).into());
            }
        };
        let description = Description::read(&project, stack)?;
        let tar = |tar: &PathBuf| -> Result<Disk> {
            let place = description.place_for_tar(images.len()).ok_or_else(|| {
                let count = images.len();
                Failure::Usage(format!(
                    "--import: `{stack}` has no place for a tar beside {count} disks; \
                     an `optional` driver makes one, see docs/stacks.md"
                ))
            })?;
            Ok(Disk::tar(place, checked_import(tar)?))
        };
        let tar = options.import.as_ref().map(tar).transpose()?;
        let logs = match &options.log_writes {
            Some(folder) => {
                let numbered = images.iter().enumerate();
                let log = |(number, image): (usize, &PathBuf)| WriteLog::of(folder, number, image);
                numbered.map(log).collect::<Result<_>>()?
            }
            None => Vec::new(),
        };
        Ok(Self {
            options,
            stack,
            images,
            tar,
            logs,
        })
    }

    /// Gets everything that the machine needs, its missing images included.
    ///
    /// # Errors
    /// [`Failure::Host`] if something cannot be had, [`Failure::Usage`] if the stack or an image is
    /// not what it should be.
    pub fn prepare(self, ui: &Ui) -> Result<Machine> {
        let prepared = Prepared::new(ui)?;
        let mut machine = prepared.machine(self.stack, self.options.memory)?;
        let size = self.options.size.unwrap_or(IMAGE_BYTES);
        let mut made = 0;
        for image in &self.images {
            if images::ensure(image, size)? {
                made += 1;
                ui.note(&format!("made {} ({} MiB)", shown(image), size >> 20));
            }
        }
        if made == 0 && self.options.size.is_some() {
            ui.note(
                "--size does nothing here: all images are there, and keep the size that they have",
            );
        }
        machine.disks = Disk::numbered(self.images);
        if let Some(folder) = &self.options.log_writes {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        for (disk, log) in machine.disks.iter_mut().zip(self.logs) {
            log.make()?;
            disk.log = Some(log);
        }
        machine.disks.extend(self.tar);
        machine.accelerator = prepared.accelerator(self.options.accel, &machine, ui);
        ui.note(&format!(
            "booting `{}` under {}",
            self.stack, machine.accelerator
        ));
        Ok(machine)
    }
}

fn images(options: &cli::Machine, project: &Project) -> Result<Vec<PathBuf>> {
    if options.disks.len() > DISKS_MAX {
        let what = format!("{} disks; at most {DISKS_MAX} fit", options.disks.len());
        return Err(Failure::Usage(what).into());
    }
    if !options.disks.is_empty() {
        return Ok(options.disks.clone());
    }
    let folder = project.target().join("disks");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(vec![folder.join("0.img"), folder.join("1.img")])
}

/// A path as short as it can be said from here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}
