//! The calls of [`FileService`]: which of them are carried to their ends whoever goes away, and what only counts.

use alloc::{rc::Rc, vec};

use super::{Cache, Inner, below::Needs};
use crate::{
    BLOCK_BYTES, Result,
    buffer::Sink,
    clock::Clock,
    file::{
        Attachment, AttributeChange, Attributes, FileNumber, FileService, Timestamp, Usage,
        VolumeFormat, Work, Write,
    },
    surviving::Memory,
};

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> FileService
    for Cache<L, C, M>
{
    async fn attach(&self) -> Result<Attachment> {
        self.0.attach().await
    }

    async fn format(&self, format: &VolumeFormat) -> Result<Attachment> {
        let (inner, format) = (Rc::clone(&self.0), *format);
        self.0
            .unfinished
            .run(async move { inner.format(&format).await })
            .await
    }

    async fn create(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        let inner = Rc::clone(&self.0);
        let attributes = Attributes {
            size: 0,
            blocks: 0,
            ..*attributes
        };
        self.0
            .unfinished
            .run(async move { inner.create(file, attributes).await })
            .await
    }

    async fn delete(&self, file: FileNumber) -> Result<()> {
        let inner = Rc::clone(&self.0);
        self.0
            .unfinished
            .run(async move { inner.delete(file).await })
            .await
    }

    async fn read(&self, file: FileNumber, offset: u64, data: Sink<'_>) -> Result<usize> {
        self.0.read(file, offset, data).await
    }

    async fn write(&self, write: Write<'_>) -> Result<usize> {
        self.0.write(&write).await
    }

    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        let inner = Rc::clone(&self.0);
        self.0
            .unfinished
            .run(async move { inner.truncate(file, size, modified_ns).await })
            .await
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.0.getattr(file).await
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.0.setattr(file, change).await
    }

    async fn sync(&self) -> Result<Timestamp> {
        let inner = Rc::clone(&self.0);
        self.0
            .unfinished
            .run(async move { inner.sync().await })
            .await
    }

    async fn early_sync_wanted(&self) -> Result<()> {
        self.0.early_sync_wanted().await
    }

    async fn usage(&self) -> Result<Usage> {
        let usage = async |lower: &L| lower.usage().await;
        let mut usage = self.0.query(Needs::Nothing, usage).await?;
        usage.blocks_free = usage.blocks_free.saturating_sub(self.0.blocks_not_below());
        Ok(usage)
    }

    async fn work(&self) -> Result<Work> {
        let statistics = self.statistics();
        Ok(Work {
            hits: statistics.hits,
            misses: statistics.misses,
            bytes_copied: statistics.bytes_copied,
            calls_below: statistics.calls_below,
            reads_below: statistics.reads_below,
            writes_below: statistics.writes_below,
            checksums: statistics.checksums,
            bytes_checksummed: statistics.checksums * BLOCK_BYTES as u64,
            syncs: statistics.syncs,
            pages_copied: statistics.copies_on_write,
            log_pages_max: statistics.log_pages_max,
        })
    }

    async fn history(&self) -> Result<u64> {
        Ok(self.0.history.get())
    }

    async fn numbers(&self, first: FileNumber, mut bitmap: Sink<'_>) -> Result<usize> {
        let known = self
            .0
            .query(Needs::Nothing, async |lower: &L| {
                lower.numbers(first, bitmap.reborrow()).await
            })
            .await?;
        if known > bitmap.len() {
            return Err(crate::Error::Protocol);
        }
        self.0.add_numbers(first, bitmap, known)
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// Adds to a bitmap of numbers, of which `known` bytes carry information, those of deleted files that the
    /// last checkpoint has, and of files that a crash has undone below. Returns how many bytes carry
    /// information then.
    fn add_numbers(&self, first: FileNumber, mut bitmap: Sink<'_>, known: usize) -> Result<usize> {
        let taken = self.log.borrow().numbers_from(first, bitmap.len() * 8);
        let Some(&last) = taken.last() else {
            return Ok(known);
        };
        let mut bits = vec![0; known.max(last / 8 + 1)];
        bitmap.copy_to(0, &mut bits[..known])?;
        for bit in taken {
            bits[bit / 8] |= 1 << (bit % 8);
        }
        bitmap.copy_from(0, &bits)?;
        Ok(bits.len())
    }
}
