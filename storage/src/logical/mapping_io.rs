//! The mapping file: read from one of the stores, written to all of them.
//!
//! Changed blocks stay in memory until the next checkpoint, or until there are too many. A block's
//! room on the stores is taken before its first entry is used, so that no checkpoint fails for want
//! of space: from then on it is overwritten twin by twin.

use alloc::{boxed::Box, vec, vec::Vec};

use super::{
    Logical,
    copies::checksums,
    entry::{ENTRY_BYTES, Entry, check_header, encode_header},
    mapping::{Bytes, ENTRIES_PER_BLOCK, FILE_NUMBER_MAX, place},
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::{Sink, Source},
    file::{FileNumber, FileStore, MAPPING_FILE, Write},
};

/// Blocks read or written in one call.
const RUN_BLOCKS_MAX: usize = 16;

impl<S: FileStore> Logical<S> {
    /// Begins the use of a loaded volume's mapping.
    pub(super) async fn open_mapping(&self, volume: &Volume) -> Result<()> {
        let copies = volume.mapping_copies();
        let attributes = self
            .on_any(volume, FileNumber(0), &copies, async |s, file| {
                s.getattr(file).await
            })
            .await?;
        let len = attributes.size.div_ceil(BLOCK_BYTES as u64);
        if len > (FILE_NUMBER_MAX + 1).div_ceil(ENTRIES_PER_BLOCK) {
            log::error!(
                "the mapping file is {} bytes long, which cannot be",
                attributes.size
            );
            return Err(Error::Corrupt);
        }
        volume.mapping.grow_to(len);
        self.ensure(volume, 0).await?;
        if len == 0 {
            // A new volume. The header becomes durable with the first checkpoint.
            volume
                .mapping
                .set_entry(FileNumber(0), &encode_header(volume.id()));
            return Ok(());
        }
        let header = volume.mapping.entry(FileNumber(0)).ok_or(Error::NoMemory)?;
        check_header(&header, volume.id())
    }

    /// The entry of a file. [`Error::NotFound`] if it is unused.
    pub(super) async fn entry(&self, volume: &Volume, file: FileNumber) -> Result<Entry> {
        self.find_entry(volume, file).await?.ok_or(Error::NotFound)
    }

    pub(super) async fn find_entry(
        &self,
        volume: &Volume,
        file: FileNumber,
    ) -> Result<Option<Entry>> {
        if file.0 == 0 || file.0 > FILE_NUMBER_MAX {
            return Ok(None);
        }
        self.ensure(volume, place(file).0).await?;
        let bytes = volume.mapping.entry(file).ok_or(Error::NoMemory)?;
        let entry = Entry::decode(&bytes);
        if entry.is_err() {
            log::error!("file {}: its entry in the mapping makes no sense", file.0);
        }
        entry
    }

    pub(super) async fn put_entry(
        &self,
        volume: &Volume,
        file: FileNumber,
        entry: &[u8; ENTRY_BYTES],
    ) -> Result<()> {
        self.ensure(volume, place(file).0).await?;
        if volume.mapping.set_entry(file, entry) {
            Ok(())
        } else {
            Err(Error::NoMemory)
        }
    }

    /// Brings a block into memory. It is there until the caller waits again.
    async fn ensure(&self, volume: &Volume, block: u64) -> Result<()> {
        let mapping = &volume.mapping;
        if mapping.holds(block) {
            return Ok(());
        }
        let _io = mapping.io.lock().await;
        if mapping.holds(block) {
            return Ok(());
        }
        let mut bytes: Box<Bytes> = Box::new([0; BLOCK_BYTES]);
        if block < mapping.len() {
            self.read_blocks(volume, block, &mut bytes[..]).await?;
        }
        if !mapping.make_room() {
            self.write_dirty(volume).await?;
            mapping.make_room();
        }
        mapping.insert(block, bytes);
        Ok(())
    }

    async fn read_blocks(&self, volume: &Volume, first: u64, bytes: &mut [u8]) -> Result<()> {
        let offset = first * BLOCK_BYTES as u64;
        let copies = volume.mapping_copies();
        let read = self
            .on_any(volume, FileNumber(0), &copies, async |store, file| {
                store.read(file, offset, Sink::local(bytes)).await
            })
            .await?;
        let len = bytes.len();
        bytes[read.min(len)..].fill(0);
        Ok(())
    }

    /// Takes room for a block on all stores; [`Error::NoSpace`], and then nothing has changed.
    pub(super) async fn reserve(&self, volume: &Volume, block: u64) -> Result<()> {
        let mapping = &volume.mapping;
        if mapping.is_allocated(block) {
            return Ok(());
        }
        let _io = mapping.io.lock().await;
        if mapping.is_allocated(block) {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(BLOCK_BYTES);
        mapping.copy_out(block, &mut bytes);
        let outcomes = self.write_blocks(volume, block, &bytes).await;
        // Where it was refused there are zeros, a hole, and elsewhere zeros: no difference.
        let settled = self.settle(volume, outcomes)?;
        for copy in settled.bad {
            volume.take_out(copy.store, Error::Corrupt);
        }
        if let Some((_, error)) = settled.refused {
            return Err(error);
        }
        mapping.set_allocated(block);
        mapping.grow_to(block + 1);
        Ok(())
    }

    /// Writes all changed blocks to all stores.
    pub(super) async fn flush_mapping(&self, volume: &Volume) -> Result<()> {
        let _io = volume.mapping.io.lock().await;
        self.write_dirty(volume).await
    }

    /// As [`Self::flush_mapping`], with the lock held. Also a read may come here, to make room: if it is
    /// given up, blocks taken for clean may be on some of the stores, or on none.
    async fn write_dirty(&self, volume: &Volume) -> Result<()> {
        let change = self.stores.change();
        let result = self.write_each_dirty(volume).await;
        change.done();
        result
    }

    async fn write_each_dirty(&self, volume: &Volume) -> Result<()> {
        let mapping = &volume.mapping;
        let dirty = mapping.dirty();
        for run in runs(&dirty) {
            let mut bytes = Vec::with_capacity(run.len() * BLOCK_BYTES);
            for &block in run {
                mapping.copy_out(block, &mut bytes);
                mapping.mark_clean(block);
            }
            let outcomes = self.write_blocks(volume, run[0], &bytes).await;
            if let Err(error) = all_that_keep_up(volume, outcomes) {
                mapping.mark_dirty(run);
                return Err(error);
            }
            for &block in run {
                mapping.set_allocated(block);
            }
        }
        Ok(())
    }

    async fn write_blocks(
        &self,
        volume: &Volume,
        first: u64,
        bytes: &[u8],
    ) -> super::copies::Outcomes<()> {
        let end = first + (bytes.len() / BLOCK_BYTES) as u64;
        let size = volume.mapping.len().max(end) * BLOCK_BYTES as u64;
        let offset = first * BLOCK_BYTES as u64;
        let checksums = checksums(volume, bytes);
        self.on_all(volume, &volume.mapping_copies(), async |store, file| {
            debug_assert_eq!(file, MAPPING_FILE);
            let (data, checksums) = (Source::local(bytes), &checksums[..]);
            store
                .write(Write {
                    file,
                    offset,
                    data,
                    checksums,
                    size,
                    modified_ns: 0,
                })
                .await
        })
        .await
    }

    /// Writes into `bitmap` which numbers are in use; see
    /// [`FileService::numbers`](crate::file::FileService::numbers).
    pub(super) async fn used_numbers(
        &self,
        volume: &Volume,
        first: FileNumber,
        mut bitmap: Sink<'_>,
    ) -> Result<usize> {
        const BITMAP_BYTES: u64 = ENTRIES_PER_BLOCK / 8;
        if !first.0.is_multiple_of(8) {
            return Err(Error::BadArgument);
        }
        let mapping = &volume.mapping;
        let start = first.0 / 8;
        let end = (start + bitmap.len() as u64).min(mapping.len() * BITMAP_BYTES);
        let mut at = start;
        while at < end {
            let block = at / BITMAP_BYTES;
            if !mapping.holds(block) {
                self.prefetch(volume, block).await?;
            }
            self.ensure(volume, block).await?;
            let bits = mapping.used_entries(block).ok_or(Error::NoMemory)?;
            let within = (at % BITMAP_BYTES) as usize;
            let len = (bits.len() - within).min((end - at) as usize);
            bitmap.copy_from((at - start) as usize, &bits[within..within + len])?;
            at += len as u64;
        }
        Ok(end.saturating_sub(start) as usize)
    }

    /// Reads a run of blocks from `first` on at once, as far as there is room for them.
    async fn prefetch(&self, volume: &Volume, first: u64) -> Result<()> {
        let mapping = &volume.mapping;
        let _io = mapping.io.lock().await;
        let left = mapping
            .len()
            .saturating_sub(first)
            .min(RUN_BLOCKS_MAX as u64) as usize;
        let count = left.min(mapping.room());
        let mut bytes = vec![0; count * BLOCK_BYTES];
        if count > 0 {
            self.read_blocks(volume, first, &mut bytes).await?;
        }
        for (block, bytes) in (first..).zip(bytes.as_chunks::<BLOCK_BYTES>().0) {
            mapping.insert(block, Box::new(*bytes));
        }
        Ok(())
    }
}

/// A store that does not take a block of the mapping is out, as long as another one took it.
fn all_that_keep_up(volume: &Volume, outcomes: super::copies::Outcomes<()>) -> Result<()> {
    if let Some(error) = outcomes.iter().find_map(|(_, outcome)| outcome.err())
        && outcomes.iter().all(|(_, outcome)| outcome.is_err())
    {
        return Err(error);
    }
    for (copy, outcome) in outcomes {
        if let Err(error) = outcome {
            volume.take_out(copy.store, error);
        }
    }
    Ok(())
}

/// Cuts sorted block numbers into runs of neighbours.
fn runs(blocks: &[u64]) -> impl Iterator<Item = &[u64]> {
    blocks
        .chunk_by(|a, b| a + 1 == *b)
        .flat_map(|run| run.chunks(RUN_BLOCKS_MAX))
}
