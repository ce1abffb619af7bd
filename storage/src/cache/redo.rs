//! Outlines of files that a crash below has undone: what was deleted, created and cut since the checkpoint.
//!
//! They are drawn again one file at a time: in the background, at a sync, and before any call below
//! that is about the file, so that nobody ever sees a file below as the checkpoint has it. Reads and writes of
//! files that have none owed go on meanwhile. A creation waits for all of them: what it takes may be the last
//! there is below, and was promised to others.
//!
//! An attempt that fails leaves owed what it has not done: `sync` reports the error, as it does of pages that cannot be
//! written back.

use alloc::rc::Rc;

use futures_util::{StreamExt, stream};

use super::{Inner, below::Deaths};
use crate::{
    Error, Result,
    clock::Clock,
    file::{Attributes, FileNumber, FileService},
    surviving::Memory,
};

/// Files whose outlines are drawn at once.
const FILES_AT_ONCE: usize = 8;
/// Files that are looked up at a time.
const BATCH: usize = 64;
/// Times that a call is issued again because memory below was short: others at work there have it.
const SHORTAGES_MAX: usize = 64;

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Draws all outlines that are owed.
    pub(super) async fn redo_all(self: &Rc<Self>) -> Result<()> {
        loop {
            let owed = self.log.borrow().owed(BATCH);
            if owed.is_empty() {
                return Ok(());
            }
            let mut redone = stream::iter(owed)
                .map(|number| self.redo(number))
                .buffer_unordered(FILES_AT_ONCE);
            let mut outcome = Ok(());
            while let Some(one) = redone.next().await {
                outcome = outcome.and(one);
            }
            drop(redone);
            outcome?;
            self.note_nothing_owed();
        }
    }

    /// Draws the outline of a file, if it is owed. Given up halfway, it is carried to its end.
    pub(super) async fn redo(self: &Rc<Self>, number: FileNumber) -> Result<()> {
        while self.log.borrow().is_owed(number) {
            if self.log.borrow_mut().begin_redo(number) {
                let inner = Rc::clone(self);
                let outline = async move {
                    let outcome = inner.draw(number).await;
                    inner.log.borrow_mut().end_redo(number);
                    inner.redo_ended.notify();
                    outcome
                };
                self.unfinished.run(outline).await?;
            } else {
                let ended = || !self.log.borrow().is_redoing(number);
                self.redo_ended.until(ended).await;
            }
        }
        Ok(())
    }

    async fn draw(self: &Rc<Self>, number: FileNumber) -> Result<()> {
        let mut deaths = Deaths::default();
        loop {
            let generation = self.ready().await?;
            match self.draw_on(generation, number).await {
                Ok(Some(())) => return Ok(()),
                Ok(None) => self.survive(&mut deaths)?,
                // It is not as the checkpoint had it.
                Err(Error::Exists | Error::NotFound) => {
                    return Err(self.stop("a file below is not as the checkpoint has it"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Draws the outline of a file on this instance: delete, create, cut. `None`: it died.
    async fn draw_on(self: &Rc<Self>, generation: u64, number: FileNumber) -> Result<Option<()>> {
        let Some(outline) = self.log.borrow().outline_owed(number) else {
            return Ok(Some(()));
        };
        if outline.removed {
            let delete = async |lower: &L| lower.delete(number).await;
            if self.step(generation, delete).await?.is_none() {
                return Ok(None);
            }
            self.log.borrow_mut().deleted_again(number);
        }
        if let Some(file) = outline.file {
            let now = file.state.borrow().now;
            if outline.created {
                let empty = Attributes {
                    size: 0,
                    blocks: 0,
                    ..now
                };
                let create = async |lower: &L| lower.create(number, &empty).await;
                if self.step(generation, create).await?.is_none() {
                    return Ok(None);
                }
                let mut state = file.state.borrow_mut();
                state.below = empty;
                state.below_unsure = false;
            } else if outline.cut {
                let (size, time) = (outline.stands, now.modified_ns);
                let cut = async |lower: &L| lower.truncate(number, size, time).await;
                if self.step(generation, cut).await?.is_none() {
                    return Ok(None);
                }
            }
        }
        // In the poll in which the last answer came: no crash has come in between.
        self.log.borrow_mut().redone(number);
        Ok(Some(()))
    }

    async fn step(
        &self,
        generation: u64,
        mut call: impl AsyncFnMut(&L) -> Result<()>,
    ) -> Result<Option<()>> {
        let mut shortages_left = SHORTAGES_MAX;
        loop {
            self.count(|count| count.redo_calls += 1);
            match self.attempt(generation, true, &mut call).await {
                Err(Error::NoMemory) if shortages_left > 0 => shortages_left -= 1,
                outcome => return outcome,
            }
        }
    }
}
