//! `galago run`: what scripts rely on.

use std::path::Path;

use anyhow::Error;
use clap::Parser as _;
use galago::Failure;
use galago::cli::Cli;
use galago::commands::run;

use crate::bed::Bed;

/// Runs the commands on an image of the folder, made if it is not there.
fn script(folder: &Path, commands: &str) -> Result<(), Error> {
    let disk = folder.join("disk.img");
    let words = ["galago", "run", "--json", "--disk"].map(Into::into);
    let words = words.into_iter().chain([disk.into_os_string()]);
    let cli = Cli::try_parse_from(words.chain(["-c".into(), commands.into()]));
    run(cli.expect("as the help says"))
}

#[test]
fn what_went_well_before_a_command_that_fails_is_kept() {
    let bed = Bed::new(0);
    let folder = bed.folder();
    let error = script(
        folder,
        "format yes; write /kept 1; cat /nope; write /never 1",
    );
    let error = error.expect_err("there is no such file");
    let refused = matches!(error.downcast_ref(), Some(Failure::Check(_)));
    assert!(refused && error.to_string().contains("/nope"), "{error:#}");
    script(folder, "cat /kept").expect("it was synced");
    script(folder, "cat /never").expect_err("it was never run");
}

#[test]
fn nothing_may_follow_the_end_of_the_machine() {
    let bed = Bed::new(0);
    let error = script(bed.folder(), "poweroff; ls").expect_err("nobody could run it");
    let usage = matches!(error.downcast_ref(), Some(Failure::Usage(_)));
    assert!(usage, "{error:#}");
}
