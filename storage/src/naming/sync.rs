//! Checkpoints: everything that was done before one is in it, whole.
//!
//! `fsync` of one file is a checkpoint of all: there is no cheaper way yet that does not lie. Those
//! who ask while one is under way wait for the next, and all who wait share it.

use core::cell::Cell;

use async_lock::Mutex;

use super::Naming;
use crate::{
    Error, Result,
    clock::Clock,
    file::{FileService, Timestamp},
};

/// Who waits for which checkpoint.
#[derive(Default)]
pub struct Syncs {
    /// One at a time.
    turn: Mutex<()>,
    /// How many have begun. One that begins after a call was made covers it.
    begun: Cell<u64>,
    /// Which was the last to end, and how.
    last: Cell<Option<(u64, Result<Timestamp>)>>,
}

impl<F: FileService, C: Clock> Naming<F, C> {
    /// Makes a global checkpoint, unless nothing has changed since the last one; returns its
    /// timestamp. Mounts the volume if need be.
    pub async fn sync(&self) -> Result<Timestamp> {
        self.mount().await?;
        let begun_before = self.syncs.begun.get();
        let _turn = self.syncs.turn.lock().await;
        if let Some((begun, result)) = self.syncs.last.get()
            && begun > begun_before
        {
            return result;
        }
        let _whole_operations = self.checkpoint.write().await;
        let begun = self.syncs.begun.get() + 1;
        self.syncs.begun.set(begun);
        // Only now: a format may have come in between.
        let volume = self.volume.borrow().clone().ok_or(Error::NotFormatted)?;
        self.tidy_for_checkpoint(&volume).await;
        if !self.changed.get() {
            return Ok(volume.checkpoint.get());
        }
        let result = self.below.sync().await;
        if let Ok(timestamp) = result {
            self.changed.set(false);
            volume.checkpoint_made(timestamp);
        }
        self.syncs.last.set(Some((begun, result)));
        result
    }

    /// Makes checkpoints for as long as it is polled: what whoever places naming runs beside its calls.
    ///
    /// `period` ends after a few seconds with nothing, or before with what [`FileService::early_sync_wanted`]
    /// says. `pause` takes a while: it comes before the next turn if this one has failed, or if the checkpoint that is
    /// wanted cannot be made, so that a layer below that wants and wants is not asked without end.
    pub async fn keep_synced(
        &self,
        period: impl AsyncFn() -> Option<Result<()>>,
        pause: impl AsyncFn(),
    ) -> ! {
        loop {
            let wanted = period().await;
            let made = self.sync_periodic().await;
            if let Err(error) = made {
                log::error!("cannot make a checkpoint: {error}");
            }
            if !matches!((wanted, made), (None, Ok(_)) | (Some(Ok(())), Ok(true))) {
                pause().await;
            }
        }
    }

    /// A checkpoint if something has changed, of a volume that is mounted first if need be; nothing if there is none.
    /// Whether one was made.
    pub async fn sync_periodic(&self) -> Result<bool> {
        let volume = match self.mounted().await {
            Err(Error::NotFormatted) => return Ok(false),
            volume => volume?,
        };
        self.tidy(&volume).await;
        if !self.changed.get() {
            return Ok(false);
        }
        self.sync().await.map(|_| true)
    }
}
