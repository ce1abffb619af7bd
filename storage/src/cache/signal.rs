//! Waiting for a condition over state that other calls change.

use alloc::vec::Vec;
use core::{
    cell::RefCell,
    future::poll_fn,
    task::{Poll, Waker},
};

/// Wakes those who wait for a condition, each time it may have become true.
#[derive(Default)]
pub(super) struct Signal {
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
