//! Tar archives as streams of 512-byte records: never more than one record and one path in memory.
//!
//! ```text
//! header │ data, zero-padded to whole records │ header │ data │ … │ two records of zeros
//! ```
//!
//! Read: V7, POSIX ustar, GNU (`L` and `K` long names, base-256 numbers) and pax (`path`,
//! `linkpath`, `size`, `mtime`, `uid`, `gid`). Written: ustar, with pax headers where a name or a
//! number does not fit. Files, directories, symbolic and hard links; other kinds are told of and
//! passed over. What is malformed or hostile is an error that names the record.
//!
//! *Why not a crate?* Those without `std` want the archive in memory as a whole; ours is a disk.
//!
//! Source: POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Header Block"; GNU tar manual,
//! "Basic Tar Format".

mod error;
mod export;
mod header;
mod import;
mod pax;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

pub use error::{Failure, TarError};
pub use export::{Exported, export};
pub use import::{Imported, import};
pub use reader::Reader;
pub use writer::Writer;

/// Bytes in a record.
pub const RECORD_BYTES: usize = 512;

/// What a member of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, whose data follow.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, to `link`.
    Symlink,
    /// Another name of the member `link`, which came before.
    HardLink,
    /// Something else (device, pipe, …), by its type flag; its data are passed over.
    Other(u8),
}

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path, as in the archive, without slashes at the end.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// For links, where to.
    pub link: Vec<u8>,
    /// Permissions, without the type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of data.
    pub size: u64,
    /// Time of the last change, nanoseconds since the Unix epoch.
    pub modified_ns: u64,
}
