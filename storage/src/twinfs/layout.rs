//! Where everything is on a device: computed from three numbers of the root block: blocks, inodes, twin offset.
//!
//! ```text
//!  0      1 … 255     256    257
//!  +------+---------+------+--------------+---------------+--------------+-----------+
//!  | root |  resync | root | inode bitmap | block bitmap  | inode table  |   data    |
//!  | left |   log   | right| levels 0, 1… | levels 0, 1…  | levels 0, 1… |           |
//!  +------+---------+------+--------------+---------------+--------------+-----------+
//!                            \__ each level: N left twins, N right twins, N left … _/
//! ```
//!
//! The static areas are the paper's special inodes: the tree over an area is itself at computed
//! places. Level 0 is the area, each block of level *k + 1* holds the pointers to 256 blocks of level
//! *k*, and the root block holds the pointers to the at most 8 blocks of the top level.
//!
//! With a twin offset of zero there are no twins: both places of a block are the same, an area has as
//! many blocks as its level, and every block is overwritten in place. That is what the paper compares
//! twins with (Table I); it survives no crash, and only a store that was told so takes it.

use super::pointer::POINTERS_PER_BLOCK;
use crate::{BLOCK_BYTES, Error, Result};

/// First block of the resynchronisation log (paper, section V-C).
pub const LOG_START: u64 = 1;
/// Blocks of that log.
pub const LOG_BLOCKS: u64 = 255;
/// The two places of the root block. A checkpoint with timestamp T is in `ROOT_BLOCKS[T % 2]`.
pub const ROOT_BLOCKS: [u64; 2] = [0, LOG_START + LOG_BLOCKS];
/// First block of the static areas.
const AREAS_START: u64 = ROOT_BLOCKS[1] + 1;
/// Most blocks between the twins of a pair.
pub const TWIN_OFFSET_MAX: u64 = crate::file::TWIN_OFFSET_MAX as u64;
/// Fewest blocks of a volume: 4 MiB.
pub const BLOCKS_MIN: u64 = 1024;
/// Most blocks of a volume: 16 TiB.
pub const BLOCKS_MAX: u64 = 1 << 32;
/// Most levels of a static tree below the root block.
pub const LEVELS_MAX: usize = 4;
/// Most pointers of one tree in the root block.
pub const TOP_POINTERS_MAX: u64 = 8;
/// Bytes of an inode.
pub const INODE_BYTES: usize = 512;
/// Inodes in a block.
pub const INODES_PER_BLOCK: u64 = (BLOCK_BYTES / INODE_BYTES) as u64;
/// Bits in a block of a bitmap.
pub const BITS_PER_BLOCK: u64 = BLOCK_BYTES as u64 * 8;

/// One of the three static areas and the tree over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Which inodes are in use.
    InodeBitmap,
    /// Which blocks of the data area are in use.
    BlockBitmap,
    /// The inodes.
    InodeTable,
}

/// The trees, in the order of the root block.
pub const TREES: [Tree; 3] = [Tree::InodeBitmap, Tree::BlockBitmap, Tree::InodeTable];

impl Tree {
    /// Place in the root block.
    pub fn index(self) -> usize {
        match self {
            Self::InodeBitmap => 0,
            Self::BlockBitmap => 1,
            Self::InodeTable => 2,
        }
    }
}

/// One level of a static tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// First block of its area.
    pub start: u64,
    /// Blocks of the level; the area has twice as many, rounded up to whole runs of twins.
    pub blocks: u64,
}

/// The levels of one static tree, from level 0 up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    levels: [Level; LEVELS_MAX],
    count: usize,
}

impl Levels {
    /// The levels there are.
    pub fn all(&self) -> &[Level] {
        &self.levels[..self.count]
    }
}

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Blocks of the device that the volume uses.
    pub blocks: u64,
    /// Inodes, number 0 included, which is never used.
    pub inodes: u64,
    /// Blocks between the twins of a pair; zero if there are no twins.
    pub twin_offset: u64,
    /// First block of the data area.
    pub data_start: u64,
    trees: [Levels; 3],
}

impl Layout {
    /// The layout for these numbers. [`Error::BadArgument`] if they are out of bounds or leave no
    /// room for data.
    pub fn new(blocks: u64, inodes: u64, twin_offset: u64) -> Result<Self> {
        let bounded = (BLOCKS_MIN..=BLOCKS_MAX).contains(&blocks)
            && (INODES_PER_BLOCK..=blocks).contains(&inodes)
            && twin_offset <= TWIN_OFFSET_MAX;
        if !bounded {
            return Err(Error::BadArgument);
        }
        let mut layout = Self {
            blocks,
            inodes,
            twin_offset,
            data_start: AREAS_START,
            trees: [Levels::default(); 3],
        };
        // The bitmap covers what is left of its own area too; the few bits too many are never used.
        layout.place_tree(Tree::InodeBitmap, inodes.div_ceil(BITS_PER_BLOCK))?;
        layout.place_tree(Tree::BlockBitmap, blocks.div_ceil(BITS_PER_BLOCK))?;
        layout.place_tree(Tree::InodeTable, inodes.div_ceil(INODES_PER_BLOCK))?;
        if layout.data_start + 4 * twin_offset > blocks {
            return Err(Error::BadArgument);
        }
        Ok(layout)
    }

    /// The number of inodes that a device of `blocks` gets: one for every `blocks_per_inode`, in
    /// whole blocks of them.
    pub fn inodes_for(blocks: u64, blocks_per_inode: u64) -> u64 {
        (blocks / blocks_per_inode.max(1))
            .next_multiple_of(INODES_PER_BLOCK)
            .min(blocks)
    }

    fn place_tree(&mut self, tree: Tree, blocks: u64) -> Result<()> {
        let (places, run) = (self.places(), self.run());
        let levels = &mut self.trees[tree.index()];
        let mut blocks = blocks;
        loop {
            let level = levels
                .levels
                .get_mut(levels.count)
                .ok_or(Error::BadArgument)?;
            *level = Level {
                start: self.data_start,
                blocks,
            };
            levels.count += 1;
            self.data_start += places * blocks.next_multiple_of(run);
            if blocks <= TOP_POINTERS_MAX {
                return Ok(());
            }
            blocks = blocks.div_ceil(POINTERS_PER_BLOCK as u64);
        }
    }

    /// The levels of a tree.
    pub fn levels(&self, tree: Tree) -> &[Level] {
        self.trees[tree.index()].all()
    }

    /// Whether protected blocks have two places.
    pub fn has_twins(&self) -> bool {
        self.twin_offset > 0
    }

    /// Blocks of the device that a protected block takes.
    pub fn places(&self) -> u64 {
        if self.has_twins() { 2 } else { 1 }
    }

    /// Left twins of a static area that lie side by side.
    fn run(&self) -> u64 {
        self.twin_offset.max(1)
    }

    /// The block number of the left twin of block `index` of a level.
    pub fn left_twin(&self, level: Level, index: u64) -> u64 {
        debug_assert!(index < level.blocks);
        let run = self.run();
        level.start + index / run * run * self.places() + index % run
    }

    /// Blocks of the data area.
    pub fn data_blocks(&self) -> u64 {
        self.blocks - self.data_start
    }

    /// Whether `block`, with its right twin if it has one, lies in the data area.
    pub fn is_data(&self, block: u64, protected: bool) -> bool {
        let last = block.saturating_add(if protected { self.twin_offset } else { 0 });
        block >= self.data_start && last < self.blocks
    }
}
