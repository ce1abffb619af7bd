//! What is in a tree, block by block: for who knows what may be there, and must see which part of a file
//! is of which time, or cannot be read.

use alloc::{vec, vec::Vec};

use sha2::{Digest, Sha256};
use storage::{
    BLOCK_BYTES, Error, Result,
    buffer::Sink,
    vfs::{Descriptor, FileSystem, Kind, OpenFlags},
};

use super::{CHUNK_BYTES, hash::digits, hash::read_link, join, walk};
use crate::Go;

/// Blocks of a file that are looked at.
pub const BLOCKS_MAX: u64 = 1 << 16;

/// Hexadecimal digits of SHA-256 that stand for a block.
pub const DIGITS: usize = 16;

/// What there is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A symbolic link: where it points.
    Link(Vec<u8>),
    /// A file.
    File {
        /// Its length.
        size: u64,
        /// The hash of each block of it, or why it cannot be read.
        blocks: Vec<Result<[u8; DIGITS]>>,
    },
}

/// Looks at everything below the directory `root`, sorted by the bytes of the paths; `each` gets the path
/// relative to it. Blocks that cannot be read are told, and what follows is looked at all the same.
///
/// Errors: those of walking, opening and asking; [`Error::NoMemory`] for a file of more than
/// [`BLOCKS_MAX`] blocks; [`Error::Busy`] if it was stopped.
pub async fn survey<F: FileSystem>(
    system: &F,
    root: &[u8],
    each: &mut dyn FnMut(&[u8], Entry) -> Go,
) -> Result<()> {
    let paths = walk(system, root).await?;
    for (path, kind) in paths.iter() {
        let whole = join(root, path);
        let entry = match kind {
            Kind::Directory => Entry::Directory,
            Kind::Link => Entry::Link(read_link(system, &whole).await?),
            Kind::File => file(system, &whole).await?,
        };
        if each(path, entry) == Go::Stop {
            return Err(Error::Busy);
        }
    }
    Ok(())
}

async fn file<F: FileSystem>(system: &F, path: &[u8]) -> Result<Entry> {
    let size = system.stat(path, false).await?.size;
    let count = size.div_ceil(BLOCK_BYTES as u64);
    if count > BLOCKS_MAX {
        return Err(Error::NoMemory);
    }
    let descriptor = system.open(path, OpenFlags::READ, 0).await?;
    let blocks = hashes(system, descriptor, size).await;
    let closed = system.close(descriptor).await;
    let entry = Entry::File { size, blocks };
    closed.map(|()| entry)
}

async fn hashes<F: FileSystem>(
    system: &F,
    descriptor: Descriptor,
    size: u64,
) -> Vec<Result<[u8; DIGITS]>> {
    let mut blocks = Vec::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < size {
        let wanted = (size - offset).min(CHUNK_BYTES as u64) as usize;
        match read(system, descriptor, offset, &mut buffer[..wanted]).await {
            Ok(()) => blocks.extend(buffer[..wanted].chunks(BLOCK_BYTES).map(|it| Ok(hash(it)))),
            // One of them; which, a look at each of them tells.
            Err(_) => {
                for (piece, at) in buffer[..wanted].chunks_mut(BLOCK_BYTES).zip(0..) {
                    let at = offset + at * BLOCK_BYTES as u64;
                    let outcome = read(system, descriptor, at, piece).await;
                    blocks.push(outcome.map(|()| hash(piece)));
                }
            }
        }
        offset += wanted as u64;
    }
    blocks
}

/// Fills the buffer. A file that ends earlier than it said is taken for a wrong answer.
async fn read<F: FileSystem>(
    system: &F,
    descriptor: Descriptor,
    offset: u64,
    buffer: &mut [u8],
) -> Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        let sink = Sink::local(&mut buffer[done..]);
        let at = Some(offset + done as u64);
        match system.read(descriptor, at, sink).await? {
            0 => return Err(Error::Protocol),
            count => done += count,
        }
    }
    Ok(())
}

fn hash(block: &[u8]) -> [u8; DIGITS] {
    let mut short = [0; DIGITS];
    short.copy_from_slice(&digits(&Sha256::digest(block))[..DIGITS]);
    short
}
