//! What applications call: paths and descriptors, with POSIX semantics.
//!
//! Naming implements [`FileSystem`] for each of its clients; [`Client`] implements it over a
//! transport, so that an application written against the trait runs in the guest and on a host.

mod entries;
mod wire;

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    buffer::{Sink, Source},
    file::{VolumeFormat, Work},
};

pub use entries::{DirectoryEntry, ENTRY_BYTES_MAX, Entries, push_entry};
pub use wire::{Call, CallId, Client, serve};

/// Most bytes in the name of a directory entry.
pub const NAME_BYTES_MAX: usize = 255;

/// Most bytes in a path.
pub const PATH_BYTES_MAX: usize = 4096;

/// Symbolic links followed in one resolution.
pub const LINKS_FOLLOWED_MAX: usize = 40;

/// An open file or directory of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Descriptor(pub u32);

bitflags::bitflags! {
    /// How to open.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct OpenFlags: u32 {
        /// `read` is allowed.
        const READ = 1;
        /// `write` and `truncate` are allowed.
        const WRITE = 2;
        /// Create the file if there is none.
        const CREATE = 4;
        /// With `CREATE`: fail if there is one.
        const EXCLUSIVE = 8;
        /// Cut it to nothing; only with `WRITE`.
        const TRUNCATE = 16;
        /// Every write without an offset goes to the end.
        const APPEND = 32;
        /// Fail unless it is a directory.
        const DIRECTORY = 64;
        /// Fail if the last component is a symbolic link.
        const NO_FOLLOW = 128;
    }
}

/// What kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

impl Kind {
    /// The bits of `st_mode` that hold the type.
    pub const MODE_MASK: u32 = 0o170_000;

    /// The kind as bits of `st_mode`.
    #[must_use]
    pub fn mode(self) -> u32 {
        match self {
            Self::File => 0o100_000,
            Self::Directory => 0o040_000,
            Self::Link => 0o120_000,
        }
    }

    /// The kind in an `st_mode`; anything unknown is a file.
    #[must_use]
    pub fn of_mode(mode: u32) -> Self {
        match mode & Self::MODE_MASK {
            0o040_000 => Self::Directory,
            0o120_000 => Self::Link,
            _ => Self::File,
        }
    }
}

/// What `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Inode number: the logical file number.
    pub inode: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Blocks of [`crate::BLOCK_BYTES`] occupied.
    pub blocks: u64,
    /// Last access, nanoseconds since the Unix epoch.
    pub accessed_ns: u64,
    /// Last change of the data.
    pub modified_ns: u64,
    /// Last change of the attributes.
    pub changed_ns: u64,
}

impl Stat {
    /// What kind of file it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        Kind::of_mode(self.mode)
    }
}

/// What `statfs` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatFs {
    /// Blocks of [`crate::BLOCK_BYTES`] in all.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Files that there can be.
    pub files: u64,
    /// Files that can still be created.
    pub files_free: u64,
    /// File stores in the volume.
    pub stores: u32,
    /// File stores at work; fewer is a degraded volume.
    pub stores_present: u32,
    /// The last checkpoint.
    pub checkpoint: u64,
}

/// From where to seek.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeekFrom {
    /// From the beginning.
    Start(u64),
    /// From where the descriptor is.
    Current(i64),
    /// From the end.
    End(i64),
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetTime {
    /// Leave it.
    Keep,
    /// The current time.
    Now,
    /// This time, nanoseconds since the Unix epoch.
    At(u64),
}

/// A file system as one client sees it. Paths are bytes, absolute or not: there is no working
/// directory, so `a` is `/a`. Errors are those that POSIX gives the call of the same name.
pub trait FileSystem {
    /// Makes an empty volume on all the stores of the stack, with a root directory, and mounts it.
    fn format(&self, format: &VolumeFormat) -> impl Future<Output = Result<()>>;
    /// Mounts the volume, unless it is mounted; [`crate::Error::NotFormatted`] if there is none.
    fn mount(&self) -> impl Future<Output = Result<()>>;
    /// Opens a file, or a directory for `readdir`.
    fn open(
        &self,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> impl Future<Output = Result<Descriptor>>;
    /// Closes a descriptor. A file without names ends with its last descriptor.
    fn close(&self, descriptor: Descriptor) -> impl Future<Output = Result<()>>;
    /// Reads at `offset`, or where the descriptor is, which then moves; returns how many bytes.
    fn read(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Sink<'_>,
    ) -> impl Future<Output = Result<usize>>;
    /// Writes at `offset`, or where the descriptor is, which then moves; returns how many bytes.
    fn write(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Source<'_>,
    ) -> impl Future<Output = Result<usize>>;
    /// Moves the descriptor; returns where it is.
    fn seek(&self, descriptor: Descriptor, to: SeekFrom) -> impl Future<Output = Result<u64>>;
    /// Sets the length of an open file.
    fn truncate(&self, descriptor: Descriptor, size: u64) -> impl Future<Output = Result<()>>;
    /// What the descriptor is.
    fn fstat(&self, descriptor: Descriptor) -> impl Future<Output = Result<Stat>>;
    /// Makes the file's data and attributes durable.
    fn fsync(&self, descriptor: Descriptor) -> impl Future<Output = Result<()>>;
    /// Fills `data` with whole entries (see [`Entries`]) from where the descriptor is, which then
    /// moves; returns how many bytes; zero at the end. Begins with `.` and `..`.
    fn readdir(
        &self,
        descriptor: Descriptor,
        data: Sink<'_>,
    ) -> impl Future<Output = Result<usize>>;
    /// What the path names; a symbolic link itself unless `follow`.
    fn stat(&self, path: &[u8], follow: bool) -> impl Future<Output = Result<Stat>>;
    /// Creates a directory.
    fn mkdir(&self, path: &[u8], mode: u32) -> impl Future<Output = Result<()>>;
    /// Removes an empty directory.
    fn rmdir(&self, path: &[u8]) -> impl Future<Output = Result<()>>;
    /// Removes a name.
    fn unlink(&self, path: &[u8]) -> impl Future<Output = Result<()>>;
    /// Renames, over what is there.
    fn rename(&self, from: &[u8], to: &[u8]) -> impl Future<Output = Result<()>>;
    /// Gives a file another name.
    fn link(&self, from: &[u8], to: &[u8]) -> impl Future<Output = Result<()>>;
    /// Creates a symbolic link at `path` that reads `target`.
    fn symlink(&self, target: &[u8], path: &[u8]) -> impl Future<Output = Result<()>>;
    /// Reads a symbolic link; returns its length, of which at most `data.len()` bytes were written.
    fn readlink(&self, path: &[u8], data: Sink<'_>) -> impl Future<Output = Result<usize>>;
    /// Sets permissions.
    fn chmod(&self, path: &[u8], mode: u32) -> impl Future<Output = Result<()>>;
    /// Sets owner and group.
    fn chown(&self, path: &[u8], uid: u32, gid: u32) -> impl Future<Output = Result<()>>;
    /// Sets times.
    fn utimes(
        &self,
        path: &[u8],
        accessed: SetTime,
        modified: SetTime,
    ) -> impl Future<Output = Result<()>>;
    /// How full the volume is.
    fn statfs(&self) -> impl Future<Output = Result<StatFs>>;
    /// What the cache has done since it began.
    fn work(&self) -> impl Future<Output = Result<Work>>;
    /// Makes everything durable; returns the timestamp of the checkpoint.
    fn sync(&self) -> impl Future<Output = Result<u64>>;
}
