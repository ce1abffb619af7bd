//! The calls that go down at once, as their callers need the answer: create, delete, truncate. They make the outline
//! of a file, which [`super::redo`] draws again after a crash below.

use alloc::{boxed::Box, rc::Rc};

use super::{
    Inner,
    below::Needs,
    files::{File, Presence},
    page::pages_in,
    write::FILE_BYTES_MAX,
};
use crate::{
    Error, Result,
    clock::Clock,
    file::{Attributes, FileNumber, FileService},
    surviving::Memory,
};

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    pub(super) async fn create(
        self: &Rc<Self>,
        number: FileNumber,
        attributes: Attributes,
    ) -> Result<()> {
        let _gate = self.gate.read().await;
        let file = self.files.borrow_mut().entry(number);
        self.admit(&file)?;
        let _alone = file.lock.write().await;
        match file.state.borrow().presence {
            Presence::Present => return Err(Error::Exists),
            // Deleted while this waited: the table has it no longer.
            Presence::Gone => return Err(Error::Busy),
            Presence::Unknown => {}
        }
        // What a file takes below may be the last there is: those that are owed theirs come first.
        let created = self
            .change(Needs::Outlines, async |lower: &L| {
                lower.create(number, &attributes).await
            })
            .await;
        match created {
            Ok(()) => {
                let mut state = file.state.borrow_mut();
                state.present(attributes);
                self.log.borrow_mut().created(&file);
                self.write_down(&mut self.pool.borrow_mut(), &file, &state);
                drop(state);
                self.note_pressure();
            }
            Err(_) => self.forget_unknown(&file),
        }
        created
    }

    pub(super) async fn delete(self: &Rc<Self>, number: FileNumber) -> Result<()> {
        let _gate = self.gate.read().await;
        let file = self.files.borrow_mut().entry(number);
        self.admit(&file)?;
        let _alone = file.lock.write().await;
        if file.state.borrow().presence == Presence::Gone {
            return Err(Error::NotFound);
        }
        let deleted = self
            .change(Needs::Outline(number), async |lower: &L| {
                lower.delete(number).await
            })
            .await;
        match deleted {
            Ok(()) => {
                self.write_down_deleted(number);
                self.drop_file(&file);
                self.note_pressure();
            }
            Err(_) => self.forget_unknown(&file),
        }
        deleted
    }

    pub(super) async fn truncate(
        self: &Rc<Self>,
        number: FileNumber,
        size: u64,
        modified_ns: u64,
    ) -> Result<()> {
        if size > FILE_BYTES_MAX {
            return Err(Error::TooBig);
        }
        let _gate = self.gate.read().await;
        let file = self.open(number).await?;
        self.admit(&file)?;
        let _alone = file.lock.write().await;
        if file.state.borrow().size_unsure {
            Box::pin(self.settle_size(&file)).await?;
        }
        let (now, below) = {
            let state = file.state.borrow();
            if state.presence != Presence::Present {
                return Err(Error::NotFound);
            }
            (state.now.size, state.below.size)
        };
        let spare = self.pool.borrow_mut().take()?;
        // What lies between was never sent down, and is cut off here alone.
        if !(below..=now).contains(&size) {
            let cut = self
                .change(Needs::Outline(number), async |lower: &L| {
                    lower.truncate(number, size, modified_ns).await
                })
                .await;
            if let Err(error) = cut {
                let _ = Box::pin(self.adopt_size(&file)).await;
                return Err(error);
            }
            let mut state = file.state.borrow_mut();
            self.log.borrow_mut().resized(&file, state.below.size, size);
            state.below.size = size;
            state.below.modified_ns = modified_ns;
            state.below.changed_ns = modified_ns;
        }
        self.cut_pages(&file, size, spare, |state| {
            state.now.size = size;
            state.modified(modified_ns);
            if state.now.blocks < pages_in(now) {
                // Which part the holes were in is known below.
                state.blocks_unsure = true;
            }
            state.now.blocks = state.now.blocks.min(pages_in(size));
        });
        let state = file.state.borrow();
        if state.unclean() {
            self.mark_unclean(&file);
        } else {
            self.mark_clean(&file);
        }
        drop(state);
        self.room_made.notify();
        self.note_pressure();
        Ok(())
    }

    /// Finds out how long a file is below, where a write has failed that may have made it longer: what was never
    /// there is not taken for cut off. The caller holds the file's lock alone.
    async fn settle_size(self: &Rc<Self>, file: &Rc<File>) -> Result<()> {
        let number = file.number;
        let found = self
            .change(Needs::Outline(number), async |lower: &L| {
                lower.getattr(number).await
            })
            .await?;
        let mut state = file.state.borrow_mut();
        state.below.size = found.size;
        state.size_unsure = false;
        Ok(())
    }

    /// Finds out how far a truncation came that has failed, if that was not to be found out then. Until it is,
    /// nobody reads zeros for what it may have cut off, and nothing is written down behind it.
    pub(super) async fn settle_cut(self: &Rc<Self>, file: &Rc<File>) -> Result<()> {
        if !file.state.borrow().cut_unsure {
            return Ok(());
        }
        Box::pin(async {
            let _alone = file.lock.write().await;
            match file.state.borrow().cut_unsure {
                true => {}
                false => return Ok(()),
            }
            self.adopt_size(file).await
        })
        .await
    }

    /// To be called when a truncation below has failed: it may have come part of the way. What it
    /// cut off is gone, here too. The caller holds the file's lock alone.
    pub(super) async fn adopt_size(self: &Rc<Self>, file: &Rc<File>) -> Result<()> {
        let number = file.number;
        file.state.borrow_mut().cut_unsure = true;
        let spare = self.pool.borrow_mut().take();
        // As if it changed anything: what an instance found that has died since is of no use.
        let found = self
            .change(Needs::Outline(number), async |lower: &L| {
                lower.getattr(number).await
            })
            .await;
        let (spare, found) = match spare.and_then(|spare| Ok((spare, found?))) {
            Ok(both) => both,
            Err(error) => {
                ::log::warn!(
                    "cache: how far file {} was cut is not known: {error}",
                    number.0
                );
                return Err(error);
            }
        };
        file.state.borrow_mut().cut_unsure = false;
        let (now, below) = {
            let state = file.state.borrow();
            (state.now.size, state.below.size)
        };
        if found.size == below {
            return Ok(());
        }
        self.log.borrow_mut().resized(file, below, found.size);
        let left = if found.size < below.min(now) {
            found.size
        } else {
            now
        };
        self.cut_pages(file, left, spare, |state| {
            if found.size < below {
                state.now.size = now.min(found.size);
            }
            state.now.blocks = state.now.blocks.min(pages_in(state.now.size));
            state.blocks_unsure = true;
            state.below.size = found.size;
            state.below.modified_ns = found.modified_ns;
            state.below.changed_ns = found.changed_ns;
        });
        self.mark_unclean(file);
        self.room_made.notify();
        Ok(())
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// Lets go of all that is known of a file, unwritten data included. That it is gone was written down.
    pub(super) fn drop_file(&self, file: &Rc<File>) {
        self.files.borrow_mut().remove(file);
        self.mark_clean(file);
        let mut state = file.state.borrow_mut();
        let mut pool = self.pool.borrow_mut();
        for id in core::mem::take(&mut state.pages).into_values() {
            pool.remove(id);
        }
        state.dirty.clear();
        state.digest = 0;
        state.presence = Presence::Gone;
        drop((state, pool));
        self.write_back_failed.set(false);
        self.room_made.notify();
    }
}
