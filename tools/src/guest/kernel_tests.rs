//! The tests of the kernel: a manager that plays tricks on it, with programs that misbehave.
//!
//! The guest prints `test NAME … ok` or `test NAME … FAILED reason` on COM1, and at the end
//! `N passed, N failed`; then it ends QEMU through the debug exit device.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Accelerator, Archive, Disk, Guest, Machine, build};
use crate::host::{images, project::Project};
use crate::ui::Ui;

/// How long one test may take to its line.
const TEST_LIMIT: Duration = Duration::from_secs(60);

/// How long all may take.
const ALL_LIMIT: Duration = Duration::from_secs(300);

/// How long the guest may take to end after its last line.
const END_LIMIT: Duration = Duration::from_secs(10);

/// QEMU's exit status when the guest leaves by the debug exit device with 2 or 3.
const STATUS_PASSED: i32 = 5;
const STATUS_FAILED: i32 = 7;

/// Memory of the guest in MiB.
const MEMORY_MIB: u32 = 256;

/// Size of the disk that the driver's tests overwrite.
const DISK_BYTES: u64 = 64 << 20;

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// What is guaranteed.
    pub name: String,
    /// Why it does not hold; nothing if it does.
    pub failed: Option<String>,
}

/// Builds the tests and the machine that runs them, with a disk in `folder`.
///
/// # Errors
/// [`crate::Failure::Host`] if they do not build.
pub fn machine(project: &Project, folder: &Path, ui: &Ui) -> Result<Machine> {
    let built = build::build_kernel_tests(project, ui)?;
    let disk = folder.join("kernel-tests.img");
    images::create(&disk, DISK_BYTES)?;
    Ok(Machine {
        kernel: built.kernel,
        archive: Archive {
            programs: built.programs,
            description: String::new(),
        },
        disks: Disk::numbered([disk]),
        memory_mib: MEMORY_MIB,
        accelerator: Accelerator::Tcg,
        debug_exit: true,
    })
}

/// Boots and hands each test's result to `each`. Returns what was measured on the way, in nanoseconds.
///
/// # Errors
/// [`crate::Failure::Guest`] if the guest hangs, dies, or counts otherwise than we do.
pub fn run(machine: &Machine, mut each: impl FnMut(Test)) -> Result<Vec<(String, f64)>> {
    let mut guest = Guest::boot(machine, None)?;
    let end = Instant::now() + ALL_LIMIT;
    let (mut passed, mut failed, mut number) = (0, 0, 0);
    let mut measured = Vec::new();
    loop {
        let deadline = end.min(Instant::now() + TEST_LIMIT);
        let Some((next, line)) = guest.console().line(number, deadline) else {
            let how = if guest.console().closed() {
                "ended"
            } else {
                "hangs"
            };
            let what = format!(
                "the guest {how} in the kernel's tests, after {} of them",
                passed + failed
            );
            return Err(guest.failure(what).into());
        };
        number = next;
        if let Some(test) = parse(&line) {
            *if test.failed.is_none() {
                &mut passed
            } else {
                &mut failed
            } += 1;
            each(test);
        } else if let Some(figure) = parse_measured(&line) {
            measured.push(figure);
        } else if let Some(counted) = parse_total(&line) {
            if counted != (passed, failed) || passed + failed == 0 {
                let what = format!("the guest counts `{line}`, we saw {passed} and {failed}");
                return Err(guest.failure(what).into());
            }
            break;
        }
    }
    let status = guest.wait_end(END_LIMIT)?.and_then(|end| end.status.code());
    let expected = if failed == 0 {
        STATUS_PASSED
    } else {
        STATUS_FAILED
    };
    if status != Some(expected) {
        let what = format!("QEMU's exit status is {status:?} after the tests, not {expected}");
        return Err(guest.failure(what).into());
    }
    Ok(measured)
}

/// `test NAME … ok` or `test NAME … FAILED reason`, after whatever the log puts before it.
fn parse(line: &str) -> Option<Test> {
    let line = console::strip_ansi_codes(line);
    let text = &line[line.find("test ")? + "test ".len()..];
    let (name, outcome) = text
        .split_once(" … ")
        .or_else(|| text.split_once(" ... "))?;
    let failed = match outcome.trim() {
        "ok" => None,
        outcome => Some(
            outcome
                .strip_prefix("FAILED")?
                .trim_start_matches(':')
                .trim()
                .to_owned(),
        ),
    };
    Some(Test {
        name: name.trim().to_owned(),
        failed,
    })
}

/// `measured NAME: N ns`.
fn parse_measured(line: &str) -> Option<(String, f64)> {
    let (name, figure) = line[line.find("measured ")? + "measured ".len()..].rsplit_once(": ")?;
    Some((
        name.to_owned(),
        figure.strip_suffix(" ns")?.trim().parse().ok()?,
    ))
}

/// `N passed, N failed`.
fn parse_total(line: &str) -> Option<(u64, u64)> {
    let (before, after) = line.trim().split_once(" passed, ")?;
    let passed = before.rsplit(' ').next()?.parse().ok()?;
    Some((passed, after.strip_suffix(" failed")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_with_and_without_what_a_log_puts_before_them() {
        let test = |name: &str, failed: Option<&str>| {
            Some(Test {
                name: name.into(),
                failed: failed.map(Into::into),
            })
        };
        assert_eq!(
            parse("test stack overrun … ok"),
            test("stack overrun", None)
        );
        assert_eq!(
            parse("[0.1] test a ... FAILED no death"),
            test("a", Some("no death"))
        );
        assert_eq!(parse("test a … FAILED"), test("a", Some("")));
        assert_eq!(parse("starting test programs"), None);
        assert_eq!(parse_total("14 passed, 1 failed"), Some((14, 1)));
        assert_eq!(parse_total("[0.2] 14 passed, 0 failed"), Some((14, 0)));
        let measured = parse_measured("[0.3] measured call round trip: 7421 ns");
        assert_eq!(measured, Some(("call round trip".into(), 7421.0)));
        assert_eq!(parse_measured("measured by whom: nobody"), None);
        assert_eq!(parse_total("all passed, none failed"), None);
    }
}
