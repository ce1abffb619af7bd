//! Calls on the copies of a file: reading from one of them, changing all of them.
//!
//! What an error says of whom decides what follows from it. An error of the *request* (no space)
//! fails the call on all copies alike. An error of the *copy* (a checksum) or of the *store* (a dead
//! disk) is hidden as long as another copy is good: reads go to the next copy, changes go on
//! without the copy or the store.

use alloc::vec::Vec;
use core::ops::Range;

use futures_util::future::join_all;

use super::{Logical, RestartReason, entry::Copy, volume::Volume};
use crate::{
    BLOCK_BYTES, Error, Result,
    checksum::Checksum,
    file::{FileNumber, FileStore},
};

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    Request,
    Copy,
    Store,
}

pub(super) fn blame(error: Error) -> Blame {
    match error {
        Error::NoSpace
        | Error::TooBig
        | Error::BadArgument
        | Error::NoMemory
        | Error::Busy
        | Error::ReadOnly => Blame::Request,
        Error::Corrupt | Error::NotFound => Blame::Copy,
        _ => Blame::Store,
    }
}

/// What the copies, or those that are left, said to a call.
pub(super) type Outcomes<T> = Vec<(Copy, Result<T>)>;

/// The outcome of a change on all copies, after failed stores were taken out.
pub(super) struct Settled<T> {
    /// The copies that took it.
    pub done: Vec<(Copy, T)>,
    /// The copies that must be struck off the mapping, because they cannot be kept up.
    pub bad: Vec<Copy>,
    /// A copy that refused it, and why. Then those that took it must be undone.
    pub refused: Refused,
}

/// A copy that refused a change, if there is one, and why.
pub(super) type Refused = Option<(Copy, Error)>;

impl<S: FileStore> Logical<S> {
    /// Calls all copies at once.
    pub(super) async fn on_all<T>(
        &self,
        volume: &Volume,
        copies: &[Copy],
        call: impl AsyncFn(&S, FileNumber) -> Result<T>,
    ) -> Outcomes<T> {
        let call = &call;
        join_all(
            copies
                .iter()
                .map(async |&copy| (copy, self.on_one(volume, copy, call).await)),
        )
        .await
    }

    pub(super) async fn on_one<T>(
        &self,
        volume: &Volume,
        copy: Copy,
        mut call: impl AsyncFnMut(&S, FileNumber) -> Result<T>,
    ) -> Result<T> {
        let slot = volume.slot(copy.store).ok_or(Error::Device)?;
        self.stores
            .call(slot, async |store| call(store, copy.physical).await)
            .await
    }

    /// Calls one copy after the other until one of them is good.
    ///
    /// Errors: those of the request; [`Error::Corrupt`] if a copy was there but none good;
    /// [`Error::Device`] if no copy could be reached.
    pub(super) async fn on_any<T>(
        &self,
        volume: &Volume,
        file: FileNumber,
        copies: &[Copy],
        mut call: impl AsyncFnMut(&S, FileNumber) -> Result<T>,
    ) -> Result<T> {
        let mut worst = Error::Device;
        for copy in volume.reading_order(copies) {
            let Some(slot) = volume.slot(copy.store) else {
                continue;
            };
            let result = self
                .stores
                .call(slot, async |store| call(store, copy.physical).await)
                .await;
            let Err(error) = result else { return result };
            match blame(error) {
                Blame::Request => return Err(error),
                Blame::Copy => worst = Error::Corrupt,
                Blame::Store => {}
            }
            log::warn!(
                "file {}: {error} in its copy {} on file store {slot}",
                file.0,
                copy.physical.0
            );
        }
        Err(worst)
    }

    /// Draws the conclusions from a change on all copies: stores that failed are taken out if a
    /// copy elsewhere is left. Fails if there is none, and then nothing is taken out. A store that another
    /// call has had taken out meanwhile says nothing.
    pub(super) fn settle<T>(
        &self,
        volume: &Volume,
        mut outcomes: Outcomes<T>,
    ) -> Result<Settled<T>> {
        outcomes.retain(|(copy, _)| volume.slot(copy.store).is_some());
        let alive = |outcome: &Result<T>| match outcome {
            Ok(_) => true,
            Err(error) => blame(*error) == Blame::Request,
        };
        if !outcomes.iter().any(|(_, outcome)| alive(outcome)) {
            let mut errors = outcomes
                .iter()
                .filter_map(|(_, outcome)| outcome.as_ref().err());
            let corrupt = errors.any(|error| blame(*error) == Blame::Copy);
            return Err(if corrupt {
                Error::Corrupt
            } else {
                Error::Device
            });
        }
        let mut settled = Settled {
            done: Vec::new(),
            bad: Vec::new(),
            refused: None,
        };
        for (copy, outcome) in outcomes {
            match outcome {
                Ok(value) => settled.done.push((copy, value)),
                Err(error) => match blame(error) {
                    Blame::Request => settled.refused = Some((copy, error)),
                    Blame::Copy => settled.bad.push(copy),
                    Blame::Store => volume.take_out(copy.store, error),
                },
            }
        }
        Ok(settled)
    }

    /// Ends a change of `range` (in bytes) of a file on all of its copies. If one of them refused it, it is
    /// taken back from the others, and the refusal is returned.
    ///
    /// Nobody may be at the file meanwhile: what somebody else has just written to one copy, and not yet to
    /// another, would be taken back with it.
    pub(super) async fn finish(
        &self,
        volume: &Volume,
        file: FileNumber,
        outcomes: Outcomes<()>,
        range: Range<u64>,
    ) -> Result<()> {
        let Settled { done, bad, refused } = self.settle(volume, outcomes)?;
        if bad.is_empty() && refused.is_none() {
            return Ok(());
        }
        let _alone = volume.calls.write().await;
        for copy in bad {
            self.strike_off(volume, file, copy).await?;
        }
        let Some((refuser, error)) = refused else {
            // Whoever was alone before may have struck off those that took it.
            let entry = self.entry(volume, file).await?;
            let left = volume.at_work(&entry.copies);
            let is_left = done.iter().any(|(copy, ())| left.contains(copy));
            return if is_left { Ok(()) } else { Err(Error::Corrupt) };
        };
        // Who refuses a write has not begun it; a truncation may stop half-way.
        let may_differ = !done.is_empty() || range.end == u64::MAX;
        if may_differ && self.undo(volume, file, refuser, range).await != Ok(true) {
            log::error!(
                "file {}: its copies differ and cannot be made equal",
                file.0
            );
            return self.stores.end(RestartReason::Unequal).await;
        }
        Err(error)
    }

    /// Strikes a copy that cannot be kept up off the mapping: the others go on without it. The last one
    /// stays.
    pub(super) async fn strike_off(
        &self,
        volume: &Volume,
        file: FileNumber,
        bad: Copy,
    ) -> Result<()> {
        let mut entry = self.entry(volume, file).await?;
        entry.copies.retain(|copy| *copy != bad);
        if entry.copies.is_empty() {
            return Ok(());
        }
        log::error!(
            "file {}: its copy {} on part {} of the volume is lost; the others go on",
            file.0,
            bad.physical.0,
            bad.store
        );
        self.put_entry(volume, file, &entry.encode()).await
    }
}

/// The checksums of whole blocks.
pub(super) fn checksums(volume: &Volume, blocks: &[u8]) -> Vec<Checksum> {
    blocks
        .chunks(BLOCK_BYTES)
        .map(|block| volume.algorithm.of(block))
        .collect()
}
