//! Taking a checkpoint.
//!
//! ```text
//!   wait for calls in flight
//!   free what is to be freed
//!   checksums, bottom up: children before parents, each block once       in memory
//!   write all dirty blocks to their unstable twins, sorted, joined       many in flight
//!   FLUSH      everything that the root refers to is on the medium
//!   write the root to the twin of its timestamp, and of one store over the root before (see `epoch`)
//!   FLUSH      the root is on the medium
//! ```
//!
//! Until the root is on its way, an error leaves the volume as it was: what was not written is dirty
//! still, and the next `sync` writes it again. From the first flush on it is not known what the medium
//! has; going on could overwrite twins that a root on the medium refers to. Then the volume in memory
//! has *failed*: it answers reads, everything that changes it is [`Error::Device`], and `sync` is
//! [`Error::NotLoaded`], until `load`.

use alloc::{boxed::Box, vec::Vec};

use super::{
    TwinFs,
    cache::{Block, Parent, RANKS, Slot},
    fetch::Leaving,
    root::Root,
    volume::Volume,
};
use crate::{
    Error, Result,
    block::BlockDevice,
    buffer::Source,
    clock::Clock,
    file::{Checkpoint, Timestamp},
    point::{self, Point},
};

impl<D: BlockDevice, C: Clock> TwinFs<D, C> {
    /// Takes a checkpoint. The caller holds the order for itself.
    pub(super) async fn take_checkpoint(&self, checkpoint: Checkpoint) -> Result<()> {
        let started_ns = self.clock.now_ns();
        self.with(|volume| {
            if volume.failed {
                return Err(Error::NotLoaded);
            }
            // Each goes to the other twin, or it would overwrite the only one there is.
            let next = Timestamp(volume.root.checkpoint.timestamp.0.wrapping_add(1));
            if checkpoint.timestamp == next {
                Ok(())
            } else {
                Err(Error::BadArgument)
            }
        })?;
        self.settle().await?;
        let _alone = self.write_back.lock().await;
        let leaving = self.with(Volume::leave_all)?;
        let blocks = leaving.len();
        self.write_out(leaving).await?;

        let root_block = self.write_root(checkpoint).await.map_err(|error| {
            let timestamp = checkpoint.timestamp.0;
            log::error!("whether checkpoint {timestamp} is on the medium is not known: {error}");
            Error::NotLoaded
        })?;
        self.with(|volume| {
            let way_back = checkpoint.has_way_back();
            volume.previous = way_back.then_some(volume.root.checkpoint);
            volume.writing = !way_back;
            volume.root.checkpoint = checkpoint;
            volume.begin_epoch(root_block);
            Ok(())
        })?;
        log::debug!(
            "checkpoint {}: {blocks} blocks in {} us",
            checkpoint.timestamp.0,
            self.clock.now_ns().saturating_sub(started_ns) / 1000
        );
        Ok(())
    }

    /// What makes the blocks on the medium a checkpoint. If it does not come to its end, the volume
    /// fails.
    async fn write_root(&self, checkpoint: Checkpoint) -> Result<Box<Block>> {
        let guard = self.fail_if_dropped();
        point::pass(Point::BlocksWritten);
        self.disk.flush().await?;
        let root_block = self.with(|volume| {
            volume.root.blocks_free = volume.blocks.free();
            volume.root.inodes_free = volume.inodes.free();
            let root = Root {
                checkpoint,
                ..volume.root.clone()
            };
            Ok(Box::new(root.encode()))
        })?;
        self.bring_root_home().await?;
        let home = Root::place(checkpoint.timestamp);
        self.disk.write(home, Source::local(&*root_block)).await?;
        point::pass(Point::RootWritten);
        if !checkpoint.has_way_back() {
            self.copy_root(checkpoint.timestamp, &root_block).await?;
        }
        self.disk.flush().await?;
        point::pass(Point::RootFlushed);
        guard.done();
        Ok(root_block)
    }
}

impl Volume {
    /// Prepares all dirty nodes for being written, children before parents.
    fn leave_all(&mut self) -> Result<Vec<Leaving>> {
        let mut by_rank: [Vec<Slot>; RANKS] = Default::default();
        for slot in self.cache.dirty() {
            by_rank[usize::from(self.cache.node(slot).rank)].push(slot);
        }
        let mut leaving = Vec::new();
        for rank in 0..RANKS {
            for slot in core::mem::take(&mut by_rank[rank]) {
                // Its checksum makes its parent dirty.
                if let Parent::Node(parent, _) = self.cache.node(slot).parent {
                    let parent_node = self.cache.node(parent);
                    if !parent_node.dirty {
                        by_rank[usize::from(parent_node.rank)].push(parent);
                    }
                }
                leaving.push(self.leave(slot)?);
            }
        }
        Ok(leaving)
    }
}
