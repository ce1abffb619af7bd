//! The end of a checkpoint's way back: the time in which the one before can be loaded.
//!
//! Right after a checkpoint both roots are whole, and a volume of several stores needs that: one of
//! them may not have come to the end of its sync, and then all go back (paper, section IV-B). When all
//! have, each is told so, and erases the other root before the sync returns:
//!
//! ```text
//!   checkpoint ─── the others are through ──▶ ERASE the other root ─▶ FLUSH ─▶ writes … next checkpoint
//!   both can be loaded                       only the newest can
//! ```
//!
//! So a sync that has returned is not gone back behind, even if one disk loses the root of it; and a
//! write, which may go to a twin or a block that the checkpoint before refers to, takes nothing from
//! anybody.
//!
//! A checkpoint in which one store took part is finished everywhere when it is finished here. The one
//! before is never offered, and there is nothing to be erased.
//!
//! After `load` nobody is told. The other root goes before the first write then, and there is a flush in
//! any case: an instance that died in the middle of a sync may have left a root that can be read and is
//! not on the medium yet.

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
        // An erasure that is given up may still reach the medium, when another root is there.
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
        self.with(|volume| {
            volume.previous = None;
            Ok(())
        })?;
        if newest.has_way_back() {
            let before = Timestamp(newest.timestamp.0.wrapping_sub(1));
            self.erase_root(Root::place(before)).await?;
            point::pass(Point::RootErased);
        }
        self.disk.flush().await
    }

    /// Makes zeros of a root block; durable after the next flush.
    pub(super) async fn erase_root(&self, place: u64) -> Result<()> {
        self.disk.write(place, Source::local(&block_buffer())).await
    }
}
