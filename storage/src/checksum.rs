//! Checksums of blocks: which algorithms there are, and one way to compute them.
//!
//! The algorithm is a field of the on-disk format, chosen when a volume is made. A block's checksum
//! is computed once, by the layer that has the data in its own memory, and carried along.

use serde::{Deserialize, Serialize};

/// How a volume's blocks are checksummed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// XXH64 with seed zero: the fastest in software, all 64 bits used.
    #[default]
    Xxh64,
    /// CRC-32C (Castagnoli), zero-extended to 64 bits.
    Crc32c,
}

/// The checksum of one block, [`crate::BLOCK_BYTES`] of data, zero-padded where a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum(pub u64);

static CRC32C: crc::Crc<u32, crc::Table<16>> =
    crc::Crc::<u32, crc::Table<16>>::new(&crc::CRC_32_ISCSI);

impl Algorithm {
    /// The checksum of `data`.
    #[must_use]
    pub fn of(self, data: &[u8]) -> Checksum {
        Checksum(match self {
            Self::Xxh64 => xxhash_rust::xxh64::xxh64(data, 0),
            Self::Crc32c => u64::from(CRC32C.checksum(data)),
        })
    }

    /// The number that stands for the algorithm on disk.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Xxh64 => 1,
            Self::Crc32c => 2,
        }
    }

    /// The algorithm of an on-disk number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Xxh64),
            2 => Some(Self::Crc32c),
            _ => None,
        }
    }
}
