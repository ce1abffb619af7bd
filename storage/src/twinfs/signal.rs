//! Waiting for something to have happened.

use alloc::vec::Vec;
use core::{cell::RefCell, future::poll_fn, task::Poll, task::Waker};

/// Wakes all who wait for it. One who has looked and then waits, without awaiting anything in
/// between, misses nothing; being woken means no more than to look again.
#[derive(Default)]
pub struct Signal {
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Waits for the next [`Signal::notify`].
    pub async fn wait(&self) {
        let mut waited = false;
        poll_fn(|context| {
            if core::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Wakes all.
    pub fn notify(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}
