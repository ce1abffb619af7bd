//! Attributes as callers see them, and change them: here, nothing else.

use alloc::{boxed::Box, rc::Rc};

use super::{
    Inner,
    below::Needs,
    files::{File, Presence},
};
use crate::{
    Error, Result,
    clock::Clock,
    file::{AttributeChange, Attributes, FileNumber, FileService},
    surviving::Memory,
};

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    pub(super) async fn getattr(self: &Rc<Self>, number: FileNumber) -> Result<Attributes> {
        let file = self.open(number).await?;
        let unsure = {
            let state = file.state.borrow();
            state.blocks_unsure && state.dirty.is_empty() && !state.writing_back
        };
        if unsure {
            Box::pin(self.ask_blocks(&file)).await?;
        }
        let state = file.state.borrow();
        if state.presence != Presence::Present {
            return Err(Error::NotFound);
        }
        Ok(state.now)
    }

    /// Asks below how many blocks a file has.
    async fn ask_blocks(self: &Rc<Self>, file: &File) -> Result<()> {
        let _shared = file.lock.read().await;
        let number = file.number;
        let below = self
            .query(Needs::Outline(number), async |lower: &L| {
                lower.getattr(number).await
            })
            .await?;
        let mut state = file.state.borrow_mut();
        if state.dirty.is_empty() && !state.writing_back {
            state.now.blocks = below.blocks;
            state.blocks_unsure = false;
        }
        Ok(())
    }

    /// Changes attributes.
    pub(super) async fn setattr(
        self: &Rc<Self>,
        number: FileNumber,
        change: &AttributeChange,
    ) -> Result<()> {
        let _gate = self.gate.read().await;
        let file = self.open(number).await?;
        self.admit(&file)?;
        let _shared = file.lock.read().await;
        let mut state = file.state.borrow_mut();
        if state.presence != Presence::Present {
            return Err(Error::NotFound);
        }
        change.apply(&mut state.now);
        if state.unclean() {
            self.mark_unclean(&file);
        }
        self.write_down(&mut self.pool.borrow_mut(), &file, &state);
        self.note_pressure();
        Ok(())
    }
}
