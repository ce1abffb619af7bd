//! Taking a global checkpoint (paper, section IV-C).

use alloc::vec::Vec;

use super::{
    Logical, RestartReason,
    copies::{Blame, blame},
    entry::{COPIES_MAX, Copy},
    volume::Volume,
};
use crate::{
    Error, Result,
    file::{Checkpoint, FileStore, Timestamp},
    point::{self, Point},
};

impl<S: FileStore> Logical<S> {
    /// Writes the mapping to all stores and has all of them take a checkpoint.
    ///
    /// A store that fails while another succeeds is taken out, and a checkpoint without it is taken
    /// at once: the first one names it as a participant, and so would be taken for unfinished.
    ///
    /// A checkpoint that all have is finished on all before this returns: none of them can go back behind
    /// it, so one that loses it later is found out, whichever it is.
    ///
    /// An error says that there is no new checkpoint. Where that is not known, all start again from
    /// what the disks hold, and this call is never answered.
    pub(super) async fn take_checkpoint(&self) -> Result<Timestamp> {
        let volume = &*self.volume()?;
        let _barrier = self.barrier.lock().await;
        self.take_checkpoint_of(volume).await
    }

    /// As [`Self::take_checkpoint`], for who has the barrier.
    pub(super) async fn take_checkpoint_of(&self, volume: &Volume) -> Result<Timestamp> {
        for round in 0..COPIES_MAX {
            let (checkpoint, mut failures) = match self.take_on_all(volume).await {
                Ok(taken) => taken,
                // There is the checkpoint of the round before, with participants that lack it.
                Err(_) if round > 0 => return self.stores.end(RestartReason::SyncFailed).await,
                Err(error) => return Err(error),
            };
            volume.checkpoint.set(checkpoint.timestamp);
            if failures.is_empty() {
                point::pass(Point::StoresSynced);
                failures = match self.finish_on_all(volume, checkpoint).await {
                    Ok(failures) => failures,
                    // It is on all of them all the same. What comes next will tell.
                    Err(error) => {
                        log::warn!(
                            "no file store could be told that the sync is finished: {error}"
                        );
                        Vec::new()
                    }
                };
            }
            if failures.is_empty() {
                return Ok(checkpoint.timestamp);
            }
            for (copy, error) in failures {
                volume.take_out(copy.store, error);
            }
        }
        Err(Error::Device)
    }

    /// Writes the mapping, and has all stores take the next checkpoint, which names those that are at work
    /// once they have the mapping: one that failed to take that is not a participant. Returns those that
    /// failed. An error, if none has taken it.
    async fn take_on_all(&self, volume: &Volume) -> Result<(Checkpoint, Vec<(Copy, Error)>)> {
        self.flush_mapping(volume).await?;
        point::pass(Point::MappingWritten);
        let checkpoint = volume.next_checkpoint()?;
        let stores = volume.mapping_copies();
        let outcomes = self
            .on_all(volume, &stores, async |store, _| {
                store.sync(checkpoint).await
            })
            .await;
        let failures = outcomes
            .iter()
            .filter_map(|(copy, it)| Some((*copy, it.err()?)));
        let failures: Vec<_> = failures.collect();
        if failures.len() < outcomes.len() {
            return Ok((checkpoint, failures));
        }
        if failures.iter().any(|&(_, error)| leaves_doubt(error)) {
            return self.stores.end(RestartReason::SyncFailed).await;
        }
        Err(failures.first().map_or(Error::Device, |&(_, error)| error))
    }

    /// Tells all stores that all of them have the checkpoint; returns those that failed. An error, if none
    /// could be told.
    pub(super) async fn finish_on_all(
        &self,
        volume: &Volume,
        checkpoint: Checkpoint,
    ) -> Result<Vec<(Copy, Error)>> {
        if !checkpoint.has_way_back() {
            return Ok(Vec::new());
        }
        let stores = volume.mapping_copies();
        let outcomes = self
            .on_all(volume, &stores, async |store, _| {
                store.finish(checkpoint.timestamp).await
            })
            .await;
        let failures = outcomes
            .iter()
            .filter_map(|(copy, it)| Some((*copy, it.err()?)));
        let failures: Vec<_> = failures.collect();
        match failures.first() {
            Some(&(_, error)) if failures.len() == outcomes.len() => Err(error),
            _ => Ok(failures),
        }
    }
}

/// Whether a store that failed a sync with this error may have taken the checkpoint all the same.
fn leaves_doubt(error: Error) -> bool {
    blame(error) == Blame::Store && error != Error::Device
}
