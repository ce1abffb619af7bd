//! The tree of a file: from a block of the file to the pointer that says where it is.
//!
//! ```text
//!   inode ── 20 direct ───────────────────────────────▶ data        80 KiB
//!         ├─ single ────▶ 256 pointers ───────────────▶ data       + 1 MiB
//!         ├─ double ────▶ 256 ▶ 256 ──────────────────▶ data     + 256 MiB
//!         ├─ triple ────▶ 256 ▶ 256 ▶ 256 ────────────▶ data      + 64 GiB
//!         └─ quadruple ─▶ 256 ▶ 256 ▶ 256 ▶ 256 ──────▶ data      + 16 TiB
//! ```
//!
//! Indirect blocks are metadata: pairs of twins in the data area, taken when first needed.

use alloc::rc::Rc;

use super::{
    cache::{Kind, Node, Parent, Rank, Slot},
    inode::{DIRECT, INDIRECT, pointer_offset},
    pointer::{POINTER_BYTES, POINTERS_PER_BLOCK, Pointer},
    volume::{Step, Volume},
};
use crate::{BLOCK_BYTES, Error};

/// Most blocks of a file: 16 TiB.
pub const FILE_BLOCKS_MAX: u64 = 1 << 32;
/// Most bytes of a file.
pub const FILE_BYTES_MAX: u64 = FILE_BLOCKS_MAX * BLOCK_BYTES as u64;

const FANOUT: u64 = POINTERS_PER_BLOCK as u64;

/// Blocks of a file below one pointer of height `height`.
pub fn span(height: usize) -> u64 {
    FANOUT.pow(height as u32)
}

/// First block of the file below pointer `index` of the inode, and the height of its tree.
pub fn inode_pointer(index: usize) -> (u64, usize) {
    if index < DIRECT {
        return (index as u64, 0);
    }
    let height = index - DIRECT + 1;
    (DIRECT as u64 + (1..height).map(span).sum::<u64>(), height)
}

/// Which pointer of the inode a block of the file is below.
fn locate(block: u64) -> Option<usize> {
    if block < DIRECT as u64 {
        return Some(block as usize);
    }
    (DIRECT..DIRECT + INDIRECT).find(|&index| {
        let (first, height) = inode_pointer(index);
        block - first < span(height)
    })
}

/// Pointers to consecutive blocks of a file, side by side in one node.
#[derive(Clone, Copy, Debug)]
pub struct Pointers {
    /// The node.
    pub slot: Slot,
    /// Byte offset of the first.
    pub offset: usize,
    /// How many.
    pub count: u64,
}

impl Pointers {
    /// Byte offset of pointer `index`.
    pub fn at(&self, index: u64) -> usize {
        self.offset + index as usize * POINTER_BYTES
    }
}

/// What is known of consecutive blocks of a file.
#[derive(Clone, Copy, Debug)]
pub enum Found {
    /// Here are their pointers.
    Pointers(Pointers),
    /// They are below a null pointer.
    Hole {
        /// How many.
        count: u64,
        /// Indirect blocks between that pointer and the data.
        missing: u64,
    },
}

impl Found {
    /// How many blocks.
    pub fn count(&self) -> u64 {
        match self {
            Self::Pointers(pointers) => pointers.count,
            Self::Hole { count, .. } => *count,
        }
    }
}

impl Volume {
    /// Finds the pointers of block `block` of a file and of at most `most` from there on. `inode` is
    /// the node and the offset of the file's inode.
    pub fn find_pointers(&mut self, inode: (Slot, usize), block: u64, most: u64) -> Step<Found> {
        self.walk(inode, block, most, false)
    }

    /// As [`Volume::find_pointers`], taking what indirect blocks are missing.
    pub fn make_pointers(&mut self, inode: (Slot, usize), block: u64, most: u64) -> Step<Pointers> {
        match self.walk(inode, block, most, true)? {
            Found::Pointers(pointers) => Ok(pointers),
            Found::Hole { .. } => Err(Error::Corrupt.into()),
        }
    }

    fn walk(
        &mut self,
        (slot, inode): (Slot, usize),
        block: u64,
        most: u64,
        make: bool,
    ) -> Step<Found> {
        let index = locate(block).ok_or(Error::TooBig)?;
        let (first, height) = inode_pointer(index);
        let offset = inode + pointer_offset(index);
        if height == 0 {
            let count = most.min((DIRECT - index) as u64);
            return Ok(Found::Pointers(Pointers {
                slot,
                offset,
                count,
            }));
        }
        let mut at = block - first;
        let mut parent = (slot, offset);
        for height in (1..=height).rev() {
            let pointer = Pointer::at(&*self.cache.node(parent.0).content, parent.1)?;
            let child = if !pointer.is_null() {
                self.indirect(parent, pointer, height)?
            } else if make {
                self.make_indirect(parent, height)?
            } else {
                let count = most.min(span(height) - at);
                let missing = (1..=height)
                    .map(|height| count.div_ceil(span(height)))
                    .sum();
                return Ok(Found::Hole { count, missing });
            };
            let index = at / span(height - 1);
            at %= span(height - 1);
            parent = (child, index as usize * POINTER_BYTES);
        }
        let count = most.min(((BLOCK_BYTES - parent.1) / POINTER_BYTES) as u64);
        Ok(Found::Pointers(Pointers {
            slot: parent.0,
            offset: parent.1,
            count,
        }))
    }

    /// The indirect block of this height behind a pointer that is not null.
    pub fn indirect(
        &mut self,
        parent: (Slot, usize),
        pointer: Pointer,
        height: usize,
    ) -> Step<Slot> {
        if !pointer.protected || !self.layout().is_data(pointer.block, true) {
            return Err(Error::Corrupt.into());
        }
        let parent = Parent::Node(parent.0, parent.1);
        self.child(parent, pointer, Kind::Pointers, (height - 1) as Rank)
    }

    fn make_indirect(&mut self, parent: (Slot, usize), height: usize) -> Step<Slot> {
        let runs = self.take_pairs(1, None)?;
        let left = runs.first().ok_or(Error::NoSpace)?.start;
        if self.cache.find(left).is_some() {
            // Only if a hostile bitmap says that a block in use is free.
            return Err(Error::Corrupt.into());
        }
        Pointer::new_pair(left).put(self.modify(parent.0), parent.1);
        let content = Rc::new([0; BLOCK_BYTES]);
        let rank = (height - 1) as Rank;
        let parent = Parent::Node(parent.0, parent.1);
        let mut node = Node::new(left, content, parent, Kind::Pointers, rank);
        node.epoch = self.epoch;
        node.dirty = true;
        Ok(self.cache.insert(node))
    }

    /// Frees an indirect block that holds no pointer any more; the pointer to it is the caller's to
    /// clear.
    pub fn drop_indirect(&mut self, slot: Slot) -> Step<()> {
        if self.cache.has_children(slot) {
            return Err(Error::Corrupt.into());
        }
        let left = self.cache.node(slot).key;
        self.give_pair(left)?;
        self.cache.remove(slot);
        Ok(())
    }

    /// The pointer of a data block, checked. Null is a hole.
    pub fn data_pointer(
        &self,
        slot: Slot,
        offset: usize,
        protected: bool,
    ) -> crate::Result<Pointer> {
        let pointer = Pointer::at(&*self.cache.node(slot).content, offset)?;
        let sound = pointer.is_null()
            || pointer.protected == protected && self.layout().is_data(pointer.block, protected);
        if sound {
            Ok(pointer)
        } else {
            Err(Error::Corrupt)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_of_the_largest_file_has_a_pointer() {
        assert_eq!(locate(0), Some(0));
        assert_eq!(locate(19), Some(19));
        assert_eq!(locate(20), Some(20));
        assert_eq!(locate(20 + 255), Some(20));
        assert_eq!(locate(20 + 256), Some(21));
        assert_eq!(locate(20 + 256 + 65536), Some(22));
        assert_eq!(locate(FILE_BLOCKS_MAX - 1), Some(23));
        assert_eq!(inode_pointer(22), (20 + 256 + 65536, 3));
    }
}
