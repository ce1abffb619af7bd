//! Room for what is to be written: pages here, blocks below, records in the log.
//!
//! A writer gets a promise of pages *before* it takes a file's lock, as making room may mean writing
//! other files back, or the same.

use alloc::{boxed::Box, rc::Rc};
use core::cell::RefCell;

use super::{
    Inner,
    below::{Deaths, Phase},
    files::{File, State},
    page::pages_in,
    pool::{Evicted, Pool},
};
use crate::{Error, Result, clock::Clock, file::FileService, surviving::Memory, waiting::Signal};

/// Pages promised to a writer. What it does not use goes back.
pub(super) struct Room<'a, M: Memory> {
    pool: &'a RefCell<Pool<M>>,
    room_made: &'a Signal,
    pages: usize,
}

impl<M: Memory> Room<'_, M> {
    /// Uses one page of the promise: the caller puts it into the pool at once.
    pub fn spend(&mut self) {
        if self.pages > 0 {
            self.pages -= 1;
            self.pool.borrow_mut().unreserve(1);
        }
    }
}

impl<M: Memory> Drop for Room<'_, M> {
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
    /// Blocks that were free, when last asked.
    free: u64,
    /// Blocks that pages dirtied since then will take.
    spent: u64,
}

/// Of the free blocks, data leave one in this many for stack metadata: for directories, and for
/// what the layers below need to find the data again.
const METADATA_SHARE: u64 = 64;
/// And this many in any case.
const METADATA_BLOCKS: u64 = 8;
/// Blocks that a page of a protected file takes: one for each twin.
const PAIR: u64 = 2;

impl Space {
    /// Whether `blocks` more can be taken for data or for what is `protected`.
    fn has(self, blocks: u64, protected: bool) -> bool {
        let left = if protected {
            0
        } else {
            self.free / METADATA_SHARE + METADATA_BLOCKS
        };
        self.spent + blocks + left <= self.free
    }
}

/// Blocks that a page takes when it is written down, if no earlier write has taken them. A page of a
/// protected file that is there already goes to its other twin. (Such files have no holes.)
pub(super) fn blocks_of_page(state: &State, page: u64) -> u64 {
    match state.now.class.protected {
        false => 1,
        true if page < pages_in(state.below.size) => 0,
        true => PAIR,
    }
}

impl<L, C: Clock, M: Memory> Inner<L, C, M> {
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

    /// Checks that the log may have one more file.
    pub(super) fn admit(&self, file: &Rc<File>) -> Result<()> {
        let log = self.log.borrow();
        if log.len() >= self.config.files && !log.has(file.number) {
            return Err(self.starve());
        }
        Ok(())
    }

    /// Counts blocks that pages dirtied just now will take.
    pub(super) fn spend_blocks(&self, blocks: u64) {
        let mut space = self.space.get();
        space.spent += blocks;
        self.space.set(space);
    }

    /// Blocks that a write to these pages takes and no earlier one has.
    fn blocks_of_pages(&self, file: &File, first: u64, count: u64) -> u64 {
        let state = file.state.borrow();
        let mut pool = self.pool.borrow_mut();
        (first..first + count)
            .filter(|page| {
                let cached = state.pages.get(page);
                cached.is_none_or(|&id| pool.is_fresh_below(id))
            })
            .map(|page| blocks_of_page(&state, page))
            .sum()
    }

    /// Most blocks that what is newer here than below will take there.
    pub(super) fn blocks_not_below(&self) -> u64 {
        let newer = self.pool.borrow().counts().newer();
        let second_twins: u64 = (self.unclean.borrow().values())
            .map(|file| {
                let state = file.state.borrow();
                let grown = pages_in(state.now.size).saturating_sub(pages_in(state.below.size));
                if state.now.class.protected { grown } else { 0 }
            })
            .sum();
        newer as u64 + second_twins
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Pages that one promise may be for.
    pub(super) fn room_max(&self) -> usize {
        (self.config.pages / 16).clamp(1, 64)
    }

    /// A promise of `pages`, at most [`Self::room_max`]. The caller holds no file's lock.
    ///
    /// [`Error::NoMemory`]: nothing but a sync can make room. Errors of the write-back, if that
    /// is what room depends on.
    pub(super) async fn room(self: &Rc<Self>, pages: usize) -> Result<Room<'_, M>> {
        match self.room_at_once(pages)? {
            Some(room) => Ok(room),
            None => Box::pin(self.make_room(pages)).await,
        }
    }

    /// A promise of `pages`, if it takes no write-back.
    fn room_at_once(&self, pages: usize) -> Result<Option<Room<'_, M>>> {
        if self.phase() == Phase::Stopped {
            return Err(Error::PeerGone);
        }
        let counts = self.pool.borrow().counts();
        let dirty = counts.newly_dirty();
        if dirty > 0 && dirty + counts.reserved + pages > self.config.dirty_max() {
            return Ok(None);
        }
        Ok(self.reserve(pages))
    }

    /// A promise of `pages`, if enough are free or clean.
    fn reserve(&self, pages: usize) -> Option<Room<'_, M>> {
        while !self.pool.borrow_mut().reserve(pages) {
            if !self.evict_one() {
                return None;
            }
        }
        Some(Room {
            pool: &self.pool,
            room_made: &self.room_made,
            pages,
        })
    }

    async fn make_room(self: &Rc<Self>, pages: usize) -> Result<Room<'_, M>> {
        loop {
            if let Some(room) = self.room_at_once(pages)? {
                return Ok(room);
            }
            let counts = self.pool.borrow().counts();
            if counts.newer() > 0 {
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

    /// Whether pages of a file take no room below: a directory's, that are there already. So names go, and room
    /// is made, while there is none to write back what is dirty.
    pub(super) fn adds_nothing(&self, file: &File, first: u64, count: u64) -> bool {
        let is_protected = file.state.borrow().now.class.protected;
        is_protected && self.blocks_of_pages(file, first, count) == 0
    }

    /// As [`Self::room`], however much is dirty: without any write-back.
    pub(super) fn room_in_spite(&self, pages: usize) -> Result<Room<'_, M>> {
        self.reserve(pages).ok_or_else(|| self.starve())
    }

    /// Checks that below has room for `count` pages of a file, from `first` on.
    /// [`Error::NoSpace`]; then a sync may help, as it frees what was deleted before it.
    pub(super) async fn check_space(
        self: &Rc<Self>,
        file: &File,
        first: u64,
        count: u64,
    ) -> Result<()> {
        if self.space.get().has(PAIR * count, false) {
            return Ok(());
        }
        let protected = file.state.borrow().now.class.protected;
        let blocks = self.blocks_of_pages(file, first, count);
        if blocks == 0 || self.space.get().has(blocks, protected) {
            return Ok(());
        }
        Box::pin(self.refresh_space()).await?;
        if self.space.get().has(blocks, protected) {
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
        let mut deaths = Deaths::default();
        loop {
            let generation = self.ready().await?;
            // What is not below this instance yet is not in its answer. Counted before the question, so
            // that what arrives meanwhile is counted twice rather than not at all.
            let mut space = self.space.get();
            space.spent = self.blocks_not_below();
            self.space.set(space);
            let ask = &mut async |lower: &L| lower.usage().await;
            match self.attempt(generation, true, ask).await? {
                None => self.survive(&mut deaths)?,
                Some(usage) => {
                    let mut space = self.space.get();
                    space.free = usage.blocks_free;
                    self.space.set(space);
                    return Ok(());
                }
            }
        }
    }
}
