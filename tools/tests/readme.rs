//! What the README tells users to type must exist, and where it points must be something.

#![forbid(unsafe_code)]

use clap::Parser as _;
use galago::cli::{Cli, Command};

fn root() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("a README")
}

/// The words of a command line, as a shell would split it.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("never empty").push(character),
        }
    }
    words
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
        let words = [vec!["galago".to_owned()], words(line)].concat();
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
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
