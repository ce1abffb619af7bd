//! What the README tells users to type must exist, and where it points must be something. That it does what
//! the README says is a booted test.

#![forbid(unsafe_code)]

use clap::Parser as _;
use galago::cli::{Cli, Command};

fn root() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("a README")
}

#[test]
fn every_command_in_the_readme_is_one() {
    let text = readme();
    let lines: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("$ cargo galago "))
        .collect();
    assert!(lines.len() >= 6, "{lines:?}");
    for line in lines {
        let words = shlex::split(line).expect("as a shell would split it");
        let cli = Cli::try_parse_from(["galago".into()].into_iter().chain(words))
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        if let Command::Run(run) = cli.command {
            assert!(!run.command.is_empty(), "{line}");
        }
    }
}

#[test]
fn every_link_in_the_readme_leads_somewhere() {
    let text = readme();
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.starts_with("http")) {
        assert!(root().join(target).exists(), "README.md links to {target}");
    }
}
