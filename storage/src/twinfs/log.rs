//! The resynchronisation log at work: records reach the medium before the overwrites that they
//! announce (paper, section V-C).
//!
//! ```text
//!   call 1   plan ─ announce ┐                         ┌ overwrite ─ commit
//!   call 2   plan ─ announce ┼─ log block(s) ─ FLUSH ──┼ overwrite ─ commit
//!   call 3   plan ─ announce ┘                         └ overwrite ─ commit
//!   call 4               plan ─ announce ────────────── next log block ─ FLUSH ─ …
//! ```
//!
//! Calls that arrive together, and those that arrive while a flush is under way, share log blocks
//! and a flush: a call lends its pages until it is answered, so holding it costs no copy. But the
//! cache has few calls under way, so it also says beforehand what it will write back next
//! (*prewrite*): then the first call writes the records of all. The paper announces each write of an
//! application, which costs a call each, and records of what is never written.
//!
//! A log that is full, or that cannot be written, is closed until the next checkpoint: what would
//! have been overwritten in place goes elsewhere. So the log never makes a write fail.

use alloc::vec::Vec;

use super::{
    TwinFs, io,
    overwrites::{Batch, Next, Ticket},
    record::{self, RECORDS_PER_BLOCK},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    block::BlockDevice,
    buffer::Source,
    checksum::Checksum,
    file::FileNumber,
    point::{self, Point},
    waiting::yield_now,
};

/// Blocks that may be announced in one call.
const PREWRITE_BLOCKS_MAX: u64 = 1024;

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// [`crate::file::FileStore::prewrite`], with the order already held.
    pub(super) async fn announce_early(
        &self,
        file: FileNumber,
        offset: u64,
        checksums: &[Checksum],
    ) -> Result<()> {
        let block = BLOCK_BYTES as u64;
        let sound = offset.is_multiple_of(block) && checksums.len() as u64 <= PREWRITE_BLOCKS_MAX;
        if !sound {
            return Err(Error::BadArgument);
        }
        let first = offset / block;
        self.run(|volume| volume.announce_early(file, first, checksums))
            .await
    }

    /// Has the record that `ticket` stands for on the medium. False if that will never be: then
    /// nothing may be overwritten.
    pub(super) async fn log_until(&self, ticket: Ticket) -> Result<bool> {
        // Let the calls that arrived together with this one announce theirs.
        yield_now().await;
        let _alone = self.logging.lock().await;
        let batch = match self.with(|volume| Ok(volume.overwrites.next(ticket)))? {
            Next::Logged => return Ok(true),
            Next::Closed => return Ok(false),
            Next::Write(batch) => batch,
        };
        let guard = self.fail_if_dropped();
        let result = self.write_batch(&batch).await;
        guard.done();
        self.with(|volume| {
            match result {
                Ok(()) => volume.overwrites.flushed(&batch),
                Err(error) => {
                    log::error!(
                        "the resynchronisation log cannot be written: {error}; until the next \
                         checkpoint data are relocated"
                    );
                    volume.overwrites.close();
                }
            }
            Ok(result.is_ok())
        })
    }

    async fn write_batch(&self, batch: &Batch) -> Result<()> {
        let (algorithm, base) = self.with(|volume| Ok((volume.root.algorithm, volume.base)))?;
        let blocks: Vec<(u64, &[_])> = (batch.position..)
            .zip(batch.records.chunks(RECORDS_PER_BLOCK))
            .collect();
        let mut data = Vec::with_capacity(blocks.len() * BLOCK_BYTES);
        let mut places = Vec::with_capacity(blocks.len());
        for (position, records) in blocks {
            data.extend(record::encode(algorithm, base, position, records));
            places.push(record::place(position));
        }
        let data = Source::local(&data);
        let runs = io::runs(&places, self.request_blocks.get())
            .map(|(place, index, len)| (place, data.slice(index * BLOCK_BYTES, len * BLOCK_BYTES)))
            .collect();
        self.disk.write_runs(runs).await?;
        point::pass(Point::LogWritten);
        self.with(|volume| {
            volume.overwrites.flush_begins();
            Ok(())
        })?;
        self.disk.flush().await
    }
}
