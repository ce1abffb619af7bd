//! What naming leaves to its successor, in memory that outlives the instance (`docs/naming.md`).
//!
//! ```text
//!   an operation     step 1: how to take it back │ call below │ step 2 │ call below │ … │ commit │ reply
//!   what survives    undo        the steps of the change of names under way
//!                    calls       the last commit: the answer, and what it did to a descriptor;
//!                                changes of single files under way; answers to be asked for again
//!                    deletions   files whose last name is gone and that are still to be deleted
//!                    descriptors who has what open, and where in it
//! ```
//!
//! **The commit** is one record. Before it, the operation has not happened: a successor takes back what was
//! done, and the client's repeated call does it anew. After it, the operation has happened: the
//! successor gives the answer again. The next commit takes its place, and if the client has not said by then
//! that it has the answer, that is kept beside it ([`answers`]).
//!
//! *Why undo and not redo?* A call below may fail for want of room, and only while it is being made. What
//! the caller is told is known when the last call has ended, not before the first.

mod answers;
mod open;
mod part;
mod records;

use alloc::{boxed::Box, collections::BTreeMap, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    mem::take,
    ops::Range,
};

pub use self::records::{Call, Effect, Intent, UNDO_BYTES_MAX, Undo};
use self::{
    part::Records,
    records::{CALL_WORDS, CallRecord, encode_descriptor},
};
use super::{CallKey, descriptors::DescriptorState};
use crate::{
    file::FileNumber,
    surviving::{Heap, RecordId, Table},
};

/// Calls at work at a time, of all clients, that the journal has room for.
pub const CALLS_MAX: usize = 128;

/// Answers that clients may ask for again; more than there can be calls at work.
const ANSWERS_MAX: usize = 192;

/// Pages of each part: for 71 steps, 324 calls, 251 deletions, 4308 descriptors.
const UNDO_PAGES: Range<usize> = 0..24;
const CALL_PAGES: Range<usize> = 24..89;
const DELETION_PAGES: Range<usize> = 89..93;
const DESCRIPTOR_PAGES: Range<usize> = 93..PAGES_MAX;

/// Pages of memory that are used at most.
pub const PAGES_MAX: usize = 232;

/// There is room for every call at work and every answer, one more before the oldest is forgotten, the header, the
/// commit, and the table's own record.
const _: () = {
    let pages = CALL_PAGES.end - CALL_PAGES.start;
    let records = pages * Table::<Heap, CALL_WORDS>::RECORDS_A_PAGE;
    assert!(records >= CALLS_MAX + ANSWERS_MAX + 1 + 3);
};

/// Where the change of names under way stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// There is none.
    None,
    /// It is under way.
    Open(u64),
    /// It has ended, and awaits its commit.
    Ended(u64),
}

/// A change of one file under way; a successor finishes it or takes it back.
#[must_use]
pub struct Intention(Option<RecordId>);

/// What an earlier instance left, to be gone through when the volume is mounted.
#[derive(Default)]
pub struct Remains {
    /// Steps to take back, the last one first.
    pub undo: Vec<Undo>,
    /// Changes of single files that were under way.
    pub intents: Vec<(RecordId, Call, Intent)>,
    /// Files to delete.
    pub deletions: Vec<(RecordId, FileNumber)>,
    /// What was open.
    pub descriptors: Vec<(RecordId, DescriptorState)>,
}

struct Tables {
    undo: Box<dyn Records>,
    calls: Box<dyn Records>,
    deletions: Box<dyn Records>,
    descriptors: Box<dyn Records>,
    header: RecordId,
    commit: RecordId,
}

/// The journal.
pub struct Journal {
    /// `None`: there is no memory, and nothing survives.
    tables: RefCell<Option<Tables>>,
    remains: RefCell<Rc<Remains>>,
    /// Which volume all of it is about, and the history below.
    of: Cell<(u128, u64)>,
    /// What the numbers of new descriptors carry.
    tag: Cell<u32>,
    /// The operation that began last.
    op: Cell<u64>,
    /// The last change of names that is not to be taken back.
    names_committed: Cell<u64>,
    names: Cell<Names>,
    /// The records of steps, and the steps of the change under way.
    steps: RefCell<(Vec<RecordId>, Vec<Undo>)>,
    /// The call that ended last.
    last: RefCell<Call>,
    /// Its client has the answer, or will not ask for it again.
    is_heard: Cell<bool>,
    /// The descriptor of which this call's effect says all, and the record that says that it does not.
    behind: Cell<Option<(RecordId, DescriptorState)>>,
    /// Answers before that one that clients may ask for again.
    answers: RefCell<BTreeMap<CallKey, (RecordId, Call)>>,
    /// What an earlier instance left is known to be about the volume that there is, or there is nothing.
    is_settled: Cell<bool>,
}

impl Journal {
    /// The number of an operation that begins.
    pub fn begin(&self) -> u64 {
        self.op.set(self.op.get() + 1);
        self.op.get()
    }

    /// What the numbers of new descriptors are to carry. It is another one after descriptors were lost, so
    /// that nobody's lost descriptor ever means somebody else's file.
    pub fn tag(&self) -> u32 {
        self.tag.get()
    }

    /// What is left of an earlier instance, for a volume with this history below. All of it is thrown away
    /// if it is about another.
    pub fn remains(&self, volume: u128, history: u64) -> Rc<Remains> {
        if self.of.get() != (volume, history) {
            self.discard();
            self.of.set((volume, history));
            self.store_header();
        }
        self.remains.borrow().clone()
    }

    /// Whether there is anything to go through.
    pub fn has_remains(&self) -> bool {
        let remains = self.remains.borrow();
        !(remains.undo.is_empty()
            && remains.intents.is_empty()
            && remains.deletions.is_empty()
            && remains.descriptors.is_empty())
    }

    /// Whether what an earlier instance left, answers included, is of the volume that there is. Until it is known to
    /// be, nothing may be answered on the strength of it.
    pub fn is_settled(&self) -> bool {
        self.is_settled.get()
    }

    /// Throws away what is left of an earlier instance: the volume is not what it was about, or nobody knows.
    /// The numbers of descriptors are others from now on, and no answer is given that may not be true any more: a
    /// call that is asked again is carried out on what there is now.
    pub fn discard(&self) {
        let old = self.remains.take();
        if !old.descriptors.is_empty() {
            let count = old.descriptors.len();
            log::error!("{count} open files are lost: what is below is not what they were of");
            self.tag.set(self.tag.get().wrapping_add(1));
        }
        let (steps, changes) = (old.undo.len(), old.intents.len());
        let deletions = old.deletions.len();
        if steps + changes + deletions > 0 {
            log::error!(
                "given up: {steps} steps to take back, {changes} changes of files, {deletions} deletions; \
                 should the volume be the same, half an operation stays"
            );
        }
        // First what makes the rest void: should this instance die over it, the next one goes on with it.
        self.store_header();
        self.forget_all_answers();
        self.is_settled.set(true);
        *self.last.borrow_mut() = Call::none();
        self.names_committed.set(self.op.get());
        self.store_commit();
        self.with(|tables| {
            for (id, ..) in &old.intents {
                tables.calls.remove(*id);
            }
            for (id, _) in &old.deletions {
                tables.deletions.remove(*id);
            }
            for (id, _) in &old.descriptors {
                tables.descriptors.remove(*id);
            }
        });
    }

    /// What an earlier instance left was gone through, and its change of names taken back.
    pub fn settled(&self) {
        self.remains.take();
        self.is_settled.set(true);
        if self.names_committed.replace(self.op.get()) != self.op.get() {
            self.store_commit();
        }
    }

    /// Begins a change of names. Returns the steps of one that was given up, the last one first: they are
    /// to be taken back, and `taken_back` called, before this is called again.
    pub fn begin_names(&self) -> core::result::Result<u64, Vec<Undo>> {
        match self.names.get() {
            Names::Open(_) if !self.steps.borrow().1.is_empty() => {
                let steps = self.steps.borrow();
                return Err(steps.1.iter().rev().cloned().collect());
            }
            Names::Ended(_) => self.void_names(),
            Names::Open(_) | Names::None => {}
        }
        let op = self.begin();
        self.steps.borrow_mut().1.clear();
        self.names.set(Names::Open(op));
        Ok(op)
    }

    /// To be called before each call below of a change of names: how to take it back.
    pub fn step(&self, undo: Undo) {
        let Names::Open(op) = self.names.get() else {
            return;
        };
        let mut steps = self.steps.borrow_mut();
        let (records, steps) = &mut *steps;
        let place = steps.len();
        self.with(|tables| {
            let words = undo.encode(op, place);
            match records.get(place) {
                Some(&id) => tables.undo.set(id, &words),
                None => match tables.undo.insert(&words) {
                    Some(id) => records.push(id),
                    None => log::warn!("a change of names has too many steps to be taken back"),
                },
            }
        });
        steps.push(undo);
    }

    /// The call that the last step was for has changed nothing: there is nothing to take back.
    pub fn unstep(&self) {
        let mut steps = self.steps.borrow_mut();
        let (records, steps) = &mut *steps;
        if let Some(step) = steps.pop()
            && let Some(&id) = records.get(steps.len())
        {
            // Operation zero was over before the first one.
            self.with(|tables| tables.undo.set(id, &step.encode(0, 0)));
        }
    }

    /// The change of names has ended. Nothing is taken back once it is committed or made void.
    pub fn end_names(&self) {
        if let Names::Open(op) = self.names.get() {
            self.names.set(Names::Ended(op));
        }
    }

    /// The change of names that has ended has failed, and left nothing to take back.
    pub fn void_names(&self) {
        if let Names::Ended(op) = self.names.get()
            && self.settle_names(op)
        {
            self.store_commit();
        }
    }

    /// The change of names that was given up was taken back.
    pub fn taken_back(&self) {
        if let Names::Open(op) = self.names.get()
            && self.settle_names(op)
        {
            self.store_commit();
        }
    }

    /// Nothing of this change is taken back any more. Whether there was anything.
    fn settle_names(&self, op: u64) -> bool {
        self.names.set(Names::None);
        self.names_committed.set(op);
        !take(&mut self.steps.borrow_mut().1).is_empty()
    }

    /// The operation has happened, with the change of names that has ended, and this is the answer. To be
    /// followed by the reply, with no `await` in between. `record` is the descriptor's.
    pub fn commit(&self, call: Call, record: &Cell<Option<RecordId>>) {
        if let Names::Ended(op) = self.names.get() {
            self.settle_names(op);
        }
        let effect = call.effect;
        self.keep_last();
        let was_behind = self.catch_up(record.get());
        *self.last.borrow_mut() = call;
        self.is_heard.set(false);
        self.store_commit();
        self.with(|tables| match effect {
            Effect::Set(state) => {
                let id = record.get().or_else(|| tables.descriptors.reserve());
                if id.is_none() {
                    log::error!("no memory for a descriptor: it would not survive");
                }
                record.set(id);
                self.behind.set(id.map(|id| (id, state)));
                if let Some(id) = id.filter(|_| !was_behind) {
                    tables.descriptors.set(id, &encode_descriptor(&state, true));
                }
            }
            Effect::Closed(_) => {
                if let Some(id) = record.take() {
                    tables.descriptors.remove(id);
                }
            }
            Effect::None => {}
        });
    }

    /// Before the last commit is overwritten: what it says of a descriptor goes to the record of that,
    /// unless it is the one of which the next commit says all; whether it is. So who reads or writes on and
    /// on moves his descriptor by the commits alone. The record says that it is behind: should
    /// the commit be overwritten by mistake, nobody goes on from a place where the descriptor once was.
    fn catch_up(&self, next: Option<RecordId>) -> bool {
        let Some((id, state)) = self.behind.take() else {
            return false;
        };
        if Some(id) == next {
            return true;
        }
        let words = encode_descriptor(&state, false);
        self.with(|tables| tables.descriptors.set(id, &words));
        false
    }

    /// Forgets a descriptor that is closed by no call of its client.
    pub fn forget_descriptor(&self, role: u64, record: &Cell<Option<RecordId>>) {
        let is_last = match self.last.borrow().effect {
            Effect::Set(state) => state.role == role,
            _ => false,
        };
        if is_last {
            self.catch_up(None);
            // Or a successor would open it again.
            self.last.borrow_mut().effect = Effect::None;
            self.store_commit();
        }
        if let Some(id) = record.take() {
            self.with(|tables| tables.descriptors.remove(id));
        }
    }

    /// Notes a change of one file before it is made.
    pub fn intend(&self, call: &Call, intent: Intent) -> Intention {
        let record = CallRecord::intent(call, intent);
        let id = self.with(|tables| tables.calls.insert(&record));
        if id == Some(None) {
            log::warn!("no memory to note a change of a file: asked again, it may be made twice");
        }
        Intention(id.flatten())
    }

    /// What a successor is to do about it is something else now.
    pub fn intend_instead(&self, intention: &Intention, call: &Call, intent: Intent) {
        let record = CallRecord::intent(call, intent);
        if let Some(id) = intention.0 {
            self.with(|tables| tables.calls.set(id, &record));
        }
    }

    /// The change is committed, or has failed: a successor leaves it alone.
    pub fn fulfilled(&self, intention: Intention) {
        if let Some(id) = intention.0 {
            self.with(|tables| tables.calls.remove(id));
        }
    }

    /// A change of one file was taken back.
    pub fn drop_intent(&self, id: RecordId) {
        self.with(|tables| tables.calls.remove(id));
    }

    /// A file is to be deleted once the change of names under way is committed.
    pub fn delete_later(&self, file: FileNumber) -> Option<RecordId> {
        let op = match self.names.get() {
            Names::Open(op) | Names::Ended(op) => op,
            Names::None => self.names_committed.get(),
        };
        let id = self.with(|tables| tables.deletions.insert(&[file.0, op]));
        if id == Some(None) {
            log::warn!(
                "no memory to note that a file is to be deleted: it may stay without a name"
            );
        }
        id.flatten()
    }

    /// It was deleted.
    pub fn deleted(&self, id: RecordId) {
        self.with(|tables| tables.deletions.remove(id));
    }

    fn store_commit(&self) {
        let record = CallRecord::commit(&self.last.borrow(), self.names_committed.get());
        self.with(|tables| tables.calls.set(tables.commit, &record));
    }

    fn store_header(&self) {
        let (volume, history) = self.of.get();
        let record = CallRecord::header(volume, history, u64::from(self.tag.get()));
        self.with(|tables| tables.calls.set(tables.header, &record));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Tables) -> T) -> Option<T> {
        self.tables.borrow_mut().as_mut().map(work)
    }
}
