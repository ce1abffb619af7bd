//! The first write after a checkpoint: the end of the time in which the one before can be loaded.
//!
//! Right after a checkpoint both roots are whole, and a volume of several stores needs that: one of
//! them may not have come to the end of its sync, and then all go back (paper, section IV-B). The
//! first write after it may go to a twin or a block that the checkpoint before refers to. So that
//! nobody goes back to what is no longer there, the other root is erased before that write:
//!
//! ```text
//!   checkpoint ─── nothing is written ───▶ ERASE the other root ─▶ FLUSH ─▶ writes … next checkpoint
//!   both can be loaded                     only the newest can
//! ```
//!
//! A checkpoint in which one store took part is finished everywhere when it is finished here. The one
//! before is never offered, and there is nothing to be erased.
//!
//! After `load` there is a flush in any case: an instance that died in the middle of a sync may have
//! left a root that can be read and is not on the medium yet.

use super::{TwinFs, fetch::block_buffer, root::Root};
use crate::{
    Result,
    block::BlockDevice,
    buffer::Source,
    file::{Checkpoint, Timestamp},
    point::{self, Point},
};

/// Whether stores may have to return from this checkpoint to the one before.
pub fn has_way_back(checkpoint: Checkpoint) -> bool {
    checkpoint.present.count_ones() > 1
}

impl<D: BlockDevice, C> TwinFs<D, C> {
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
        if has_way_back(newest) {
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
