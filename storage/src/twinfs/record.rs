//! Blocks of the resynchronisation log: checksum records, gathered (paper, section V-C).
//!
//! ```text
//!   0    magic "GalTwnLg"              a record, 24 bytes:
//!   8    self-checksum u64               0    file u32, physical
//!   16   timestamp u64                   4    block u32, of the file
//!   24   root's checksum u64             8    checksum u64, of the new contents
//!   32   position u32                    16   version u32
//!   36   records u32, 1 to 169           20   oldest u32
//!   40   the records, then zeros
//! ```
//!
//! A log block counts only for the checkpoint whose root block has this timestamp and this checksum,
//! and only at its own position. As a root's checksum is that of the volume's name and of the
//! whole state, through the parental checksums, no block of an earlier checkpoint, of another
//! volume or of an abandoned checkpoint of the same timestamp is taken for one of now.

use super::layout::{LOG_BLOCKS, LOG_START};
use crate::{
    BLOCK_BYTES,
    checksum::{Algorithm, Checksum},
    file::Timestamp,
};

const MAGIC: [u8; 8] = *b"GalTwnLg";
const CHECKSUM: usize = 8;
const RECORDS: usize = 40;
const RECORD_BYTES: usize = 24;
/// Records in a log block.
pub const RECORDS_PER_BLOCK: usize = (BLOCK_BYTES - RECORDS) / RECORD_BYTES;

/// Which checkpoint a log block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// The checkpoint's timestamp.
    pub timestamp: Timestamp,
    /// The checksum that its root block has of itself.
    pub root: Checksum,
}

/// What is written down before a block is overwritten in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The physical file.
    pub file: u32,
    /// The block of the file.
    pub block: u32,
    /// What the block is about to contain.
    pub checksum: Checksum,
    /// Counts the contents that were announced for this block since the checkpoint, from 1; what the
    /// checkpoint has is version 0.
    pub version: u32,
    /// Versions below this one were no longer on the medium when the record was written.
    pub oldest: u32,
}

impl Record {
    /// Which block it is of.
    pub fn key(&self) -> (u32, u32) {
        (self.file, self.block)
    }
}

/// The block of the device where the log block at `position` is.
pub fn place(position: u64) -> u64 {
    debug_assert!(position < LOG_BLOCKS);
    LOG_START + position
}

/// The log block with these records, at most [`RECORDS_PER_BLOCK`].
pub fn encode(
    algorithm: Algorithm,
    base: Base,
    position: u64,
    records: &[Record],
) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |offset: usize, field: &[u8]| {
        block[offset..offset + field.len()].copy_from_slice(field);
    };
    put(0, &MAGIC);
    put(16, &base.timestamp.0.to_le_bytes());
    put(24, &base.root.0.to_le_bytes());
    put(32, &(position as u32).to_le_bytes());
    put(36, &(records.len() as u32).to_le_bytes());
    for (index, record) in records.iter().enumerate() {
        let at = RECORDS + index * RECORD_BYTES;
        put(at, &record.file.to_le_bytes());
        put(at + 4, &record.block.to_le_bytes());
        put(at + 8, &record.checksum.0.to_le_bytes());
        put(at + 16, &record.version.to_le_bytes());
        put(at + 20, &record.oldest.to_le_bytes());
    }
    let sum = algorithm.of(&block);
    block[CHECKSUM..CHECKSUM + 8].copy_from_slice(&sum.0.to_le_bytes());
    block
}

/// The records of a block that may be anything; `None` if it is no log block of this checkpoint and
/// position. The order of the tests is by cost: most blocks fail the first.
pub fn decode(
    algorithm: Algorithm,
    base: Base,
    position: u64,
    block: &[u8; BLOCK_BYTES],
) -> Option<impl Iterator<Item = Record>> {
    let u32_at = move |offset: usize| u32::from_le_bytes(field(block, offset));
    let u64_at = move |offset: usize| u64::from_le_bytes(field(block, offset));
    let count = u32_at(36) as usize;
    let ours = block[..8] == MAGIC
        && u64_at(16) == base.timestamp.0
        && u64_at(24) == base.root.0
        && u64::from(u32_at(32)) == position
        && (1..=RECORDS_PER_BLOCK).contains(&count);
    if !ours {
        return None;
    }
    let mut unsigned = *block;
    unsigned[CHECKSUM..CHECKSUM + 8].fill(0);
    if algorithm.of(&unsigned).0 != u64_at(CHECKSUM) {
        return None;
    }
    Some((0..count).map(move |index| {
        let at = RECORDS + index * RECORD_BYTES;
        Record {
            file: u32_at(at),
            block: u32_at(at + 4),
            checksum: Checksum(u64_at(at + 8)),
            version: u32_at(at + 16),
            oldest: u32_at(at + 20),
        }
    }))
}

fn field<const N: usize>(block: &[u8; BLOCK_BYTES], offset: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&block[offset..offset + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Base = Base {
        timestamp: Timestamp(0x0102),
        root: Checksum(0x0304),
    };

    /// The bytes are a format: they must not change when the code does.
    #[test]
    fn a_log_block_has_the_documented_bytes() {
        let record = Record {
            file: 5,
            block: 6,
            checksum: Checksum(7),
            version: 8,
            oldest: 9,
        };
        let block = encode(Algorithm::Xxh64, BASE, 10, &[record]);
        let mut expected = [0; BLOCK_BYTES];
        expected[..8].copy_from_slice(b"GalTwnLg");
        expected[16..18].copy_from_slice(&[2, 1]);
        expected[24..26].copy_from_slice(&[4, 3]);
        for (at, value) in [
            (32, 10),
            (36, 1),
            (40, 5),
            (44, 6),
            (48, 7),
            (56, 8),
            (60, 9),
        ] {
            expected[at] = value;
        }
        let sum = Algorithm::Xxh64.of(&expected);
        expected[8..16].copy_from_slice(&sum.0.to_le_bytes());
        assert_eq!(block, expected);
        let found = decode(Algorithm::Xxh64, BASE, 10, &block).unwrap();
        assert!(found.eq([record]));
        assert_eq!(RECORDS_PER_BLOCK, 169);
    }

    #[test]
    fn a_block_of_another_checkpoint_place_or_content_is_none() {
        let record = Record {
            file: 5,
            block: 6,
            checksum: Checksum(7),
            version: 8,
            oldest: 9,
        };
        let sound = encode(Algorithm::Xxh64, BASE, 10, &[record; RECORDS_PER_BLOCK]);
        let refused = |base: Base, position: u64, block: &[u8; BLOCK_BYTES]| {
            decode(Algorithm::Xxh64, base, position, block).is_none()
        };
        assert!(!refused(BASE, 10, &sound));
        let later = Base {
            timestamp: Timestamp(0x0103),
            ..BASE
        };
        let other = Base {
            root: Checksum(0x0305),
            ..BASE
        };
        assert!(refused(later, 10, &sound) && refused(other, 10, &sound));
        assert!(refused(BASE, 11, &sound));
        for at in (0..BLOCK_BYTES).step_by(61) {
            let mut torn = sound;
            torn[at] ^= 1;
            assert!(refused(BASE, 10, &torn), "byte {at}");
        }
        // A count beyond the block, with a checksum that fits.
        let mut forged = sound;
        forged[36..40].copy_from_slice(&u32::MAX.to_le_bytes());
        forged[8..16].fill(0);
        let sum = Algorithm::Xxh64.of(&forged);
        forged[8..16].copy_from_slice(&sum.0.to_le_bytes());
        assert!(refused(BASE, 10, &forged));
    }
}
