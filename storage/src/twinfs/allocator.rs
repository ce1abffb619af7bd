//! Which blocks and inodes are free, and which of them can be taken now.
//!
//! A bit of a bitmap can be taken if neither the current bitmap nor that of the last checkpoint has
//! it set: blocks freed since the checkpoint are *held* until the next (paper, section IV-B), so
//! that the checkpoint stays whole and no file's blocks turn up in another file after a reload.
//!
//! The search is next-fit, by words, in runs. For each bitmap block (a *group*) the number of bits
//! that can be taken is kept once it is known, so full groups cost nothing; a group never written
//! is read from nowhere. Memory: four bytes a group (512 KiB for 16 TiB), and 4 KiB for each of at
//! most [`HELD_GROUPS_MAX`] groups in which bits are held. Beyond those a group in which something
//! is freed is closed as a whole until the next checkpoint.
//!
//! A call that finds a bitmap block corrupt passes over its group, and what it frees there is lost until a
//! check, so that files can be changed and deleted wherever they are. The next call looks at the medium again: it
//! may have been a read that came out wrong. *Why not remember it?* A volume of one group could do nothing any
//! more until the machine boots again. If nothing is left but in such groups it is the store that fails
//! ([`Error::Device`]), not the file that was to have the block.

use alloc::{boxed::Box, vec, vec::Vec};

use hashbrown::HashMap;

use super::{
    bits::{self, HeldBits, View, WORDS},
    cache::Slot,
    layout::{BITS_PER_BLOCK, Tree},
    volume::{Freed, Run, Step, Volume},
};
use crate::Error;

/// Groups whose held bits are known one by one.
const HELD_GROUPS_MAX: usize = 512;
/// Free bits of a group that has not been looked at.
const UNKNOWN: u32 = u32::MAX;
/// Most blocks that only deletes, truncates and stack metadata may use.
const RESERVE_MAX: u64 = 1024;

/// For whom a block is taken: how much must be left for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Contents of a file that is not protected.
    Data,
    /// Protected contents and indirect blocks: stack metadata has to grow when data no longer can.
    Metadata,
    /// What is needed to make a file shorter.
    Shrink,
}

/// The state of one bitmap.
pub struct Allocator {
    bits: u64,
    free: u64,
    held_count: u64,
    groups: Vec<u32>,
    held: HashMap<u64, Box<HeldBits>>,
    closed: HashMap<u64, u32>,
    cursor: u64,
    pair_cursor: u64,
}

impl Allocator {
    /// A bitmap of which only the number of free bits is known.
    pub fn new(bits: u64, free: u64) -> Self {
        Self {
            bits,
            free,
            held_count: 0,
            groups: vec![UNKNOWN; bits.div_ceil(BITS_PER_BLOCK) as usize],
            held: HashMap::new(),
            closed: HashMap::new(),
            cursor: 0,
            // Pairs apart from runs of data, so that neither breaks up the other for long.
            pair_cursor: bits - bits / 8,
        }
    }

    /// Bits that are clear.
    pub fn free(&self) -> u64 {
        self.free
    }

    /// Bits that can be taken before the next checkpoint.
    pub fn available(&self) -> u64 {
        self.free.saturating_sub(self.held_count)
    }

    /// How many must be left by one who takes for this purpose.
    pub fn reserve(&self, purpose: Purpose) -> u64 {
        let reserve = (self.bits / 64).min(RESERVE_MAX);
        match purpose {
            Purpose::Data => reserve,
            Purpose::Metadata => reserve / 4,
            Purpose::Shrink => 0,
        }
    }

    /// The next search begins here: what was taken has been given back.
    pub fn look_from(&mut self, bit: u64) {
        self.cursor = bit;
    }

    /// A checkpoint was taken: what was held can be taken.
    pub fn release_held(&mut self) {
        for (group, held) in core::mem::take(&mut self.held) {
            self.add(group, held.iter().map(|word| word.count_ones()).sum());
        }
        for (group, count) in core::mem::take(&mut self.closed) {
            self.add(group, count);
        }
        self.held_count = 0;
    }

    fn add(&mut self, group: u64, count: u32) {
        let known = &mut self.groups[group as usize];
        if *known != UNKNOWN {
            *known += count;
        }
    }

    fn bits_of(&self, group: u64) -> u64 {
        BITS_PER_BLOCK.min(self.bits - group * BITS_PER_BLOCK)
    }

    fn hold(&mut self, group: u64, bit: u64) {
        self.held_count += 1;
        let room = self.held.len() < HELD_GROUPS_MAX && !self.closed.contains_key(&group);
        let held = match self.held.get_mut(&group) {
            Some(held) => held,
            None if room => self
                .held
                .entry(group)
                .or_insert_with(|| Box::new([0; WORDS])),
            None => {
                *self.closed.entry(group).or_insert(0) += 1;
                return;
            }
        };
        held[(bit / 64) as usize] |= 1 << (bit % 64);
    }
}

impl Volume {
    fn allocator(&mut self, tree: Tree) -> &mut Allocator {
        match tree {
            Tree::InodeBitmap => &mut self.inodes,
            _ => &mut self.blocks,
        }
    }

    /// Takes `want` blocks in as few runs as there are, from block `near` on if that is free.
    /// [`Error::NoSpace`] if not all can be had; then none is taken.
    pub fn take_blocks(
        &mut self,
        want: u64,
        near: Option<u64>,
        purpose: Purpose,
    ) -> Step<Vec<Run>> {
        self.take_in_data_area(want, near, purpose, None)
    }

    /// Takes `want` pairs of twins, or as many blocks if there are no twins; the runs are of left twins.
    pub fn take_pairs(&mut self, want: u64, near: Option<u64>) -> Step<Vec<Run>> {
        let distance = self.layout().has_twins().then(|| self.twin_offset());
        self.take_in_data_area(want, near, Purpose::Metadata, distance)
    }

    fn take_in_data_area(
        &mut self,
        want: u64,
        near: Option<u64>,
        purpose: Purpose,
        pair: Option<u64>,
    ) -> Step<Vec<Run>> {
        let first = self.layout().data_start;
        let near = near.and_then(|near| near.checked_sub(first));
        let keep = self.blocks.reserve(purpose);
        let mut runs = self.take(Tree::BlockBitmap, want, near, keep, pair)?;
        for run in &mut runs {
            run.start += first;
        }
        Ok(runs)
    }

    /// Takes an inode.
    pub fn take_inode(&mut self) -> Step<u64> {
        let runs = self.take(Tree::InodeBitmap, 1, None, 0, None)?;
        runs.first()
            .map(|run| run.start)
            .ok_or_else(|| Error::NoSpace.into())
    }

    fn take(
        &mut self,
        tree: Tree,
        want: u64,
        near: Option<u64>,
        keep: u64,
        pair: Option<u64>,
    ) -> Step<Vec<Run>> {
        let each = if pair.is_some() { 2 } else { 1 };
        let needed = want.saturating_mul(each).saturating_add(keep);
        if self.allocator(tree).available() < needed {
            return Err(Error::NoSpace.into());
        }
        let mut runs = Vec::new();
        let result = self.take_runs(tree, want, near, pair, &mut runs);
        if result.is_err() {
            // The bitmap blocks of what was taken were at hand a moment ago, and still are.
            for run in runs.drain(..) {
                let _ = self.mark(tree, run, pair, false);
            }
        }
        result.map(|()| runs)
    }

    fn take_runs(
        &mut self,
        tree: Tree,
        want: u64,
        near: Option<u64>,
        pair: Option<u64>,
        runs: &mut Vec<Run>,
    ) -> Step<()> {
        let mut left = want;
        if let Some(near) = near.filter(|&near| near < self.allocator(tree).bits) {
            let group = near / BITS_PER_BLOCK;
            // Not worth reading a bitmap block for.
            if let Some(slot) = self.static_node_if_cached(tree, group)
                && !self.allocator(tree).closed.contains_key(&group)
            {
                let most = left.min(pair.unwrap_or(u64::MAX));
                let len = self
                    .view(tree, group, slot, pair)
                    .run(near % BITS_PER_BLOCK, most);
                if len > 0 {
                    let run = Run { start: near, len };
                    self.mark(tree, run, pair, true)?;
                    runs.push(run);
                    left -= len;
                }
            }
        }
        let allocator = self.allocator(tree);
        let groups = allocator.groups.len() as u64;
        let mut at = if pair.is_some() {
            allocator.pair_cursor
        } else {
            allocator.cursor
        };
        // The group of the cursor comes up twice: what lies before the cursor is looked at last.
        for _ in 0..=groups {
            let group = at / BITS_PER_BLOCK;
            while left > 0 && self.is_open(tree, group)? {
                let slot = self.static_node(tree, group)?;
                let found = self
                    .view(tree, group, slot, pair)
                    .find(at % BITS_PER_BLOCK, left);
                let Some((bit, len)) = found else { break };
                let run = Run {
                    start: group * BITS_PER_BLOCK + bit,
                    len,
                };
                self.mark(tree, run, pair, true)?;
                runs.push(run);
                left -= len;
                at = run.start + len;
                if at / BITS_PER_BLOCK != group {
                    break;
                }
            }
            if left > 0 && at / BITS_PER_BLOCK == group {
                at = (group + 1) * BITS_PER_BLOCK;
            }
            let allocator = self.allocator(tree);
            if at >= allocator.bits {
                at = 0;
            }
            // Also when the search is about to stop for a bitmap block: it goes on from here.
            if left == 0 || runs.is_empty() {
                match pair {
                    Some(_) => allocator.pair_cursor = at,
                    None => allocator.cursor = at,
                }
            }
            if left == 0 {
                return Ok(());
            }
        }
        let whole = self.lost.is_empty();
        Err(if whole { Error::NoSpace } else { Error::Device }.into())
    }

    /// Whether something may be taken from a group.
    fn is_open(&mut self, tree: Tree, group: u64) -> Step<bool> {
        let lost = self.is_lost(tree, group);
        let allocator = self.allocator(tree);
        if lost || allocator.closed.contains_key(&group) {
            return Ok(false);
        }
        if allocator.groups[group as usize] == UNKNOWN {
            let slot = self.static_node(tree, group)?;
            let count = self.view(tree, group, slot, None).count();
            self.allocator(tree).groups[group as usize] = count;
        }
        Ok(self.allocator(tree).groups[group as usize] > 0)
    }

    fn view(&mut self, tree: Tree, group: u64, slot: Slot, pair: Option<u64>) -> View<'_> {
        let allocator = match tree {
            Tree::InodeBitmap => &self.inodes,
            _ => &self.blocks,
        };
        View {
            content: &self.cache.node(slot).content,
            held: allocator.held.get(&group).map(|held| &**held),
            bits: allocator.bits_of(group),
            pair,
        }
    }

    /// Sets the bits of a run that was found free, or clears them again at once.
    fn mark(&mut self, tree: Tree, run: Run, pair: Option<u64>, used: bool) -> Step<()> {
        let group = run.start / BITS_PER_BLOCK;
        let slot = self.static_node(tree, group)?;
        let first = run.start % BITS_PER_BLOCK;
        let content = self.modify(slot);
        for bit in first..first + run.len {
            bits::put(content, bit, used);
            if let Some(distance) = pair {
                bits::put(content, bit + distance, used);
            }
        }
        let count = run.len * if pair.is_some() { 2 } else { 1 };
        let allocator = self.allocator(tree);
        let known = &mut allocator.groups[group as usize];
        let unknown = *known == UNKNOWN;
        if used {
            allocator.free = allocator.free.saturating_sub(count);
            if !unknown {
                *known = known.saturating_sub(count as u32);
            }
        } else {
            allocator.free += count;
            if !unknown {
                *known += count as u32;
            }
        }
        Ok(())
    }

    /// Frees blocks, from the end of the list, until it is empty. What was freed is off the list
    /// even if the step stops.
    pub fn give_blocks(&mut self, list: &mut Vec<Freed>) -> Step<()> {
        let first = self.layout().data_start;
        while let Some(last) = list.last_mut() {
            if last.run.len == 0 {
                list.pop();
                continue;
            }
            let bit = last.run.start - first;
            let len = last.run.len.min(BITS_PER_BLOCK - bit % BITS_PER_BLOCK);
            self.give(Tree::BlockBitmap, Run { start: bit, len }, last.hold)?;
            last.run.start += len;
            last.run.len -= len;
        }
        Ok(())
    }

    /// Frees one block.
    pub fn give_block(&mut self, block: u64, hold: bool) -> Step<()> {
        let start = block - self.layout().data_start;
        self.give(Tree::BlockBitmap, Run { start, len: 1 }, hold)
    }

    /// Frees a pair of twins. It is held: whether it was taken since the checkpoint, the pointer
    /// does not say.
    pub fn give_pair(&mut self, left: u64) -> Step<()> {
        let start = left - self.layout().data_start;
        if !self.layout().has_twins() {
            return self.give(Tree::BlockBitmap, Run { start, len: 1 }, true);
        }
        let right = start + self.twin_offset();
        if !self.is_lost(Tree::BlockBitmap, right / BITS_PER_BLOCK) {
            self.static_node(Tree::BlockBitmap, right / BITS_PER_BLOCK)?;
        }
        self.give(Tree::BlockBitmap, Run { start, len: 1 }, true)?;
        self.give(
            Tree::BlockBitmap,
            Run {
                start: right,
                len: 1,
            },
            true,
        )
    }

    /// Frees an inode. Its number may be used again at once: the inode itself is protected, so the
    /// checkpoint keeps the old one whatever becomes of the number, and the blocks of the old file
    /// are held by themselves.
    pub fn give_inode(&mut self, number: u64) -> Step<()> {
        self.give(
            Tree::InodeBitmap,
            Run {
                start: number,
                len: 1,
            },
            false,
        )
    }

    fn give(&mut self, tree: Tree, run: Run, hold: bool) -> Step<()> {
        let group = run.start / BITS_PER_BLOCK;
        if self.is_lost(tree, group) {
            let (start, len) = (run.start, run.len);
            log::error!("{tree:?}: {len} from {start} are lost until a check");
            return Ok(());
        }
        let slot = self.static_node(tree, group)?;
        let first = run.start % BITS_PER_BLOCK;
        for bit in first..first + run.len {
            if !bits::get(&self.cache.node(slot).content, bit) {
                log::error!("{tree:?}: {} is freed twice", group * BITS_PER_BLOCK + bit);
                continue;
            }
            bits::put(self.modify(slot), bit, false);
            let allocator = self.allocator(tree);
            allocator.free += 1;
            if hold {
                allocator.hold(group, bit);
            } else {
                allocator.add(group, 1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_all_of_it_is_released() {
        const GROUPS: u64 = HELD_GROUPS_MAX as u64 + 88;
        let mut allocator = Allocator::new(GROUPS * BITS_PER_BLOCK, 2 * GROUPS);
        allocator.groups.fill(7);
        for bit in [5, 900] {
            for group in 0..GROUPS {
                allocator.hold(group, bit);
            }
        }
        assert_eq!(allocator.held.len(), HELD_GROUPS_MAX);
        assert_eq!(allocator.closed.len(), 88);
        assert_eq!(allocator.available(), 0);
        allocator.release_held();
        assert_eq!(allocator.available(), 2 * GROUPS);
        assert!(allocator.held.is_empty() && allocator.closed.is_empty());
        assert!(allocator.groups.iter().all(|&known| known == 9));
    }
}
