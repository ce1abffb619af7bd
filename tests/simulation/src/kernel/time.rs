//! Virtual time: it passes with the steps, and jumps when nothing else can happen.

use std::{
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use futures_util::future::{Either, select};
use storage::clock::Clock;

use super::{Kernel, State};

/// The kernel's time as a clock of the stack.
#[derive(Clone)]
pub struct VirtualClock(pub Rc<Kernel>);

impl Clock for VirtualClock {
    fn now_ns(&self) -> u64 {
        self.0.now_ns()
    }
}

struct Sleep {
    kernel: Rc<Kernel>,
    deadline_ns: u64,
    key: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline_ns = self.deadline_ns;
        let key = {
            let mut state = self.kernel.state.borrow_mut();
            if state.now_ns >= deadline_ns {
                return Poll::Ready(());
            }
            let key = self.key.unwrap_or_else(|| {
                state.timers_made += 1;
                (deadline_ns, state.timers_made)
            });
            state.timers.insert(key, context.waker().clone());
            key
        };
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.kernel.state.borrow_mut().timers.remove(&key);
        }
    }
}

impl Kernel {
    /// Nanoseconds since the epoch of the simulation.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.state.borrow().now_ns
    }

    /// Waits so many nanoseconds.
    pub fn sleep(self: &Rc<Self>, ns: u64) -> impl Future<Output = ()> + use<> {
        Sleep {
            deadline_ns: self.now_ns().saturating_add(ns),
            kernel: self.clone(),
            key: None,
        }
    }

    /// What a future gives, unless a time passes first. What is late is dropped.
    pub async fn with_deadline<F: Future>(
        self: &Rc<Self>,
        ns: u64,
        future: F,
    ) -> Option<F::Output> {
        match select(pin!(future), pin!(self.sleep(ns))).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }
}

impl State {
    /// When something is due that does not happen before.
    pub(super) fn next_time(&self) -> Option<u64> {
        let timer = self.timers.first_key_value().map(|(key, _)| key.0);
        let alarm = self.alarms.first_key_value().map(|(key, _)| key.0);
        timer.into_iter().chain(alarm).min()
    }

    pub(super) fn fire_timers(&mut self) {
        while let Some(first) = self.timers.first_entry()
            && first.key().0 <= self.now_ns
        {
            first.remove().wake();
        }
    }
}
