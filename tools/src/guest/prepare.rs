//! What every guest needs: QEMU, the guest's programs, the archive.

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use super::build::{self, Program};
use super::{Accelerator, Archive, Description, Machine};
use crate::Failure;
use crate::host::accelerator::{self, Choice};
use crate::host::project::Project;
use crate::host::qemu;
use crate::ui::Ui;

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
        Self::built_by(build::build, ui)
    }

    /// The same, with the programs for tests that descriptions may name.
    ///
    /// # Errors
    /// As [`Prepared::new`].
    pub fn with_tests(ui: &Ui) -> Result<Self> {
        Self::built_by(build::build_with_tests, ui)
    }

    fn built_by(build: fn(&Project, &Ui) -> Result<build::Built>, ui: &Ui) -> Result<Self> {
        let project = Project::find()?;
        qemu::ensure(ui)?;
        let built = build(&project, ui)?;
        Ok(Self { project, built })
    }

    /// A machine without disks that boots this stack. The archive has the manager and the programs
    /// that the description names.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is no such stack, or it cannot be started.
    pub fn machine(&self, stack: &str, memory_mib: u32) -> Result<Machine> {
        let description = Description::read(&self.project, stack)?;
        Ok(Machine {
            kernel: self.built.kernel.clone(),
            archive: Archive {
                programs: self
                    .programs(&description)
                    .map_err(|reason| Failure::Usage(format!("stack {stack}: {reason}")))?,
                description: description.text,
            },
            disks: Vec::new(),
            memory_mib,
            accelerator: Accelerator::Tcg,
            debug_exit: true,
        })
    }

    /// What was built, by its hash: kernel and programs, whatever stack they are of.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn build(&self) -> Result<String> {
        let mut programs: Vec<&Program> = self.built.programs.iter().collect();
        programs.sort_by(|one, other| one.name.cmp(&other.name));
        let paths = programs.iter().map(|program| &program.path);
        let mut digest = Sha256::new();
        for path in paths.chain([&self.built.kernel]) {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            digest.update(Sha256::digest(&bytes));
        }
        let digest = digest.finalize();
        Ok(digest
            .iter()
            .take(6)
            .map(|it| format!("{it:02x}"))
            .collect())
    }

    /// What the described stack runs.
    fn programs(&self, description: &Description) -> Result<Vec<Program>, String> {
        let mut names = description.stack.programs();
        names.insert(stack::MANAGER);
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
}
