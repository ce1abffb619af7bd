//! The resynchronisation log: what is overwritten in place, announced.

use super::{
    Block,
    root::{Root, is_sealed},
    u32_at, u64_at,
};

/// Blocks of the log; the first is block 1 of the device.
pub const LOG_BLOCKS: std::ops::RangeInclusive<u64> = 1..=255;

const MAGIC: &[u8; 8] = b"GalTwnLg";
const RECORDS: usize = 40;
const RECORD_BYTES: usize = 24;
const RECORDS_MAX: usize = 169;

/// A block of data gets other contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The physical file.
    pub file: u64,
    /// Which block of it.
    pub block: u64,
    /// What it is overwritten with.
    pub sum: u64,
}

/// A block of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogBlock {
    /// Its records.
    pub records: Vec<Record>,
}

impl LogBlock {
    /// Reads the block at `place` as one that belongs to the checkpoint of `root`.
    #[must_use]
    pub fn read(block: &Block, place: u64, root: &Root) -> Option<Self> {
        let count = u32_at(block, 36) as usize;
        let ours = block[..8] == *MAGIC
            && is_sealed(block, root.algorithm)
            && u64_at(block, 16) == root.timestamp
            && u64_at(block, 24) == root.sum
            && u64::from(u32_at(block, 32)) + LOG_BLOCKS.start() == place
            && (1..=RECORDS_MAX).contains(&count);
        if !ours {
            return None;
        }
        let record = |number| {
            let at = RECORDS + number * RECORD_BYTES;
            Record {
                file: u32_at(block, at).into(),
                block: u32_at(block, at + 4).into(),
                sum: u64_at(block, at + 8),
            }
        };
        Some(Self {
            records: (0..count).map(record).collect(),
        })
    }
}
