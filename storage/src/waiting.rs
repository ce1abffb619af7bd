//! How futures of one task wait for each other: for a condition over state that other calls change, or
//! for nothing but that all others had their turn.

use alloc::vec::Vec;
use core::{
    cell::RefCell,
    future::poll_fn,
    mem::replace,
    task::{Poll, Waker},
};

/// Wakes those who wait for a condition, each time it may have become true.
#[derive(Default)]
pub(crate) struct Signal {
    /// At most one for each task that waits.
    wakers: RefCell<Vec<Waker>>,
}

impl Signal {
    /// The condition may have become true.
    pub fn notify(&self) {
        // Taken out first: a waker may run code that comes back here.
        let wakers = core::mem::take(&mut *self.wakers.borrow_mut());
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits until `condition` holds.
    pub async fn until(&self, mut condition: impl FnMut() -> bool) {
        poll_fn(|context| {
            if condition() {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Lets others run: ready when polled the second time.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
