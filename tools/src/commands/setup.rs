//! `setup`: what every other command does first, by itself.

use anyhow::Result;

use crate::guest::build;
use crate::host::project::Project;
use crate::host::qemu;
use crate::ui::Ui;

/// Installs QEMU if it is missing, and builds the guest.
pub fn run() -> Result<()> {
    let ui = Ui::new(false);
    let project = Project::find()?;
    qemu::ensure(&ui)?;
    let built = build::build(&project, &ui)?;
    println!("{}", qemu::version()?);
    println!(
        "the guest is built: the unikernel and {} programs",
        built.programs.len()
    );
    Ok(())
}
