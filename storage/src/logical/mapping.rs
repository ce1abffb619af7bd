//! The blocks of the mapping that are in memory: a bounded cache, clean blocks dropped by age.
//!
//! This part only keeps blocks; `mapping_io` reads and writes them.

use alloc::{boxed::Box, vec::Vec};
use core::cell::{Cell, RefCell};

use hashbrown::HashMap;

use super::entry::ENTRY_BYTES;
use crate::{BLOCK_BYTES, file::FileNumber};

/// Entries in a block.
pub(super) const ENTRIES_PER_BLOCK: u64 = (BLOCK_BYTES / ENTRY_BYTES) as u64;

/// Blocks kept in memory: 4 MiB, 65,536 files.
const BLOCKS_MAX: usize = 1024;

/// Highest file number, so that the mapping stays below 256 GiB.
pub(super) const FILE_NUMBER_MAX: u64 = u32::MAX as u64;

pub(super) type Bytes = [u8; BLOCK_BYTES];

struct Block {
    bytes: Box<Bytes>,
    /// Changed since it was read or written.
    dirty: bool,
    /// Has room on the stores: to write it again can never need space.
    allocated: bool,
    /// When it was last used, in uses.
    used: u64,
}

/// Where the entry of a file is: its block and the byte in it.
pub(super) fn place(file: FileNumber) -> (u64, usize) {
    let within = (file.0 % ENTRIES_PER_BLOCK) as usize;
    (file.0 / ENTRIES_PER_BLOCK, within * ENTRY_BYTES)
}

/// The mapping of a loaded volume.
pub(super) struct Mapping {
    blocks: RefCell<HashMap<u64, Block>>,
    uses: Cell<u64>,
    /// Length of the mapping file in blocks; beyond it nothing is in use.
    len: Cell<u64>,
    /// Taken for every read and write of the mapping file, so that a block is never dropped from
    /// memory while an older version of it is on its way in or out.
    pub io: async_lock::Mutex<()>,
}

impl Mapping {
    /// An empty cache of a mapping file of `len` blocks.
    pub fn new(len: u64) -> Self {
        Self {
            blocks: RefCell::default(),
            uses: Cell::new(0),
            len: Cell::new(len),
            io: async_lock::Mutex::new(()),
        }
    }

    pub fn len(&self) -> u64 {
        self.len.get()
    }

    pub fn grow_to(&self, len: u64) {
        self.len.set(self.len.get().max(len));
    }

    pub fn holds(&self, block: u64) -> bool {
        self.blocks.borrow().contains_key(&block)
    }

    /// How many more blocks can be kept.
    pub fn room(&self) -> usize {
        BLOCKS_MAX.saturating_sub(self.blocks.borrow().len())
    }

    /// The entry of `file` if its block is in memory.
    pub fn entry(&self, file: FileNumber) -> Option<[u8; ENTRY_BYTES]> {
        let (block, at) = place(file);
        let mut blocks = self.blocks.borrow_mut();
        let block = blocks.get_mut(&block)?;
        block.used = self.tick();
        block.bytes[at..at + ENTRY_BYTES].try_into().ok()
    }

    /// Which entries of a block are in use, one bit each, if it is in memory.
    pub fn used_entries(&self, block: u64) -> Option<[u8; (ENTRIES_PER_BLOCK / 8) as usize]> {
        let blocks = self.blocks.borrow();
        let mut bits = [0; (ENTRIES_PER_BLOCK / 8) as usize];
        for (i, entry) in blocks
            .get(&block)?
            .bytes
            .chunks_exact(ENTRY_BYTES)
            .enumerate()
        {
            let is_header = block == 0 && i == 0;
            if !is_header && entry.iter().any(|&byte| byte != 0) {
                bits[i / 8] |= 1 << (i % 8);
            }
        }
        Some(bits)
    }

    /// Changes the entry of `file`, whose block is in memory; says whether it was.
    pub fn set_entry(&self, file: FileNumber, entry: &[u8; ENTRY_BYTES]) -> bool {
        let (number, at) = place(file);
        let mut blocks = self.blocks.borrow_mut();
        let Some(block) = blocks.get_mut(&number) else {
            return false;
        };
        block.bytes[at..at + ENTRY_BYTES].copy_from_slice(entry);
        block.dirty = true;
        block.used = self.tick();
        drop(blocks);
        self.grow_to(number + 1);
        true
    }

    /// Whether a block in memory has its room on the stores.
    pub fn is_allocated(&self, block: u64) -> bool {
        self.blocks
            .borrow()
            .get(&block)
            .is_some_and(|block| block.allocated)
    }

    pub fn set_allocated(&self, block: u64) {
        if let Some(block) = self.blocks.borrow_mut().get_mut(&block) {
            block.allocated = true;
        }
    }

    /// Takes in a block as it was read, unless it is there already.
    pub fn insert(&self, number: u64, bytes: Box<Bytes>) {
        let allocated = bytes.iter().any(|&byte| byte != 0);
        let used = self.tick();
        let block = Block {
            bytes,
            dirty: false,
            allocated,
            used,
        };
        self.blocks.borrow_mut().entry(number).or_insert(block);
    }

    /// Drops the clean block that was not used for longest, if there are too many; false if there
    /// are too many and all are dirty.
    pub fn make_room(&self) -> bool {
        if self.room() > 0 {
            return true;
        }
        let mut blocks = self.blocks.borrow_mut();
        let clean = blocks.iter().filter(|(_, block)| !block.dirty);
        let oldest = clean
            .min_by_key(|(_, block)| block.used)
            .map(|(&number, _)| number);
        oldest.is_some_and(|number| blocks.remove(&number).is_some())
    }

    /// Dirty blocks, in order.
    pub fn dirty(&self) -> Vec<u64> {
        let blocks = self.blocks.borrow();
        let dirty = blocks.iter().filter(|(_, block)| block.dirty);
        let mut dirty: Vec<u64> = dirty.map(|(&number, _)| number).collect();
        dirty.sort_unstable();
        dirty
    }

    /// Appends a block to `bytes`, zeros if it is not in memory.
    pub fn copy_out(&self, number: u64, bytes: &mut Vec<u8>) {
        match self.blocks.borrow().get(&number) {
            Some(block) => bytes.extend_from_slice(&block.bytes[..]),
            None => bytes.resize(bytes.len() + BLOCK_BYTES, 0),
        }
    }

    /// Takes a block for clean: what changes from now on counts again.
    pub fn mark_clean(&self, number: u64) {
        if let Some(block) = self.blocks.borrow_mut().get_mut(&number) {
            block.dirty = false;
        }
    }

    /// The blocks could not be written.
    pub fn mark_dirty(&self, numbers: &[u64]) {
        let mut blocks = self.blocks.borrow_mut();
        for number in numbers {
            if let Some(block) = blocks.get_mut(number) {
                block.dirty = true;
            }
        }
    }

    fn tick(&self) -> u64 {
        self.uses.set(self.uses.get() + 1);
        self.uses.get()
    }
}
