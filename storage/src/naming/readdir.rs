//! Listing directories.
//!
//! Where a descriptor is in a directory is the position of the next entry in the file. Entries do
//! not move, so whatever is added or removed meanwhile, an entry that stays is told exactly once.

use alloc::vec::Vec;

use super::{
    Naming,
    descriptors::OpenFile,
    directory::{self, format::HEADER_BYTES},
    volume::Volume,
};
use crate::{
    Error, Result,
    buffer::Sink,
    clock::Clock,
    file::FileService,
    vfs::{DirectoryEntry, Kind, push_entry},
};

/// Most bytes that one call returns.
const BYTES_MAX: usize = 64 << 10;

/// Positions of `.` and `..`: before the first record of block 0.
const DOT: u64 = 0;
const DOT_DOT: u64 = 1;
const FIRST: u64 = HEADER_BYTES as u64;

impl<F: FileService, C: Clock> Naming<F, C> {
    /// The caller has the descriptor's turn.
    pub(super) async fn readdir(
        &self,
        volume: &Volume,
        file: &OpenFile,
        mut data: Sink<'_>,
    ) -> Result<usize> {
        if !file.is_directory.get() {
            return Err(Error::NotADirectory);
        }
        if file.inode.orphan.get() {
            return Ok(0);
        }
        let bytes_max = data.len().min(BYTES_MAX);
        let mut buffer = Vec::with_capacity(bytes_max.min(4096));
        let mut fits = |entry: DirectoryEntry<'_>| {
            let before = buffer.len();
            push_entry(&mut buffer, entry);
            let fits = buffer.len() <= bytes_max;
            if !fits {
                buffer.truncate(before);
            }
            fits
        };
        let directory = directory::load(&self.below, volume, file.inode.number).await?;
        let index = directory.index()?;
        let dot = (DOT, directory.number, &b"."[..], DOT_DOT);
        let dot_dot = (DOT_DOT, index.parent(), &b".."[..], FIRST);
        let mut next = file.position.get();
        let mut is_full = false;
        for (at, number, name, after) in [dot, dot_dot] {
            if next == at {
                is_full = !fits(DirectoryEntry {
                    inode: number.0,
                    kind: Kind::Directory,
                    name,
                });
                if is_full {
                    break;
                }
                next = after;
            }
        }
        if !is_full {
            let from = usize::try_from(next).unwrap_or(usize::MAX);
            for (entry, after) in index.entries_from(from) {
                let directory::Entry { number, kind, name } = entry;
                is_full = !fits(DirectoryEntry {
                    inode: number.0,
                    kind,
                    name,
                });
                if is_full {
                    break;
                }
                next = after as u64;
            }
        }
        if is_full && buffer.is_empty() {
            return Err(Error::BadArgument);
        }
        data.copy_from(0, &buffer)?;
        file.position.set(next);
        Ok(buffer.len())
    }
}
