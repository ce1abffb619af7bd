//! Writing data: plan, write, commit.
//!
//! ```text
//!   plan     one step: find the pointers, take what blocks are needed, choose each block's place
//!   log      what is overwritten in place is announced on the medium (see `log`)
//!   write    the data go to their places, contiguous ones in one request, many in flight
//!   commit   one step: the pointers get places and checksums, the inode its size and times
//! ```
//!
//! Where a block goes:
//!
//! | the block | goes to |
//! | --- | --- |
//! | a hole | a free block, or pair if the file is protected |
//! | protected, not modified since the checkpoint | its other twin |
//! | unprotected, of the checkpoint, `Overwrite::Relocate` | a free block; the old one is held until the next checkpoint |
//! | unprotected, of the checkpoint, `Overwrite::InPlace` | where it is, once its checksum is in the log; as above if the log is full, or if a file is cut within it |
//! | modified or taken since the checkpoint | where it is |
//!
//! Until the commit no pointer has changed, so a write that fails leaves the file as it was and gives
//! back what it took. Only one thing cannot be taken back: a block that was being overwritten where
//! it is. Then the volume in memory may not become a checkpoint any more; the last one is whole.

use alloc::vec::Vec;

use super::{
    TwinFs,
    file_tree::FILE_BYTES_MAX,
    io,
    plan::{PartOf, Plan, Request, Target},
};
use crate::{BLOCK_BYTES, Error, Result, block::BlockDevice, checksum::Checksum, file::Write};

/// Blocks that are planned at once. A longer write is several: each happens whole or not at all.
const PLAN_BLOCKS_MAX: u64 = 1024;

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// [`crate::file::FileStore::write`], with the order already held.
    pub(super) async fn write_blocks(&self, write: &Write<'_>, part: PartOf) -> Result<()> {
        let block = BLOCK_BYTES as u64;
        let blocks = write.checksums.len() as u64;
        let end = write
            .offset
            .checked_add(write.data.len() as u64)
            .ok_or(Error::TooBig)?;
        if !write.offset.is_multiple_of(block) || write.data.len() as u64 != blocks * block {
            return Err(Error::BadArgument);
        }
        if end > FILE_BYTES_MAX || write.size > FILE_BYTES_MAX {
            return Err(Error::TooBig);
        }
        self.make_room().await?;
        let mut done = 0;
        loop {
            let count = (blocks - done).min(PLAN_BLOCKS_MAX);
            let first = write.offset / block + done;
            let last = done + count == blocks;
            let size = if last {
                write.size
            } else {
                write.size.min((first + count) * block)
            };
            let request = Request {
                file: write.file,
                first,
                count,
                size,
                part,
            };
            let data = write
                .data
                .slice((done * block) as usize, (count * block) as usize);
            let sums = &write.checksums[done as usize..(done + count) as usize];
            self.write_planned(request, data, sums, write.modified_ns)
                .await?;
            done += count;
            if done == blocks {
                return Ok(());
            }
        }
    }

    async fn write_planned(
        &self,
        request: Request,
        data: crate::buffer::Source<'_>,
        checksums: &[Checksum],
        modified_ns: u64,
    ) -> Result<()> {
        loop {
            let done = self
                .try_write_planned(request, &data, checksums, modified_ns)
                .await?;
            if done {
                return Ok(());
            }
            // The log is closed, and stays so while this call lasts: now everything is relocated.
        }
    }

    /// False if the log does not take the records of the plan; then nothing has happened.
    async fn try_write_planned(
        &self,
        request: Request,
        data: &crate::buffer::Source<'_>,
        checksums: &[Checksum],
        modified_ns: u64,
    ) -> Result<bool> {
        let plan = self.run(|volume| volume.plan(request, checksums)).await?;
        let guard = self.guard(&plan);
        self.carry_out(guard, request.size, data, checksums, modified_ns)
            .await
    }

    /// Takes a plan back if it is dropped before it is carried out.
    pub(super) fn guard<'a>(&'a self, plan: &'a Plan) -> PlanGuard<'a, D, C> {
        PlanGuard {
            store: self,
            plan,
            armed: true,
            begun: false,
            in_flight: false,
        }
    }

    /// Writes what was planned and makes it part of the file. False as for [`Self::try_write_planned`].
    pub(super) async fn carry_out(
        &self,
        mut guard: PlanGuard<'_, D, C>,
        size: u64,
        data: &crate::buffer::Source<'_>,
        checksums: &[Checksum],
        modified_ns: u64,
    ) -> Result<bool> {
        let plan = guard.plan;
        self.begin_writing().await?;
        if let Some(ticket) = plan.ticket
            && !self.log_until(ticket).await?
        {
            return Ok(false);
        }
        let offset = self.with(|volume| Ok(volume.twin_offset()))?;
        let places: Vec<u64> = plan
            .targets
            .iter()
            .map(|target| target.new.place(offset))
            .collect();
        guard.begun = true;
        guard.in_flight = true;
        let runs = io::runs(&places, self.request_blocks.get())
            .map(|(place, index, len)| (place, data.slice(index * BLOCK_BYTES, len * BLOCK_BYTES)))
            .collect();
        let written = self.disk.write_runs(runs).await;
        guard.in_flight = false;
        written?;
        self.with(|volume| {
            volume.written(plan);
            Ok(())
        })?;
        self.run(|volume| volume.commit(plan, size, checksums, modified_ns))
            .await?;
        guard.armed = false;
        self.end_overwrite(plan)?;
        if self.settle().await.is_err() {
            log::warn!("blocks that are no longer used could not be freed yet");
        }
        Ok(true)
    }

    fn end_overwrite(&self, plan: &Plan) -> Result<()> {
        let ended = self.with(|volume| {
            volume.end_overwrite(plan);
            Ok(())
        });
        self.overwrite_ended.notify();
        ended
    }

    /// Frees what is to be freed. What cannot be now, because its bitmap block cannot be read, is
    /// tried again before the next checkpoint.
    pub(super) async fn settle(&self) -> Result<()> {
        self.run(|volume| {
            let mut list = core::mem::take(&mut volume.pending);
            let result = volume.give_blocks(&mut list);
            volume.pending = list;
            result
        })
        .await
    }
}

/// Takes a plan back that was not committed.
pub(super) struct PlanGuard<'a, D: BlockDevice, C> {
    store: &'a TwinFs<D, C>,
    plan: &'a Plan,
    armed: bool,
    begun: bool,
    in_flight: bool,
}

impl<D: BlockDevice, C> Drop for PlanGuard<'_, D, C> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let _ = self.store.end_overwrite(self.plan);
        let _ = self.store.with(|volume| {
            for target in self.plan.targets.iter().filter(|target| target.fresh) {
                volume.pending_block(&target.new);
            }
            // A call dropped half-way leaves requests that may still reach the medium, at places
            // that are about to be used for something else: only `load` waits for those.
            let overwritten = self.begun && self.plan.targets.iter().any(Target::is_in_place);
            if self.in_flight || overwritten {
                volume.failed = true;
            }
            Ok(())
        });
    }
}
