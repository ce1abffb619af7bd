//! What each page of the memory holds: a map page before every 127 others.
//!
//! ```text
//!   page   0     1      2 … 127    128   129 … 255    256 …
//!          map   table  pages      map   pages        map
//!
//!   map    128 entries; that of the map itself is never used
//!   entry  file │ page within it, epoch │ checksum of the content │ guard
//! ```
//!
//! The guard is a checksum of the other words and of the number of the page. An entry whose guard does not
//! match says that the page holds nothing, and so does one of an earlier epoch. Whether it ought to hold
//! something is not known here: the record of a file has the sum of the guards of its pages.

use alloc::vec::Vec;

use crate::{
    BLOCK_BYTES,
    checksum::Checksum,
    file::FileNumber,
    surviving::{Memory, WORD_BYTES, digest, word},
};

/// Pages of a group: a map and those it describes.
const GROUP: u32 = 128;
const ENTRY_WORDS: usize = 4;
const _: () = assert!(GROUP as usize * ENTRY_WORDS * WORD_BYTES == BLOCK_BYTES);

/// The first page of the table of records. The others are found through the map.
pub(super) const TABLE_PAGE: u32 = 1;

/// In the place of a file's number: the page is one of the table.
const OF_TABLE: u64 = u64::MAX;

/// Page numbers within files take the low bits of a word, the end of the epoch's number the others.
const INDEX_BITS: u32 = 52;
const SEED: u64 = 0x6d61_7020_656e_7472;

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A page of a file.
    Data {
        file: FileNumber,
        index: u64,
        checksum: Checksum,
        guard: u64,
    },
    /// A page of the table: which.
    Table(u64),
}

/// Whether pages of this number are not for data.
pub(super) fn is_reserved(number: u32) -> bool {
    number.is_multiple_of(GROUP) || number == TABLE_PAGE
}

fn guard(number: u32, words: [u64; 3]) -> u64 {
    // Never zero, which is that of a page that holds nothing.
    digest(SEED ^ (u64::from(number) << 32), &words) | 1
}

/// The maps.
pub(super) struct Map<M: Memory> {
    memory: M,
    pages: Vec<M::Page>,
}

impl<M: Memory> Map<M> {
    /// The maps of all groups that earlier instances have left. `None`: they are held by somebody.
    pub fn open(memory: M) -> Option<Self> {
        let groups = memory.left().div_ceil(GROUP as usize);
        let pages = (0..groups).map(|group| memory.page(group * GROUP as usize));
        let pages = pages.collect::<Option<Vec<_>>>()?;
        Some(Self { memory, pages })
    }

    /// Makes sure that there is a map for this page. `false`: there is no memory for it.
    fn has_map(&mut self, number: u32) -> bool {
        let group = (number / GROUP) as usize;
        while self.pages.len() <= group {
            let Some(page) = self.memory.page(self.pages.len() * GROUP as usize) else {
                return false;
            };
            self.pages.push(page);
        }
        true
    }

    fn store(&mut self, number: u32, words: [u64; 3]) -> u64 {
        if !self.has_map(number) {
            return 0;
        }
        let guard = guard(number, words);
        let [first, second, third] = words;
        let start = (number % GROUP) as usize * ENTRY_WORDS;
        let page = &mut self.pages[(number / GROUP) as usize];
        // The guard last: until then the page holds nothing.
        for (at, word) in [first, second, third, guard].into_iter().enumerate() {
            self.memory.store(page, start + at, word);
        }
        guard
    }

    /// A page now holds this. Returns the guard of that; zero if it could not be written down.
    pub fn set_data(
        &mut self,
        number: u32,
        file: FileNumber,
        index: u64,
        checksum: Checksum,
        epoch: u64,
    ) -> u64 {
        let place = index | epoch << INDEX_BITS;
        self.store(number, [file.0, place, checksum.0])
    }

    /// A page is now one of the table. `false` if that could not be written down.
    pub fn set_table(&mut self, number: u32, index: u64) -> bool {
        self.store(number, [OF_TABLE, index, 0]) != 0
    }

    /// A page holds nothing any more.
    pub fn clear(&mut self, number: u32) {
        if self.has_map(number) {
            let guard = (number % GROUP) as usize * ENTRY_WORDS + ENTRY_WORDS - 1;
            let page = &mut self.pages[(number / GROUP) as usize];
            self.memory.store(page, guard, 0);
        }
    }

    /// What a page holds in this epoch, if anything.
    pub fn get(&self, number: u32, epoch: u64) -> Option<Holds> {
        let page = self.pages.get((number / GROUP) as usize)?;
        let start = (number % GROUP) as usize * ENTRY_WORDS;
        let [file, place, checksum, found] = [0, 1, 2, 3].map(|at| word(page, start + at));
        if number.is_multiple_of(GROUP) || found != guard(number, [file, place, checksum]) {
            return None;
        }
        if file == OF_TABLE {
            return Some(Holds::Table(place));
        }
        let is_current = place >> INDEX_BITS == epoch << INDEX_BITS >> INDEX_BITS;
        is_current.then_some(Holds::Data {
            file: FileNumber(file),
            index: place & ((1 << INDEX_BITS) - 1),
            checksum: Checksum(checksum),
            guard: found,
        })
    }
}
