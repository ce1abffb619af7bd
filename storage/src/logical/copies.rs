//! Calls on the copies of a file: reading from one of them, changing all of them.
//!
//! What an error says of whom decides what follows from it. An error of the *request* (no space)
//! fails the call on all copies alike. An error of the *copy* (a checksum) or of the *store* (a dead
//! disk) is hidden as long as another copy is good: reads go to the next copy, changes go on
//! without the copy or the store.

use alloc::vec::Vec;

use futures_util::future::join_all;

use super::{
    Logical,
    entry::{Copies, Copy},
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::{Sink, Source},
    checksum::Checksum,
    file::{AttributeChange, FileNumber, FileStore, Write},
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
    pub refused: Option<(Copy, Error)>,
}

/// Bytes copied at a time when copies are made equal.
pub(super) const EQUALISE_BYTES: usize = 16 * BLOCK_BYTES;

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
        call: impl AsyncFn(&S, FileNumber) -> Result<T>,
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
        for copy in volume.reading_order(file, copies) {
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
    /// copy elsewhere is left. Fails if there is none, and then nothing is taken out.
    pub(super) fn settle<T>(&self, volume: &Volume, outcomes: Outcomes<T>) -> Result<Settled<T>> {
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

    /// Ends a change of a file on all of its copies. If one of them refused it, `range` (in bytes)
    /// of the others becomes again what that copy has, and the refusal is returned.
    pub(super) async fn finish(
        &self,
        volume: &Volume,
        file: FileNumber,
        outcomes: Outcomes<()>,
        range: core::ops::Range<u64>,
    ) -> Result<()> {
        let settled = self.settle(volume, outcomes)?;
        for copy in settled.bad {
            self.strike_off(volume, file, copy).await?;
        }
        let Some((good, error)) = settled.refused else {
            return Ok(());
        };
        let taken: Copies = settled.done.iter().map(|&(copy, ())| copy).collect();
        if !taken.is_empty() && self.equalise(volume, good, &taken, range).await.is_err() {
            log::warn!(
                "file {}: {error} on one copy, not undone on the others yet",
                file.0
            );
            self.remember_unequal(volume, file);
        }
        Err(error)
    }

    /// Strikes a copy that cannot be kept up off the mapping: the others go on without it.
    pub(super) async fn strike_off(
        &self,
        volume: &Volume,
        file: FileNumber,
        bad: Copy,
    ) -> Result<()> {
        log::error!(
            "file {}: its copy {} on part {} of the volume is lost; the others go on",
            file.0,
            bad.physical.0,
            bad.store
        );
        let mut entry = self.entry(volume, file).await?;
        entry.copies.retain(|copy| *copy != bad);
        if !entry.copies.is_empty() {
            self.put_entry(volume, file, &entry.encode()).await?;
        }
        Ok(())
    }

    /// Makes `range` of the copies `others`, and their sizes and attributes, equal to `good`.
    pub(super) async fn equalise(
        &self,
        volume: &Volume,
        good: Copy,
        others: &[Copy],
        range: core::ops::Range<u64>,
    ) -> Result<()> {
        let attributes = self
            .on_one(volume, good, async |s, file| s.getattr(file).await)
            .await?;
        let (size, modified_ns) = (attributes.size, attributes.modified_ns);
        let whole = size
            .checked_next_multiple_of(BLOCK_BYTES as u64)
            .ok_or(Error::Corrupt)?;
        let end = range.end.min(whole);
        let mut offset = range.start - range.start % BLOCK_BYTES as u64;
        let mut bytes = alloc::vec![0; EQUALISE_BYTES];
        while offset < end {
            let len = (end - offset).min(EQUALISE_BYTES as u64) as usize;
            let len = len.next_multiple_of(BLOCK_BYTES);
            let slot = volume.slot(good.store).ok_or(Error::Device)?;
            let read = self
                .stores
                .call(slot, async |store| {
                    store
                        .read(good.physical, offset, Sink::local(&mut bytes[..len]))
                        .await
                })
                .await?;
            bytes[read.min(len)..].fill(0);
            let checksums = checksums(volume, &bytes[..len]);
            let data = Source::local(&bytes[..len]);
            let outcomes = self
                .on_all(volume, others, async |store, file| {
                    let (data, checksums) = (data.clone(), &checksums[..]);
                    store
                        .write(Write {
                            file,
                            offset,
                            data,
                            checksums,
                            size,
                            modified_ns,
                        })
                        .await
                })
                .await;
            self.all_or_out(volume, outcomes)?;
            offset += len as u64;
        }
        let change = AttributeChange::to(&attributes);
        let outcomes = self
            .on_all(volume, others, async |store, file| {
                store.truncate(file, size, modified_ns).await?;
                store.setattr(file, &change).await
            })
            .await;
        self.all_or_out(volume, outcomes)
    }

    /// For a change that makes copies equal to one that is good: stores that fail are taken out,
    /// anything else is an error.
    fn all_or_out(&self, volume: &Volume, outcomes: Outcomes<()>) -> Result<()> {
        for (copy, outcome) in outcomes {
            match outcome {
                Err(error) if blame(error) == Blame::Store => volume.take_out(copy.store, error),
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

/// The checksums of whole blocks.
pub(super) fn checksums(volume: &Volume, blocks: &[u8]) -> Vec<Checksum> {
    blocks
        .chunks(BLOCK_BYTES)
        .map(|block| volume.algorithm.of(block))
        .collect()
}
