//! Calls whose caller went away halfway.
//!
//! A create, delete, truncate, sync or recovery that is given up in the middle would leave the cache
//! in doubt about what is below. So these run as futures of their own: dropped halfway, the rest is
//! handed to [`super::Cache::background`], which carries it to its end.

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// Where the rests are.
#[derive(Default)]
pub(super) struct Unfinished {
    rests: RefCell<Vec<Boxed<()>>>,
    driver: RefCell<Option<Waker>>,
    /// Nobody will carry anything to its end any more.
    gave_up: Cell<bool>,
}

impl Unfinished {
    /// Runs `future` to its end, even if the caller goes away. It is boxed at once, and not moved again.
    pub fn run<T: 'static>(self: &Rc<Self>, future: impl Future<Output = T> + 'static) -> Whole<T> {
        Whole {
            future: Some(Box::pin(future)),
            rests: Rc::clone(self),
        }
    }

    /// Carries rests to their ends, for ever.
    pub async fn drive(&self) {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        *self.driver.borrow_mut() = Some(context.waker().clone());
        // Taken out while polled: a rest may be dropped into the list meanwhile.
        let mut rests = core::mem::take(&mut *self.rests.borrow_mut());
        rests.retain_mut(|rest| rest.as_mut().poll(context).is_pending());
        self.rests.borrow_mut().append(&mut rests);
        Poll::Pending
    }

    /// Drops all rests, now and later.
    pub fn give_up(&self) {
        self.gave_up.set(true);
        // Taken out first: dropping one may come back here.
        let rests = core::mem::take(&mut *self.rests.borrow_mut());
        drop(rests);
        self.driver.borrow_mut().take();
    }

    fn add(&self, rest: Boxed<()>) {
        if self.gave_up.get() {
            return;
        }
        self.rests.borrow_mut().push(rest);
        if let Some(driver) = self.driver.borrow_mut().take() {
            driver.wake();
        }
    }
}

/// A future that is carried to its end, dropped or not.
pub(super) struct Whole<T: 'static> {
    future: Option<Boxed<T>>,
    rests: Rc<Unfinished>,
}

impl<T> Unpin for Whole<T> {}

impl<T> Future for Whole<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.future else {
            return Poll::Pending;
        };
        let result = future.as_mut().poll(context);
        if result.is_ready() {
            self.future = None;
        }
        result
    }
}

impl<T> Drop for Whole<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.rests.add(Box::pin(async move {
                future.await;
            }));
        }
    }
}
