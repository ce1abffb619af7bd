//! The ways in which a boot of a guest ends: by its own command, by an accident that was ordered before, or by the
//! machine's reset button.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::events::{Done, Event};
use super::inbox::Arrival;
use super::running::{Guest, refused};
use crate::Failure;
use crate::host::processes::describe;

/// How long the machine may take to its end after a command that was to end it has failed.
const REFUSED_LIMIT: Duration = Duration::from_secs(10);

/// How long QEMU may take from the reset button to the reset.
const RESET_LIMIT: Duration = Duration::from_secs(20);

/// How often at most one end is asked for: a new instance of the manager knows nothing of what the earlier one was
/// asked for, and may be killed as that was.
const ASKED_MAX: u32 = 4;

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootEnd {
    /// The machine starts again.
    Reset,
    /// QEMU has ended.
    Closed,
}

/// What became of a command that is to end the boot.
enum Asked {
    Ended(BootEnd),
    Refused(Done),
    /// The manager died meanwhile; its successor has to be asked.
    Forgotten,
}

impl Guest {
    /// Runs a command that ends this boot, `reboot` for instance, and waits until it has ended. Asks again if the
    /// manager dies meanwhile. Every event on the way goes to `each`.
    ///
    /// # Errors
    /// [`Failure::Check`] if the guest refuses and goes on, [`Failure::Guest`] if the boot has not ended by
    /// `limit`.
    pub fn end_boot(
        &mut self,
        command: &str,
        limit: Duration,
        mut each: impl FnMut(&Event),
    ) -> Result<BootEnd> {
        let mut asked = 0;
        loop {
            let id = self.start(command)?;
            asked += 1;
            let answer = self.wait(&format!("`{command}`"), limit, |arrival| match arrival {
                Arrival::Event(event) => {
                    each(event);
                    let refusal = event.done(id).filter(|done| !done.ok);
                    let forgotten = event.is_restart_of(stack::MANAGER)
                        || refusal.as_ref().is_some_and(Done::is_death);
                    if forgotten && asked < ASKED_MAX {
                        return Some(Asked::Forgotten);
                    }
                    refusal.map(Asked::Refused)
                }
                Arrival::Reset { .. } => Some(Asked::Ended(BootEnd::Reset)),
                Arrival::Closed => Some(Asked::Ended(BootEnd::Closed)),
                Arrival::DiskFull(_) => None,
            })?;
            match answer {
                Asked::Ended(end) => return Ok(end),
                Asked::Refused(done) => return Err(refused(command, done)),
                Asked::Forgotten => {}
            }
        }
    }

    /// Waits for the end of the command `id`, which is shown as `name`, or of the machine by an accident that was
    /// ordered before: then there is none. Every event on the way goes to `each`.
    ///
    /// # Errors
    /// As [`Guest::finish`], but for a reset.
    pub fn finish_or_reset(
        &mut self,
        id: u64,
        name: &str,
        limit: Duration,
        mut each: impl FnMut(&Event),
    ) -> Result<Option<Done>> {
        let done = self.wait(&format!("`{name}`"), limit, |arrival| match arrival {
            Arrival::Event(event) => {
                each(event);
                event.done(id).map(Some)
            }
            Arrival::Reset { .. } => Some(None),
            _ => None,
        })?;
        Ok(match done {
            Some(done) if !done.ok && self.resets_soon(name, each) => None,
            done => done,
        })
    }

    /// Runs a command that ends in a reset, `reboot` for instance, and waits until the guest takes commands
    /// again. Every event on the way goes to `each`.
    ///
    /// # Errors
    /// [`Failure::Check`] if the guest refuses and goes on; else as [`Guest::wait_ready`].
    pub fn restart(
        &mut self,
        command: &str,
        limit: Duration,
        mut each: impl FnMut(&Event),
    ) -> Result<()> {
        match self.end_boot(command, limit, &mut each) {
            Ok(BootEnd::Reset) => {}
            Ok(BootEnd::Closed) => return Err(self.ended_while(&format!("`{command}`"))),
            Err(refusal) if is_refusal(&refusal) && self.resets_soon(command, &mut each) => {}
            Err(error) => return Err(error),
        }
        self.wait_booted(limit, each)
    }

    /// Waits until the guest takes commands after a reset. Every event on the way goes to `each`.
    ///
    /// # Errors
    /// As [`Guest::wait_ready`].
    pub fn wait_booted(&mut self, limit: Duration, mut each: impl FnMut(&Event)) -> Result<()> {
        self.wait_for("booting", limit, |event| {
            each(event);
            (event.kind() == "ready").then_some(())
        })
    }

    /// Whether the machine resets after a command that failed: one that waits for a point fails with the task that
    /// ends there, before the machine does.
    fn resets_soon(&mut self, command: &str, mut each: impl FnMut(&Event)) -> bool {
        let reset = self.wait(
            &format!("`{command}`"),
            REFUSED_LIMIT,
            |arrival| match arrival {
                Arrival::Event(event) => {
                    each(event);
                    None
                }
                Arrival::Reset { .. } => Some(()),
                _ => None,
            },
        );
        reset.is_ok()
    }

    /// Presses the machine's reset button. The next boot says `ready` as the first did.
    ///
    /// # Errors
    /// [`Failure::Host`] if QEMU does not do it.
    pub fn reset(&mut self) -> Result<()> {
        self.monitor.execute("system_reset", &json!({}))?;
        // QEMU answers before it resets. What comes until it has is the old boot's; what of that is
        // still on its way on COM2 carries numbers that no later command has.
        let deadline = Instant::now() + RESET_LIMIT;
        loop {
            match self.inbox.next(deadline) {
                Some(Arrival::Reset { by_guest: false }) => return Ok(()),
                Some(Arrival::Closed) | None => {
                    return Err(Failure::Host("QEMU did not reset the machine".into()).into());
                }
                Some(_) => {}
            }
        }
    }

    /// Tells the guest to switch the machine off and waits until it has. Every event on the way goes
    /// to `each`.
    ///
    /// # Errors
    /// [`Failure::Check`] if the guest refuses, [`Failure::Guest`] if it is not off by
    /// `limit`.
    pub fn power_off(mut self, limit: Duration, each: impl FnMut(&Event)) -> Result<()> {
        const COMMAND: &str = "poweroff";
        match self.end_boot(COMMAND, limit, each)? {
            BootEnd::Closed => self.expect_off(limit),
            BootEnd::Reset => Err(self.reset_while(&format!("`{COMMAND}`"))),
        }
    }

    /// That the guest ended while it was to do something else.
    pub fn ended_while(&mut self, doing: &str) -> anyhow::Error {
        self.trouble(Arrival::Closed, doing)
    }

    /// That the machine was reset while the guest was to do something else.
    pub fn reset_while(&mut self, doing: &str) -> anyhow::Error {
        self.trouble(Arrival::Reset { by_guest: true }, doing)
    }

    /// Waits for QEMU's end after a `poweroff`.
    ///
    /// # Errors
    /// [`Failure::Guest`] if it has not ended well by `limit`.
    pub fn expect_off(&mut self, limit: Duration) -> Result<()> {
        match self.wait_end(limit)? {
            Some(end) if end.status.success() => Ok(()),
            Some(end) => {
                let how = describe(end.status);
                Err(self
                    .failure(format!("the guest ended with {how} when told to power off"))
                    .into())
            }
            None => Err(self.failure("the guest did not power off".into()).into()),
        }
    }
}

/// Whether a command failed, and not the guest.
#[must_use]
pub fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Failure::Check(_)))
}
