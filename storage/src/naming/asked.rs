//! A call of a client that changes something, from its beginning to its commit.

use core::cell::Cell;

use serde::Serialize;

use super::{
    CallKey,
    descriptors::OpenFile,
    journal::{Call, Effect, Intent, Intention, Journal},
};
use crate::{
    Result,
    surviving::RecordId,
    transport::{Message, answer},
};

/// A call under way that changes something.
pub struct Asked<'a> {
    journal: &'a Journal,
    key: Option<CallKey>,
    op: u64,
    /// The change of one file that it is about to make.
    intention: Cell<Option<Intention>>,
}

impl<'a> Asked<'a> {
    /// A call that begins. Without a key nobody will ask for its answer again.
    pub fn new(journal: &'a Journal, key: Option<CallKey>) -> Self {
        Self {
            journal,
            key,
            op: journal.begin(),
            intention: Cell::new(None),
        }
    }

    fn call(&self, answer: Message, effect: Effect) -> Call {
        Call {
            op: self.op,
            key: self.key,
            answer,
            effect,
        }
    }

    /// Notes a change of one file before it is made, in the place of what was noted before.
    /// `answer` is what a successor tells the client once it has finished the change; without one it takes
    /// the change back, and the client's repeated call makes it.
    ///
    /// What says how the file is to become, or is to be again, holds for as long as the file is locked. If the
    /// change is not made, it is withdrawn before others get at the file.
    pub fn intend(&self, intent: Intent, answer: Message, effect: Effect) {
        let call = self.call(answer, effect);
        let intention = match self.intention.take() {
            Some(intention) => {
                self.journal.intend_instead(&intention, &call, intent);
                intention
            }
            None => self.journal.intend(&call, intent),
        };
        self.intention.set(Some(intention));
    }

    /// What was noted was not made: the client's repeated call makes it.
    pub fn withdraw(&self) {
        if let Some(intention) = self.intention.take() {
            self.journal.fulfilled(intention);
        }
    }

    /// The call has ended so. To be followed by the reply, with no `await` in between.
    pub fn end<T: Serialize>(self, result: &Result<T>) {
        self.end_with(result, Effect::None, &Cell::new(None));
    }

    /// The same, of a call on a descriptor that goes on from where it is.
    pub fn end_moved<T: Serialize>(self, result: &Result<T>, file: &OpenFile) {
        match file.state() {
            Some(state) => self.end_with(result, Effect::Set(state), &file.record),
            None => self.end(result),
        }
    }

    /// The same, when it has done something to a descriptor; `record` is the descriptor's.
    pub fn end_with<T: Serialize>(
        self,
        result: &Result<T>,
        effect: Effect,
        record: &Cell<Option<RecordId>>,
    ) {
        // What has failed has changed nothing, and may be done again.
        if result.is_ok() {
            let call = self.call(answer(result.as_ref().map_err(|&error| error)), effect);
            self.journal.commit(call, record);
        } else {
            self.journal.void_names();
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}
