//! QEMU: where it is, and how it gets there if it is not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::ui::Ui;

/// The program that runs guests.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The package that has it on Debian and Ubuntu.
const PACKAGE: &str = "qemu-system-x86";

/// Folders that hold system programs even where `PATH` does not say so.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

/// A program by name: in the folders of `PATH`, then in the system's.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Where [`PROGRAM`] is.
///
/// # Errors
/// [`Failure::Host`] if it is nowhere.
pub fn program() -> Result<PathBuf, Failure> {
    find_program(PROGRAM).ok_or_else(|| Failure::Host(format!("{PROGRAM} is not found")))
}

/// What QEMU calls itself, for instance `QEMU emulator version 7.2.22`.
///
/// # Errors
/// [`Failure::Host`] if it does not run.
pub fn version() -> Result<String, Failure> {
    let output = Command::new(program()?)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::Host(format!("{PROGRAM}: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next() {
        Some(line) if output.status.success() => Ok(line.to_owned()),
        _ => Err(Failure::Host(format!(
            "{PROGRAM} is there but does not run: {}",
            last_line(&output.stderr)
        ))),
    }
}

/// How this user may install packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Is root.
    Root,
    /// May use `sudo` without a password.
    Sudo,
    /// May not.
    None,
}

/// The line a user gets who must install QEMU by hand.
#[must_use]
pub fn advice(has_apt: bool) -> String {
    if has_apt {
        format!(
            "{PROGRAM} is missing and installing it needs root: \
             run `sudo apt-get install --no-install-recommends {PACKAGE}` and try again"
        )
    } else {
        format!(
            "{PROGRAM} is missing: install it (Fedora: `dnf install qemu-system-x86-core`, \
             Arch: `pacman -S qemu-system-x86`, macOS: `brew install qemu`) and try again"
        )
    }
}

/// Makes sure that QEMU is there: finds it, or installs it, or says in one line what to do.
///
/// # Errors
/// [`Failure::Host`] if it is missing and cannot be installed.
pub fn ensure(ui: &Ui) -> Result<(), Failure> {
    if find_program(PROGRAM).is_some() {
        return Ok(());
    }
    let has_apt = find_program("apt-get").is_some();
    let right = right_to_install();
    if !has_apt || right == Right::None {
        return Err(Failure::Host(advice(has_apt)));
    }
    let mut step = ui.step(&format!("Installing {PACKAGE}"));
    // The package lists of a fresh machine or container are empty or old: fetch them on failure.
    if install(right, &mut step).is_err() {
        apt_get(right, &["update"], &mut step)?;
        install(right, &mut step)?;
    }
    if find_program(PROGRAM).is_none() {
        return Err(Failure::Host(format!(
            "{PACKAGE} is installed, yet {PROGRAM} is not found"
        )));
    }
    step.done(&version()?);
    Ok(())
}

fn install(right: Right, step: &mut crate::ui::Step) -> Result<(), Failure> {
    apt_get(
        right,
        &["install", "--yes", "--no-install-recommends", PACKAGE],
        step,
    )
}

fn right_to_install() -> Right {
    if rustix::process::geteuid().is_root() {
        return Right::Root;
    }
    let sudo = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if sudo.is_ok_and(|status| status.success()) {
        Right::Sudo
    } else {
        Right::None
    }
}

fn apt_get(right: Right, arguments: &[&str], step: &mut crate::ui::Step) -> Result<(), Failure> {
    let mut command = match right {
        Right::Root => Command::new("apt-get"),
        Right::Sudo | Right::None => {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            sudo
        }
    };
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive");
    let ended = super::lines::run(&mut command, |line| step.progress(line))
        .map_err(|error| Failure::Host(format!("apt-get: {error}")))?;
    if ended.success {
        return Ok(());
    }
    Err(Failure::Host(format!(
        "`apt-get {}` failed: {}",
        arguments.join(" "),
        ended.tail.back().map_or("it said nothing", String::as_str)
    )))
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_one_line_with_the_command_to_run() {
        for has_apt in [true, false] {
            let text = advice(has_apt);
            assert_eq!(text.lines().count(), 1);
            assert!(text.contains(PROGRAM) && text.contains("install"), "{text}");
        }
        assert!(advice(true).contains("sudo apt-get install --no-install-recommends"));
    }

    #[test]
    fn programs_are_found_where_they_are_and_not_where_they_are_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
