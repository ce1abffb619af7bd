//! Kills on request, and the end of the machine.

use alloc::rc::Rc;

use abi::Cause;
use manager::{
    control::{EVERY_MS_MIN, Progress, Series, Shutdown, Target},
    series::Running,
};
use runtime::{Endpoint, manage, time};
use stack::Role;
use storage::{
    Error, Result,
    file::{self, FileService as _},
    vfs::{self, FileSystem as _},
};

use crate::stack_of_tasks::Tasks;

/// Most kills of one series.
const COUNT_MAX: u64 = 1_000_000;

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

    /// Begins a series of kills.
    pub fn start_series(self: &Rc<Self>, series: Series) -> Result<()> {
        if self.series_progress().running {
            return Err(Error::Busy);
        }
        let countable = series
            .count
            .is_none_or(|count| (1..=COUNT_MAX).contains(&count));
        if series.every_ms < EVERY_MS_MIN || !countable {
            return Err(Error::BadArgument);
        }
        if let Target::Role(name) = &series.target {
            self.find(name).ok_or(Error::NotFound)?;
        }
        let number = self.series_number.get() + 1;
        self.series_number.set(number);
        self.series_runs.set(true);
        let every_ns = u64::from(series.every_ms) * 1_000_000;
        *self.series.borrow_mut() = Some(Running::new(series));
        runtime::spawn(drive(self.clone(), number, every_ns));
        Ok(())
    }

    /// How the series goes.
    pub fn series_progress(&self) -> Progress {
        let running = self.series_runs.get();
        self.series
            .borrow()
            .as_ref()
            .map_or(Progress::default(), |series| series.progress(running))
    }

    /// Ends the series.
    pub fn stop_series(&self) -> Progress {
        self.series_runs.set(false);
        self.series_progress()
    }

    /// One kill of a series. Says whether it goes on.
    fn step(&self, number: u64) -> bool {
        if self.series_number.get() != number || !self.series_runs.get() {
            return false;
        }
        let mut series = self.series.borrow_mut();
        let Some(series) = series.as_mut() else {
            return false;
        };
        let candidates = self.candidates(&series.series.target);
        if let Some(task) = series.choose(&candidates)
            && self.kill(task).is_ok()
        {
            series.killed();
        }
        !series.is_done()
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

/// Kills at even intervals until the series is over or another one has begun.
async fn drive(tasks: Rc<Tasks>, number: u64, every_ns: u64) {
    let mut next_ns = time::now_ns();
    loop {
        next_ns += every_ns;
        time::sleep(next_ns.saturating_sub(time::now_ns())).await;
        if !tasks.step(number) {
            break;
        }
    }
    if tasks.series_number.get() == number {
        tasks.stop_series();
    }
}
