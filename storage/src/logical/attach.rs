//! Making a volume, and attaching to one: who is here, who fits, what they load.

use alloc::{rc::Rc, vec::Vec};

use futures_util::future::join_all;

use super::{
    Logical,
    choose::{Choice, Part, choose},
    entry::COPIES_MAX,
    volume::Volume,
};
use crate::{
    Error, Result,
    file::{Attachment, FileStore, Resume, StoreFormat, Timestamp, VolumeFormat},
};

impl<S: FileStore> Logical<S> {
    /// Loads the newest checkpoint that the stores have in common, and that who resumes can go on from.
    /// For who does not, copies are made equal again that a crash of the machine left differing.
    pub(super) async fn load(&self, resume: Option<&Resume>) -> Result<Attachment> {
        let parts = self.ask_all().await?;
        let any = Timestamp(0)..=Timestamp(u64::MAX);
        let allowed = resume.map_or(any, Resume::checkpoints);
        let Choice {
            checkpoint,
            members,
            left_out,
        } = choose(&parts, &allowed).inspect_err(|error| {
            if *error == Error::NoCheckpoint {
                let base = allowed.start().0;
                log::error!("checkpoint {base} is on no file store any more");
            }
        })?;
        for (slot, why) in left_out {
            log::warn!("file store {slot} is left out: {}", why.text());
        }
        let loads = members.into_iter().map(async |part| {
            let load = async |store: &S| store.load(checkpoint.timestamp).await;
            (part, self.stores.call(part.slot, load).await)
        });
        let mut loaded: Vec<Part> = Vec::new();
        let mut penultimate = false;
        let mut failure = Error::NoCheckpoint;
        for (part, result) in join_all(loads).await {
            match result {
                Ok(()) => {
                    penultimate |= part.info.newest.timestamp > checkpoint.timestamp;
                    loaded.push(part);
                }
                Err(error) => {
                    let timestamp = checkpoint.timestamp.0;
                    log::error!(
                        "file store {} is left out: it cannot load checkpoint {timestamp}: {error}",
                        part.slot
                    );
                    failure = error;
                }
            }
        }
        let volume = Volume::new(&loaded, checkpoint.timestamp).ok_or(failure)?;
        // What somebody sees from here on is not gone back behind when another store comes back.
        match self.finish_on_all(&volume, checkpoint).await {
            Ok(failures) => {
                for (copy, error) in failures {
                    volume.take_out(copy.store, error);
                }
            }
            Err(error)
                if volume.has_all_of(checkpoint)
                    || loaded.iter().any(|part| part.knows_finished(checkpoint)) =>
            {
                log::warn!("no file store could be told that it is finished: {error}");
            }
            Err(error) => return Err(error),
        }
        self.open_mapping(&volume).await?;
        let checkpoint = volume.checkpoint.get();
        if resume.is_none() {
            self.resynchronise(&volume).await?;
        }
        let attachment = volume.attachment();
        log::info!(
            "volume {:032x}: checkpoint {} loaded on {} of {} stores{}",
            attachment.volume,
            checkpoint.0,
            attachment.stores_present,
            attachment.stores,
            if attachment.stores_present < attachment.stores {
                ", degraded"
            } else {
                ""
            }
        );
        log::info!(
            target: crate::EVENT,
            r#"{{"event":"load","checkpoint":{},"penultimate":{penultimate}}}"#,
            checkpoint.0
        );
        *self.volume.borrow_mut() = Some(Rc::new(volume));
        Ok(attachment)
    }

    /// What the stores say of themselves; a store that does not answer is treated as missing.
    ///
    /// Errors, if there is none at all: [`Error::Device`] if one may hold a volume but cannot be
    /// read, so that nobody takes it for empty; else [`Error::WrongVersion`] or
    /// [`Error::NotFormatted`].
    async fn ask_all(&self) -> Result<Vec<Part>> {
        let answers = join_all(self.stores.occupied().map(async |slot| {
            (
                slot,
                self.stores
                    .call(slot, async |store| store.info().await)
                    .await,
            )
        }));
        let mut parts = Vec::new();
        let mut worst = Error::NotFormatted;
        for (slot, answer) in answers.await {
            match answer {
                Ok(info) => {
                    let (newest, previous) = (info.newest, info.previous);
                    let finished = info.finished;
                    log::debug!(
                        "file store {slot}: {newest:?}, finished: {finished}, before: {previous:?}"
                    );
                    parts.push(Part { slot, info });
                }
                Err(error) => {
                    log::warn!("file store {slot} is left out: {error}");
                    worst = match (worst, error) {
                        (_, Error::NotFormatted) => worst,
                        (Error::NotFormatted, Error::WrongVersion) => Error::WrongVersion,
                        (_, Error::WrongVersion) => worst,
                        _ => Error::Device,
                    };
                }
            }
        }
        if parts.is_empty() {
            Err(worst)
        } else {
            Ok(parts)
        }
    }

    /// Sees that every store reaches its disk, before the first is erased: a volume that cannot be made
    /// for want of a disk leaves the old one as it is.
    async fn see_all_disks(&self, slots: &[usize]) -> Result<()> {
        let asked = join_all(slots.iter().map(async |&slot| {
            let answer = self.stores.call(slot, async |store| store.info().await);
            (slot, answer.await)
        }));
        for (slot, answer) in asked.await {
            // What is on the disk, or is damaged there, does not matter.
            if let Err(error @ (Error::PeerGone | Error::Device)) = answer {
                log::error!(
                    "file store {slot} does not reach its disk: {error}; nothing is erased"
                );
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes an empty volume of the stores that are here, all of which must succeed.
    ///
    /// A slot without a store is no part of the new volume: what is in the slot later is another
    /// volume's disk, or none.
    pub(super) async fn make(&self, format: &VolumeFormat) -> Result<Attachment> {
        let slots: Vec<usize> = self.stores.occupied().collect();
        if slots.is_empty() {
            log::error!("there is no file store to make a volume of");
            return Err(Error::Device);
        }
        if slots.len() > COPIES_MAX {
            log::error!(
                "a volume has at most {COPIES_MAX} file stores, not {}",
                slots.len()
            );
            return Err(Error::BadArgument);
        }
        if slots.len() < self.stores.slots() {
            let (here, all) = (slots.len(), self.stores.slots());
            log::warn!(
                "the new volume has {here} stores: {} of {all} are missing",
                all - here
            );
        }
        self.see_all_disks(&slots).await?;
        *self.volume.borrow_mut() = None;
        let stores = slots.len() as u32;
        let made = join_all(slots.iter().zip(0..stores).map(async |(&slot, index)| {
            let format = StoreFormat {
                volume: format.volume,
                index,
                stores,
                algorithm: format.algorithm,
                twin_offset: format.twin_offset,
            };
            (
                slot,
                self.stores
                    .call(slot, async |store| store.format(&format).await)
                    .await,
            )
        }));
        for (slot, result) in made.await {
            result.inspect_err(|error| log::error!("file store {slot} was not made: {error}"))?;
        }
        self.load(None).await
    }
}
