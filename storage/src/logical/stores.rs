//! Calls to the stores: how many at once, what a store's death means, and the end of the layer.
//!
//! A store that dies never becomes an error above. Whatever was under way stays under way for
//! ever, and [`Logical::restart_needed`](super::Logical::restart_needed) tells the one who placed
//! the layer to end it, and all stores with it (paper, section VI-A).

use alloc::vec::Vec;
use core::{
    cell::Cell,
    future::{pending, poll_fn},
    task::Poll,
};

use async_lock::Semaphore;
use futures_util::task::AtomicWaker;

use crate::{Error, Result, file::FileStore, waiting::yield_now};

/// Calls that one store is given at a time; a task's mailbox must hold as many.
const IN_FLIGHT_MAX: usize = 32;

/// Times a call is submitted again because the store's mailbox was full. It holds
/// [`IN_FLIGHT_MAX`], so that once is already too often.
const BUSY_RETRIES_MAX: u32 = 1000;

/// Why the logical layer and all stores must start again from the last checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartReason {
    /// The store in this slot died with calls in flight.
    StoreDied {
        /// Where it is in the list that the layer was made with.
        slot: usize,
    },
    /// A call that changes state was dropped before it ended: copies may differ.
    Abandoned,
    /// The copies of a file differ, because a change was refused by one store and could not be
    /// undone on the others.
    Unequal,
    /// No store could take the checkpoint, or knows whether it did: what the disks hold is only
    /// known by reading them.
    SyncFailed,
}

impl core::fmt::Display for RestartReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::StoreDied { slot } => write!(f, "file store {slot} died"),
            Self::Abandoned => f.write_str("a call was dropped before it ended"),
            Self::Unequal => f.write_str("the copies of a file differ"),
            Self::SyncFailed => f.write_str("no file store could take the checkpoint"),
        }
    }
}

/// The stores that a logical layer was made with, by slot.
pub(super) struct Stores<S> {
    slots: Vec<Option<Slot<S>>>,
    restart: Cell<Option<RestartReason>>,
    waiter: AtomicWaker,
}

struct Slot<S> {
    store: S,
    permits: Semaphore,
}

impl<S: FileStore> Stores<S> {
    pub fn new(stores: Vec<Option<S>>) -> Self {
        let slot = |store| Slot {
            store,
            permits: Semaphore::new(IN_FLIGHT_MAX),
        };
        Self {
            slots: stores.into_iter().map(|store| store.map(slot)).collect(),
            restart: Cell::new(None),
            waiter: AtomicWaker::new(),
        }
    }

    /// The slots that have a store.
    pub fn occupied(&self) -> impl Iterator<Item = usize> {
        (0..self.slots.len()).filter(|&slot| self.slots[slot].is_some())
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Calls the store in `slot`; [`Error::PeerGone`] if there is none.
    ///
    /// Does not return if the store dies.
    pub async fn call<T>(
        &self,
        slot: usize,
        mut call: impl AsyncFnMut(&S) -> Result<T>,
    ) -> Result<T> {
        let slot_of = self.slots.get(slot).and_then(Option::as_ref);
        let Slot { store, permits } = slot_of.ok_or(Error::PeerGone)?;
        let _permit = permits.acquire().await;
        for _ in 0..BUSY_RETRIES_MAX {
            match call(store).await {
                Err(Error::PeerDied) => return self.end(RestartReason::StoreDied { slot }).await,
                Err(Error::PeerBusy) => yield_now().await,
                result => return result,
            }
        }
        Err(Error::Device)
    }

    pub fn need_restart(&self, reason: RestartReason) {
        if self.restart.get().is_none() {
            self.restart.set(Some(reason));
            self.waiter.wake();
        }
    }

    /// As [`Self::need_restart`], for a call that must not be answered by this instance.
    pub async fn end<T>(&self, reason: RestartReason) -> T {
        self.need_restart(reason);
        pending().await
    }

    pub fn needs_restart(&self) -> Option<RestartReason> {
        self.restart.get()
    }

    pub async fn restart_needed(&self) -> RestartReason {
        poll_fn(|context| {
            self.waiter.register(context.waker());
            self.restart.get().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Guards a call that changes state: if it is dropped before [`Change::done`], copies may
    /// differ, and the layer must start again from the last checkpoint.
    pub fn change(&self) -> Change<'_, S> {
        Change {
            stores: self,
            done: false,
        }
    }
}

/// A change of state under way; see [`Stores::change`].
pub(super) struct Change<'a, S: FileStore> {
    stores: &'a Stores<S>,
    done: bool,
}

impl<S: FileStore> Change<'_, S> {
    /// The call has ended, well or not, with all copies accounted for.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl<S: FileStore> Drop for Change<'_, S> {
    fn drop(&mut self) {
        if !self.done {
            self.stores.need_restart(RestartReason::Abandoned);
        }
    }
}
