//! Writing data: plan, write, commit.
//!
//! ```text
//!   plan     one step: find the pointers, take what blocks are needed, choose each block's place
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
//! | unprotected, not modified since the checkpoint | a free block; the old one is held until the next checkpoint |
//! | modified since the checkpoint | where it is |
//!
//! Until the commit no pointer has changed, so a write that fails leaves the file as it was and gives
//! back what it took. Only one thing cannot be taken back: a block that was being overwritten where
//! it is. Then the volume in memory may not become a checkpoint any more; the last one is whole.

use alloc::vec::Vec;

use super::{
    TwinFs,
    allocator::Purpose,
    cache::Slot,
    file_tree::{FILE_BYTES_MAX, Found, Pointers},
    io,
    pointer::Pointer,
    volume::{Freed, Run, Step, Volume},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    block::BlockDevice,
    checksum::Checksum,
    file::{FileNumber, Write},
};

/// Blocks that are planned at once. A longer write is several: each happens whole or not at all.
const PLAN_BLOCKS_MAX: u64 = 1024;

/// Where one block goes.
#[derive(Clone, Copy)]
struct Target {
    /// The pointer as it was.
    old: Pointer,
    /// The pointer as it will be, but for the checksum.
    new: Pointer,
    /// It goes to a block, or a pair, that was taken for it.
    fresh: bool,
}

impl Target {
    /// It goes where it is, over data that the pointer still vouches for.
    fn is_in_place(&self) -> bool {
        !self.fresh && self.old.right == self.new.right
    }
}

/// A write of consecutive blocks of a file, planned.
struct Plan {
    file: FileNumber,
    first: u64,
    targets: Vec<Target>,
    protected: bool,
}

/// What a plan is for.
#[derive(Clone, Copy)]
struct Request {
    file: FileNumber,
    first: u64,
    count: u64,
    size: u64,
    shrinking: bool,
}

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// [`crate::file::FileStore::write`], with the order already held.
    pub(super) async fn write_blocks(&self, write: &Write<'_>, shrinking: bool) -> Result<()> {
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
                shrinking,
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
        let plan = self.run(|volume| volume.plan(request)).await?;
        let offset = self.with(|volume| Ok(volume.twin_offset()))?;
        let places: Vec<u64> = plan
            .targets
            .iter()
            .map(|target| target.new.place(offset))
            .collect();
        let guard = PlanGuard {
            store: self,
            plan: &plan,
            armed: true,
            in_flight: true,
        };
        let runs = io::runs(&places, self.request_blocks.get())
            .map(|(place, index, len)| (place, data.slice(index * BLOCK_BYTES, len * BLOCK_BYTES)))
            .collect();
        let written = self.disk.write_runs(runs).await;
        let mut guard = guard;
        guard.in_flight = false;
        written?;
        self.run(|volume| volume.commit(&plan, request.size, checksums, modified_ns))
            .await?;
        guard.armed = false;
        drop(guard);
        self.end_overwrite(&plan)?;
        if self.settle().await.is_err() {
            log::warn!("blocks that are no longer used could not be freed yet");
        }
        Ok(())
    }

    fn end_overwrite(&self, plan: &Plan) -> Result<()> {
        self.with(|volume| {
            volume.end_overwrite(plan);
            Ok(())
        })?;
        self.overwrite_ended.notify();
        Ok(())
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
struct PlanGuard<'a, D: BlockDevice, C> {
    store: &'a TwinFs<D, C>,
    plan: &'a Plan,
    armed: bool,
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
            if self.in_flight || self.plan.targets.iter().any(Target::is_in_place) {
                volume.failed = true;
            }
            Ok(())
        });
    }
}

impl Volume {
    /// Plans a write. Whatever fails or is missed, no block stays taken but indirect ones, which are
    /// in the tree and part of the file.
    fn plan(&mut self, request: Request) -> Step<Plan> {
        let Request {
            file, first, count, ..
        } = request;
        let (slot, offset, attributes) = self.inode(file)?;
        let size = attributes.size.max(request.size);
        if count > 0 && (first + count - 1) * BLOCK_BYTES as u64 >= size {
            return Err(Error::BadArgument.into());
        }
        let protected = attributes.class.protected;
        let purpose = match (request.shrinking, protected) {
            (true, _) => Purpose::Shrink,
            (_, true) => Purpose::Metadata,
            _ => Purpose::Data,
        };
        self.check_room((slot, offset), &request, protected, purpose)?;

        let mut places: Vec<Pointers> = Vec::new();
        let mut block = first;
        while block < first + count {
            let pointers = self.make_pointers((slot, offset), block, first + count - block)?;
            block += pointers.count;
            places.push(pointers);
        }
        let mut targets = Vec::with_capacity(count as usize);
        let mut fresh = 0;
        for pointers in &places {
            for index in 0..pointers.count {
                let old = self.data_pointer(pointers.slot, pointers.at(index), protected)?;
                let target = self.choose(pointers.slot, old, protected);
                fresh += u64::from(target.fresh);
                targets.push(target);
            }
        }
        if fresh > 0 {
            let near = self.neighbour(&places, protected);
            let runs = if protected {
                self.take_pairs(fresh, near)?
            } else {
                self.take_blocks(fresh, near, purpose)?
            };
            let mut blocks = runs.iter().flat_map(|run| run.start..run.start + run.len);
            for target in targets.iter_mut().filter(|target| target.fresh) {
                target.new.block = blocks.next().ok_or(Error::NoSpace)?;
            }
        }
        self.previous = None;
        let plan = Plan {
            file,
            first,
            targets,
            protected,
        };
        self.begin_overwrite(&plan);
        Ok(plan)
    }

    /// [`Error::NoSpace`] before anything is taken, if not everything can be.
    fn check_room(
        &mut self,
        inode: (Slot, usize),
        request: &Request,
        protected: bool,
        purpose: Purpose,
    ) -> Step<()> {
        let (mut data, mut indirect) = (0, 0);
        let (mut block, end) = (request.first, request.first + request.count);
        while block < end {
            let found = self.find_pointers(inode, block, end - block)?;
            match found {
                Found::Hole { count, missing } => {
                    data += count;
                    indirect += missing;
                }
                Found::Pointers(pointers) => {
                    for index in 0..pointers.count {
                        let old =
                            self.data_pointer(pointers.slot, pointers.at(index), protected)?;
                        data += u64::from(self.choose(pointers.slot, old, protected).fresh);
                    }
                }
            }
            block += found.count();
        }
        let each = if protected { 2 } else { 1 };
        let needed = data * each + indirect * 2;
        if needed > 0 && self.blocks.available() < needed + self.blocks.reserve(purpose) {
            return Err(Error::NoSpace.into());
        }
        Ok(())
    }

    /// What becomes of a block that is written; a fresh one has no place yet.
    fn choose(&self, slot: Slot, old: Pointer, protected: bool) -> Target {
        let modified = old.modified && self.is_modified(slot);
        let mut new = Pointer {
            modified: true,
            protected,
            ..Pointer::default()
        };
        let fresh = old.is_null() || !(modified || protected);
        if !fresh {
            new.block = old.block;
            new.right = if modified { old.right } else { !old.right };
        }
        Target {
            old: Pointer { modified, ..old },
            new,
            fresh,
        }
    }

    /// The block after the one before the first, or the one after the first if that is there.
    fn neighbour(&self, places: &[Pointers], protected: bool) -> Option<u64> {
        let first = places.first()?;
        let before = first.offset.checked_sub(super::pointer::POINTER_BYTES)?;
        let direct = self.cache.node(first.slot).kind == super::cache::Kind::Inodes;
        let in_inode = before % super::layout::INODE_BYTES >= super::inode::POINTERS_OFFSET;
        if direct && !in_inode {
            return None;
        }
        let pointer = self.data_pointer(first.slot, before, protected).ok()?;
        (!pointer.is_null()).then_some(pointer.block + 1)
    }

    /// Makes a plan that was written part of the file. What the file no longer needs is pending.
    fn commit(
        &mut self,
        plan: &Plan,
        size: u64,
        checksums: &[Checksum],
        modified_ns: u64,
    ) -> Step<()> {
        let (slot, offset, mut attributes) = self.inode(plan.file)?;
        let mut places: Vec<Pointers> = Vec::new();
        let (mut block, end) = (plan.first, plan.first + plan.targets.len() as u64);
        let mut targets = plan.targets.iter();
        while block < end {
            // Gone or changed: only if the caller truncates or overwrites what it is writing.
            let Found::Pointers(pointers) =
                self.find_pointers((slot, offset), block, end - block)?
            else {
                return Err(Error::Busy.into());
            };
            for (index, target) in (0..pointers.count).zip(targets.by_ref()) {
                let now = self.data_pointer(pointers.slot, pointers.at(index), plan.protected)?;
                if (now.block, now.right) != (target.old.block, target.old.right) {
                    return Err(Error::Busy.into());
                }
            }
            block += pointers.count;
            places.push(pointers);
        }

        // From here on nothing fails.
        let mut freed = core::mem::take(&mut self.pending);
        let mut written = plan.targets.iter().zip(checksums);
        for pointers in places {
            let content = self.modify(pointers.slot);
            for (index, (target, sum)) in (0..pointers.count).zip(written.by_ref()) {
                Pointer {
                    checksum: *sum,
                    ..target.new
                }
                .put(content, pointers.at(index));
                let more = u64::from(target.old.is_null());
                attributes.blocks = attributes.blocks.saturating_add(more);
                if !target.old.is_null() && target.fresh {
                    let run = Run {
                        start: target.old.block,
                        len: 1,
                    };
                    freed.push(Freed {
                        run,
                        hold: !target.old.modified,
                    });
                }
            }
        }
        attributes.size = attributes.size.max(size);
        attributes.modified_ns = modified_ns;
        attributes.changed_ns = modified_ns;
        self.set_inode(slot, offset, &attributes);
        self.pending = freed;
        Ok(())
    }

    fn in_place(&self, plan: &Plan) -> impl Iterator<Item = Run> {
        let offset = self.twin_offset();
        plan.targets
            .iter()
            .filter(|target| target.is_in_place())
            .map(move |target| Run {
                start: target.new.place(offset),
                len: 1,
            })
    }

    fn begin_overwrite(&mut self, plan: &Plan) {
        let runs: Vec<Run> = self.in_place(plan).collect();
        self.overwriting.extend(runs);
    }

    fn end_overwrite(&mut self, plan: &Plan) {
        let runs: Vec<Run> = self.in_place(plan).collect();
        for run in runs {
            if let Some(at) = self.overwriting.iter().position(|other| *other == run) {
                self.overwriting.swap_remove(at);
            }
        }
    }

    /// Has a block that was taken in vain freed before the next checkpoint.
    fn pending_block(&mut self, taken: &Pointer) {
        let offset = self.twin_offset();
        self.pending.push(Freed {
            run: Run {
                start: taken.block,
                len: 1,
            },
            hold: true,
        });
        if taken.protected {
            let run = Run {
                start: taken.block + offset,
                len: 1,
            };
            self.pending.push(Freed { run, hold: true });
        }
    }
}
