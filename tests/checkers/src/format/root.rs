//! The root block.

use super::{Block, layout::Layout, u32_at, u64_at};

/// Where the root blocks are; a checkpoint's is at its timestamp modulo two.
pub const ROOT_PLACES: [u64; 2] = [0, 256];

const MAGIC: &[u8; 8] = b"GalTwnFS";
const VERSION: u32 = 1;
const SUM: std::ops::Range<usize> = 8..16;

/// How blocks are checksummed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// XXH64, seed 0.
    Xxh64,
    /// CRC-32C.
    Crc32c,
}

impl Algorithm {
    /// The checksum of bytes.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> u64 {
        match self {
            Self::Xxh64 => xxhash_rust::xxh64::xxh64(bytes, 0),
            Self::Crc32c => u64::from(crc32c(bytes)),
        }
    }
}

/// Bit by bit: slow, and plainly what the polynomial says.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(u32::MAX, byte)
}

/// What is at the place of a root block.
#[derive(Clone, Debug)]
pub enum RootPlace {
    /// Nothing: it was erased, or never written.
    Zeros,
    /// Neither zeros nor a root; why.
    Bad(&'static str),
    /// A checkpoint.
    Root(Box<Root>),
    /// A copy of the root of a checkpoint, over that of the one before: all who took part have it.
    Copy(Box<Root>),
}

/// A checkpoint.
#[derive(Clone, Debug)]
pub struct Root {
    /// How the volume's blocks are checksummed.
    pub algorithm: Algorithm,
    /// Its own checksum: what names it.
    pub sum: u64,
    /// When it was taken.
    pub timestamp: u64,
    /// Stores that took part, a bit each.
    pub present: u32,
    /// Where everything is.
    pub layout: Layout,
    /// The block it was read from.
    pub block: Box<Block>,
}

/// The checksum that a block with its own checksum at bytes 8 to 15 must have there.
fn own_sum(block: &Block, algorithm: Algorithm) -> u64 {
    let mut unsigned = *block;
    unsigned[SUM].fill(0);
    algorithm.of(&unsigned)
}

impl Root {
    /// Reads a block that was found at `place`.
    #[must_use]
    pub fn read(block: &Block, place: u64) -> RootPlace {
        if block.iter().all(|&byte| byte == 0) {
            return RootPlace::Zeros;
        }
        match Self::parse(block) {
            Ok(root) if ROOT_PLACES[(root.timestamp % 2) as usize] == place => {
                RootPlace::Root(Box::new(root))
            }
            Ok(root) => RootPlace::Copy(Box::new(root)),
            Err(why) => RootPlace::Bad(why),
        }
    }

    fn parse(block: &Block) -> Result<Self, &'static str> {
        if block[..8] != *MAGIC {
            return Err("no magic of a root block");
        }
        if u32_at(block, 16) != VERSION {
            return Err("another version");
        }
        let algorithm = match u32_at(block, 20) {
            1 => Algorithm::Xxh64,
            2 => Algorithm::Crc32c,
            _ => return Err("an unknown checksum"),
        };
        let sum = u64_at(block, SUM.start);
        if own_sum(block, algorithm) != sum {
            return Err("a root block whose checksum does not hold");
        }
        let layout = Layout::new(
            u64_at(block, 64),
            u64_at(block, 72),
            u32_at(block, 48).into(),
        );
        let layout = layout.ok_or("a root block of a volume that cannot be")?;
        if u64_at(block, 104) != layout.data_start {
            return Err("a root block with the data area elsewhere");
        }
        Ok(Self {
            algorithm,
            sum,
            timestamp: u64_at(block, 56),
            present: u32_at(block, 52),
            layout,
            block: Box::new(*block),
        })
    }
}

/// Puts a root or log block's own checksum right.
pub fn seal(block: &mut Block, algorithm: Algorithm) {
    let sum = own_sum(block, algorithm);
    block[SUM].copy_from_slice(&sum.to_le_bytes());
}

/// Whether a block's own checksum is right.
pub fn is_sealed(block: &Block, algorithm: Algorithm) -> bool {
    u64_at(block, SUM.start) == own_sum(block, algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_their_standards() {
        assert_eq!(Algorithm::Crc32c.of(b"123456789"), 0xe306_9283);
        assert_eq!(Algorithm::Xxh64.of(b""), 0xef46_db37_51d8_e999);
    }
}
