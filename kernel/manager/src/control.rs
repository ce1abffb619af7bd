//! What the console asks of the manager: kills and other faults, the history of restarts, the stack, the end.
//!
//! One definition for both ends, like the interfaces of the stack: [`Client`] asks over a transport,
//! [`serve`] answers over what implements [`Control`]. Answers that are longer than a message are
//! written into memory that the client lends, at most [`ANSWER_BYTES_MAX`].

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};
use storage::{
    Error, Result,
    buffer::{Sink, Source},
    transport::{Message, Transport, answer, ask, decode},
};

use crate::injection::{Injection, Listed};

/// Most bytes of an answer that is longer than a message.
pub const ANSWER_BYTES_MAX: usize = 32 << 10;

/// Most kills of one series.
pub const KILLS_MAX: u64 = 1_000_000;

/// The name of a role, up to 31 bytes.
pub type RoleName = heapless::String<31>;

/// Whom to kill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The task in this role.
    Role(RoleName),
    /// One of the layers at random: drivers, filters, file stores, logical, cache.
    All,
}

/// Kills in the background, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Whom.
    pub target: Target,
    /// Time from one kill to the next, milliseconds, at least [`EVERY_MS_MIN`](crate::injection::EVERY_MS_MIN).
    pub every_ms: u32,
    /// How many kills, up to [`KILLS_MAX`]; none for until it is stopped.
    pub count: Option<u64>,
    /// What the choice of tasks follows from.
    pub seed: u64,
}

/// How a series goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// More kills are to come.
    pub running: bool,
    /// Kills so far.
    pub kills: u64,
    /// Kills that were asked for; none for until it is stopped.
    pub count: Option<u64>,
    /// Times that nobody was there to be killed, because all were being restarted.
    pub misses: u64,
}

/// How the machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shutdown {
    /// Synced and switched off.
    PowerOff,
    /// Synced and started again.
    Reboot,
    /// Started again at once, without a sync, as if the power had failed.
    Reset,
}

/// What became of a role so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleHistory {
    /// The role.
    pub name: String,
    /// What it is doing, in a word: `running`, `restarting`, `stopped`, `absent`.
    pub state: String,
    /// Instances after the first.
    pub restarts: u64,
    /// Deaths by cause, as [`abi::Cause`] counts them: `deaths[Cause::Panic as usize]`.
    pub deaths: [u64; 10],
    /// Deaths because the task did not answer the manager's pings.
    pub silent: u64,
    /// The cause of the last death, a number of [`abi::Cause`]; zero if there was none.
    pub last_cause: u32,
    /// Times from a death to when the role and all that was restarted with it served again; below
    /// the cache, this includes the cache's recovery.
    pub recovery: Recovery,
    /// Times from a death to when all that was restarted answered a ping: what the manager and the
    /// kernel took of the recovery.
    pub answering: Recovery,
}

/// Times of recoveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// How many there were.
    pub count: u64,
    /// Half of the last ones took no longer, nanoseconds.
    pub median_ns: u64,
    /// None took longer, nanoseconds.
    pub max_ns: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Request {
    Kill(RoleName),
    StartSeries(Series),
    SeriesProgress,
    StopSeries,
    History,
    Stack,
    Shutdown(Shutdown),
    Inject(Injection),
    Injections,
    SwitchOff(Option<u32>),
}

/// What the manager does for its clients.
pub trait Control {
    /// Ends a role's instance by a trap at its program counter; it is then restarted as after any
    /// crash. Who asks for its own end, or for the manager's, is answered before. [`Error::NotFound`]; [`Error::Busy`] if it
    /// is between two instances; [`Error::NotPermitted`] if it was taken out for good or its device
    /// is not there.
    fn kill(&self, role: &str) -> Result<()>;
    /// Begins a series of kills. Errors as of [`Control::kill`]; [`Error::Busy`] if one is under way;
    /// [`Error::BadArgument`].
    fn start_series(&self, series: Series) -> impl Future<Output = Result<()>>;
    /// How the series goes, or how the last one ended.
    fn series_progress(&self) -> Progress;
    /// Ends the series.
    fn stop_series(&self) -> Progress;
    /// What became of the roles, in the order of the stack description.
    fn history(&self) -> Vec<RoleHistory>;
    /// The stack, one line a task, for people.
    fn stack(&self) -> String;
    /// Ends the machine. The answer to all but [`Shutdown::Reset`] comes before: the last sync comes
    /// after it. A reset is at once, and has no answer.
    fn shutdown(&self, how: Shutdown) -> Result<()>;
    /// Has something go wrong; returns a number for it. Who asks for a fault of its own, or of the
    /// manager's, is answered before; to an accident of the machine that happens at once there is no
    /// answer. [`Error::NotFound`] for a task or disk there is not;
    /// [`Error::NotPermitted`] if no filter is before the disk, or the task was taken out for good;
    /// [`Error::Busy`] if it is between two instances; [`Error::BadArgument`] also if the task never
    /// passes that point; [`Error::NoMemory`] for more than there can be.
    fn inject(&self, injection: Injection) -> impl Future<Output = Result<u32>>;
    /// What of that is in force, by number.
    fn injections(&self) -> impl Future<Output = Vec<Listed>>;
    /// Switches one off, or all; returns how many that were. [`Error::NotFound`].
    fn switch_off(&self, number: Option<u32>) -> impl Future<Output = Result<u32>>;
}

/// The manager behind a transport.
pub struct Client<T>(pub T);

impl<T: Transport> Client<T> {
    async fn plain<Reply: serde::de::DeserializeOwned>(&self, request: &Request) -> Result<Reply> {
        ask(&self.0, request, Source::empty(), Sink::empty()).await
    }

    /// Asks for an answer that is longer than a message.
    async fn long(&self, request: &Request) -> Result<Vec<u8>> {
        let mut bytes = alloc::vec![0; ANSWER_BYTES_MAX];
        let len: u32 = ask(&self.0, request, Source::empty(), Sink::local(&mut bytes)).await?;
        if len as usize > bytes.len() {
            return Err(Error::Protocol);
        }
        bytes.truncate(len as usize);
        Ok(bytes)
    }

    /// As [`Control::kill`].
    pub async fn kill(&self, role: &str) -> Result<()> {
        self.plain(&Request::Kill(name(role)?)).await
    }

    /// As [`Control::start_series`].
    pub async fn start_series(&self, series: Series) -> Result<()> {
        self.plain(&Request::StartSeries(series)).await
    }

    /// As [`Control::series_progress`].
    pub async fn series_progress(&self) -> Result<Progress> {
        self.plain(&Request::SeriesProgress).await
    }

    /// As [`Control::stop_series`].
    pub async fn stop_series(&self) -> Result<Progress> {
        self.plain(&Request::StopSeries).await
    }

    /// As [`Control::history`].
    pub async fn history(&self) -> Result<Vec<RoleHistory>> {
        decode(&self.long(&Request::History).await?)
    }

    /// As [`Control::stack`].
    pub async fn stack(&self) -> Result<String> {
        String::from_utf8(self.long(&Request::Stack).await?).map_err(|_| Error::Protocol)
    }

    /// As [`Control::shutdown`].
    pub async fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.plain(&Request::Shutdown(how)).await
    }
}

impl<T: Transport> Client<T> {
    /// As [`Control::inject`].
    pub async fn inject(&self, injection: Injection) -> Result<u32> {
        self.plain(&Request::Inject(injection)).await
    }

    /// As [`Control::injections`].
    pub async fn injections(&self) -> Result<Vec<Listed>> {
        decode(&self.long(&Request::Injections).await?)
    }

    /// As [`Control::switch_off`].
    pub async fn switch_off(&self, number: Option<u32>) -> Result<u32> {
        self.plain(&Request::SwitchOff(number)).await
    }
}

/// The name of a role as requests carry it; one that is too long is of no role.
pub fn name(role: &str) -> Result<RoleName> {
    RoleName::try_from(role).map_err(|_| Error::NotFound)
}

/// Serves one request.
pub async fn serve(control: &impl Control, request: &[u8], mut receive: Sink<'_>) -> Message {
    match decode(request) {
        Err(error) => answer(Err::<(), _>(error)),
        Ok(Request::Kill(role)) => answer(control.kill(&role)),
        Ok(Request::StartSeries(series)) => answer(control.start_series(series).await),
        Ok(Request::SeriesProgress) => answer(Ok(control.series_progress())),
        Ok(Request::StopSeries) => answer(Ok(control.stop_series())),
        Ok(Request::History) => answer(encoded(&mut receive, &control.history())),
        Ok(Request::Inject(injection)) => answer(control.inject(injection).await),
        Ok(Request::Injections) => answer(encoded(&mut receive, &control.injections().await)),
        Ok(Request::SwitchOff(number)) => answer(control.switch_off(number).await),
        Ok(Request::Stack) => answer(long_answer(&mut receive, control.stack().as_bytes())),
        Ok(Request::Shutdown(how)) => answer(control.shutdown(how)),
    }
}

fn encoded(receive: &mut Sink<'_>, value: &impl Serialize) -> Result<u32> {
    let bytes = postcard::to_allocvec(value).map_err(|_| Error::Protocol)?;
    long_answer(receive, &bytes)
}

fn long_answer(receive: &mut Sink<'_>, bytes: &[u8]) -> Result<u32> {
    receive.copy_from(0, bytes).map_err(|_| Error::NoMemory)?;
    Ok(bytes.len() as u32)
}
