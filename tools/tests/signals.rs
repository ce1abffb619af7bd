//! A signal to `galago` ends what it has started, and what that has started.

#![forbid(unsafe_code)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("written");
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("made executable");
}

/// Whether `done` comes true in time.
fn soon(mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LIMIT;
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// A process that has ended has no command line any more, even if nobody has waited for it.
fn runs(process: &str) -> bool {
    std::fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_signal_ends_cargo_and_what_cargo_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    script(&file("qemu-system-x86_64"), "echo QEMU");
    // A cargo that never ends, with a compiler that never ends.
    script(
        &file("cargo"),
        "sleep 600 & echo $$ $! > \"$0.new\"; mv \"$0.new\" \"$0.ids\"; wait",
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let mut galago = Command::new(env!("CARGO_BIN_EXE_galago"))
        .arg("setup")
        .env("CARGO", file("cargo"))
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("galago starts");
    assert!(soon(|| file("cargo.ids").exists()), "cargo was not started");
    let ids = std::fs::read_to_string(file("cargo.ids")).expect("there");
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| runs(id)), "{ids:?}");

    kill_process(Pid::from_child(&galago), Signal::TERM).expect("it runs");
    let status = galago.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert!(soon(|| !ids.iter().any(|id| runs(id))), "{ids:?} go on");
}
