//! Child processes and temporary folders that cannot outlive `galago`.
//!
//! A [`Child`] leads a process group of its own and is ended with all of it when it is dropped. A list of
//! those that run, and of the folders, lets the handler for Ctrl-C and SIGTERM end and remove them too.
//! Should `galago` itself be killed (SIGKILL), `setpriv --pdeathsig`, where the host has it, makes the
//! host's kernel end QEMU.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use super::interrupt;

/// How often a wait looks whether the process has ended.
const POLL: Duration = Duration::from_millis(5);

/// How long a program that may have children of its own gets to end them.
const ENDING_LIMIT: Duration = Duration::from_secs(5);

/// What goes when `galago` does.
static OURS: Mutex<Ours> = Mutex::new(Ours {
    children: Vec::new(),
    folders: Vec::new(),
});

struct Ours {
    children: Vec<(Pid, Ending)>,
    folders: Vec<PathBuf>,
}

/// How a child is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At once: it has no children.
    Kill,
    /// By SIGTERM, so that it can end its children; at once if that takes too long.
    Ask,
}

/// The list, with a handler in place that reads it.
fn ours() -> MutexGuard<'static, Ours> {
    interrupt::install();
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a folder to what goes on a signal.
pub fn remember_folder(folder: &Path) {
    ours().folders.push(folder.to_path_buf());
}

/// Takes it away: it is gone.
pub fn forget_folder(folder: &Path) {
    ours().folders.retain(|other| other != folder);
}

/// Ends every child, removes every folder, and leaves. Threads that drop or start a child meanwhile are
/// held up until there are none.
pub fn end_all_and_exit(status: i32) -> ! {
    let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    ours.end();
    std::process::exit(status)
}

/// Ends every child and removes every folder, unless a thread is just changing the list: for a panic,
/// which may come from there.
pub fn try_end_all() {
    match OURS.try_lock() {
        Ok(mut ours) => ours.end(),
        Err(TryLockError::Poisoned(ours)) => ours.into_inner().end(),
        Err(TryLockError::WouldBlock) => {}
    }
}

impl Ours {
    fn end(&mut self) {
        let deadline = Instant::now() + ENDING_LIMIT;
        for (id, ending) in &self.children {
            signal(*id, *ending);
        }
        for (id, ending) in self.children.drain(..) {
            if ending == Ending::Ask {
                kill_after(id, deadline);
            }
        }
        for folder in self.folders.drain(..) {
            // What cannot be removed stays; there is nobody to tell.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

// A process may have ended by itself; then there is nothing to signal.
fn signal(id: Pid, ending: Ending) {
    let _ = kill_process_group(
        id,
        match ending {
            Ending::Kill => Signal::KILL,
            Ending::Ask => Signal::TERM,
        },
    );
}

/// Waits until the group has ended, and kills it at the deadline.
fn kill_after(id: Pid, deadline: Instant) {
    while test_kill_process_group(id).is_ok() {
        if Instant::now() >= deadline {
            signal(id, Ending::Kill);
            return;
        }
        std::thread::sleep(POLL);
    }
}

/// A running child process.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    id: Pid,
    ending: Ending,
}

impl Child {
    /// Starts `command` in a process group of its own.
    ///
    /// The thread that calls this must live as long as the child: the host's kernel kills the
    /// child when that thread ends.
    ///
    /// # Errors
    /// As `std::process::Command::spawn`.
    pub fn spawn(command: &mut Command, ending: Ending) -> std::io::Result<Self> {
        // Held over the spawn, so that a signal finds the child in the list or not yet started.
        let mut ours = ours();
        let process = command.process_group(0).spawn()?;
        let id = Pid::from_child(&process);
        ours.children.push((id, ending));
        Ok(Self {
            process,
            id,
            ending,
        })
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

    /// Waits for its end.
    ///
    /// # Errors
    /// As `std::process::Child::wait`.
    pub fn wait(mut self) -> std::io::Result<ExitStatus> {
        self.process.wait()
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
        if matches!(self.process.try_wait(), Ok(None)) {
            signal(self.id, self.ending);
            if self.ending == Ending::Ask {
                let _ = self.wait_until(Instant::now() + ENDING_LIMIT);
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        let id = self.id;
        ours().children.retain(|(other, _)| *other != id);
    }
}

/// A command that dies with this process, where the host can arrange it.
#[must_use]
pub fn tied_to_us(program: &Path) -> Command {
    match setpriv() {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// A `setpriv` that knows `--pdeathsig`; BusyBox's does not.
fn setpriv() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find =
        || super::qemu::find_program("setpriv").filter(|setpriv| knows_death_signals(setpriv));
    FOUND.get_or_init(find).as_deref()
}

fn knows_death_signals(setpriv: &Path) -> bool {
    let tried = Command::new(setpriv)
        .args(["--pdeathsig", "KILL", "--", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
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
    use std::io::{BufRead as _, BufReader};

    fn exists(id: u32) -> bool {
        Path::new(&format!("/proc/{id}")).exists()
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = Child::spawn(Command::new("sleep").arg("600"), Ending::Kill).expect("sleep");
        let (id, pid) = (child.id(), child.id);
        assert!(exists(id));
        drop(child);
        assert!(!exists(id));
        assert!(ours().children.iter().all(|(other, _)| *other != pid));
    }

    #[test]
    fn a_dropped_child_takes_its_own_children_along() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & echo $!; wait"]);
        shell.stdout(Stdio::piped());
        let mut child = Child::spawn(&mut shell, Ending::Ask).expect("sh");
        let output = child.process().stdout.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .expect("a number");
        let grandchild: u32 = line.trim().parse().expect("a number");
        // One that has ended stays, in state Z, until somebody has waited for it. The command line does
        // not tell: while a program is being started in its place, a process has none.
        let alive = |id: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let state = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next());
            state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
        };
        assert!(alive(grandchild));
        drop(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        while alive(grandchild) && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        assert!(!alive(grandchild));
    }

    #[test]
    fn waiting_has_a_deadline() {
        let mut child =
            Child::spawn(Command::new("sleep").arg("600"), Ending::Kill).expect("sleep");
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(child.wait_until(soon).expect("a child of ours").is_none());
    }

    #[test]
    fn a_setpriv_that_refuses_the_option_is_not_taken() {
        assert!(!knows_death_signals(Path::new("/bin/false")));
    }
}
