//! Attributes and sizes on their way down, where no write has brought them.

use alloc::rc::Rc;

use super::super::{
    Inner,
    below::Needs,
    files::{File, Presence},
};
use crate::{
    Result,
    clock::Clock,
    file::{AttributeChange, FileService},
    surviving::Memory,
};

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Brings the attributes below to what they are here.
    pub(super) async fn flush_attributes(self: &Rc<Self>, file: &Rc<File>) -> Result<()> {
        if !file.state.borrow().attributes_differ() {
            return Ok(());
        }
        let _share = self.share_for_write_back().await;
        let number = file.number;
        let change = AttributeChange::to(&file.state.borrow().now);
        self.change(Needs::Outline(number), async |lower: &L| {
            lower.setattr(number, &change).await
        })
        .await?;
        let mut state = file.state.borrow_mut();
        change.apply(&mut state.below);
        state.below_unsure = false;
        Ok(())
    }

    /// Brings the size below to what it is here, if no write has: data at the end were cut off before
    /// they were ever sent down.
    pub(super) async fn flush_size(self: &Rc<Self>, file: &Rc<File>) -> Result<()> {
        let differs = |file: &File| {
            let state = file.state.borrow();
            state.presence == Presence::Present
                && state.dirty.is_empty()
                && state.now.size != state.below.size
        };
        if !differs(file) {
            return Ok(());
        }
        let _alone = file.lock.write().await;
        if !differs(file) {
            return Ok(());
        }
        let (number, now) = (file.number, file.state.borrow().now);
        let cut = self
            .change(Needs::Outline(number), async |lower: &L| {
                lower.truncate(number, now.size, now.modified_ns).await
            })
            .await;
        if let Err(error) = cut {
            let _ = self.adopt_size(file).await;
            return Err(error);
        }
        {
            let mut state = file.state.borrow_mut();
            self.log
                .borrow_mut()
                .resized(file, state.below.size, now.size);
            state.below.size = now.size;
            state.below.modified_ns = now.modified_ns;
            state.below.changed_ns = now.modified_ns;
        }
        self.flush_attributes(file).await
    }
}
