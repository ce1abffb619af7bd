//! Room for what is to be written: pages here, blocks below, records in the log.
//!
//! A writer gets a promise of pages *before* it takes a file's lock, as making room may mean writing
//! other files back, or the same.

use alloc::rc::Rc;
use core::cell::RefCell;

use super::{
    Inner,
    below::Phase,
    files::File,
    pool::{Evicted, Pool},
    signal::Signal,
};
use crate::{Error, Result, clock::Clock, file::FileService};

/// Pages promised to a writer. What it does not use goes back.
pub(super) struct Room<'a> {
    pool: &'a RefCell<Pool>,
    room_made: &'a Signal,
    pages: usize,
}

impl Room<'_> {
    /// Uses one page of the promise: the caller puts it into the pool at once.
    pub fn spend(&mut self) {
        if self.pages > 0 {
            self.pages -= 1;
            self.pool.borrow_mut().unreserve(1);
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.pages > 0 {
            self.pool.borrow_mut().unreserve(self.pages);
            self.room_made.notify();
        }
    }
}

/// What is known of the free blocks below.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Space {
    /// Blocks that data may take, when last asked.
    available: u64,
    /// Blocks that pages dirtied since then will take.
    spent: u64,
}

/// Of the free blocks, one in this many is left for what the layers below need for themselves.
const METADATA_SHARE: u64 = 64;
/// And this many in any case.
const METADATA_BLOCKS: u64 = 8;

impl<L, C: Clock> Inner<L, C> {
    /// Makes room for one page by giving another up. `false`: nothing can go.
    pub(super) fn evict_one(&self) -> bool {
        let evicted = self.pool.borrow_mut().evict();
        match evicted {
            None => false,
            Some(Evicted::Kept) => true,
            Some(Evicted::Gone(id, file, index)) => {
                file.state.borrow_mut().pages.remove(&index);
                self.pool.borrow_mut().remove(id);
                true
            }
        }
    }

    /// Checks that the log and the list of unclean files may have one more file.
    pub(super) fn admit(&self, file: &Rc<File>) -> Result<()> {
        let unclean = self.unclean.borrow();
        if unclean.len() + self.log.borrow().len() >= self.config.files
            && !unclean.contains_key(&file.number)
        {
            return Err(self.starve());
        }
        Ok(())
    }

    /// Somebody is turned away for want of what only a sync frees.
    fn starve(&self) -> Error {
        self.starved.set(true);
        self.pressure.notify();
        Error::NoMemory
    }

    /// Counts blocks that pages dirtied just now will take.
    pub(super) fn spend_blocks(&self, blocks: u64) {
        let mut space = self.space.get();
        space.spent += blocks;
        self.space.set(space);
    }

    /// Whether a sync should come soon.
    pub(super) fn sync_wanted(&self) -> bool {
        let (pages, files) = if self.crash_is_fresh() {
            let pages = self.config.pages_after_crash;
            (
                pages.min(self.config.sync_pages()),
                pages.min(self.config.sync_files()),
            )
        } else {
            (self.config.sync_pages(), self.config.sync_files())
        };
        !self.sync_failed.get()
            && (self.starved.get()
                || self.pool.borrow().counts().pinned() >= pages
                || self.log.borrow().len() >= files)
    }

    fn crash_is_fresh(&self) -> bool {
        self.crashed_ns.get().is_some_and(|crashed_ns| {
            self.clock.now_ns().saturating_sub(crashed_ns) < self.config.crash_fresh_ns
        })
    }

    /// Wakes the one who waits for a sync to be wanted, if it is.
    pub(super) fn note_pressure(&self) {
        if self.sync_wanted() {
            self.pressure.notify();
        }
    }
}

impl<L: FileService + 'static, C: Clock + 'static> Inner<L, C> {
    /// Pages that one promise may be for.
    pub(super) fn room_max(&self) -> usize {
        (self.config.pages / 16).clamp(1, 64)
    }

    /// A promise of `pages`, at most [`Self::room_max`]. The caller holds no file's lock.
    ///
    /// [`Error::NoMemory`]: nothing but a sync can make room. Errors of the write-back, if that
    /// is what room depends on.
    pub(super) async fn room(self: &Rc<Self>, pages: usize) -> Result<Room<'_>> {
        loop {
            if self.phase() == Phase::Stopped {
                return Err(Error::PeerGone);
            }
            let counts = self.pool.borrow().counts();
            let dirty = counts.dirty + counts.writing;
            if dirty > 0 && dirty + counts.reserved + pages > self.config.dirty_max() {
                self.write_back_some().await?;
                continue;
            }
            if self.pool.borrow_mut().reserve(pages) {
                return Ok(Room {
                    pool: &self.pool,
                    room_made: &self.room_made,
                    pages,
                });
            }
            if self.evict_one() {
                continue;
            }
            if dirty > 0 {
                self.write_back_some().await?;
            } else if counts.reserved > 0 {
                let released = || self.pool.borrow().counts().reserved < counts.reserved;
                self.room_made
                    .until(|| released() || self.phase() == Phase::Stopped)
                    .await;
            } else {
                return Err(self.starve());
            }
        }
    }

    /// Checks that below has room for `blocks` more. [`Error::NoSpace`]; then a sync may help, as it
    /// frees what was deleted before it.
    pub(super) async fn check_space(self: &Rc<Self>, blocks: u64) -> Result<()> {
        let Space { available, spent } = self.space.get();
        if spent + blocks <= available {
            return Ok(());
        }
        self.refresh_space().await?;
        let Space { available, spent } = self.space.get();
        if spent + blocks <= available {
            return Ok(());
        }
        if self.log.borrow().len() > 0 {
            self.starved.set(true);
            self.note_pressure();
        }
        Err(Error::NoSpace)
    }

    /// Asks below how much room there is, one at a time.
    pub(super) async fn refresh_space(self: &Rc<Self>) -> Result<()> {
        let _alone = self.space_refresh.lock().await;
        // What is not below yet is not in the answer. Counted before the question, so that what
        // arrives meanwhile is counted twice rather than not at all.
        let counts = self.pool.borrow().counts();
        let mut space = self.space.get();
        space.spent = (counts.dirty + counts.writing) as u64;
        self.space.set(space);
        let usage = self.query(async |lower: &L| lower.usage().await).await?;
        let free = usage.blocks_free;
        let mut space = self.space.get();
        space.available = free.saturating_sub(free / METADATA_SHARE + METADATA_BLOCKS);
        self.space.set(space);
        Ok(())
    }
}
