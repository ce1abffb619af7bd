//! SHA-256 of a file and of a tree.
//!
//! The hash of a tree is the SHA-256 of one line for each path below it, sorted by the bytes of the
//! paths:
//!
//! ```text
//! <kind> <sha-256 of the content, 64 hexadecimal digits> <size> <path>\n
//!
//! kind  f  file                  content: its bytes              size: its length
//!       l  symbolic link         content: the target's bytes     size: the target's length
//!       d  directory             64 zeros                        size: 0
//! path  relative to the root of the tree, without a leading `./`; the root itself has no line
//! ```
//!
//! Names of hard links count as files of their own. Modes, owners and times do not count.

use alloc::{vec, vec::Vec};

use sha2::{Digest, Sha256};
use storage::{
    Error, Result,
    buffer::Sink,
    vfs::{FileSystem, Kind, OpenFlags, PATH_BYTES_MAX},
};

use super::{CHUNK_BYTES, join, walk};
use crate::Go;

/// A hash as text, 64 hexadecimal digits.
pub(crate) fn digits(digest: &[u8]) -> [u8; 64] {
    let mut text = [b'0'; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        *pair = [
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ];
    }
    text
}

/// The hash of a file or a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHash {
    /// 64 hexadecimal digits.
    pub digits: [u8; 64],
    /// Files and symbolic links that went into it.
    pub files: u64,
    /// Directories that went into it.
    pub directories: u64,
    /// Bytes of content that went into it.
    pub bytes: u64,
}

impl TreeHash {
    /// The hash as text.
    #[must_use]
    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.digits).unwrap_or("?")
    }
}

/// Hashes a file, links to it being followed. `progress` is called with the bytes done.
///
/// Errors: those of `open` and `read`; [`Error::Busy`] if it was stopped.
pub async fn hash_file<F: FileSystem>(
    system: &F,
    path: &[u8],
    progress: &mut dyn FnMut(u64) -> Go,
) -> Result<TreeHash> {
    let descriptor = system.open(path, OpenFlags::READ, 0).await?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut digest = Sha256::new();
    let mut bytes = 0;
    let result = loop {
        match system
            .read(descriptor, Some(bytes), Sink::local(&mut buffer))
            .await
        {
            Err(error) => break Err(error),
            Ok(0) => break Ok(()),
            Ok(len) => {
                let Some(read) = buffer.get(..len) else {
                    break Err(Error::Protocol);
                };
                digest.update(read);
                bytes += len as u64;
                if progress(bytes) == Go::Stop {
                    break Err(Error::Busy);
                }
            }
        }
    };
    let closed = system.close(descriptor).await;
    result?;
    closed?;
    Ok(TreeHash {
        digits: digits(&digest.finalize()),
        files: 1,
        directories: 0,
        bytes,
    })
}

/// Hashes the tree below the directory `root`. `progress` is called with the bytes done so far and
/// the path after every chunk and every path.
///
/// Errors: those of walking and reading; [`Error::Busy`] if it was stopped.
pub async fn hash_tree<F: FileSystem>(
    system: &F,
    root: &[u8],
    progress: &mut dyn FnMut(u64, &[u8]) -> Go,
) -> Result<TreeHash> {
    let paths = walk(system, root).await?;
    let mut tree = Sha256::new();
    let mut hash = TreeHash {
        digits: [b'0'; 64],
        files: 0,
        directories: 0,
        bytes: 0,
    };
    for (path, kind) in paths.iter() {
        let whole = join(root, path);
        let (letter, content, size) = match kind {
            Kind::Directory => {
                hash.directories += 1;
                (b'd', [b'0'; 64], 0)
            }
            Kind::Link => {
                let target = read_link(system, &whole).await?;
                hash.files += 1;
                (b'l', digits(&Sha256::digest(&target)), target.len() as u64)
            }
            Kind::File => {
                let before = hash.bytes;
                let mut add = |bytes| progress(before + bytes, path);
                let file = hash_file(system, &whole, &mut add).await?;
                hash.files += 1;
                hash.bytes += file.bytes;
                (b'f', file.digits, file.bytes)
            }
        };
        tree.update([letter, b' ']);
        tree.update(content);
        tree.update(alloc::format!(" {size} "));
        tree.update(path);
        tree.update(b"\n");
        if progress(hash.bytes, path) == Go::Stop {
            return Err(Error::Busy);
        }
    }
    hash.digits = digits(&tree.finalize());
    Ok(hash)
}

/// The target of a symbolic link.
pub(crate) async fn read_link<F: FileSystem>(system: &F, path: &[u8]) -> Result<Vec<u8>> {
    let mut target = vec![0; PATH_BYTES_MAX];
    let len = system.readlink(path, Sink::local(&mut target)).await?;
    if len > target.len() {
        return Err(Error::NameTooLong);
    }
    target.truncate(len);
    Ok(target)
}
