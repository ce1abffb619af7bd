//! Kills on request, and the end of the machine.

use alloc::rc::Rc;

use abi::Cause;
use manager::control::Shutdown;
use runtime::{Endpoint, manage, time};
use stack::Role;
use storage::{
    Error, Result,
    file::{self, FileService as _},
    vfs::{self, FileSystem as _},
};

use crate::stack_of_tasks::Tasks;

/// How long the last sync may take, nanoseconds.
const SYNC_NS: u64 = 20_000_000_000;

/// How long a reply and the last lines have to get to where they are read, nanoseconds.
const LAST_LINES_NS: u64 = 300_000_000;

/// How the machine ends: switched off, reset, or with a status for QEMU's debug-exit device.
const POWER_OFF: u64 = 0;
pub const RESET: u64 = 1;
/// The stack could not go on.
pub const GAVE_UP: u64 = 0x11;

impl Tasks {
    /// Kills the instance of a role, by its name, because role `from` asked for it. Who asks for
    /// its own end, or for the manager's, hears of it first and can pass that on.
    pub fn kill_by_name(self: &Rc<Self>, name: &str, from: u64) -> Result<()> {
        if name == stack::MANAGER {
            kill_later(runtime::start::role());
            return Ok(());
        }
        let task = self.find(name).ok_or(Error::NotFound)?;
        if self.role(task) == from {
            kill_later(from);
            return Ok(());
        }
        self.kill(task)
    }

    fn kill(&self, task: usize) -> Result<()> {
        if self.is_out(task) {
            return Err(Error::NotPermitted);
        }
        manage::kill(self.role(task), Cause::Injected).map_err(|error| match error {
            abi::Error::BadState => Error::Busy,
            _ => Error::NotPermitted,
        })
    }

    /// Ends the machine on request. A reset is at once and syncs nothing, as if somebody had pushed
    /// the button.
    pub fn shutdown(self: &Rc<Self>, how: Shutdown) -> Result<()> {
        match how {
            Shutdown::PowerOff => self.end("power off", POWER_OFF),
            Shutdown::Reboot => self.end("reboot", RESET),
            Shutdown::Reset => manage::power(RESET).map_err(|_| Error::NotPermitted)?,
        }
        Ok(())
    }

    /// Syncs what can be synced and ends the machine. If the stack gives up meanwhile, it ends so.
    pub fn end(self: &Rc<Self>, reason: &str, how: u64) {
        match how {
            GAVE_UP => log::error!("the stack stops: {reason}"),
            _ => log::info!("{reason}"),
        }
        let before = self.ending.get();
        if before != Some(GAVE_UP) {
            self.ending.set(Some(how));
        }
        if before.is_some() {
            return;
        }
        self.stop_series();
        let tasks = self.clone();
        runtime::spawn(async move {
            match time::with_deadline(SYNC_NS, tasks.last_sync()).await {
                Some(Ok(checkpoint)) => log::info!("synced, checkpoint {checkpoint}"),
                Some(Err(Error::NotFormatted | Error::NotLoaded)) => {}
                Some(Err(error)) => log::error!("the last sync failed: {error}"),
                None => log::error!("the last sync did not end in time"),
            }
            time::sleep(LAST_LINES_NS).await;
            let _ = manage::power(tasks.ending.get().unwrap_or(POWER_OFF));
        });
    }

    /// Syncs through naming, or through the cache if naming is what cannot go on; again if one of
    /// them dies over it, for it is started again.
    async fn last_sync(&self) -> Result<u64> {
        loop {
            let naming = self.first_of(Role::Naming);
            let result = match (naming, self.first_of(Role::Cache)) {
                (Some(naming), _) => vfs::Client::new(naming).sync().await,
                (None, Some(cache)) => file::Client(cache).sync().await.map(|it| it.0),
                (None, None) => Err(Error::PeerGone),
            };
            let naming_is_gone = naming.is_some() && self.first_of(Role::Naming).is_none();
            if result != Err(Error::PeerDied) && !naming_is_gone {
                return result;
            }
        }
    }

    /// The first task of a role that was not taken out.
    pub fn first_of(&self, role: Role) -> Option<Endpoint> {
        (0..self.stack.tasks.len())
            .filter(|&task| self.stack.tasks[task].role == role)
            .find(|&task| !self.is_out(task))
            .map(|task| self.endpoint(task))
    }
}

/// Does something when the reply to who wanted it has had time to go out.
pub fn later(what: impl FnOnce() + 'static) {
    runtime::spawn(async move {
        time::sleep(LAST_LINES_NS).await;
        what();
    });
}

/// Kills a role when the reply to who wanted that has had time to go out.
fn kill_later(role: u64) {
    later(move || {
        let _ = manage::kill(role, Cause::Injected);
    });
}
