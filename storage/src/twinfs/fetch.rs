//! Running steps over the metadata tree: reads what they miss, writes out what must make room.

use alloc::{collections::BTreeSet, rc::Rc, vec, vec::Vec};
use core::mem::swap;

use super::{
    TwinFs,
    cache::{Block, Kind, Parent, Slot},
    io,
    layout::BITS_PER_BLOCK,
    volume::{Miss, Step, Stop, Volume},
};
use crate::{BLOCK_BYTES, Error, Result, block::BlockDevice, buffer::Source, waiting::yield_now};

/// Blocks that a step may miss before it has done something, beside one for each block of a bitmap.
const MISSES_MAX: u64 = 4096;
/// Dirty nodes that are written out together to make room.
const WRITE_BACK_MAX: usize = 64;
/// Rounds of making room before the bound is exceeded instead.
const ROUNDS_MAX: usize = 4;

/// A block that is about to be written, and the node it is the contents of.
pub struct Leaving {
    slot: Slot,
    key: u64,
    /// Which block of the device it goes to.
    pub place: u64,
    content: Rc<Block>,
}

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// Runs a step until it happens or fails. Between two tries others may run.
    pub(super) async fn run<T>(&self, step: impl FnMut(&mut Volume) -> Step<T>) -> Result<T> {
        self.run_noting(step, &mut None).await
    }

    /// As [`TwinFs::run`]; if it ends because a block of metadata is corrupt, says which.
    pub(super) async fn run_noting<T>(
        &self,
        mut step: impl FnMut(&mut Volume) -> Step<T>,
        corrupt: &mut Option<u64>,
    ) -> Result<T> {
        let mut misses_left = None;
        let mut lost = BTreeSet::new();
        loop {
            let stop = match self.with(|volume| {
                misses_left.get_or_insert(volume.layout().blocks / BITS_PER_BLOCK + MISSES_MAX);
                swap(&mut volume.lost, &mut lost);
                let result = step(volume);
                swap(&mut volume.lost, &mut lost);
                Ok(result)
            })? {
                Ok(value) => return Ok(value),
                Err(stop) => stop,
            };
            match stop {
                Stop::Fail(error) => return Err(error),
                Stop::Again => {
                    misses_left = None;
                    yield_now().await;
                }
                Stop::Miss(miss) => {
                    let left = misses_left.get_or_insert(0);
                    *left = left.checked_sub(1).ok_or(Error::NoMemory)?;
                    match self.fetch(&miss).await {
                        // This call leaves alone what the block covers; the next one looks again.
                        Err(Error::Corrupt) if miss.kind == Kind::Bitmap => {
                            lost.insert(miss.pointer.block);
                        }
                        result => {
                            if result == Err(Error::Corrupt) {
                                *corrupt = Some(miss.pointer.block);
                            }
                            result?;
                        }
                    }
                }
            }
        }
    }

    /// Uses the loaded volume.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Volume) -> Result<T>) -> Result<T> {
        work(self.volume.borrow_mut().as_mut().ok_or(Error::NotLoaded)?)
    }

    /// Reads a block of metadata into the cache.
    async fn fetch(&self, miss: &Miss) -> Result<()> {
        // If its parent made room for it, the two would take turns for ever.
        let parent = match miss.parent {
            Parent::Root(_) => None,
            Parent::Node(slot, _) => Some(slot),
        };
        self.make_room_beside(parent).await?;
        let (place, algorithm) = self.with(|volume| {
            Ok((
                miss.pointer.place(volume.twin_offset()),
                volume.root.algorithm,
            ))
        })?;
        let mut content: Rc<Block> = Rc::new([0; BLOCK_BYTES]);
        let matches = |block: &[u8]| algorithm.of(block) == miss.pointer.checksum;
        let bytes = &mut Rc::make_mut(&mut content)[..];
        let sound = self.disk.read_sound(place, bytes, matches).await?;
        self.with(|volume| {
            if sound {
                volume.arrived(miss, content);
            } else if volume.is_current(miss) {
                let what = match miss.kind {
                    Kind::Bitmap => "bitmap",
                    Kind::Inodes => "inode",
                    Kind::Pointers => "pointer",
                };
                log::error!("block {place}: the {what} block does not match its checksum");
                return Err(Error::Corrupt);
            }
            Ok(())
        })
    }

    /// Brings the cache below its bound, if that can be done.
    pub(super) async fn make_room(&self) -> Result<()> {
        self.make_room_beside(None).await
    }

    /// The same, with this node kept.
    async fn make_room_beside(&self, kept: Option<Slot>) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let fits = self.with(|volume| {
                while volume.cache.is_full() {
                    if !volume.cache.evict_clean(kept) {
                        return Ok(false);
                    }
                }
                Ok(true)
            })?;
            if fits {
                return Ok(());
            }
            let _alone = self.write_back.lock().await;
            let leaving = self.with(|volume| {
                let mut leaving = Vec::new();
                // Of a failed volume it is not known which twins are stable.
                while !volume.failed && leaving.len() < WRITE_BACK_MAX {
                    let Some(slot) = volume.cache.next_dirty() else {
                        break;
                    };
                    leaving.push(volume.leave(slot)?);
                }
                Ok(leaving)
            })?;
            if leaving.is_empty() {
                return Ok(());
            }
            self.write_out(leaving).await?;
        }
        Ok(())
    }

    /// Writes nodes to their unstable twins. What could not be written is dirty again.
    pub(super) async fn write_out(&self, mut leaving: Vec<Leaving>) -> Result<()> {
        if leaving.is_empty() {
            return Ok(());
        }
        leaving.sort_unstable_by_key(|block| block.place);
        let places: Vec<u64> = leaving.iter().map(|block| block.place).collect();
        let runs = io::runs(&places, self.request_blocks.get())
            .map(|(place, index, len)| {
                let mut data = Source::empty();
                for block in &leaving[index..index + len] {
                    data.push_local(&*block.content);
                }
                (place, data)
            })
            .collect();
        let guard = self.fail_if_dropped();
        let result = match self.begin_writing().await {
            Ok(()) => self.disk.write_runs(runs).await,
            error => error,
        };
        guard.done();
        self.with(|volume| {
            for block in &leaving {
                volume.left(block, result.is_ok());
            }
            Ok(())
        })?;
        result
    }
}

impl Volume {
    /// Prepares a dirty node for being written: its checksum goes into its parent.
    pub fn leave(&mut self, slot: Slot) -> Result<Leaving> {
        let offset = self.twin_offset();
        let algorithm = self.root.algorithm;
        let node = self.cache.node_mut(slot);
        node.dirty = false;
        node.writing = true;
        let (parent, key, content) = (node.parent, node.key, node.content.clone());
        let mut pointer = self.parent_pointer(parent)?;
        pointer.checksum = algorithm.of(&*content);
        self.set_parent_pointer(parent, pointer);
        Ok(Leaving {
            slot,
            key,
            place: pointer.place(offset),
            content,
        })
    }

    fn left(&mut self, block: &Leaving, written: bool) {
        let same = self
            .cache
            .get(block.slot)
            .is_some_and(|node| node.key == block.key);
        if same {
            let node = self.cache.node_mut(block.slot);
            node.writing = false;
            node.dirty |= !written;
        }
    }
}

/// A buffer of one block.
pub fn block_buffer() -> Vec<u8> {
    vec![0; BLOCK_BYTES]
}
