//! The root block: one checkpoint, whole.
//!
//! ```text
//!   0    magic "GalTwnFS"          80   free blocks u64
//!   8    self-checksum u64         88   free inodes u64
//!   16   version u32               96   zeros u64
//!   20   checksum algorithm u32    104  data area: first block u64
//!   24   volume u128               112  8 pointers to the top of the inode bitmap's tree
//!   40   index u32                 240  8 pointers to the top of the block bitmap's tree
//!   44   stores u32                368  8 pointers to the top of the inode table's tree
//!   48   twin offset u32           496  zeros
//!   52   present u32
//!   56   timestamp u64
//!   64   blocks u64
//!   72   inodes u64
//! ```
//!
//! All of it is in the first 512 bytes, which a disk writes whole or not at all: a power failure cannot
//! tear a root block, only leave the old one. The self-checksum is over the whole block with its own
//! field as zeros. The first block of the data area follows from the numbers before it: a reader of
//! another version that would compute another place finds out before it reads one.

use super::{
    layout::{Layout, ROOT_BLOCKS, TOP_POINTERS_MAX, TREES},
    pointer::{POINTER_BYTES, Pointer},
    record::Base,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    checksum::{Algorithm, Checksum},
    file::{Checkpoint, StoreInfo, Timestamp},
};

/// What a TwinFS root block begins with.
pub const MAGIC: [u8; 8] = *b"GalTwnFS";
/// The version of the format that this code reads and writes.
pub const VERSION: u32 = 1;

const CHECKSUM: usize = 8;
const DATA_START: usize = 104;
const TOPS: usize = 112;
/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
const _: () = assert!(TOPS + TOP_COUNT * POINTER_BYTES <= SECTOR_BYTES);
/// Most stores of a volume: a checkpoint has one bit for each.
pub const STORES_MAX: u32 = 32;
/// Pointers in the root block: 8 for each of the three trees.
pub const TOP_COUNT: usize = 3 * TOP_POINTERS_MAX as usize;

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The volume that the store is a part of.
    pub volume: u128,
    /// Which part.
    pub index: u32,
    /// How many parts.
    pub stores: u32,
    /// How blocks are checksummed, the root block too.
    pub algorithm: Algorithm,
    /// Which checkpoint this is.
    pub checkpoint: Checkpoint,
    /// Where everything is.
    pub layout: Layout,
    /// Blocks of the data area that are free.
    pub blocks_free: u64,
    /// Inodes that are free.
    pub inodes_free: u64,
    /// The tops of the three static trees.
    pub tops: [Pointer; TOP_COUNT],
}

/// Why a block is not a root block that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoot {
    /// It is all zeros: erased, or never written.
    Zeros,
    /// It is something else: what another format has there, by name.
    Foreign(&'static str),
    /// It is nothing that is known. It may have been one.
    Unknown,
    /// It is one of another version.
    Version,
    /// It is one of a volume with twins where there should be none, or the other way round.
    Twins,
    /// It is one, damaged.
    Damaged,
    /// The device cannot read it.
    Unreadable,
}

struct Fields<'a>(&'a [u8; BLOCK_BYTES]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.0[offset..offset + N]);
        field
    }
    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }
    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.bytes(offset))
    }
}

impl Root {
    /// The place of this checkpoint's root block.
    pub fn place(timestamp: Timestamp) -> u64 {
        ROOT_BLOCKS[(timestamp.0 % 2) as usize]
    }

    /// What the log blocks that belong to this checkpoint say; `encoded` is its block.
    pub fn base(&self, encoded: &[u8; BLOCK_BYTES]) -> Base {
        Base {
            timestamp: self.checkpoint.timestamp,
            root: Checksum(Fields(encoded).u64(CHECKSUM)),
        }
    }

    /// What the store is, as far as one root says.
    pub fn info(&self, previous: Option<Checkpoint>, finished: bool) -> StoreInfo {
        StoreInfo {
            volume: self.volume,
            index: self.index,
            stores: self.stores,
            algorithm: self.algorithm,
            newest: self.checkpoint,
            previous,
            finished,
        }
    }

    /// The block as it is on disk.
    pub fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let mut put = |offset: usize, field: &[u8]| {
            block[offset..offset + field.len()].copy_from_slice(field);
        };
        put(0, &MAGIC);
        put(16, &VERSION.to_le_bytes());
        put(20, &self.algorithm.number().to_le_bytes());
        put(24, &self.volume.to_le_bytes());
        put(40, &self.index.to_le_bytes());
        put(44, &self.stores.to_le_bytes());
        put(48, &(self.layout.twin_offset as u32).to_le_bytes());
        put(52, &self.checkpoint.present.to_le_bytes());
        put(56, &self.checkpoint.timestamp.0.to_le_bytes());
        put(64, &self.layout.blocks.to_le_bytes());
        put(72, &self.layout.inodes.to_le_bytes());
        put(80, &self.blocks_free.to_le_bytes());
        put(88, &self.inodes_free.to_le_bytes());
        put(DATA_START, &self.layout.data_start.to_le_bytes());
        for (number, pointer) in self.tops.iter().enumerate() {
            put(TOPS + number * POINTER_BYTES, &pointer.encode());
        }
        let sum = self.algorithm.of(&block);
        block[CHECKSUM..CHECKSUM + 8].copy_from_slice(&sum.0.to_le_bytes());
        block
    }

    /// Decodes a block that may be anything, read from a device of `device_blocks`.
    pub fn decode(
        block: &[u8; BLOCK_BYTES],
        device_blocks: u64,
    ) -> core::result::Result<Self, NoRoot> {
        let fields = Fields(block);
        if fields.bytes::<8>(0) != MAGIC {
            let zeros = block.iter().all(|&byte| byte == 0);
            return Err(if zeros {
                NoRoot::Zeros
            } else {
                NoRoot::Unknown
            });
        }
        if fields.u32(16) != VERSION {
            return Err(NoRoot::Version);
        }
        Self::decode_fields(&fields, device_blocks).map_err(|_| NoRoot::Damaged)
    }

    fn decode_fields(fields: &Fields<'_>, device_blocks: u64) -> Result<Self> {
        let algorithm = Algorithm::from_number(fields.u32(20)).ok_or(Error::Corrupt)?;
        let mut unsigned = *fields.0;
        unsigned[CHECKSUM..CHECKSUM + 8].fill(0);
        if algorithm.of(&unsigned).0 != fields.u64(CHECKSUM) {
            return Err(Error::Corrupt);
        }
        let layout = Layout::new(fields.u64(64), fields.u64(72), fields.u32(48).into())?;
        let mut tops = [Pointer::default(); TOP_COUNT];
        for (number, top) in tops.iter_mut().enumerate() {
            *top = Pointer::at(fields.0, TOPS + number * POINTER_BYTES)?;
        }
        let root = Self {
            volume: u128::from_le_bytes(fields.bytes(24)),
            index: fields.u32(40),
            stores: fields.u32(44),
            algorithm,
            checkpoint: Checkpoint {
                timestamp: Timestamp(fields.u64(56)),
                present: fields.u32(52),
            },
            blocks_free: fields.u64(80),
            inodes_free: fields.u64(88),
            layout,
            tops,
        };
        // Everything else follows from what was read: the data area's place, zeros and all.
        let consistent = root.layout.blocks <= device_blocks
            && (1..=STORES_MAX).contains(&root.stores)
            && root.index < root.stores
            && root.blocks_free <= root.layout.data_blocks()
            && root.inodes_free < root.layout.inodes
            && root.tops_are_in_place()
            && root.encode() == *fields.0;
        if consistent {
            Ok(root)
        } else {
            Err(Error::Corrupt)
        }
    }

    fn tops_are_in_place(&self) -> bool {
        TREES.iter().all(|&tree| {
            let top = self.layout.levels(tree).last().copied().unwrap_or_default();
            let first = tree.index() * TOP_POINTERS_MAX as usize;
            (0..TOP_POINTERS_MAX).all(|index| {
                let pointer = self.tops[first + index as usize];
                let in_place = index < top.blocks
                    && pointer.protected
                    && pointer.block == self.layout.left_twin(top, index);
                pointer.is_null() || in_place
            })
        })
    }
}
