//! Inodes: the attributes of a physical file and the roots of its tree of blocks.
//!
//! ```text
//!   0    mode u32        40   modified_ns u64
//!   4    uid u32         48   changed_ns u64
//!   8    gid u32         56   logical u64
//!   12   links u32       64   state u8: 0 free, 1 in use
//!   16   size u64        65   redundancy u8: 0 mirror, 1 single
//!   24   blocks u64      66   protected u8: 0 or 1
//!   32   accessed_ns u64 67   zeros
//!   128  20 direct pointers, then single, double, triple, quadruple indirect    512
//! ```

use super::pointer::POINTER_BYTES;
use crate::{
    Error, Result,
    file::{Attributes, Class, FileNumber, Redundancy},
};

/// Offset of the first pointer.
pub const POINTERS_OFFSET: usize = 128;
/// Pointers to data blocks in the inode itself.
pub const DIRECT: usize = 20;
/// Pointers to trees of indirect blocks, of height one to four.
pub const INDIRECT: usize = 4;
/// Pointers in an inode.
pub const INODE_POINTERS: usize = DIRECT + INDIRECT;

const STATE: usize = 64;
const REDUNDANCY: usize = 65;
const PROTECTED: usize = 66;
const FREE: u8 = 0;
const IN_USE: u8 = 1;

/// Offset of pointer `index` in the inode.
pub fn pointer_offset(index: usize) -> usize {
    POINTERS_OFFSET + index * POINTER_BYTES
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(field)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(field)
}

/// The attributes in an inode, `None` if it is free.
pub fn decode(bytes: &[u8]) -> Result<Option<Attributes>> {
    match bytes[STATE] {
        FREE => return Ok(None),
        IN_USE => {}
        _ => return Err(Error::Corrupt),
    }
    let redundancy = match bytes[REDUNDANCY] {
        0 => Redundancy::Mirror,
        1 => Redundancy::Single,
        _ => return Err(Error::Corrupt),
    };
    if bytes[PROTECTED] > 1 {
        return Err(Error::Corrupt);
    }
    Ok(Some(Attributes {
        class: Class {
            redundancy,
            protected: bytes[PROTECTED] == 1,
        },
        mode: u32_at(bytes, 0),
        uid: u32_at(bytes, 4),
        gid: u32_at(bytes, 8),
        links: u32_at(bytes, 12),
        size: u64_at(bytes, 16),
        blocks: u64_at(bytes, 24),
        accessed_ns: u64_at(bytes, 32),
        modified_ns: u64_at(bytes, 40),
        changed_ns: u64_at(bytes, 48),
        logical: FileNumber(u64_at(bytes, 56)),
    }))
}

/// Writes the attributes into an inode and marks it in use; the pointers stay.
pub fn encode(attributes: &Attributes, bytes: &mut [u8]) {
    let mut put = |offset: usize, field: &[u8]| {
        bytes[offset..offset + field.len()].copy_from_slice(field);
    };
    put(0, &attributes.mode.to_le_bytes());
    put(4, &attributes.uid.to_le_bytes());
    put(8, &attributes.gid.to_le_bytes());
    put(12, &attributes.links.to_le_bytes());
    put(16, &attributes.size.to_le_bytes());
    put(24, &attributes.blocks.to_le_bytes());
    put(32, &attributes.accessed_ns.to_le_bytes());
    put(40, &attributes.modified_ns.to_le_bytes());
    put(48, &attributes.changed_ns.to_le_bytes());
    put(56, &attributes.logical.0.to_le_bytes());
    bytes[STATE] = IN_USE;
    bytes[REDUNDANCY] = match attributes.class.redundancy {
        Redundancy::Mirror => 0,
        Redundancy::Single => 1,
    };
    bytes[PROTECTED] = attributes.class.protected.into();
}
