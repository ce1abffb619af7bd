//! The end of a checkpoint's way back: the time in which the one before can be loaded.
//!
//! Right after a checkpoint there are two roots, and a volume of several stores needs that: one of
//! them may not have come to the end of its sync, and then all go back (paper, section IV-B). When all
//! have, each is told so, and writes a copy of its root over the other before the sync returns:
//!
//! ```text
//!   place of T      root of T      root of T     ──▶  root of T     ──▶  root of T          root of T + 2
//!   the other       root of T - 1  copy of T     ──▶  root of T + 1 ──▶  copy of T + 1  …
//!                   │ all have T   │ all know so      │ all have T + 1
//! ```
//!
//! So a sync that has returned is not gone back behind, even if one disk loses the root of it; and a
//! write, which may go to a twin or a block that the checkpoint before refers to, takes nothing from
//! anybody. A copy says that its checkpoint is finished on all stores: who has one is not left out for the
//! sake of who has none. And it is the root where a disk has lost that.
//!
//! A checkpoint in which one store took part is finished everywhere when it is finished here, and the one
//! before is never offered. Its copy is written with the root, before the same flush: a disk writes a
//! sector whole or not at all, so whatever a power failure leaves, there is a root of this checkpoint
//! or of the one before. Once the sync has returned there are two, and none of the one before, which
//! would pass for the newest where that is damaged.
//!
//! What all stores have loaded is finished, too, and they are told so. Otherwise, should another store come
//! back that lacks it, it would be gone back behind although somebody has seen it.

use super::{TwinFs, cache::Block, fetch::block_buffer, root::Root};
use crate::{
    Error, Result,
    block::BlockDevice,
    buffer::Source,
    file::Timestamp,
    point::{self, Point},
};

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// Ends the way back from this checkpoint, the newest.
    pub(super) async fn end_sync(&self, checkpoint: Timestamp) -> Result<()> {
        let newest = self.with(|volume| Ok(volume.root.checkpoint.timestamp))?;
        if newest != checkpoint {
            return Err(Error::BadArgument);
        }
        self.begin_writing().await
    }

    /// To be called before anything is written to a place that an earlier checkpoint may refer to.
    pub(super) async fn begin_writing(&self) -> Result<()> {
        if self.with(|volume| Ok(volume.writing))? {
            return Ok(());
        }
        let _alone = self.opening.lock().await;
        if self.with(|volume| Ok(volume.writing))? {
            return Ok(());
        }
        // A copy that is given up may still reach the medium, when another root is there.
        let guard = self.fail_if_dropped();
        let ended = self.end_way_back().await;
        guard.done();
        ended?;
        self.with(|volume| {
            volume.writing = true;
            Ok(())
        })
    }

    async fn end_way_back(&self) -> Result<()> {
        let (newest, root_block) = self.with(|volume| {
            volume.previous = None;
            let newest = volume.root.checkpoint.timestamp;
            Ok((newest, volume.root_block.clone()))
        })?;
        self.bring_root_home().await?;
        self.copy_root(newest, &root_block).await?;
        self.disk.flush().await
    }

    /// The next root goes where the copy of the newest is: it must not be the only one.
    pub(super) async fn bring_root_home(&self) -> Result<()> {
        let lost = self.with(|volume| {
            let place = Root::place(volume.root.checkpoint.timestamp);
            Ok((!volume.at_home).then(|| (place, volume.root_block.clone())))
        })?;
        let Some((home, root_block)) = lost else {
            return Ok(());
        };
        self.disk.write(home, Source::local(&*root_block)).await?;
        self.disk.flush().await?;
        self.with(|volume| {
            volume.at_home = true;
            Ok(())
        })
    }

    /// Writes a root over the one before; durable after the next flush.
    pub(super) async fn copy_root(&self, timestamp: Timestamp, root_block: &Block) -> Result<()> {
        let before = Timestamp(timestamp.0.wrapping_sub(1));
        let place = Root::place(before);
        self.disk.write(place, Source::local(root_block)).await?;
        point::pass(Point::RootCopied);
        Ok(())
    }

    /// Makes zeros of a root block; durable after the next flush.
    pub(super) async fn erase_root(&self, place: u64) -> Result<()> {
        self.disk.write(place, Source::local(&block_buffer())).await
    }
}
