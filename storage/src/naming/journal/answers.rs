//! Answers that clients may ask for again.
//!
//! ```text
//!   commit      A1 │ B1 │ A2 │ A3 │ …      each takes the place of the one before
//!   answers        A1   B1                 kept beside it, until a call of that client says that it has them
//! ```
//!
//! The reply follows the commit with no other call in between, and the kernel has delivered it once its system call
//! returns. But an instance may fail in just this: it forgets to reply, or replies to somebody else. Then the
//! client waits while others go on, until naming is ended for it, and asks the next instance. So an answer is kept
//! for as long as its client has not said that it has it: each call tells how far back the oldest one is that waits for an
//! answer. A client that goes on alone says so with every call, and nothing is kept but the last commit.
//!
//! *Why not a commit for each client?* One client can have several calls under way, and the others would still
//! have to be kept.

use alloc::collections::BTreeMap;
use core::ops::Range;

use super::{
    ANSWERS_MAX, Journal,
    records::{Call, CallRecord, Effect, Intent},
};
use crate::{naming::CallKey, surviving::RecordId, transport::Message};

impl CallKey {
    /// The first call that an instance of this role could make.
    fn first(role: u64, generation: u64) -> Self {
        Self {
            role,
            generation,
            session: 0,
            number: 0,
        }
    }
}

impl Journal {
    /// The answer of a call that was carried out before. The client has the answers of all its calls before `oldest`,
    /// and nobody wants those of its earlier instances: they are forgotten.
    pub fn answer(&self, key: CallKey, oldest: u64) -> Option<Message> {
        let instance = CallKey::first(key.role, key.generation);
        self.forget_answers(CallKey::first(key.role, 0)..instance);
        let numbered = |number| CallKey { number, ..key };
        self.forget_answers(numbered(0)..numbered(oldest));
        let answers = self.answers.borrow();
        answers.get(&key).map(|(_, call)| call.answer.clone())
    }

    /// Keeps the answer of a call in this record.
    pub fn keep_answer(&self, id: RecordId, call: Call) {
        let Some(key) = call.key else {
            self.with(|tables| tables.calls.remove(id));
            return;
        };
        let record = CallRecord::intent(&call, Intent::Answered);
        self.with(|tables| tables.calls.set(id, &record));
        let displaced = self.answers.borrow_mut().insert(key, (id, call));
        if let Some((other, _)) = displaced.filter(|(other, _)| *other != id) {
            self.with(|tables| tables.calls.remove(other));
        }
        while self.answers.borrow().len() > ANSWERS_MAX {
            let Some(key) = self.least_missed() else {
                return;
            };
            self.forget_answer(key);
        }
    }

    /// Keeps the answer of the last call beyond the next one, if its client may ask for it.
    pub(super) fn keep_last(&self) {
        if self.is_heard.get() {
            return;
        }
        let call = {
            let last = self.last.borrow();
            let is_kept = |key| self.answers.borrow().contains_key(&key);
            if last.key.is_none_or(is_kept) {
                return;
            }
            Call {
                effect: Effect::None,
                ..last.clone()
            }
        };
        match self.with(|tables| tables.calls.reserve()).flatten() {
            Some(id) => self.keep_answer(id, call),
            None => log::warn!("no memory for an answer that may not have been delivered"),
        }
    }

    /// Whether there are answers beside the last one.
    pub(super) fn has_answers(&self) -> bool {
        !self.answers.borrow().is_empty()
    }

    /// Forgets what is kept for a role that does not come back.
    pub fn forget_client(&self, role: u64) {
        let next = CallKey::first(role.saturating_add(1), 0);
        self.forget_answers(CallKey::first(role, 0)..next);
    }

    /// Forgets all.
    pub(super) fn forget_all_answers(&self) {
        self.forget_answers(CallKey::first(0, 0)..CallKey::first(u64::MAX, 0));
    }

    /// Of the client for which most is kept, the oldest: whoever never says what he has displaces only his own.
    fn least_missed(&self) -> Option<CallKey> {
        let mut clients: BTreeMap<u64, (usize, u64, CallKey)> = BTreeMap::new();
        for (key, (_, call)) in &*self.answers.borrow() {
            let client = clients.entry(key.role).or_insert((0, call.op, *key));
            client.0 += 1;
            if call.op < client.1 {
                (client.1, client.2) = (call.op, *key);
            }
        }
        let most = clients.into_values().max_by_key(|(count, ..)| *count);
        most.map(|(.., key)| key)
    }

    fn forget_answers(&self, over: Range<CallKey>) {
        if (self.last.borrow().key).is_some_and(|last| over.contains(&last)) {
            self.is_heard.set(true);
        }
        loop {
            let next = {
                let answers = self.answers.borrow();
                answers.range(over.clone()).next().map(|(key, _)| *key)
            };
            match next {
                Some(key) => self.forget_answer(key),
                None => return,
            }
        }
    }

    fn forget_answer(&self, key: CallKey) {
        let answer = self.answers.borrow_mut().remove(&key);
        if let Some((id, _)) = answer {
            self.with(|tables| tables.calls.remove(id));
        }
    }
}
