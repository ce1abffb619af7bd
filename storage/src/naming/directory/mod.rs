//! Directories: files of entries, with an index in memory while they are in use.

pub mod format;
mod index;
mod room;

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::cell::{Cell, Ref, RefCell};

use async_lock::Mutex;

use self::format::{BLOCKS_MAX, Block};
pub use self::{
    format::Entry,
    index::{Edit, Found, Index},
};
use super::{io::write_block, volume::Volume};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::{Sink, SinkSegment, Source},
    file::{FileNumber, FileService, Write},
};

/// Blocks that are read with one call while a directory is indexed.
const BLOCKS_A_READ: usize = 32;

/// A directory in use. Its index may be there or not; only [`load`] promises it, and only until the
/// next `await`.
pub struct Directory {
    /// Its number.
    pub number: FileNumber,
    /// It was removed.
    pub gone: Cell<bool>,
    index: RefCell<Option<Index>>,
    loading: Mutex<()>,
}

impl Directory {
    /// A directory whose index is still to be made.
    pub fn new(number: FileNumber) -> Self {
        Self {
            number,
            gone: Cell::new(false),
            index: RefCell::new(None),
            loading: Mutex::new(()),
        }
    }

    /// Drops what is remembered: it was changed below.
    pub fn forget(&self) {
        *self.index.borrow_mut() = None;
    }

    /// The index. Changes of the namespace run one at a time and hold what they change, so it is
    /// only missing after a change that failed; the caller's own change then fails too.
    pub fn index(&self) -> Result<Ref<'_, Index>> {
        Ref::filter_map(self.index.borrow(), Option::as_ref).map_err(|_| Error::Busy)
    }
}

/// The directory of this number, indexed.
pub async fn load<F: FileService>(
    below: &F,
    volume: &Volume,
    number: FileNumber,
) -> Result<Rc<Directory>> {
    let directory = volume.directory(number)?;
    if directory.gone.get() {
        return Err(Error::NotFound);
    }
    if directory.index.borrow().is_some() {
        return Ok(directory);
    }
    let loading = directory.loading.lock().await;
    if directory.index.borrow().is_none() {
        // What an operation that was given up has left is taken back by who has the directory alone.
        let inode = volume.inode(number)?;
        let _shared = inode.lock.read().await;
        if directory.gone.get() {
            return Err(Error::NotFound);
        }
        let blocks = match read(below, volume, number).await {
            Ok(blocks) => blocks,
            Err(error) => {
                let _ = volume.reweigh(number, 0);
                return Err(error);
            }
        };
        // Between the last read and here nothing can have changed it: changes hold the index, or the lock.
        let index = Index::build(number, blocks, volume.lowest_entry())?;
        volume.reweigh(number, index.weight())?;
        *directory.index.borrow_mut() = Some(index);
    }
    drop(loading);
    if directory.gone.get() {
        Err(Error::NotFound)
    } else {
        Ok(directory)
    }
}

/// Reads a directory. It is weighed as it comes in, so that one that is too large for the memory
/// there is shows as [`Error::NoMemory`] before it is read.
async fn read<F: FileService>(
    below: &F,
    volume: &Volume,
    number: FileNumber,
) -> Result<Vec<Box<Block>>> {
    let mut blocks: Vec<Box<Block>> = Vec::new();
    // One block more than there may be, so that a directory that is too long shows.
    while blocks.len() <= BLOCKS_MAX {
        volume.reweigh(number, blocks.len() * BLOCK_BYTES)?;
        let mut step: [Box<Block>; BLOCKS_A_READ] =
            core::array::from_fn(|_| Box::new([0; BLOCK_BYTES]));
        let mut sink = Sink::empty();
        for block in &mut step {
            sink.push(SinkSegment::Local(&mut block[..]));
        }
        let wanted = sink.len();
        let offset = (blocks.len() * BLOCK_BYTES) as u64;
        let count = below.read(number, offset, sink).await?;
        if count > wanted {
            return Err(Error::Protocol);
        }
        if count % BLOCK_BYTES != 0 {
            return Err(Error::Corrupt);
        }
        blocks.extend(step.into_iter().take(count / BLOCK_BYTES));
        if count < wanted {
            break;
        }
    }
    Ok(blocks)
}

/// Why an edit is not made.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// The directory is known to be as it was. Else nobody knows.
    pub is_undone: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

impl From<Error> for Failure {
    /// An error before anything was written.
    fn from(error: Error) -> Self {
        Self {
            error,
            is_undone: true,
        }
    }
}

/// Drops what is remembered of a directory, unless the change that is under way ends well.
struct Doubt<'a>(Option<&'a Directory>);

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(directory) = self.0 {
            *directory.index.borrow_mut() = None;
        }
    }
}

/// Writes an edit below and commits it. The caller holds the namespace lock. If the write fails,
/// the directory is read again to see whether it was made all the same; if this is given up
/// half-way, at its next use.
pub async fn apply<F: FileService>(
    below: &F,
    volume: &Volume,
    directory: &Directory,
    edit: Edit,
    now_ns: u64,
) -> core::result::Result<(), Failure> {
    let inode = volume.inode(directory.number)?;
    let inode_doubt = inode.doubt();
    let mut doubt = Doubt(Some(directory));
    let (offset, bytes) = edit.bytes();
    let size = offset + bytes.len() as u64;
    let write = Write {
        file: directory.number,
        offset,
        data: Source::local(bytes),
        checksums: &[],
        size,
        modified_ns: now_ns,
    };
    if let Err(error) = write_block(below, write).await {
        drop((doubt, inode_doubt));
        return match load(below, volume, directory.number).await {
            Err(_) => Err(Failure {
                error,
                is_undone: false,
            }),
            Ok(directory) if directory.index()?.holds(&edit) => Ok(()),
            Ok(_) => Err(Failure {
                error,
                is_undone: true,
            }),
        };
    }
    let weight = {
        let mut index = directory.index.borrow_mut();
        let index = index.as_mut().ok_or(Error::Busy)?;
        index.commit(edit);
        index.weight()
    };
    doubt.0 = None;
    inode.data_changed(volume.checkpoints(), now_ns, |old| old.max(size));
    inode_doubt.settle();
    // The change is made. If memory is short now, the next directory that is read feels it.
    let _ = volume.reweigh(directory.number, weight);
    Ok(())
}
