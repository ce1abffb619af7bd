//! QEMU: where it is, and how it gets there if it is not.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::ui::{Step, Ui};

/// The program that runs guests.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The package that has it on Debian and Ubuntu.
const PACKAGE: &str = "qemu-system-x86";

/// Fetches the package lists; by itself `apt-get` reports success when it could fetch none.
const UPDATE: [&str; 3] = ["update", "-o", "APT::Update::Error-Mode=any"];

/// A fresh machine may be upgrading itself: `apt-get` waits for that, for two minutes.
const WAIT_FOR_OTHERS: [&str; 2] = ["-o", "DPkg::Lock::Timeout=120"];

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
             Arch: `pacman -S qemu-system-x86`) and try again"
        )
    }
}

/// Refuses hosts on which the guest cannot be built or run.
///
/// # Errors
/// [`Failure::Host`] names what is needed.
fn check_host(system: &str, processor: &str) -> Result<(), Failure> {
    if (system, processor) == ("linux", "x86_64") {
        return Ok(());
    }
    Err(Failure::Host(format!(
        "Galago needs Linux on x86-64 and this is {system} on {processor}; use such a machine, or a virtual one"
    )))
}

/// Makes sure that QEMU is there: finds it, or installs it, or says in one line what to do.
///
/// # Errors
/// [`Failure::Host`] if it is missing and cannot be installed.
pub fn ensure(ui: &Ui) -> Result<(), Failure> {
    check_host(std::env::consts::OS, std::env::consts::ARCH)?;
    if find_program(PROGRAM).is_some() {
        return Ok(());
    }
    let has_apt = find_program("apt-get").is_some();
    let right = right_to_install();
    if !has_apt || right == Right::None {
        return Err(Failure::Host(advice(has_apt)));
    }
    let step = ui.step(&format!("Installing {PACKAGE}"));
    // The package lists of a fresh machine or container are empty or old: fetch them on failure.
    if install(right, &step).is_err() {
        let installed = apt_get(right, &UPDATE, &step).and_then(|()| install(right, &step));
        installed.map_err(|error| {
            Failure::Host(format!(
                "{error}; mend that, or install {PACKAGE} another way, and try again"
            ))
        })?;
    }
    if find_program(PROGRAM).is_none() {
        return Err(Failure::Host(format!(
            "{PACKAGE} is installed, yet {PROGRAM} is not found"
        )));
    }
    step.done(&version()?);
    Ok(())
}

fn install(right: Right, step: &Step) -> Result<(), Failure> {
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

fn apt_get(right: Right, arguments: &[&str], step: &Step) -> Result<(), Failure> {
    let mut command = match right {
        Right::Root => Command::new("apt-get"),
        Right::Sudo | Right::None => {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
            sudo
        }
    };
    command
        .args(WAIT_FOR_OTHERS)
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
    fn other_hosts_are_refused_in_one_line() {
        assert!(check_host("linux", "x86_64").is_ok());
        for (system, processor) in [("macos", "aarch64"), ("linux", "aarch64")] {
            let text = check_host(system, processor).unwrap_err().to_string();
            assert!(
                text.contains(processor) && text.lines().count() == 1,
                "{text}"
            );
        }
    }

    #[test]
    fn programs_are_found_where_they_are_and_not_where_they_are_not() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
