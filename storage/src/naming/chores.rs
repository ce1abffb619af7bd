//! What remains to be done when an operation is over for its caller.
//!
//! Once a name is gone the operation has happened: that the file behind it must still be deleted,
//! or its count of links lowered, is naming's business. Such a step is tried at once. If it fails,
//! it waits here and is tried again; in the worst case a file without a name takes up room. Files
//! whose last descriptor is closed after their last name went end here as well.
//!
//! Want of memory or room below ([`Error::NoMemory`], [`Error::NoSpace`]) is often over after a
//! checkpoint, which lets go of what was kept for a crash. So whole operations and chores alike
//! are tried again after one.

use alloc::{rc::Rc, string::ToString};

use super::{
    Naming,
    directory::{self, Failure},
    inode::Inode,
    volume::Volume,
};
use crate::{
    Error, Result,
    clock::Clock,
    file::{FileNumber, FileService},
    surviving::RecordId,
};

/// Most chores that wait; what comes on top is left undone.
const CHORES_MAX: usize = 8192;

/// Checkpoints that are tried for one operation.
const CHECKPOINTS_MAX: usize = 3;

/// Something that remains to be done.
pub enum Chore {
    /// Delete a file that nobody can find any more, and forget the record that says so to a successor.
    Delete(Rc<Inode>, Option<RecordId>),
    /// Something that is a change of names of its own.
    Names(NamesChore),
}

/// A change of names or counts that remains to be made.
pub enum NamesChore {
    /// Delete an orphan that nobody has open any more, and its entry.
    End(Rc<Inode>),
    /// Remove the entry of an orphan that was deleted.
    Entry(FileNumber),
    /// Lower the links of a file by what it owes.
    Links(Rc<Inode>),
}

impl From<NamesChore> for Chore {
    fn from(chore: NamesChore) -> Self {
        Self::Names(chore)
    }
}

/// What an operation does to the room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// It may take some: on a full volume it is not worth another checkpoint.
    Add,
    /// It frees some.
    Remove,
}

/// Whether an error may be over after a checkpoint.
fn is_shortage(error: Error) -> bool {
    matches!(error, Error::NoMemory | Error::NoSpace)
}

impl Volume {
    /// Leaves a chore for later.
    pub fn leave(&self, chore: impl Into<Chore>) {
        let mut chores = self.chores.borrow_mut();
        if chores.len() < CHORES_MAX {
            chores.push_back(chore.into());
        } else {
            log::warn!("too much is left to do: a file that has no name stays");
        }
    }
}

impl<F: FileService, C: Clock> Naming<F, C> {
    /// Runs an operation, and again after a checkpoint if it fails for want of memory or room.
    /// The operation must leave nothing behind when it fails so.
    pub(super) async fn with_room<T>(
        &self,
        volume: &Volume,
        aim: Aim,
        mut operation: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        for _ in 0..CHECKPOINTS_MAX {
            let result = operation().await;
            let Err(error) = result else { return result };
            self.journal.void_names();
            let hopeless = error == Error::NoSpace && volume.full.get() && aim == Aim::Add;
            if !is_shortage(error) || hopeless || self.sync().await.is_err() {
                return result;
            }
            if error == Error::NoSpace {
                let result = operation().await;
                if aim == Aim::Add {
                    // Until something is freed, asking again would only cost checkpoints.
                    volume.full.set(matches!(result, Err(Error::NoSpace)));
                }
                return result;
            }
        }
        operation().await
    }

    /// Does what is left to do. Each chore is tried once, and once more after a checkpoint.
    pub(super) async fn tidy(&self, volume: &Volume) {
        let mut checkpoints_left = 1;
        let mut left = volume.chores.borrow().len();
        while left > 0 {
            left -= 1;
            let error = {
                let Ok(_change) = self.change(volume).await else {
                    return;
                };
                let Some(chore) = volume.chores.borrow_mut().pop_front() else {
                    return;
                };
                match self.chore(volume, chore).await {
                    Ok(()) => continue,
                    Err((chore, error)) => {
                        volume.leave(chore);
                        error
                    }
                }
            };
            if checkpoints_left > 0 && is_shortage(error) && self.sync().await.is_ok() {
                checkpoints_left -= 1;
                left = volume.chores.borrow().len();
            } else {
                log::warn!("a file that has no name stays for now: {error}");
                return;
            }
        }
    }

    /// Does what is left to do, once, for a checkpoint that is about to be made: it is to hold nothing half
    /// done. The caller keeps changes away.
    pub(super) async fn tidy_for_checkpoint(&self, volume: &Volume) {
        let mut left = volume.chores.borrow().len();
        while left > 0 {
            left -= 1;
            let Some(chore) = volume.chores.borrow_mut().pop_front() else {
                return;
            };
            self.changed.set(true);
            if let Err((chore, error)) = self.chore(volume, chore).await {
                log::debug!("a file that has no name stays for now: {error}");
                volume.leave(chore);
            }
        }
    }

    /// Does a chore, or returns what is left of it and why.
    pub(super) async fn chore(
        &self,
        volume: &Volume,
        chore: Chore,
    ) -> core::result::Result<(), (Chore, Error)> {
        match chore {
            Chore::Delete(inode, record) => match self.delete_file(volume, &inode).await {
                Ok(()) => {
                    record.inspect(|&record| self.journal.deleted(record));
                    Ok(())
                }
                Err(error) => Err((Chore::Delete(inode, record), error)),
            },
            Chore::Names(chore) => {
                let _namespace = self.namespace.lock().await;
                self.begin_names(volume).await;
                let done = self.chore_of_names(volume, chore).await;
                self.journal.end_names();
                self.journal.void_names();
                done.map_err(|(chore, error)| (chore.into(), error))
            }
        }
    }

    /// A chore that changes names or counts. The caller holds the namespace.
    async fn chore_of_names(
        &self,
        volume: &Volume,
        chore: NamesChore,
    ) -> core::result::Result<(), (NamesChore, Error)> {
        match chore {
            NamesChore::Links(inode) => {
                let _alone = inode.lock.write().await;
                match inode.pay(&self.below, &self.journal).await {
                    Ok(()) | Err(Error::NotFound) => Ok(()),
                    Err(error) => Err((NamesChore::Links(inode.clone()), error)),
                }
            }
            NamesChore::End(inode) => {
                if !inode.gone.get() {
                    if inode.opens.get() > 0 {
                        return Ok(());
                    }
                    volume.forget(&inode);
                }
                if let Err(error) = self.delete_file(volume, &inode).await {
                    return Err((NamesChore::End(inode), error));
                }
                let removed = self.remove_orphan(volume, inode.number).await;
                removed.map_err(|failure| (NamesChore::Entry(inode.number), failure.error))
            }
            NamesChore::Entry(number) => {
                let removed = match self.below.getattr(number).await {
                    // By now the number can be another file's, which can be an orphan as well.
                    Ok(_) => return Ok(()),
                    Err(Error::NotFound) => self.remove_orphan(volume, number).await,
                    Err(error) => Err(error.into()),
                };
                removed.map_err(|failure| (NamesChore::Entry(number), failure.error))
            }
        }
    }

    /// Removes an entry of the orphan directory.
    pub(super) async fn remove_orphan(
        &self,
        volume: &Volume,
        number: FileNumber,
    ) -> core::result::Result<(), Failure> {
        let orphans = directory::load(&self.below, volume, volume.orphans).await?;
        self.remove_entry(volume, &orphans, number.0.to_string().as_bytes())
            .await
    }

    /// Lowers the links of a file whose name is gone, now or later, and sets its time of change: to what it
    /// was, if a name is taken back that somebody did not get. By nothing, it only marks the time.
    pub(super) async fn lower_links(
        &self,
        volume: &Volume,
        inode: &Rc<Inode>,
        by: u32,
        now_ns: u64,
    ) {
        let _alone = inode.lock.write().await;
        let lowered = inode.lower_links(&self.below, &self.journal, by, now_ns);
        if !lowered.await {
            volume.leave(NamesChore::Links(inode.clone()));
        }
    }

    /// Deletes a file that was forgotten, now or later.
    pub(super) async fn delete_soon(&self, volume: &Volume, inode: Rc<Inode>) {
        if self.delete_file(volume, &inode).await.is_err() {
            self.leave_deletion(volume, inode);
        }
    }

    /// Leaves a file that was forgotten to be deleted once the change under way is committed.
    pub(super) fn leave_deletion(&self, volume: &Volume, inode: Rc<Inode>) {
        let record = self.journal.delete_later(inode.number);
        volume.leave(Chore::Delete(inode, record));
    }

    /// Deletes a file that was forgotten: nobody can find it any more; who found it before is
    /// waited for.
    pub(super) async fn delete_file(&self, volume: &Volume, inode: &Inode) -> Result<()> {
        debug_assert!(inode.gone.get());
        let _alone = inode.lock.write().await;
        // Before the call: while it lasts, a window of the bitmap may be read.
        volume.numbers.borrow_mut().free(inode.number);
        volume.full.set(false);
        let result = self.below.delete(inode.number).await;
        let Err(error) = result else { return Ok(()) };
        // If it was deleted all the same, or nobody knows, it must not be tried again: by then the
        // number can be another file's.
        match self.below.getattr(inode.number).await {
            Ok(_) => volume.numbers.borrow_mut().keep(inode.number),
            Err(Error::NotFound) => return Ok(()),
            Err(_) => {
                log::warn!(
                    "file {} may be left without a name: {error}",
                    inode.number.0
                );
                return Ok(());
            }
        }
        Err(error)
    }
}
