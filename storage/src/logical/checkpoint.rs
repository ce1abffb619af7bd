//! Taking a global checkpoint (paper, section IV-C).

use alloc::vec::Vec;

use super::{
    Logical, RestartReason,
    copies::{Blame, blame},
    entry::{COPIES_MAX, Copies},
    volume::Volume,
};
use crate::{
    Error, Result,
    file::{FileNumber, FileStore, Timestamp},
};

/// Files that may wait to have their copies made equal; beyond it the last checkpoint is the way
/// to get them equal again.
const UNEQUAL_MAX: usize = 1024;

impl<S: FileStore> Logical<S> {
    /// Writes the mapping to all stores and has all of them take a checkpoint.
    ///
    /// A store that fails while another succeeds is taken out, and a checkpoint without it is taken
    /// at once: the first one names it as a participant, and so would be taken for unfinished.
    ///
    /// If all fail, nobody knows which of them have it on the medium. Its timestamp must not stand
    /// for two states, so all start again from what is there.
    pub(super) async fn take_checkpoint(&self) -> Result<Timestamp> {
        let volume = &*self.volume()?;
        let _barrier = self.barrier.lock().await;
        for _ in 0..COPIES_MAX {
            self.make_equal_again(volume).await?;
            self.flush_mapping(volume).await?;
            let checkpoint = volume.next_checkpoint();
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
            if failures.len() == outcomes.len() {
                if failures
                    .iter()
                    .any(|&(_, error)| blame(error) != Blame::Request)
                {
                    self.stores.need_restart(RestartReason::SyncFailed);
                }
                return Err(failures.first().map_or(Error::Device, |&(_, error)| error));
            }
            volume.checkpoint.set(checkpoint.timestamp);
            if failures.is_empty() {
                return Ok(checkpoint.timestamp);
            }
            for (copy, error) in failures {
                volume.take_out(copy.store, error);
            }
        }
        Err(Error::Device)
    }

    /// No checkpoint may hold copies that differ.
    async fn make_equal_again(&self, volume: &Volume) -> Result<()> {
        let files: Vec<FileNumber> = volume.unequal.borrow().iter().copied().collect();
        for file in files {
            if let Some(entry) = self.find_entry(volume, file).await? {
                let copies: Copies = volume.at_work(&entry.copies);
                if let Some((&good, others)) = copies.split_first() {
                    self.equalise(volume, good, others, 0..u64::MAX).await?;
                }
            }
            volume.unequal.borrow_mut().remove(&file);
        }
        Ok(())
    }

    pub(super) fn remember_unequal(&self, volume: &Volume, file: FileNumber) {
        let mut unequal = volume.unequal.borrow_mut();
        if unequal.len() < UNEQUAL_MAX || unequal.contains(&file) {
            unequal.insert(file);
        } else {
            self.stores.need_restart(RestartReason::Unequal);
        }
    }
}
