//! TwinFS on disk, implemented a second time, from `docs/formats/twinfs.md` alone: an oracle shares no code
//! with what it judges. It trusts nothing: whatever is in a block, it says what it found or that it is none.

mod layout;
mod log;
mod root;
mod tree;

pub use layout::{Area, Layout};
pub use log::{LOG_BLOCKS, LogBlock, Record};
pub use root::{Algorithm, ROOT_PLACES, Root, RootPlace, seal};
pub use tree::{Child, Kind, Pointer, children, tops};

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 4096;

/// The contents of a block.
pub type Block = [u8; BLOCK_BYTES];

/// Bytes of an inode.
pub const INODE_BYTES: usize = 512;

/// Bytes of a pointer.
pub const POINTER_BYTES: usize = 16;

/// The little-endian number at a place.
#[must_use]
pub fn u64_at(block: &[u8], at: usize) -> u64 {
    number(block, at, 8)
}

/// The little-endian number at a place.
#[must_use]
pub fn u32_at(block: &[u8], at: usize) -> u32 {
    number(block, at, 4) as u32
}

fn number(block: &[u8], at: usize, bytes: usize) -> u64 {
    let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    block[at..at + bytes].iter().rev().fold(0, fold)
}
