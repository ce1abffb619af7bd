//! A running guest: what boots it, asks it, and waits for it.

use std::marker::PhantomData;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::complaints::Complaints;
use super::console::{Console, Tap};
use super::events::{Done, Event};
use super::inbox::{Arrival, Inbox};
use super::link::Link;
use super::machine::Machine;
use super::monitor::Monitor;
use super::sockets::{Listeners, accept};
use crate::Failure;
use crate::host::folder::TempFolder;
use crate::host::processes::{Child, Ending, describe, tied_to_us};
use crate::host::{qemu, stalls};

/// How long QEMU may take to open its files and connect.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long what an ended QEMU has said may take to arrive.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long QEMU may take to its end after its lines have closed.
const END_LIMIT: Duration = Duration::from_secs(2);

/// How long the host has to stand still before it is to blame for what did not end.
const STALL_MIN: Duration = Duration::from_secs(5);

/// Console lines shown with an error.
const TAIL_LINES: usize = 40;

/// How the guest's run ended.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// QEMU's exit status. The guest sets it through its debug exit device: `2 n + 1`.
    pub status: ExitStatus,
}

/// What arrives while somebody else types.
#[derive(Debug)]
pub enum Heard {
    /// The guest says something.
    Event(Event),
    /// The host fails in something.
    Failure(Failure),
}

/// How it is with a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It runs.
    Running,
    /// It has ended in good order: the stack could not go on, and said why.
    GaveUp,
    /// It has ended otherwise, or reset itself.
    Ended,
}

/// The status of a machine whose stack could not go on: that of the manager (`docs/manager.md`), as QEMU has it.
const GAVE_UP_STATUS: i32 = 35;

/// The unikernel running in QEMU. Dropping it ends QEMU.
///
/// It stays on the thread that booted it: QEMU is tied to the life of that thread.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    console: Console,
    link: Link,
    pub(super) monitor: Monitor,
    pub(super) inbox: Arc<Inbox>,
    complaints: Complaints,
    has_reset_itself: bool,
    _folder: TempFolder,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl Guest {
    /// Starts QEMU. The console's bytes go to `tap`, too, where one is given.
    ///
    /// # Errors
    /// [`Failure::Host`] with QEMU's reason if it does not start, for instance because another
    /// guest has the disk.
    pub fn boot(machine: &Machine, tap: Option<Tap>) -> Result<Self> {
        stalls::watch();
        let folder = TempFolder::for_sockets()?;
        let (listeners, paths) = Listeners::bind(folder.path())
            .with_context(|| format!("cannot listen in {}", folder.path().display()))?;
        machine.archive.write(&paths.archive)?;
        let mut command = tied_to_us(&qemu::program()?);
        command.args(machine.arguments(&paths));
        // Reasons of errors in the words that the monitor knows.
        command.env("LC_ALL", "C");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = Child::spawn(&mut command, Ending::Kill)
            .with_context(|| format!("cannot start {}", qemu::PROGRAM))?;
        let complaints = Complaints::of(&mut child);
        let deadline = Instant::now() + START_LIMIT;
        let mut connect = |listener| -> Result<_> {
            let mut ended = || !matches!(child.ended(), Ok(None));
            accept(listener, deadline, &mut ended)?.ok_or_else(|| complaints.not_started().into())
        };
        let (console, link) = (connect(&listeners.console)?, connect(&listeners.link)?);
        let monitor = connect(&listeners.monitor)?;
        let inbox = Arc::new(Inbox::default());
        Ok(Self {
            console: Console::new(console, tap)?,
            link: Link::new(link, inbox.clone())?,
            // QEMU opens its control line before its disks, so this is where a bad disk shows.
            monitor: Monitor::new(monitor, inbox.clone())
                .map_err(|_| anyhow::Error::new(complaints.not_started()))?,
            child,
            inbox,
            complaints,
            has_reset_itself: false,
            _folder: folder,
            _stays_on_its_thread: PhantomData,
        })
    }

    /// COM1.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// QEMU's process number, for looking at what it costs the host.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the guest takes commands; returns what it says of itself.
    ///
    /// # Errors
    /// [`Failure::Guest`] after `limit`, or if the guest ends or resets itself before.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<Event> {
        let ready = |event: &Event| (event.kind() == "ready").then(|| event.clone());
        self.wait_for("booting", limit, ready)
    }

    /// Sends a command without waiting; its events carry the number returned.
    ///
    /// # Errors
    /// [`Failure::Guest`] if the guest is gone or takes no input.
    pub fn start(&mut self, command: &str) -> Result<u64> {
        let sent = self.link.send(command);
        Ok(sent.map_err(|error| self.failure(format!("`{command}` cannot be sent: {error}")))?)
    }

    /// Begins a command under the number of an earlier one; see [`Done::is_refused`].
    ///
    /// # Errors
    /// As [`Guest::start`].
    pub fn start_as(&mut self, id: u64, command: &str) -> Result<()> {
        let sent = self.link.send_as(id, command);
        Ok(sent.map_err(|error| self.failure(format!("`{command}` cannot be sent: {error}")))?)
    }

    /// Waits for the end of the command `id`, which is shown as `name`; every event on the way goes to
    /// `each`.
    ///
    /// # Errors
    /// [`Failure::Guest`] after `limit`, or if the guest ends or resets itself before.
    pub fn finish(
        &mut self,
        id: u64,
        name: &str,
        limit: Duration,
        mut each: impl FnMut(&Event),
    ) -> Result<Done> {
        self.wait_for(&format!("`{name}`"), limit, |event| {
            each(event);
            event.done(id)
        })
    }

    /// Runs a command to its end, well or not.
    ///
    /// # Errors
    /// As [`Guest::finish`]. A command that fails is no error here: see [`Done::ok`].
    pub fn command(&mut self, command: &str, limit: Duration) -> Result<Done> {
        let id = self.start(command)?;
        self.finish(id, command, limit, |_| {})
    }

    /// Runs a command that must succeed and returns its result.
    ///
    /// # Errors
    /// [`Failure::Check`] if it fails; else as [`Guest::finish`].
    pub fn expect(&mut self, command: &str, limit: Duration) -> Result<Value> {
        let done = self.command(command, limit)?;
        succeeded(command, done)
    }

    /// Waits for an event that `wanted` accepts.
    ///
    /// # Errors
    /// [`Failure::Guest`] after `limit`, or if the guest ends or resets itself before;
    /// [`Failure::Host`] if the host has no space left for an image.
    pub fn wait_for<T>(
        &mut self,
        doing: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Event) -> Option<T>,
    ) -> Result<T> {
        self.wait(doing, limit, |arrival| match arrival {
            Arrival::Event(event) => wanted(event),
            _ => None,
        })
    }

    /// The same for whatever arrives.
    pub(super) fn wait<T>(
        &mut self,
        doing: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Arrival) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let arrival = self.inbox.next(deadline);
            if let Some(found) = arrival.as_ref().and_then(&mut wanted) {
                return Ok(found);
            }
            match arrival {
                Some(Arrival::Event(_)) => {}
                Some(other) => return Err(self.trouble(other, doing)),
                None => {
                    return Err(self.hang(&format!("the guest hangs: {doing}"), limit));
                }
            }
        }
    }

    /// The next event, or nothing by `deadline`.
    ///
    /// # Errors
    /// [`Failure::Guest`] if the guest ends or resets itself before; [`Failure::Host`] if the host has
    /// no space left for an image.
    pub fn event(&mut self, doing: &str, deadline: Instant) -> Result<Option<Event>> {
        match self.inbox.next(deadline) {
            Some(Arrival::Event(event)) => Ok(Some(event)),
            Some(other) => Err(self.trouble(other, doing)),
            None => Ok(None),
        }
    }

    /// What an arrival that is no event means for who waits for one.
    pub(super) fn trouble(&mut self, arrival: Arrival, doing: &str) -> anyhow::Error {
        let what = match arrival {
            Arrival::DiskFull(node) => return disk_full(&node).into(),
            Arrival::Closed => {
                let how = self.how_it_ended();
                format!("the guest ended ({how}) while {doing}")
            }
            Arrival::Reset { .. } | Arrival::Event(_) => {
                self.has_reset_itself = true;
                format!("the guest reset itself while {doing}")
            }
        };
        self.failure(what).into()
    }

    /// How it is, after somebody waited in vain: of a guest that has ended QEMU may take a moment to say so.
    pub fn condition(&mut self) -> Condition {
        match self.wait_end(END_LIMIT) {
            Ok(Some(end)) if end.status.code() == Some(GAVE_UP_STATUS) => Condition::GaveUp,
            Ok(None) if !self.has_reset_itself => Condition::Running,
            _ => Condition::Ended,
        }
    }

    /// QEMU's control line, for what is done to the machine.
    pub fn monitor(&mut self) -> &mut Monitor {
        &mut self.monitor
    }

    /// Hands on what has arrived since the last look, without waiting.
    pub fn heard_meanwhile(&mut self, mut each: impl FnMut(Heard)) {
        while let Some(arrival) = self.inbox.next(Instant::now()) {
            match arrival {
                Arrival::Event(event) => each(Heard::Event(event)),
                Arrival::DiskFull(node) => each(Heard::Failure(disk_full(&node))),
                Arrival::Reset { .. } => {}
                Arrival::Closed => return,
            }
        }
    }

    /// Waits for QEMU's end, at most for `limit`. After it the console is whole.
    ///
    /// # Errors
    /// If the host cannot tell.
    pub fn wait_end(&mut self, limit: Duration) -> Result<Option<End>> {
        let status = self.child.wait_until(Instant::now() + limit)?;
        if status.is_some() {
            self.console.wait_closed(Instant::now() + DRAIN_LIMIT);
        }
        Ok(status.map(|status| End { status }))
    }

    /// This failure, with the end of the console.
    #[must_use]
    pub fn failure(&self, what: String) -> Failure {
        Failure::Guest {
            what,
            tail: self.console.tail(TAIL_LINES),
        }
    }

    /// What did not end within a limit that has just passed is the guest's failure, unless the host stood still meanwhile.
    #[must_use]
    pub fn hang(&self, what: &str, limit: Duration) -> anyhow::Error {
        let what = format!("{what} did not end in {} s", limit.as_secs());
        let began = Instant::now().checked_sub(limit);
        let stalled = began.map_or(Duration::ZERO, stalls::since);
        if stalled < STALL_MIN {
            return self.failure(what).into();
        }
        let stalled = stalled.as_secs();
        Failure::Host(format!(
            "{what}; the host stood still for {stalled} s of them"
        ))
        .into()
    }

    fn how_it_ended(&mut self) -> String {
        let how = match self.wait_end(END_LIMIT) {
            Ok(Some(end)) if end.status.success() => "the machine was switched off".into(),
            Ok(Some(end)) => describe(end.status),
            _ => "its serial line closed".into(),
        };
        match self.complaints.line() {
            Some(text) => format!("{how}; QEMU: {text}"),
            None => how,
        }
    }
}

/// The result of a command that had to succeed.
///
/// # Errors
/// [`Failure::Check`] with the guest's reason.
pub fn succeeded(command: &str, done: Done) -> Result<Value> {
    match done.ok {
        true => Ok(done.result),
        false => Err(refused(command, done)),
    }
}

/// That a command failed, with the guest's reason.
pub(super) fn refused(command: &str, done: Done) -> anyhow::Error {
    let reason = done.error.unwrap_or_else(|| "no reason given".into());
    Failure::Check(format!("`{command}` failed: {reason}")).into()
}

fn disk_full(node: &str) -> Failure {
    Failure::Host(format!(
        "the host has no space left for the image of {node}; free some and boot again"
    ))
}
