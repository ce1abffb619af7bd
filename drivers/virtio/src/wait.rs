//! Futures of this task that wait for a condition.

use alloc::vec::Vec;
use core::{cell::RefCell, future::poll_fn, task::Poll, task::Waker};

/// Futures that wait until something changes. Their number is bounded by the requests served.
#[derive(Default)]
pub struct WaitList(RefCell<Vec<Waker>>);

impl WaitList {
    /// Waits until `ready` gives something; it is asked again after every [`Self::wake_all`].
    pub async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| {
            if let Some(value) = ready() {
                return Poll::Ready(value);
            }
            let mut wakers = self.0.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Has every waiting future ask again.
    pub fn wake_all(&self) {
        let wakers = self.0.take();
        wakers.into_iter().for_each(Waker::wake);
    }
}
