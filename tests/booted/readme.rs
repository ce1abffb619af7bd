//! The README's examples, run as it gives them, but on images of their own.

use std::path::Path;
use std::process::Command;

use clap::Parser as _;
use galago::cli::{self, Cli};

use crate::bed::{Bed, output, power_off};

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    std::fs::read_to_string(path).expect("a README")
}

/// The options of a `run`, with all files in `folder`.
fn options(line: &str, folder: &Path) -> cli::Run {
    let words = shlex::split(line).expect("as a shell would split it");
    let cli = Cli::try_parse_from(["galago".into()].into_iter().chain(words));
    let Ok(Cli {
        command: cli::Command::Run(mut run),
    }) = cli
    else {
        panic!("`{line}` is no `run`: {cli:?}")
    };
    run.json = true;
    let machine = &mut run.machine;
    if machine.disks.is_empty() {
        // The user's own are not for tests.
        machine.disks = vec!["0.img".into(), "1.img".into()];
        for disk in &machine.disks {
            let _ = std::fs::remove_file(folder.join(disk));
        }
    }
    for path in machine.disks.iter_mut().chain(&mut machine.import) {
        *path = folder.join(&path);
    }
    run
}

#[test]
fn every_run_in_the_readme_succeeds() {
    let bed = Bed::new(0);
    let folder = bed.folder();
    std::fs::create_dir(folder.join("some-folder")).expect("made");
    std::fs::write(folder.join("some-folder/file"), "content").expect("written");
    let mut count = 0;
    for line in readme().lines().filter_map(|line| line.strip_prefix("$ ")) {
        if line.starts_with("tar ") {
            let status = Command::new("sh")
                .args(["-c", line])
                .current_dir(folder)
                .status();
            assert!(status.expect("a shell").success(), "{line}");
        } else if line.starts_with("cargo galago run ") {
            let options = options(&line["cargo galago ".len()..], folder);
            let command = cli::Command::Run(options);
            galago::commands::run(Cli { command })
                .unwrap_or_else(|error| panic!("{line}: {error:#}"));
            count += 1;
        }
    }
    assert!(count >= 3, "{count} examples");
}

#[test]
fn the_session_in_the_readme_goes_as_it_is_shown() {
    let text = readme();
    let (_, session) = text.split_once("$ cargo galago boot\n").expect("a session");
    let (session, _) = session.split_once("```").expect("its end");
    let bed = Bed::new(2);
    let mut guest = bed.boot();
    let mut lines = session.lines().peekable();
    let mut shown = 0;
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("galago> ").expect("a prompt");
        let printed = output(&mut guest, command);
        let mut expected = String::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("galago> ")) {
            expected.push_str(line);
            expected.push('\n');
        }
        if !expected.is_empty() {
            assert_eq!(printed.trim_end(), expected.trim_end(), "`{command}`");
            shown += 1;
        }
    }
    assert!(shown > 0, "the session shows no output");
    power_off(guest);
}
