//! From options to a machine that can be booted: QEMU, the guest's programs, the archive, the images.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::build::{self, Program};
use super::{Accelerator, Machine};
use crate::Failure;
use crate::cli;
use crate::host::accelerator::{self, Choice};
use crate::host::project::Project;
use crate::host::{images, qemu};
use crate::tree::checked_import;
use crate::ui::Ui;

/// Most disks beside an imported tar; QEMU's root bus has few more places.
const DISKS_MAX: usize = 16;

/// A checkout whose guest is built.
#[derive(Debug)]
pub struct Prepared {
    /// Where everything is.
    pub project: Project,
    built: build::Built,
}

impl Prepared {
    /// Makes sure of QEMU and builds the guest.
    ///
    /// # Errors
    /// [`Failure::Host`] if either cannot be had.
    pub fn new(ui: &Ui) -> Result<Self> {
        let project = Project::find()?;
        qemu::ensure(ui)?;
        let built = build::build(&project, ui)?;
        Ok(Self { project, built })
    }

    /// A machine without disks that boots this stack. The archive has the manager and the programs
    /// that the description names.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is no such stack, or it cannot be started.
    pub fn machine(&self, stack: &str, memory_mib: u32) -> Result<Machine> {
        let description = self.project.stack(stack)?;
        let programs = self.programs(&description).map_err(|reason| {
            Failure::Usage(format!(
                "stack {stack}: {reason}; see qemu/stacks for stacks that work"
            ))
        })?;
        let name = Path::new(stack)
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy();
        let archive = self.project.scratch().join(format!("{name}.tar"));
        build::pack(&programs, &description, &archive)?;
        Ok(Machine {
            kernel: self.built.kernel.clone(),
            archive,
            disks: Vec::new(),
            import: None,
            memory_mib,
            accelerator: Accelerator::Tcg,
        })
    }

    /// What the described stack runs, or the first mistake in the description.
    fn programs(&self, description: &str) -> Result<Vec<Program>, String> {
        let stack = stack::Stack::parse(description).map_err(|mistakes| {
            let first = mistakes
                .first()
                .map(ToString::to_string)
                .unwrap_or_default();
            match mistakes.len() {
                0 | 1 => first,
                count => format!("{first} (and {} more)", count - 1),
            }
        })?;
        let mut names = stack.programs();
        names.insert("manager");
        let find = |name: &&str| {
            let found = self
                .built
                .programs
                .iter()
                .find(|program| program.name == *name);
            found
                .cloned()
                .ok_or_else(|| format!("there is no program `{name}`"))
        };
        names.iter().map(find).collect()
    }

    /// Settles who executes `machine`.
    #[must_use]
    pub fn accelerator(&self, choice: Choice, machine: &Machine, ui: &Ui) -> Accelerator {
        accelerator::choose(choice, machine, &self.project, ui)
    }

    /// The machine that the user's options describe, its missing images made.
    ///
    /// # Errors
    /// [`Failure::Usage`] if the options make no sense together or a file is not what it should be.
    pub fn described(&self, options: &cli::Machine, ui: &Ui) -> Result<Machine> {
        let cli::Bus::Virtio = options.bus;
        let disks = self.disks(options)?;
        let stack = match (&options.stack, disks.len()) {
            (Some(stack), _) => stack.as_str(),
            (None, 1) => "single",
            (None, 2) => "mirror",
            (None, count) => {
                let what = format!("no stack is known for {count} disks; name one with --stack");
                return Err(Failure::Usage(what).into());
            }
        };
        let mut machine = self.machine(stack, options.memory)?;
        for disk in &disks {
            if images::ensure(disk, options.size)? {
                ui.note(&format!(
                    "made {} ({} MiB)",
                    disk.display(),
                    options.size >> 20
                ));
            }
        }
        machine.disks = disks;
        if let Some(tar) = &options.import {
            machine.import = Some(checked_import(tar, &self.project.scratch())?);
        }
        machine.accelerator = self.accelerator(options.accel, &machine, ui);
        ui.note(&format!("booting `{stack}` under {}", machine.accelerator));
        Ok(machine)
    }

    fn disks(&self, options: &cli::Machine) -> Result<Vec<PathBuf>> {
        if options.disks.len() > DISKS_MAX {
            let what = format!("{} disks; at most {DISKS_MAX} fit", options.disks.len());
            return Err(Failure::Usage(what).into());
        }
        if !options.disks.is_empty() {
            return Ok(options.disks.clone());
        }
        let folder = self.project.target().join("disks");
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(vec![folder.join("0.img"), folder.join("1.img")])
    }
}
