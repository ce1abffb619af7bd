//! The entries of one directory.

use alloc::{vec, vec::Vec};

use storage::{
    Error, Result,
    buffer::Sink,
    vfs::{Descriptor, Entries, FileSystem, Kind, OpenFlags},
};

/// Entries that a directory may have to be listed: half a million names of PostMark's take 16 MB.
const ENTRIES_MAX: usize = 500_000;

/// Bytes of entries that are asked for at a time.
const LIST_BYTES: usize = 16 << 10;

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: Vec<u8>,
    /// What kind of file it names.
    pub kind: Kind,
    /// Inode number.
    pub inode: u64,
}

/// The entries of a directory except `.` and `..`, in the file system's order.
///
/// Errors: those of `open` and `readdir`; [`Error::NoMemory`] for more than half a million.
pub async fn list<F: FileSystem>(system: &F, path: &[u8]) -> Result<Vec<Entry>> {
    let flags = OpenFlags::READ | OpenFlags::DIRECTORY;
    let descriptor = system.open(path, flags, 0).await?;
    let entries = read_all(system, descriptor).await;
    let closed = system.close(descriptor).await;
    let entries = entries?;
    closed?;
    Ok(entries)
}

async fn read_all<F: FileSystem>(system: &F, descriptor: Descriptor) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut buffer = vec![0; LIST_BYTES];
    // Each round but the last brings an entry, so the bound on entries bounds the rounds as well.
    for _ in 0..ENTRIES_MAX {
        let len = system.readdir(descriptor, Sink::local(&mut buffer)).await?;
        if len == 0 {
            return Ok(entries);
        }
        let bytes = buffer.get(..len).ok_or(Error::Protocol)?;
        let named = Entries(bytes).filter(|entry| !matches!(entry.name, b"." | b".."));
        entries.extend(named.map(|entry| Entry {
            name: entry.name.to_vec(),
            kind: entry.kind,
            inode: entry.inode,
        }));
        if entries.len() > ENTRIES_MAX {
            break;
        }
    }
    Err(Error::NoMemory)
}
