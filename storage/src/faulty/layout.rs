//! Where TwinFS keeps what, read from a root block: a reader of the format of its own
//! (docs/formats/twinfs.md), so that the filter needs no hint from the store that it damages.

use alloc::vec::Vec;
use core::ops::Range;

use super::kind::{Kind, POINTER_BYTES, u64_at};
use crate::{BLOCK_BYTES, checksum::Algorithm};

/// The two places of the root block.
pub const ROOTS: [u64; 2] = [0, 256];
const AREAS_START: u64 = 257;
const TWIN_OFFSET_MAX: u64 = 256;
const BITS_PER_BLOCK: u64 = BLOCK_BYTES as u64 * 8;
const POINTERS_PER_BLOCK: u64 = (BLOCK_BYTES / POINTER_BYTES) as u64;
const INODES_PER_BLOCK: u64 = 8;
const TOPS_PER_TREE: u64 = 8;
/// Where in the root block the pointers to the top of the inode table's tree are.
const INODE_TOPS: usize = 368;

/// One level of a static tree.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Area {
    blocks: Range<u64>,
    kind: Kind,
}

/// Where everything is in a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What names the volume.
    pub volume: [u8; 16],
    /// Which checkpoint the root is.
    pub timestamp: u64,
    /// Blocks between twins.
    pub twin_offset: u64,
    /// The data area.
    pub data: Range<u64>,
    /// Levels of the inode table's tree.
    pub inode_levels: u32,
    areas: Vec<Area>,
}

impl Layout {
    /// Reads a root block that may be anything; none if it is no whole one, on a disk of so many
    /// blocks.
    pub fn read(root: &[u8], device_blocks: u64) -> Option<Self> {
        if root.len() != BLOCK_BYTES || !root.starts_with(b"GalTwnFS") {
            return None;
        }
        let u32_at = |offset: usize| u64_at(root, offset) & 0xffff_ffff;
        let algorithm = Algorithm::from_number(u32_at(20) as u32)?;
        let mut unsigned = root.to_vec();
        unsigned[8..16].fill(0);
        if algorithm.of(&unsigned).0 != u64_at(root, 8) {
            return None;
        }
        let (blocks, inodes, twin_offset) = (u64_at(root, 64), u64_at(root, 72), u32_at(48));
        let bounded = blocks <= device_blocks
            && (1..=blocks).contains(&inodes)
            && (1..=TWIN_OFFSET_MAX).contains(&twin_offset);
        if !bounded {
            return None;
        }
        let mut volume = [0; 16];
        volume.copy_from_slice(&root[24..40]);
        let mut layout = Self {
            volume,
            timestamp: u64_at(root, 56),
            twin_offset,
            data: AREAS_START..blocks,
            inode_levels: 0,
            areas: Vec::new(),
        };
        layout.place(Kind::Bitmap, inodes.div_ceil(BITS_PER_BLOCK));
        layout.place(Kind::Bitmap, blocks.div_ceil(BITS_PER_BLOCK));
        layout.inode_levels = layout.place(Kind::Inode, inodes.div_ceil(INODES_PER_BLOCK));
        (layout.data.start < blocks && layout.data.start == u64_at(root, 104)).then_some(layout)
    }

    /// Places the levels of a tree, the lowest first; returns how many there are.
    fn place(&mut self, kind: Kind, blocks: u64) -> u32 {
        let (mut blocks, mut kind, mut levels) = (blocks, kind, 0);
        loop {
            let start = self.data.start;
            self.data.start += 2 * blocks.next_multiple_of(self.twin_offset);
            self.areas.push(Area {
                blocks: start..self.data.start,
                kind,
            });
            levels += 1;
            if blocks <= TOPS_PER_TREE {
                return levels;
            }
            (blocks, kind) = (blocks.div_ceil(POINTERS_PER_BLOCK), Kind::Tree);
        }
    }

    /// The type of a block outside the data area; none for one in it.
    pub fn fixed(&self, block: u64) -> Option<Kind> {
        if ROOTS.contains(&block) {
            return Some(Kind::Root);
        }
        if block < AREAS_START {
            return Some(Kind::Log);
        }
        let mut areas = self.areas.iter();
        areas
            .find(|area| area.blocks.contains(&block))
            .map(|area| area.kind)
    }

    /// The blocks of the static areas, where the pointers of their trees lead to.
    pub fn areas(&self) -> Range<u64> {
        AREAS_START..self.data.start
    }

    /// The number of the first inode in a block of the inode table.
    pub fn first_inode(&self, block: u64) -> u64 {
        let table = self.areas.iter().find(|area| area.kind == Kind::Inode);
        let offset = table.map_or(0, |area| block.saturating_sub(area.blocks.start));
        let run = 2 * self.twin_offset;
        let index = offset / run * self.twin_offset + offset % run % self.twin_offset;
        index * INODES_PER_BLOCK
    }

    /// The pointers of the root block to the top of the inode table's tree.
    pub fn inode_tops(root: &[u8]) -> &[u8] {
        &root[INODE_TOPS..INODE_TOPS + TOPS_PER_TREE as usize * POINTER_BYTES]
    }
}
