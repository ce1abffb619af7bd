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
//! A checkpoint in which one store took part is finished everywhere when it is finished here. The one
//! before is never offered, and there is no copy.
//!
//! What all stores have loaded is finished, too, and they are told so. Otherwise, should another store come
//! back that lacks it, it would be gone back behind although somebody has seen it.

use super::{TwinFs, fetch::block_buffer, root::Root};
use crate::{
    Error, Result,
    block::BlockDevice,
    buffer::Source,
    file::{Checkpoint, Timestamp},
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
        let newest = self.with(|volume| Ok((!volume.writing).then_some(volume.root.checkpoint)))?;
        let Some(newest) = newest else { return Ok(()) };
        // A copy that is given up may still reach the medium, when another root is there.
        let guard = self.fail_if_dropped();
        let ended = self.end_way_back(newest).await;
        guard.done();
        ended?;
        self.with(|volume| {
            volume.writing = true;
            Ok(())
        })
    }

    async fn end_way_back(&self, newest: Checkpoint) -> Result<()> {
        let (root_block, at_home) = self.with(|volume| {
            volume.previous = None;
            Ok((volume.root_block.clone(), volume.at_home))
        })?;
        if newest.has_way_back() {
            let home = Root::place(newest.timestamp);
            if !at_home {
                // The next root goes where its copy is.
                self.disk.write(home, Source::local(&*root_block)).await?;
                self.disk.flush().await?;
                self.with(|volume| {
                    volume.at_home = true;
                    Ok(())
                })?;
            }
            let before = Timestamp(newest.timestamp.0.wrapping_sub(1));
            let other = Root::place(before);
            self.disk.write(other, Source::local(&*root_block)).await?;
            point::pass(Point::RootCopied);
        }
        self.disk.flush().await
    }

    /// Makes zeros of a root block; durable after the next flush.
    pub(super) async fn erase_root(&self, place: u64) -> Result<()> {
        self.disk.write(place, Source::local(&block_buffer())).await
    }
}
