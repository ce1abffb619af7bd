//! The two steps of a write: planning where its blocks go, and making them part of the file. See
//! `write` for the rule.

use alloc::vec::Vec;

use super::{
    Overwrite,
    allocator::Purpose,
    cache::Slot,
    file_tree::{Found, Pointers},
    overwrites::{Key, Ticket},
    pointer::Pointer,
    volume::{Freed, Run, Step, Stop, Volume},
};
use crate::{BLOCK_BYTES, Error, checksum::Checksum, file::FileNumber};

/// Where one block goes.
#[derive(Clone, Copy)]
pub struct Target {
    /// The pointer as it was.
    pub old: Pointer,
    /// The pointer as it will be, but for the checksum.
    pub new: Pointer,
    /// It goes to a block, or a pair, that was taken for it.
    pub fresh: bool,
    /// Which version of a block of the last checkpoint it is; 0 if there is no record of it.
    pub version: u32,
}

impl Target {
    /// It goes where it is, over data that the pointer still vouches for.
    pub fn is_in_place(&self) -> bool {
        !self.fresh && self.old.right == self.new.right
    }

    /// It goes where it is, over what the last checkpoint has there.
    fn is_overwrite(&self) -> bool {
        self.is_in_place() && !self.new.modified
    }
}

/// What becomes of blocks that the last checkpoint has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    /// They go to their other twins.
    Protected,
    /// They go to free blocks.
    Relocated,
    /// They go where they are.
    InPlace,
}

/// A block, as the log names it. Neither number of a volume is larger: see `layout` and `file_tree`.
fn key(file: FileNumber, block: u64) -> Key {
    (file.0 as u32, block as u32)
}

/// A write of consecutive blocks of a file, planned.
pub struct Plan {
    /// The file.
    pub file: FileNumber,
    /// Its first block that is written.
    pub first: u64,
    /// Each block.
    pub targets: Vec<Target>,
    /// Whether the file's blocks are pairs.
    pub protected: bool,
    /// Stands for the records that have to be on the medium first.
    pub ticket: Option<Ticket>,
}

/// What a plan is for.
#[derive(Clone, Copy)]
pub struct Request {
    /// The file.
    pub file: FileNumber,
    /// First block.
    pub first: u64,
    /// How many blocks.
    pub count: u64,
    /// Bytes that the file has afterwards, at least.
    pub size: u64,
    /// What it is a part of.
    pub part: PartOf,
}

/// What a write is a part of. Clearing what lies behind the end of a file may take from the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartOf {
    /// A call of a client.
    Write,
    /// Making a file shorter: what is cleared must be as it was if a crash makes the file that long again.
    Cut,
    /// Loading: the checkpoint has nothing there, so it can be cleared where it is. That takes no room: what was
    /// written since the checkpoint will be written again, and found room once.
    Load,
}

impl Volume {
    /// Plans a write. Whatever fails or is missed, no block stays taken but indirect ones, which are
    /// in the tree and part of the file.
    pub fn plan(&mut self, request: Request, checksums: &[Checksum]) -> Step<Plan> {
        let Request {
            file, first, count, ..
        } = request;
        let (slot, offset, attributes) = self.inode(file)?;
        let size = attributes.size.max(request.size);
        if count > 0 && (first + count - 1) * BLOCK_BYTES as u64 >= size {
            return Err(Error::BadArgument.into());
        }
        let protected = attributes.class.protected;
        let purpose = match (request.part, protected) {
            (PartOf::Cut | PartOf::Load, _) => Purpose::Shrink,
            (PartOf::Write, true) => Purpose::Metadata,
            (PartOf::Write, false) => Purpose::Data,
        };
        let kind = self.kind_of_blocks(protected, &request);
        self.check_room((slot, offset), &request, kind, purpose)?;

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
                let target = self.choose(pointers.slot, old, kind);
                fresh += u64::from(target.fresh);
                targets.push(target);
            }
        }
        if fresh > 0 {
            let near = self.neighbour(&places, protected);
            let taken = if protected {
                self.take_pairs(fresh, near)
            } else {
                self.take_blocks(fresh, near, purpose)
            };
            let runs = match (taken, request.part) {
                // Loading goes on without room, also where that is for want of bitmaps.
                (Err(Stop::Fail(Error::Device)), PartOf::Load) => return Err(Error::NoSpace.into()),
                (taken, _) => taken?,
            };
            let mut blocks = runs.iter().flat_map(|run| run.start..run.start + run.len);
            for target in targets.iter_mut().filter(|target| target.fresh) {
                target.new.block = blocks.next().ok_or(Error::NoSpace)?;
            }
        }
        let ticket = self.announce(file, first, &mut targets, checksums);
        let plan = Plan {
            file,
            first,
            targets,
            protected,
            ticket,
        };
        self.begin_overwrite(&plan);
        Ok(plan)
    }

    /// [`Error::NoSpace`] before anything is taken, if not everything can be.
    fn check_room(
        &mut self,
        inode: (Slot, usize),
        request: &Request,
        kind: BlockKind,
        purpose: Purpose,
    ) -> Step<()> {
        let protected = kind == BlockKind::Protected;
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
                        data += u64::from(self.choose(pointers.slot, old, kind).fresh);
                    }
                }
            }
            block += found.count();
        }
        let places = self.layout().places();
        let needed = data * if protected { places } else { 1 } + indirect * places;
        if needed > 0 && self.blocks.available() < needed + self.blocks.reserve(purpose) {
            return Err(Error::NoSpace.into());
        }
        Ok(())
    }

    /// What becomes of a block that is written; a fresh one has no place yet.
    fn choose(&self, slot: Slot, old: Pointer, kind: BlockKind) -> Target {
        let modified = old.modified && self.is_modified(slot);
        let fresh = old.is_null() || !modified && kind == BlockKind::Relocated;
        let overwritten = !fresh && !modified && kind == BlockKind::InPlace;
        let mut new = Pointer {
            // Of one that has no twin the bit says that the checkpoint does not know it.
            modified: !overwritten,
            protected: kind == BlockKind::Protected,
            ..Pointer::default()
        };
        if !fresh {
            new.block = old.block;
            new.right = old.right;
            if new.protected && !modified {
                new.right = self.other_twin(old.right);
            }
        }
        Target {
            old: Pointer { modified, ..old },
            new,
            fresh,
            version: 0,
        }
    }

    /// What becomes of the blocks of a write that the last checkpoint has.
    fn kind_of_blocks(&self, protected: bool, request: &Request) -> BlockKind {
        if protected {
            return BlockKind::Protected;
        }
        let in_place = match (request.part, self.overwrite) {
            (PartOf::Cut, _) | (PartOf::Write, Overwrite::Relocate) => false,
            (_, Overwrite::Unlogged) => true,
            (PartOf::Load, _) | (_, Overwrite::InPlace) => self.overwrites.has_room(request.count),
        };
        if in_place {
            BlockKind::InPlace
        } else {
            BlockKind::Relocated
        }
    }

    /// Makes the records of what is overwritten in place.
    fn announce(
        &mut self,
        file: FileNumber,
        first: u64,
        targets: &mut [Target],
        checksums: &[Checksum],
    ) -> Option<Ticket> {
        let mut ticket = None;
        if self.overwrite == Overwrite::Unlogged {
            return ticket;
        }
        for ((block, target), &checksum) in (first..).zip(targets).zip(checksums) {
            if target.is_overwrite() {
                let (version, first) = self.overwrites.announce(key(file, block), checksum);
                target.version = version;
                ticket = ticket.max(Some(first));
            }
        }
        ticket
    }

    /// Makes the records of blocks that will be overwritten in place, if they are.
    pub fn announce_early(
        &mut self,
        file: FileNumber,
        first: u64,
        checksums: &[Checksum],
    ) -> Step<()> {
        let (slot, offset, attributes) = self.inode(file)?;
        let mut at = first;
        let end = first + checksums.len() as u64;
        if attributes.class.protected || !self.overwrites.has_room(end - first) {
            return Ok(());
        }
        let mut blocks: Vec<(u64, Checksum)> = Vec::new();
        while at < end {
            let found = self.find_pointers((slot, offset), at, end - at)?;
            if let Found::Pointers(pointers) = found {
                for index in 0..pointers.count {
                    let old = self.data_pointer(pointers.slot, pointers.at(index), false)?;
                    let target = self.choose(pointers.slot, old, BlockKind::InPlace);
                    if target.is_overwrite() {
                        blocks.push((at + index, checksums[(at + index - first) as usize]));
                    }
                }
            }
            at += found.count();
        }
        for (block, checksum) in blocks {
            self.overwrites.announce(key(file, block), checksum);
        }
        Ok(())
    }

    /// The data of a plan have been written.
    pub fn written(&mut self, plan: &Plan) {
        for (block, target) in (plan.first..).zip(&plan.targets) {
            if target.version > 0 {
                self.overwrites
                    .written(key(plan.file, block), target.version);
            }
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
    pub fn commit(
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

    pub fn end_overwrite(&mut self, plan: &Plan) {
        let runs: Vec<Run> = self.in_place(plan).collect();
        for run in runs {
            if let Some(at) = self.overwriting.iter().position(|other| *other == run) {
                self.overwriting.swap_remove(at);
            }
        }
    }

    /// Has a block that was taken in vain freed before the next checkpoint.
    pub fn pending_block(&mut self, taken: &Pointer) {
        let offset = self.twin_offset();
        self.pending.push(Freed {
            run: Run {
                start: taken.block,
                len: 1,
            },
            hold: true,
        });
        if taken.protected && self.layout().has_twins() {
            let run = Run {
                start: taken.block + offset,
                len: 1,
            };
            self.pending.push(Freed { run, hold: true });
        }
    }
}
