//! Reading data: resolve, read, verify.
//!
//! The blocks go from the device straight to where the caller wants them; then each is looked at
//! once, to verify it against the checksum of its pointer.

use alloc::vec::Vec;

use super::{
    TwinFs,
    file_tree::Found,
    io::{self, READS_MAX},
    pointer::Pointer,
    volume::{Step, Volume},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    block::BlockDevice,
    buffer::{Sink, SinkSegment},
    checksum::{Algorithm, Checksum},
    file::FileNumber,
};

/// Blocks that are resolved at once.
const RESOLVE_BLOCKS_MAX: u64 = 1024;
/// Times that a block is read again because it was being changed.
const RETRIES_MAX: u32 = 64;

/// The pointers of consecutive blocks, and the size of the file.
pub(super) struct Resolved {
    size: u64,
    pointers: Vec<Pointer>,
    twin_offset: u64,
    algorithm: Algorithm,
}

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// [`crate::file::FileStore::read`].
    pub(super) async fn read_blocks(
        &self,
        file: FileNumber,
        offset: u64,
        mut data: Sink<'_>,
    ) -> Result<usize> {
        let block = BLOCK_BYTES as u64;
        let wanted = data.len() as u64;
        if !offset.is_multiple_of(block) || !wanted.is_multiple_of(block) {
            return Err(Error::BadArgument);
        }
        let mut done = 0;
        let mut available = None;
        loop {
            let first = (offset + done) / block;
            let count = ((wanted - done) / block).min(RESOLVE_BLOCKS_MAX);
            let resolved = self
                .run(|volume| volume.resolve(file, first, count))
                .await?;
            let size = resolved.size;
            let available = *available.get_or_insert(size.saturating_sub(offset).min(wanted));
            let part = data.split_front((count * block) as usize);
            self.read_resolved(file, first, resolved, part).await?;
            done += count * block;
            if done >= available {
                // What lies beyond the end of the file is zeros.
                let rest = data.len();
                data.zero(0, rest)?;
                return Ok(available as usize);
            }
        }
    }

    async fn read_resolved(
        &self,
        file: FileNumber,
        first: u64,
        resolved: Resolved,
        mut data: Sink<'_>,
    ) -> Result<()> {
        // Holes as places that never join: zero is no data block.
        let places: Vec<u64> = resolved
            .pointers
            .iter()
            .map(|p| p.place(resolved.twin_offset))
            .collect();
        let mut parts = Vec::new();
        for (place, index, len) in io::runs(&places, self.request_blocks.get()) {
            let mut part = data.split_front(len * BLOCK_BYTES);
            if place == 0 {
                part.zero(0, len * BLOCK_BYTES)?;
            } else {
                parts.push((place, index, len, part));
            }
        }
        let pointers = &resolved.pointers;
        let algorithm = resolved.algorithm;
        let reads = parts
            .into_iter()
            .map(|(place, index, len, mut part)| async move {
                self.disk.read(place, part.reborrow()).await?;
                let mut copy = Vec::new();
                for at in 0..len {
                    let sum = checksum_of(algorithm, &mut part, at * BLOCK_BYTES, &mut copy)?;
                    if sum != pointers[index + at].checksum {
                        let block = first + (index + at) as u64;
                        let one = part.slice(at * BLOCK_BYTES, BLOCK_BYTES);
                        self.read_again(file, block, pointers[index + at], one)
                            .await?;
                    }
                }
                Ok(())
            });
        let mut reads: Vec<_> = reads.collect();
        match reads.pop() {
            None => Ok(()),
            Some(read) if reads.is_empty() => read.await,
            Some(read) => {
                reads.push(read);
                io::all(reads.into_iter()).await
            }
        }
    }

    /// A block did not match: reads it again as long as it is being changed, and [`READS_MAX`] times in all if it is
    /// not, then says so.
    async fn read_again(
        &self,
        file: FileNumber,
        block: u64,
        read: Pointer,
        mut data: Sink<'_>,
    ) -> Result<()> {
        let (mut before, mut reads) = (read, 1);
        for _ in 0..RETRIES_MAX {
            let resolved = self.run(|volume| volume.resolve(file, block, 1)).await?;
            let Some(&now) = resolved.pointers.first() else {
                return data.zero(0, BLOCK_BYTES);
            };
            if now.is_null() {
                return data.zero(0, BLOCK_BYTES);
            }
            let place = now.place(resolved.twin_offset);
            let overwriting = || {
                let at = |volume: &mut Volume| {
                    Ok(volume.overwriting.iter().any(|run| run.start == place))
                };
                self.with(at).unwrap_or(false)
            };
            if overwriting() {
                // The pointer follows when the data have been written.
                self.overwrite_ended.until(|| !overwriting()).await;
                continue;
            }
            let same = (now.block, now.right, now.checksum)
                == (before.block, before.right, before.checksum);
            reads = if same { reads + 1 } else { 1 };
            if reads > READS_MAX {
                log::error!(
                    "file {}, block {block}: checksum error at block {place}",
                    file.0
                );
                return Err(Error::Corrupt);
            }
            before = now;
            self.disk.read(place, data.reborrow()).await?;
            if checksum_of(resolved.algorithm, &mut data, 0, &mut Vec::new())? == now.checksum {
                return Ok(());
            }
        }
        Err(Error::Busy)
    }
}

/// The checksum of a block where it lies, or of a copy if it cannot be reached there.
fn checksum_of(
    algorithm: Algorithm,
    data: &mut Sink<'_>,
    start: usize,
    copy: &mut Vec<u8>,
) -> Result<Checksum> {
    let mut block = data.slice(start, BLOCK_BYTES);
    if let [SinkSegment::Local(bytes)] = block.segments_mut() {
        return Ok(algorithm.of(bytes));
    }
    copy.resize(BLOCK_BYTES, 0);
    block.copy_to(0, copy)?;
    Ok(algorithm.of(copy))
}

impl Volume {
    pub(super) fn resolve(&mut self, file: FileNumber, first: u64, count: u64) -> Step<Resolved> {
        let (slot, offset, attributes) = self.inode(file)?;
        let blocks = attributes.size.div_ceil(BLOCK_BYTES as u64);
        let end = (first + count).min(blocks);
        let mut pointers = Vec::with_capacity(count as usize);
        let mut block = first;
        while block < end {
            let found = self.find_pointers((slot, offset), block, end - block)?;
            match found {
                Found::Hole { count, .. } => {
                    pointers.resize(pointers.len() + count as usize, Pointer::default());
                }
                Found::Pointers(run) => {
                    for index in 0..run.count {
                        let protected = attributes.class.protected;
                        pointers.push(self.data_pointer(run.slot, run.at(index), protected)?);
                    }
                }
            }
            block += found.count();
        }
        pointers.resize(count as usize, Pointer::default());
        Ok(Resolved {
            size: attributes.size,
            pointers,
            twin_offset: self.twin_offset(),
            algorithm: self.root.algorithm,
        })
    }
}
