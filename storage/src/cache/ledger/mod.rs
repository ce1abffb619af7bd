//! The ledger: what the next instance must know to go on where this one dies, in memory that outlives it.
//!
//! ```text
//!   record of the volume   attachment, base, syncing, history, epoch
//!   record of a file       removed, created, cut, stands; its attributes; digest ─┐
//!   map                    for each page: file, place in it, checksum, guard ─────┴ sum of the guards
//!   pages                  the data
//! ```
//!
//! Everything is told as it is *relative to the checkpoint*, for whenever the cache dies, the layers below
//! go back to that. So it does not matter to the ledger what has been sent down since.
//!
//! **A change is the update of one record**, which a death cannot tear ([`crate::surviving::Table`]). Pages
//! never change once they are described: new content goes to a fresh page, whose entry is made first; then
//! the record of the file is updated, and with it the digest over its pages; then the entry of the old page
//! is cleared. A death in between leaves an entry that the digest does not count: it is dropped. A
//! checkpoint is the update of the record of the volume: it begins an epoch, and whatever is of an earlier
//! one counts for nothing.
//!
//! **What was overwritten by mistake** is found by these checksums before any of it is used. A page whose
//! content does not match is lost by itself. If the records or the map do not match each other, nobody
//! can tell what else is missing, and all of it is given up for the last checkpoint, which is at least a
//! state that there was.

mod map;
mod reading;
mod record;

use alloc::rc::Rc;

pub(super) use reading::{Changed, Left, Reading, Restored, RestoredPage};
pub(super) use record::{FileRecord, VolumeRecord};

use self::{map::Map, record::WORDS};
use super::page::{Home, PageRef};
use crate::{
    checksum::Checksum,
    file::FileNumber,
    surviving::{Memory, RecordId, Table},
};

/// Pages of memory that a ledger takes beside `pages` pages of data: maps, and records of `files` files.
pub(super) fn overhead(pages: usize, files: usize) -> usize {
    /// Records in a page, and pages in a group, with something to spare.
    const RECORDS: usize = 16;
    const GROUP: usize = 120;
    /// Files that may have records before anybody counts.
    const SLACK: usize = 1024;
    let tables = (files + SLACK).div_ceil(RECORDS) + 1;
    tables + (pages + tables).div_ceil(GROUP) + 2
}

/// The ledger.
pub(super) struct Ledger<M: Memory> {
    memory: M,
    home: Rc<Home<M>>,
    map: Map<M>,
    table: Table<M, WORDS>,
    volume: Option<RecordId>,
    epoch: u64,
    /// No log is kept, so there is nothing to write down.
    is_off: bool,
    /// Something of this epoch could not be written down.
    is_incomplete: bool,
}

impl<M: Memory> Ledger<M> {
    /// From now on nothing is written down.
    pub fn switch_off(&mut self) {
        self.is_off = true;
    }

    /// A page for whatever content.
    pub fn page(&self) -> Option<PageRef<M>> {
        self.home.take()
    }

    /// Begins an epoch with this record of the volume: all that was written down before is void.
    pub fn begin_epoch(&mut self, volume: VolumeRecord) {
        self.epoch += 1;
        self.is_incomplete = false;
        self.set_volume(volume);
    }

    /// Changes the record of the volume within the epoch, if the next instance may rely on what is written down.
    pub fn set_volume(&mut self, mut volume: VolumeRecord) {
        if self.is_off || self.is_incomplete {
            return;
        }
        volume.epoch = self.epoch;
        match self.volume {
            Some(id) => self.table.set(id, &volume.words()),
            None => self.volume = self.insert(&volume.words()),
        }
    }

    /// There is no volume that the next instance could go on with.
    pub fn forget_volume(&mut self) {
        if let Some(id) = self.volume.take() {
            self.table.remove(id);
        }
    }

    /// Something could not be written down: the next instance must not rely on the rest.
    fn fail(&mut self) {
        ::log::error!(
            "cache: no memory to write down what changes; should the cache die before the next sync, it is lost"
        );
        self.forget_volume();
        self.is_incomplete = true;
    }

    fn insert(&mut self, words: &[u64; WORDS]) -> Option<RecordId> {
        if let Some(id) = self.table.insert(words) {
            return Some(id);
        }
        let number = self.home.number();
        let page = self.memory.page(number as usize)?;
        if !self.map.set_table(number, self.table.pages() as u64) {
            return None;
        }
        self.table.grow(page);
        self.table.insert(words)
    }

    /// Writes down a file; `id` is where, once it was.
    pub fn set_file(&mut self, id: &mut Option<RecordId>, file: &FileRecord) {
        if self.is_off {
            return;
        }
        let words = file.words(self.epoch);
        match *id {
            Some(id) => self.table.set(id, &words),
            None => {
                *id = self.insert(&words);
                if id.is_none() {
                    self.fail();
                }
            }
        }
    }

    /// Nothing has to be known of a file any more.
    pub fn remove_file(&mut self, id: Option<RecordId>) {
        if let Some(id) = id {
            self.table.remove(id);
        }
    }

    /// Writes down what a page holds. It counts once the file's record does, with the guard returned.
    pub fn describe(
        &mut self,
        number: u32,
        file: FileNumber,
        index: u64,
        checksum: Checksum,
    ) -> u64 {
        if self.is_off {
            return 0;
        }
        let guard = self.map.set_data(number, file, index, checksum, self.epoch);
        if guard == 0 {
            self.fail();
        }
        guard
    }

    /// A page with this guard is of no file any more.
    pub fn clear(&mut self, number: u32, guard: u64) {
        if guard != 0 {
            self.map.clear(number);
        }
    }
}
