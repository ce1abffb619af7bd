//! Child processes that cannot outlive `galago`.
//!
//! A [`Child`] is killed when it is dropped. A list of those that run lets the handler for Ctrl-C and
//! SIGTERM end them too, together with their temporary folders. Should `galago` itself be killed
//! (SIGKILL), `setpriv --pdeathsig`, where the host has it, makes the host's kernel do it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a wait looks whether the process has ended.
const POLL: Duration = Duration::from_millis(5);

static RUNNING: Mutex<Vec<(u32, PathBuf)>> = Mutex::new(Vec::new());

fn running() -> std::sync::MutexGuard<'static, Vec<(u32, PathBuf)>> {
    RUNNING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Kills every child and removes its temporary folder; for the end of the program.
pub fn end_all() {
    for (id, folder) in running().drain(..) {
        kill(id);
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn kill(id: u32) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    if let Some(id) = id {
        // It may have ended by itself; then there is nothing to do.
        let _ = kill_process(id, Signal::KILL);
    }
}

/// A running child process.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
}

impl Child {
    /// Starts `command`; `folder` is the temporary folder that goes when it does.
    ///
    /// The thread that calls this must live as long as the child: the host's kernel kills the
    /// child when that thread ends.
    ///
    /// # Errors
    /// As `std::process::Command::spawn`.
    pub fn spawn(command: &mut Command, folder: PathBuf) -> std::io::Result<Self> {
        // Held over the spawn, so that a signal finds the child in the list or not yet started.
        let mut list = running();
        let process = command.spawn()?;
        list.push((process.id(), folder));
        Ok(Self { process })
    }

    /// Its process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The pipes, where they were asked for.
    pub fn process(&mut self) -> &mut std::process::Child {
        &mut self.process
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// As `std::process::Child::try_wait`.
    pub fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Waits for its end until `deadline`.
    ///
    /// # Errors
    /// As `std::process::Child::try_wait`.
    pub fn wait_until(&mut self, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
        loop {
            let ended = self.process.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let id = self.process.id();
        let _ = self.process.kill();
        let _ = self.process.wait();
        running().retain(|(other, _)| *other != id);
    }
}

/// A command that dies with this process, where the host can arrange it.
#[must_use]
pub fn tied_to_us(program: &str) -> Command {
    match super::qemu::find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--", program]);
            command
        }
        None => Command::new(program),
    }
}

/// How a process ended, in words.
#[must_use]
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_child_is_gone() {
        let child = Child::spawn(Command::new("sleep").arg("600"), PathBuf::new()).expect("sleep");
        let id = child.id();
        assert!(std::path::Path::new(&format!("/proc/{id}")).exists());
        drop(child);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
        assert!(running().iter().all(|(other, _)| *other != id));
    }

    #[test]
    fn waiting_has_a_deadline() {
        let mut child =
            Child::spawn(Command::new("sleep").arg("600"), PathBuf::new()).expect("sleep");
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(child.wait_until(soon).expect("a child of ours").is_none());
    }
}
