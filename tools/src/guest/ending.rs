//! The ways in which a boot of a guest ends: by its own command, or by the machine's reset button.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::events::Event;
use super::inbox::Arrival;
use super::running::{Guest, succeeded};
use crate::Failure;
use crate::host::processes::describe;

/// How long the machine may take to its end after a command that was to end it has failed.
const REFUSED_LIMIT: Duration = Duration::from_secs(10);

/// How long QEMU may take from the reset button to the reset.
const RESET_LIMIT: Duration = Duration::from_secs(20);

impl Guest {
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
        let id = self.start(command)?;
        let doing = format!("`{command}`");
        let ended = self.wait(&doing, limit, |arrival| match arrival {
            Arrival::Event(event) => {
                each(event);
                refused(event, id, command)
            }
            Arrival::Reset { .. } => Some(Ok(())),
            _ => None,
        })?;
        if let Err(refusal) = ended {
            // A command that waits for a point fails with the task that ends there, before the machine does.
            let reset = self.wait(&doing, REFUSED_LIMIT, |arrival| match arrival {
                Arrival::Event(event) => {
                    each(event);
                    None
                }
                Arrival::Reset { .. } => Some(()),
                _ => None,
            });
            reset.map_err(|_| refusal)?;
        }
        self.wait_for("booting", limit, |event| {
            each(event);
            (event.kind() == "ready").then_some(())
        })
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
    pub fn power_off(mut self, limit: Duration, mut each: impl FnMut(&Event)) -> Result<()> {
        const COMMAND: &str = "poweroff";
        let id = self.start(COMMAND)?;
        self.wait(&format!("`{COMMAND}`"), limit, |arrival| match arrival {
            Arrival::Event(event) => {
                each(event);
                refused(event, id, COMMAND)
            }
            Arrival::Closed => Some(Ok(())),
            _ => None,
        })??;
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

/// That a command for the machine's end was refused: after that it goes on.
fn refused(event: &Event, id: u64, command: &str) -> Option<Result<()>> {
    let done = event.done(id).filter(|done| !done.ok)?;
    Some(succeeded(command, done).map(drop))
}
