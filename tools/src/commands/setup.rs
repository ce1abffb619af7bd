//! `setup`: what every other command does first, by itself.

use anyhow::Result;

use crate::guest::build;
use crate::host::project::Project;
use crate::host::qemu;
use crate::ui::{self, Ui};

/// Installs QEMU if it is missing, and builds the guest.
pub fn run() -> Result<()> {
    let ui = Ui::new(false);
    let project = Project::find()?;
    qemu::ensure(&ui)?;
    let built = build::build(&project, &ui)?;
    ui::print(&qemu::version()?);
    ui::print(&format!(
        "the guest is built: the unikernel and {} programs",
        built.programs.len()
    ));
    Ok(())
}
