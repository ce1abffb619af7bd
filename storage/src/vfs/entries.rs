//! Directory entries as `readdir` returns them: packed one after the other.
//!
//! ```text
//! inode u64 | kind u8 | name length u8 | name
//! ```

use alloc::vec::Vec;

use super::{Kind, NAME_BYTES_MAX};

const HEADER_BYTES: usize = 10;

/// Most bytes that one entry takes.
pub const ENTRY_BYTES_MAX: usize = HEADER_BYTES + NAME_BYTES_MAX;

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry<'a> {
    /// Inode number.
    pub inode: u64,
    /// What kind of file it names.
    pub kind: Kind,
    /// The name.
    pub name: &'a [u8],
}

/// Appends an entry to `buffer`. A name is at most [`NAME_BYTES_MAX`] long.
pub fn push_entry(buffer: &mut Vec<u8>, entry: DirectoryEntry<'_>) {
    buffer.extend_from_slice(&entry.inode.to_le_bytes());
    buffer.push(match entry.kind {
        Kind::File => 0,
        Kind::Directory => 1,
        Kind::Link => 2,
    });
    let len = entry.name.len().min(NAME_BYTES_MAX);
    buffer.push(len as u8);
    buffer.extend_from_slice(&entry.name[..len]);
}

/// The entries in a buffer that `readdir` filled.
pub struct Entries<'a>(pub &'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = DirectoryEntry<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (inode, rest) = self.0.split_first_chunk::<8>()?;
        let (&[kind, len], rest) = rest.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(len as usize)?;
        self.0 = rest;
        let kind = match kind {
            1 => Kind::Directory,
            2 => Kind::Link,
            _ => Kind::File,
        };
        Some(DirectoryEntry {
            inode: u64::from_le_bytes(*inode),
            kind,
            name,
        })
    }
}
