//! Time: now, later, and not for ever.

use alloc::collections::BTreeMap;
use core::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use abi::Scale;
use futures_util::future::{Either, select};
use storage::clock::Clock;

use crate::{fault, local::Local, start, system};

/// How the counter runs, beside what else is used in every turn: the start page is far away.
static COUNTER: Local<Scale> = Local::new(Scale::STOPPED);

/// Monotonic time since boot, nanoseconds.
#[must_use]
pub fn now_ns() -> u64 {
    COUNTER.borrow().ns(system::ticks())
}

/// Learns how the counter runs.
pub(crate) fn install() {
    *COUNTER.borrow() = start::counter();
}

/// The wall clock, for the layers of the stack.
#[derive(Clone, Copy, Default)]
pub struct SystemClock {
    epoch_ns: u64,
}

impl SystemClock {
    /// Knows when the kernel booted.
    #[must_use]
    pub fn new() -> Self {
        Self {
            epoch_ns: start::epoch_ns(),
        }
    }
}

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        self.epoch_ns + now_ns()
    }
}

struct Timers {
    waiting: BTreeMap<(u64, u64), Waker>,
    next: u64,
}

static TIMERS: Local<Timers> = Local::new(Timers {
    waiting: BTreeMap::new(),
    next: 0,
});

/// Until when nothing is due.
pub(crate) fn next_deadline_ns() -> u64 {
    if fault::deaf_to_time() {
        return u64::MAX;
    }
    TIMERS
        .borrow()
        .waiting
        .first_key_value()
        .map_or(u64::MAX, |(&(deadline_ns, _), _)| deadline_ns)
}

/// Wakes who waits for a time that has come.
pub(crate) fn wake_due() {
    if TIMERS.borrow().waiting.is_empty() || fault::deaf_to_time() {
        return;
    }
    let now_ns = now_ns();
    loop {
        let mut timers = TIMERS.borrow();
        let Some(first) = timers
            .waiting
            .first_entry()
            .filter(|entry| entry.key().0 <= now_ns)
        else {
            return;
        };
        let waker = first.remove();
        drop(timers);
        waker.wake();
    }
}

/// A time to come.
pub struct Sleep {
    deadline_ns: u64,
    key: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if now_ns() >= self.deadline_ns {
            return Poll::Ready(());
        }
        let mut timers = TIMERS.borrow();
        let key = self.key.unwrap_or_else(|| {
            timers.next += 1;
            (self.deadline_ns, timers.next)
        });
        self.key = Some(key);
        timers.waiting.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            TIMERS.borrow().waiting.remove(&key);
        }
    }
}

/// Waits so many nanoseconds.
#[must_use]
pub fn sleep(ns: u64) -> Sleep {
    Sleep {
        deadline_ns: now_ns().saturating_add(ns),
        key: None,
    }
}

/// What a future gives, unless a time passes first. What is late is dropped.
pub async fn with_deadline<F: Future>(ns: u64, future: F) -> Option<F::Output> {
    match select(pin!(future), pin!(sleep(ns))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
