//! The host program against a guest that misbehaves on command: what a user is told, and how soon.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use galago::Failure;
use galago::guest::{Accelerator, Archive, Disk, Guest, Machine};

const LIMIT: Duration = Duration::from_secs(60);

/// The fake guest, built in `folder`.
fn machine(folder: &Path) -> Machine {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fake-guest.S");
    let kernel = folder.join("fake-guest");
    let status = Command::new("cc")
        .args([
            "-m32",
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--build-id=none",
            "-o",
        ])
        .arg(&kernel)
        .arg(source)
        .status()
        .expect("Rust links with cc, so it is there");
    assert!(status.success());
    Machine {
        kernel,
        archive: Archive::default(),
        disks: Vec::new(),
        memory_mib: 256,
        accelerator: Accelerator::Tcg,
        debug_exit: true,
    }
}

fn boot(folder: &Path) -> Guest {
    let mut guest = Guest::boot(&machine(folder), None).expect("QEMU starts");
    guest.wait_ready(LIMIT).expect("the fake guest comes up");
    guest
}

/// What the user is told, and the end of the guest's console.
fn told(error: &anyhow::Error) -> (String, String) {
    match error.downcast_ref() {
        Some(Failure::Guest { what, tail }) => (what.clone(), tail.join("\n")),
        _ => panic!("not blamed on the guest: {error:#}"),
    }
}

#[test]
fn commands_are_answered_one_by_one_and_the_machine_switches_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = boot(folder.path());
    for _ in 0..3 {
        assert!(guest.command("ls", LIMIT).expect("answered").ok);
    }
    guest.start("P").expect("sent");
    let end = guest.wait_end(LIMIT).expect("asked").expect("it ends");
    assert!(end.status.success());
}

#[test]
fn a_guest_that_hangs_is_an_error_after_the_limit_with_the_end_of_its_console() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = boot(folder.path());
    let begun = Instant::now();
    let error = guest
        .command("H", Duration::from_secs(1))
        .expect_err("it hangs");
    assert!(begun.elapsed() < LIMIT);
    let (what, tail) = told(&error);
    assert!(what.contains("hangs") && what.contains("`H`"), "{what}");
    assert!(tail.contains("fake guest"), "{tail}");
    assert_eq!(Failure::status_of(&error), 4);
}

#[test]
fn a_guest_that_dies_is_an_error_at_once_with_its_last_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = boot(folder.path());
    let (what, tail) = told(&guest.command("X", LIMIT).expect_err("it dies"));
    assert!(what.contains("exit status 33"), "{what}");
    assert!(tail.contains("all is lost"), "{tail}");
}

#[test]
fn a_guest_that_resets_itself_is_an_error_and_a_reset_by_us_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = boot(folder.path());
    let (what, _) = told(&guest.command("R", LIMIT).expect_err("it resets"));
    assert!(what.contains("reset itself"), "{what}");
    guest
        .wait_ready(LIMIT)
        .expect("it comes up again, after half a line of the old boot");
    guest.reset().expect("reset");
    guest.wait_ready(LIMIT).expect("and again");
    // The fake guest numbers its answers from one at each boot, instead of reading the number.
    guest.start("ls").expect("sent");
    assert!(guest.finish(1, "ls", LIMIT, |_| {}).expect("answered").ok);
}

#[test]
fn a_guest_that_refuses_to_end_is_told_at_once_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = boot(folder.path());
    assert!(!guest.command("N", LIMIT).expect("answered").ok);
    let begun = Instant::now();
    let refusals = [
        ("reboot", guest.restart("reboot", LIMIT, |_| {})),
        ("poweroff", guest.power_off(LIMIT, |_| {})),
    ];
    assert!(begun.elapsed() < LIMIT);
    for (command, refusal) in refusals {
        let error = refusal.expect_err("it says no");
        assert_eq!(Failure::status_of(&error), 1);
        let expected = format!("`{command}` failed: out of order");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_reset_is_told_once_and_not_once_more_by_the_firmware() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = boot(folder.path());
    for _ in 0..10 {
        let (what, _) = told(&guest.command("R", LIMIT).expect_err("it resets"));
        assert!(what.contains("reset itself"), "{what}");
        guest.wait_ready(LIMIT).expect("no reset on the way");
    }
}

#[test]
fn an_image_in_use_is_told_as_such() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("disk, one.img");
    galago::host::images::create(&image, 1 << 20).expect("made");
    let machine = Machine {
        disks: Disk::numbered([image]),
        ..machine(folder.path())
    };
    let _first = Guest::boot(&machine, None).expect("QEMU starts");
    let error = Guest::boot(&machine, None)
        .expect_err("the image is locked")
        .to_string();
    assert!(
        error.contains("lock") && error.contains("disk, one.img"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn a_guest_dropped_leaves_no_qemu_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let guest = boot(folder.path());
    let process = PathBuf::from(format!("/proc/{}", guest.process_id()));
    assert!(process.exists());
    drop(guest);
    assert!(!process.exists());
}
