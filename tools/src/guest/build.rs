//! Builds what runs in the guest.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::Failure;
use crate::host::lines;
use crate::host::project::Project;
use crate::ui::Ui;

/// What the guest is compiled for: a target that needs no further component on the hosts that we support.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Everything that runs in the guest.
const PACKAGES: [&str; 5] = [
    "kernel",
    "manager",
    "drivers",
    "storage-tasks",
    "applications",
];

/// The package with programs that misbehave, and the manager of the kernel's tests.
const TEST_PROGRAMS: &str = "guest-tests";

/// The packages with the tests of the kernel: a manager of their own, programs that misbehave, and
/// the driver with the suite that every disk must pass.
const TEST_PACKAGES: [&str; 3] = ["kernel", TEST_PROGRAMS, "drivers"];

/// The program that takes the manager's place when the kernel is tested.
const TEST_MANAGER: &str = "kernel-tests";

/// A program that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name, in the archive and as a task.
    pub name: String,
    /// Where cargo put it.
    pub path: PathBuf,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The unikernel.
    pub kernel: PathBuf,
    /// The tasks' programs.
    pub programs: Vec<Program>,
}

/// Builds the unikernel and all tasks.
///
/// # Errors
/// [`Failure::Host`] with the compiler's messages if it does not build.
pub fn build(project: &Project, ui: &Ui) -> Result<Built> {
    build_packages(project, ui, "Building the guest", &PACKAGES)
}

/// Builds the same, and the programs for tests.
///
/// # Errors
/// As [`build`].
pub fn build_with_tests(project: &Project, ui: &Ui) -> Result<Built> {
    let packages = [&PACKAGES[..], &[TEST_PROGRAMS]].concat();
    build_packages(project, ui, "Building the guest", &packages)
}

/// Builds the unikernel and the programs that test it, the test manager under the manager's name.
///
/// # Errors
/// As [`build`].
pub fn build_kernel_tests(project: &Project, ui: &Ui) -> Result<Built> {
    let mut built = build_packages(project, ui, "Building the kernel's tests", &TEST_PACKAGES)?;
    let manager = built
        .programs
        .iter_mut()
        .find(|program| program.name == TEST_MANAGER);
    let manager = manager.with_context(|| format!("cargo built no {TEST_MANAGER}"))?;
    manager.name = "manager".into();
    Ok(built)
}

fn build_packages(project: &Project, ui: &Ui, name: &str, packages: &[&str]) -> Result<Built> {
    let step = ui.step(name);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(project.root())
        .args(["build", "--profile", "guest", "--target", TARGET]);
    // The guest decides for which processor it is compiled and how it is linked; flags that the user
    // has for programs of the host, by the environment or cargo's configuration, are not for it.
    cargo
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", "");
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.arg("--target-dir").arg(project.target());
    for package in packages {
        cargo.args(["-p", package]);
    }
    let (mut programs, mut messages, mut fresh) = (Vec::new(), Vec::new(), true);
    let ended = lines::run(&mut cargo, |line| {
        match serde_json::from_str::<Value>(line) {
            Ok(message) => {
                if message["fresh"] == false {
                    fresh = false;
                }
                programs.extend(program_of(&message));
            }
            Err(_) => {
                step.progress(line.trim());
                messages.push(line.to_owned());
            }
        }
    })
    .context("cannot run cargo")?;
    if !ended.success {
        drop(step);
        let complaints = messages
            .iter()
            .map(String::as_str)
            .filter(|line| !is_chatter(line));
        for line in complaints {
            eprintln!("{line}");
        }
        return Err(Failure::Host("the guest does not build; see above".into()).into());
    }
    let kernel = programs
        .iter()
        .position(|program: &Program| program.name == "kernel");
    let kernel = programs
        .remove(kernel.context("cargo built no kernel")?)
        .path;
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    if fresh {
        step.forget();
    } else {
        step.done(&format!("the unikernel and {} programs", programs.len()));
    }
    Ok(Built { kernel, programs })
}

/// The program that a message of cargo's tells of.
fn program_of(message: &Value) -> Option<Program> {
    let is_binary = message["reason"] == "compiler-artifact"
        && message["target"]["kind"]
            .as_array()?
            .iter()
            .any(|kind| kind == "bin");
    let path = PathBuf::from(message["executable"].as_str().filter(|_| is_binary)?);
    Some(Program {
        name: message["target"]["name"].as_str()?.to_owned(),
        path,
    })
}

fn is_chatter(line: &str) -> bool {
    [
        "Compiling",
        "Finished",
        "Blocking",
        "Building",
        "Fresh",
        "Locking",
        "Downloading",
        "Downloaded",
    ]
    .iter()
    .any(|word| line.trim_start().starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_binaries_become_programs() {
        let artifact = |kind: &str| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "target": { "name": "naming", "kind": [kind] },
                "executable": "/t/naming",
            })
        };
        let program = Program {
            name: "naming".into(),
            path: "/t/naming".into(),
        };
        assert_eq!(program_of(&artifact("bin")), Some(program));
        assert_eq!(program_of(&artifact("custom-build")), None);
        assert_eq!(
            program_of(&serde_json::json!({ "reason": "build-finished" })),
            None
        );
    }
}
