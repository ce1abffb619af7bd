//! Safe block pointers: where a block is, which of its twins counts, and what it must contain.
//!
//! ```text
//!   0        8              14     15    16
//!   +--------+--------------+------+-----+
//!   |checksum| block number | state|  0  |
//!   +--------+--------------+------+-----+
//!                             bit 0  the right twin was written last
//!                             bit 1  modified since the last checkpoint
//!                             bit 2  protected: the block is a pair of twins
//! ```
//!
//! All zeros is the null pointer: a hole in a file, a block of a static area never written.
//!
//! *Modified* says something only while the block that holds the pointer is itself modified; the
//! first modification of that block after a checkpoint clears the bit in all its pointers. So a
//! checkpoint clears no bits anywhere (paper, section IV-A).

use super::layout::TWIN_OFFSET_MAX;
use crate::{Error, Result, checksum::Checksum};

/// Bytes of an encoded pointer.
pub const POINTER_BYTES: usize = 16;
/// Pointers in a block.
pub const POINTERS_PER_BLOCK: usize = crate::BLOCK_BYTES / POINTER_BYTES;

const RIGHT: u8 = 1;
const MODIFIED: u8 = 2;
const PROTECTED: u8 = 4;

/// A safe block pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The block, or the left twin of a pair. Zero in the null pointer only.
    pub block: u64,
    /// Which twin was written last.
    pub right: bool,
    /// Whether that was since the last checkpoint.
    pub modified: bool,
    /// Whether there are twins.
    pub protected: bool,
    /// What the block must contain.
    pub checksum: Checksum,
}

impl Default for Pointer {
    /// The null pointer.
    fn default() -> Self {
        Self {
            block: 0,
            right: false,
            modified: false,
            protected: false,
            checksum: Checksum(0),
        }
    }
}

impl Pointer {
    /// The pointer to a pair of twins that nobody has written yet; the left is to be written first.
    pub fn new_pair(block: u64) -> Self {
        Self {
            block,
            modified: true,
            protected: true,
            ..Self::default()
        }
    }

    /// Whether this is the null pointer.
    pub fn is_null(&self) -> bool {
        self.block == 0
    }

    /// The block number of the twin that counts.
    pub fn place(&self, twin_offset: u64) -> u64 {
        debug_assert!(twin_offset <= TWIN_OFFSET_MAX);
        self.block + if self.right { twin_offset } else { 0 }
    }

    /// The pointer as it is on disk.
    pub fn encode(&self) -> [u8; POINTER_BYTES] {
        let mut bytes = [0; POINTER_BYTES];
        bytes[..8].copy_from_slice(&self.checksum.0.to_le_bytes());
        bytes[8..14].copy_from_slice(&self.block.to_le_bytes()[..6]);
        bytes[14] = if self.right { RIGHT } else { 0 }
            | if self.modified { MODIFIED } else { 0 }
            | if self.protected { PROTECTED } else { 0 };
        bytes
    }

    /// Decodes; [`Error::Corrupt`] if an unknown bit is set or a null pointer says something.
    /// Whether the block number makes sense is for the caller to check.
    pub fn decode(bytes: &[u8; POINTER_BYTES]) -> Result<Self> {
        let [sum @ .., b0, b1, b2, b3, b4, b5, state, zero] = *bytes;
        let pointer = Self {
            block: u64::from_le_bytes([b0, b1, b2, b3, b4, b5, 0, 0]),
            right: state & RIGHT != 0,
            modified: state & MODIFIED != 0,
            protected: state & PROTECTED != 0,
            checksum: Checksum(u64::from_le_bytes(sum)),
        };
        let unknown = state & !(RIGHT | MODIFIED | PROTECTED) != 0 || zero != 0;
        let right_of_none = pointer.right && !pointer.protected;
        let null_with_contents = pointer.is_null() && pointer != Self::default();
        if unknown || right_of_none || null_with_contents {
            return Err(Error::Corrupt);
        }
        Ok(pointer)
    }

    /// Decodes the pointer at `offset` of a block.
    pub fn at(content: &[u8], offset: usize) -> Result<Self> {
        let bytes = content
            .get(offset..offset + POINTER_BYTES)
            .ok_or(Error::Corrupt)?;
        Self::decode(bytes.try_into().map_err(|_| Error::Corrupt)?)
    }

    /// Encodes to `offset` of a block.
    pub fn put(&self, content: &mut [u8], offset: usize) {
        content[offset..offset + POINTER_BYTES].copy_from_slice(&self.encode());
    }

    /// Clears the modified bit of the encoded pointer at `offset`, whatever else is in it.
    pub fn clear_modified(content: &mut [u8], offset: usize) {
        content[offset + 14] &= !MODIFIED;
    }

    /// Whether the encoded pointer at `offset` is null, by its block number alone.
    pub fn is_null_at(content: &[u8], offset: usize) -> bool {
        content[offset + 8..offset + 14] == [0; 6]
    }
}
