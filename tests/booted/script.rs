//! `galago run`: what scripts rely on.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Error;
use clap::Parser as _;
use galago::Failure;
use galago::cli::Cli;
use galago::commands::run;

use crate::bed::Bed;

/// Runs the commands on an image of the folder, made if it is not there.
fn script(folder: &Path, commands: &str) -> Result<(), Error> {
    script_on("single", folder, commands)
}

fn script_on(stack: &str, folder: &Path, commands: &str) -> Result<(), Error> {
    let disk = folder.join("disk.img");
    let words = ["galago", "run", "--json", "--stack", stack, "--disk"].map(Into::into);
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

#[test]
fn a_script_goes_on_after_accidents_of_the_machine() {
    let bed = Bed::new(0);
    let folder = bed.folder();
    // The last command shows that all before it were run.
    let error = script_on(
        "single-faulty",
        folder,
        "format yes; write /kept 1; sync; write /lost 1; power-cut seed=3; cat /kept; \
         inject reset all; cat /kept; \
         inject power-cut all at=twinfs.root-written; sync; cat /kept; \
         inject reset all after=300ms; bench postmark loris-tenth; cat /kept; \
         inject reset all after=60m; inject off all; cat /lost",
    );
    let error = error.expect_err("it was not synced");
    assert!(error.to_string().contains("/lost"), "{error:#}");
    // Also where it comes when the script is over.
    script_on(
        "single-faulty",
        folder,
        "cat /kept; inject power-cut all at=twinfs.root-written",
    )
    .expect("it was ordered");
}

#[test]
fn an_accident_that_is_refused_is_told_at_once() {
    let bed = Bed::new(0);
    let begun = Instant::now();
    let error = script(bed.folder(), "format yes; power-cut; ls");
    let error = error.expect_err("there is no filter").to_string();
    assert!(error.contains("no filter stands before it"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
}

#[test]
fn a_script_that_ends_with_the_manager_ends_all_the_same() {
    let bed = Bed::new(0);
    script(bed.folder(), "format yes; write /kept 1; kill manager").expect("it ends");
    script(bed.folder(), "cat /kept; kill manager; reboot; cat /kept").expect("it was synced");
}
