//! Types of blocks: what rules by type name, and what a block's content gives away.
//!
//! A block of the data area is on the disk before the metadata that says what it is: TwinFS writes
//! bottom up. So at the time of the write the content must tell. Directories begin with their magic; a
//! block of pointers and a block of the mapping have a form that data hardly ever have. When the
//! pointer to the block is written, what it says counts, and not the guess.

use serde::{Deserialize, Serialize};

use crate::BLOCK_BYTES;

/// The type of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A root block.
    Root,
    /// The resynchronisation log.
    Log,
    /// A bitmap, of blocks or of inodes.
    Bitmap,
    /// A block of pointers above a bitmap or the inode table.
    Tree,
    /// Inodes.
    Inode,
    /// An indirect block of a file.
    Indirect,
    /// The logical layer's mapping.
    Mapping,
    /// A directory.
    Directory,
    /// The target of a symbolic link.
    Link,
    /// Everything else: contents of files, and what is free.
    Data,
}

/// All types and their names.
pub const KINDS: [(Kind, &str); 10] = [
    (Kind::Root, "root"),
    (Kind::Log, "log"),
    (Kind::Bitmap, "bitmap"),
    (Kind::Tree, "tree"),
    (Kind::Inode, "inode"),
    (Kind::Indirect, "indirect"),
    (Kind::Mapping, "mapping"),
    (Kind::Directory, "directory"),
    (Kind::Link, "link"),
    (Kind::Data, "data"),
];

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find_map(|&(kind, name)| (kind == self).then_some(name))
            .unwrap_or_default()
    }

    /// The type of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        KINDS
            .iter()
            .find_map(|&(kind, other)| (other == name).then_some(kind))
    }
}

/// Bytes of a pointer to a block.
pub(super) const POINTER_BYTES: usize = 16;

/// A pointer as it is on disk, as far as it says where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    /// The block, or the left one of a pair; not zero.
    pub block: u64,
    /// The right one of the pair was written last.
    pub right: bool,
    /// There is a pair.
    pub pair: bool,
}

impl Pointer {
    /// Reads a pointer: none if it is null, an error if it is no pointer into `blocks`.
    pub fn read(bytes: &[u8], blocks: &core::ops::Range<u64>) -> Result<Option<Self>, NoPointer> {
        let block = u64_at(bytes, 8) & 0xffff_ffff_ffff;
        let (state, zero) = (bytes[14], bytes[15]);
        if block == 0 {
            let null = bytes[..POINTER_BYTES].iter().all(|&byte| byte == 0);
            return if null { Ok(None) } else { Err(NoPointer) };
        }
        if state > 7 || zero != 0 || !blocks.contains(&block) {
            return Err(NoPointer);
        }
        Ok(Some(Self {
            block,
            right: state & 1 != 0,
            pair: state & 4 != 0,
        }))
    }

    /// The block that counts.
    pub fn place(&self, twin_offset: u64) -> u64 {
        self.block + if self.right { twin_offset } else { 0 }
    }
}

/// These bytes are no pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoPointer;

pub(super) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(field)
}

/// What the content of a block of the data area looks like; none if it looks like data.
pub(super) fn guess(content: &[u8], data_area: &core::ops::Range<u64>) -> Option<Kind> {
    if content.len() != BLOCK_BYTES {
        return None;
    }
    if content.starts_with(b"GDIR") {
        Some(Kind::Directory)
    } else if is_mapping(content) {
        Some(Kind::Mapping)
    } else if is_pointers(content, data_area) {
        Some(Kind::Indirect)
    } else {
        None
    }
}

fn is_pointers(content: &[u8], data_area: &core::ops::Range<u64>) -> bool {
    let mut some = false;
    for bytes in content.chunks_exact(POINTER_BYTES) {
        match Pointer::read(bytes, data_area) {
            Ok(pointer) => some |= pointer.is_some(),
            Err(NoPointer) => return false,
        }
    }
    some
}

fn is_mapping(content: &[u8]) -> bool {
    const ENTRY_BYTES: usize = 64;
    if content.starts_with(b"GalagoMa") {
        return true;
    }
    let mut some = false;
    for entry in content.chunks_exact(ENTRY_BYTES) {
        let unused = entry.iter().all(|&byte| byte == 0);
        let used = entry[0] == 1
            && entry[1] <= 1
            && entry[2] <= 1
            && (1..=6).contains(&entry[3])
            && entry[10..16].iter().all(|&byte| byte == 0)
            && u64_at(entry, 16) != 0;
        if !unused && !used {
            return false;
        }
        some |= used;
    }
    some
}
