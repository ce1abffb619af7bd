//! Taking back what was begun, and going on where an earlier instance ended.
//!
//! Nothing is served before it is done. Each step comes out the same if it is made twice, so an instance that
//! dies over it leaves no more than there was.

use alloc::{rc::Rc, vec::Vec};
use core::{cmp::Reverse, future::Future};

use super::{
    Naming,
    chores::Chore,
    descriptors::OpenFile,
    directory::{self, Directory, Edit, Failure},
    inode::Inode,
    io::write_block,
    journal::{Call, Intent, UNDO_BYTES_MAX, Undo},
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::Source,
    clock::Clock,
    file::{AttributeChange, FileNumber, FileService, Write},
    surviving::RecordId,
    transport::answer,
};

/// What counts as done: the change was made, or there is no such file any more.
fn if_there(result: Result<()>) -> Result<()> {
    match result {
        Err(Error::NotFound) => Ok(()),
        other => other,
    }
}

impl<F: FileService, C: Clock> Naming<F, C> {
    /// Writes an edit of a directory below and commits it, having noted how to take it back.
    pub(super) async fn apply(
        &self,
        volume: &Volume,
        directory: &Directory,
        edit: Edit,
        now_ns: u64,
    ) -> core::result::Result<(), Failure> {
        let file = directory.number;
        let inode = volume.inode(file)?;
        let before = inode.attributes(&self.below).await?;
        {
            let index = directory.index()?;
            let modified_ns = before.modified_ns;
            // Taken back last: a write sets both times alike.
            if before.changed_ns != modified_ns {
                self.journal.step(Undo::Links {
                    file,
                    links: inode.links_below(&before),
                    changed_ns: before.changed_ns,
                });
            }
            let (start, _) = edit.bytes();
            match index.before(&edit) {
                None => self.journal.step(Undo::Cut {
                    file,
                    size: start / BLOCK_BYTES as u64 * BLOCK_BYTES as u64,
                    modified_ns,
                }),
                Some(before) => {
                    let mut offset = start;
                    for bytes in before.chunks(UNDO_BYTES_MAX) {
                        self.journal.step(Undo::Write {
                            file,
                            offset,
                            modified_ns,
                            bytes: bytes.to_vec(),
                        });
                        offset += bytes.len() as u64;
                    }
                }
            }
        }
        directory::apply(&self.below, volume, directory, edit, now_ns).await
    }

    /// Begins a change of names; takes back what one that was given up has done. The caller holds the
    /// namespace.
    pub(super) async fn begin_names(&self, volume: &Volume) {
        while let Err(steps) = self.journal.begin_names() {
            self.take_back(volume, &steps).await;
            self.journal.taken_back();
        }
    }

    /// Takes back the steps of a change of names. What cannot be taken back stays, and is told.
    async fn take_back(&self, volume: &Volume, steps: &[Undo]) {
        for step in steps {
            let mut taken = self.take_step_back(volume, step).await;
            if matches!(taken, Err(Error::NoMemory | Error::NoSpace)) {
                self.make_room().await;
                taken = self.take_step_back(volume, step).await;
            }
            if let Err(error) = taken {
                let file = step.file().0;
                log::error!("a change of names stays half done, at file {file}: {error}");
            }
        }
    }

    /// As after any other shortage. What is half done is gone from the next checkpoint.
    async fn make_room(&self) {
        if let Err(error) = self.below.sync().await {
            log::warn!("no checkpoint for want of room: {error}");
        }
    }

    async fn take_step_back(&self, volume: &Volume, step: &Undo) -> Result<()> {
        match step {
            Undo::Delete(file) => {
                let inode = volume.inode(*file)?;
                volume.forget(&inode);
                match self.below.getattr(*file).await {
                    Err(Error::NotFound) => Ok(()),
                    _ => self.delete_file(volume, &inode).await,
                }
            }
            Undo::Write {
                file,
                offset,
                modified_ns,
                bytes,
            } => {
                let write = Write {
                    file: *file,
                    offset: *offset,
                    data: Source::local(bytes),
                    checksums: &[],
                    size: *offset + bytes.len() as u64,
                    modified_ns: *modified_ns,
                };
                self.put_back(volume, *file, write_block(&self.below, write))
                    .await
            }
            Undo::Cut {
                file,
                size,
                modified_ns,
            } => {
                let cut = self.below.truncate(*file, *size, *modified_ns);
                self.put_back(volume, *file, cut).await
            }
            Undo::Links {
                file,
                links,
                changed_ns,
            } => {
                let change = AttributeChange {
                    links: Some(*links),
                    changed_ns: Some(*changed_ns),
                    ..AttributeChange::default()
                };
                self.put_back(volume, *file, self.below.setattr(*file, &change))
                    .await
            }
        }
    }

    /// Makes a call that makes a file what it was, if it is there. Whoever remembers it remembers it as it
    /// was in between: that is forgotten, and read again only when the call has ended.
    async fn put_back(
        &self,
        volume: &Volume,
        file: FileNumber,
        call: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        let inode = volume.inode(file)?;
        let _alone = inode.lock.write().await;
        volume.forget_content(file);
        let _doubt = inode.doubt();
        match self.below.getattr(file).await {
            Ok(_) => if_there(call.await),
            Err(error) => if_there(Err(error)),
        }
    }

    /// Goes on where an earlier instance ended. Nobody else has the volume yet.
    pub(super) async fn recover(&self, volume: &Rc<Volume>) -> Result<()> {
        let history = self.below.history().await?;
        let remains = self.journal.remains(volume.id, history);
        if !self.journal.has_remains() {
            self.journal.settled();
            return Ok(());
        }
        self.take_back(volume, &remains.undo).await;
        for (id, call, intent) in &remains.intents {
            match self.finish(call, intent).await {
                Ok(true) => self.journal.keep_answer(*id, call.clone()),
                Ok(false) => self.journal.drop_intent(*id),
                Err(error) => {
                    log::error!("a change of one file stays half done: {error}");
                    self.leave_half_done(*id, call, *intent, error);
                }
            }
        }
        for &(record, number) in &remains.deletions {
            match self.below.getattr(number).await {
                Err(Error::NotFound) => self.journal.deleted(record),
                _ => {
                    let inode = Rc::new(Inode::unknown(number, volume.checkpoints()));
                    volume.forget(&inode);
                    let chore = Chore::Delete(inode, Some(record));
                    if let Err((chore, error)) = self.chore(volume, chore).await {
                        log::warn!("a file that has no name stays for now: {error}");
                        volume.leave(chore);
                    }
                }
            }
        }
        // Newer instances first: what older ones of the same client had open is closed.
        let mut descriptors: Vec<_> = remains.descriptors.iter().collect();
        descriptors.sort_by_key(|(_, state)| Reverse(state.generation));
        for (record, state) in descriptors {
            let inode = volume.inode(state.file)?;
            let file = Rc::new(OpenFile::new(volume, inode, state.flags));
            file.record.set(Some(*record));
            let restored = self.descriptors.borrow_mut().restore(state, file.clone());
            if let Err(error) = restored {
                let (role, number) = (state.role, state.descriptor.0);
                log::warn!("descriptor {number} of role {role} is closed: {error}");
                self.journal.forget_descriptor(role, &file.record);
            }
        }
        self.journal.settled();
        let (steps, open) = (remains.undo.len(), volume.open_files.get());
        log::info!("goes on with {open} files open, and {steps} steps taken back");
        Ok(())
    }

    /// What can neither be finished nor taken back. An append is not made once more behind what has come of it: its
    /// client hears the error. Anything else the repeated call makes whole.
    fn leave_half_done(&self, id: RecordId, call: &Call, intent: Intent, error: Error) {
        match intent {
            Intent::Append { .. } => {
                let answer = answer(Err::<(), _>(error));
                let call = call.clone();
                self.journal.keep_answer(id, Call { answer, ..call });
            }
            _ => self.journal.drop_intent(id),
        }
    }

    /// Finishes or takes back a change of one file. Whether its client is told that it was made.
    async fn finish(&self, call: &Call, intent: &Intent) -> Result<bool> {
        let finished = self.try_to_finish(call, intent).await;
        match finished {
            Err(Error::NoMemory | Error::NoSpace) => {
                self.make_room().await;
                self.try_to_finish(call, intent).await
            }
            _ => finished,
        }
    }

    async fn try_to_finish(&self, call: &Call, intent: &Intent) -> Result<bool> {
        match intent {
            Intent::Answered => Ok(true),
            Intent::Append {
                file,
                size,
                modified_ns,
                changed_ns,
            } => {
                let before = (*size, *modified_ns, *changed_ns);
                if_there(self.cut_off(*file, before).await)?;
                Ok(!call.answer.is_empty())
            }
            Intent::Truncate {
                file,
                size,
                modified_ns,
            } => {
                self.below.getattr(*file).await?;
                self.below.truncate(*file, *size, *modified_ns).await?;
                Ok(true)
            }
            Intent::Change { file, change } => {
                self.below.getattr(*file).await?;
                self.below.setattr(*file, change).await?;
                Ok(true)
            }
        }
    }

    /// Makes a file that was appended to as long as it was, with its times of change of the data and of the attributes.
    async fn cut_off(
        &self,
        file: FileNumber,
        (size, modified_ns, changed_ns): (u64, u64, u64),
    ) -> Result<()> {
        let now = self.below.getattr(file).await?;
        let mut times = (now.modified_ns, now.changed_ns);
        if now.size > size || times.0 != modified_ns {
            self.below.truncate(file, size, modified_ns).await?;
            times = (modified_ns, modified_ns);
        }
        if times.1 != changed_ns {
            let change = AttributeChange {
                changed_ns: Some(changed_ns),
                ..AttributeChange::default()
            };
            self.below.setattr(file, &change).await?;
        }
        Ok(())
    }
}
