//! The one way to the layer below: waits while it is being recovered, and issues a call again
//! that a crash has ended. No caller ever sees the death of an instance.

use alloc::{boxed::Box, rc::Rc};

use async_lock::SemaphoreGuard;

use super::Inner;
use crate::{
    Error, Result,
    clock::Clock,
    file::{Attachment, FileNumber, FileService, Timestamp},
    surviving::Memory,
};

/// How things stand with the layer below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not attached yet.
    #[default]
    Detached,
    /// At work.
    Attached,
    /// It died; nobody sees to it yet.
    Broken,
    /// It died; the cache attaches to the next instance.
    Recovering,
    /// It cannot be recovered. All calls fail.
    Stopped,
}

/// What is known of the layer below.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// How things stand.
    pub phase: Phase,
    /// Counts instances that were attached to.
    pub generation: u64,
    /// What the instance said of itself.
    pub attachment: Option<Attachment>,
    /// The checkpoint that the log is based on.
    pub base: Timestamp,
    /// A sync has been sent down and not been answered.
    pub syncing: bool,
    /// When the layer below last died, and when before that.
    pub crashed_ns: [Option<u64>; 2],
}

/// What a crash may have undone below that a call needs there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// That this file was deleted, created and cut as it has been.
    Outline(FileNumber),
    /// That all were.
    Outlines,
}

/// Counts deaths under one and the same call.
#[derive(Default)]
pub(super) struct Deaths(usize);

/// Counts a call below while it is under way.
struct UnderWay<'a, L, C, M: Memory>(&'a Inner<L, C, M>);

impl<L, C, M: Memory> Drop for UnderWay<'_, L, C, M> {
    fn drop(&mut self) {
        self.0.calls_under_way.set(self.0.calls_under_way.get() - 1);
        self.0.call_ended.notify();
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// Where things stand.
    pub(super) fn phase(&self) -> Phase {
        self.link.borrow().phase
    }

    /// Enters a phase and tells those who wait for one.
    pub(super) fn enter(&self, phase: Phase) {
        self.link.borrow_mut().phase = phase;
        self.link_changed.notify();
    }

    /// Gives up: no further call is answered, so that nothing built on lost data is stored.
    pub(super) fn stop(&self, reason: &str) -> Error {
        ::log::error!("cache: stops for good: {reason}");
        self.enter(Phase::Stopped);
        // Waiters of all kinds find out when they next call below.
        self.call_ended.notify();
        self.room_made.notify();
        self.pressure.notify();
        Error::PeerGone
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Waits until the layer below is at work; returns which instance of it.
    pub(super) async fn ready(self: &Rc<Self>) -> Result<u64> {
        loop {
            let Link {
                phase, generation, ..
            } = *self.link.borrow();
            match phase {
                Phase::Attached => return Ok(generation),
                Phase::Detached => return Err(Error::NotLoaded),
                Phase::Stopped => return Err(Error::PeerGone),
                Phase::Broken => {
                    let inner = Rc::clone(self);
                    self.unfinished
                        .run(async move { inner.recover().await })
                        .await;
                }
                Phase::Recovering => {
                    self.link_changed
                        .until(|| self.phase() != Phase::Recovering)
                        .await;
                }
            }
        }
    }

    /// Waits until the layer below is at work, and has what a call needs there.
    async fn ready_for(self: &Rc<Self>, needs: Needs) -> Result<u64> {
        loop {
            let generation = self.ready().await?;
            // Futures of their own: hardly any call ever needs them.
            match needs {
                Needs::Outline(file) if self.log.borrow().is_owed(file) => {
                    Box::pin(self.redo(file)).await?;
                }
                Needs::Outlines if self.log.borrow().owes() => {
                    Box::pin(self.redo_all()).await?;
                }
                _ => return Ok(generation),
            }
        }
    }

    /// Whether this instance is the one at work.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        let link = self.link.borrow();
        link.phase == Phase::Attached && link.generation == generation
    }

    /// Issues a call that reads, until it is answered.
    pub(super) async fn query<T>(
        self: &Rc<Self>,
        needs: Needs,
        call: impl AsyncFnMut(&L) -> Result<T>,
    ) -> Result<T> {
        self.call(needs, false, call).await
    }

    /// Issues a call that changes a file, until it is answered. The caller records the success in the
    /// log before its next `await`.
    pub(super) async fn change<T>(
        self: &Rc<Self>,
        needs: Needs,
        call: impl AsyncFnMut(&L) -> Result<T>,
    ) -> Result<T> {
        self.call(needs, true, call).await
    }

    async fn call<T>(
        self: &Rc<Self>,
        needs: Needs,
        changes: bool,
        mut call: impl AsyncFnMut(&L) -> Result<T>,
    ) -> Result<T> {
        let mut deaths = Deaths::default();
        loop {
            let generation = self.ready_for(needs).await?;
            match self.attempt(generation, changes, &mut call).await? {
                Some(answer) => return Ok(answer),
                None => self.survive(&mut deaths)?,
            }
        }
    }

    /// Issues a call to this instance. `None`: it has died, so that the call has not happened.
    pub(super) async fn attempt<T>(
        &self,
        generation: u64,
        changes: bool,
        call: &mut impl AsyncFnMut(&L) -> Result<T>,
    ) -> Result<Option<T>> {
        let permit = self.permits.acquire().await;
        if !self.is_current(generation) {
            return Ok(None);
        }
        self.count(|count| count.calls_below += 1);
        match self.issue(permit, call).await {
            // An instance that has not been attached to is one that nobody told us of yet.
            Err(Error::PeerDied | Error::NotLoaded) => {
                if self.is_current(generation) {
                    self.enter(Phase::Broken);
                }
                Ok(None)
            }
            Err(Error::PeerGone) => Err(self.stop("the layer below is gone")),
            // The answer came from an instance that has been replaced since: what it did is undone.
            _ if changes && self.link.borrow().generation != generation => Ok(None),
            result => result.map(Some),
        }
    }

    /// Counts one more death under the same call; an error if there were too many.
    pub(super) fn survive(&self, deaths: &mut Deaths) -> Result<()> {
        deaths.0 += 1;
        if deaths.0 > self.config.call_attempts {
            return Err(self.stop("the same call has ended every instance below"));
        }
        Ok(())
    }

    /// Issues a call once; again only if the mailbox below was full and a call of ours has ended.
    async fn issue<T>(
        &self,
        _permit: SemaphoreGuard<'_>,
        call: &mut impl AsyncFnMut(&L) -> Result<T>,
    ) -> Result<T> {
        loop {
            let result = {
                self.calls_under_way.set(self.calls_under_way.get() + 1);
                let _under_way = UnderWay(self);
                call(&self.lower).await
            };
            let others = self.calls_under_way.get();
            match result {
                Err(Error::PeerBusy) if others > 0 => {
                    self.call_ended
                        .until(|| self.calls_under_way.get() < others)
                        .await;
                }
                result => return result,
            }
        }
    }
}
