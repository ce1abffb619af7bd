//! Reading what an earlier instance left. It may have written anywhere before it died: what cannot be
//! read is told, and nothing is taken back or given out on the strength of half of it.

use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};
use core::cell::{Cell, RefCell};

use super::{
    CALL_PAGES, Call, DELETION_PAGES, DESCRIPTOR_PAGES, Effect, Intent, Journal, Names, Remains,
    Tables, UNDO_PAGES, Undo,
    part::Left,
    records::{
        CALL_WORDS, CallRecord, DELETION_WORDS, DESCRIPTOR_WORDS, UNDO_WORDS, decode_descriptor,
        encode_descriptor,
    },
};
use crate::{
    file::FileNumber,
    naming::descriptors::DescriptorState,
    surviving::{Memory, RecordId},
};

/// What the table of calls holds.
#[derive(Default)]
struct Calls {
    header: Option<(RecordId, (u128, u64), u64)>,
    commit: Option<(RecordId, Call, u64)>,
    intents: Vec<(RecordId, Call, Intent)>,
    unread: Vec<RecordId>,
}

/// The tables beside that of calls: undo steps, deletions, descriptors.
type Others<M> = (
    Left<M, UNDO_WORDS>,
    Left<M, DELETION_WORDS>,
    Left<M, DESCRIPTOR_WORDS>,
);

impl Calls {
    fn of(records: &[(RecordId, [u64; CALL_WORDS])]) -> Self {
        let mut calls = Self::default();
        for (id, words) in records {
            let id = *id;
            match CallRecord::decode(words) {
                Some(CallRecord::Header {
                    volume,
                    history,
                    tag,
                }) if calls.header.is_none() => calls.header = Some((id, (volume, history), tag)),
                Some(CallRecord::Commit { call, names }) if calls.commit.is_none() => {
                    calls.commit = Some((id, call, names));
                }
                Some(CallRecord::Intent { call, intent }) => calls.intents.push((id, call, intent)),
                _ => calls.unread.push(id),
            }
        }
        calls
    }
}

/// The steps of the change of names that was under way, the last one first, or why they are not known;
/// and the number of the last change of names that left any.
fn steps(
    records: &[(RecordId, [u64; UNDO_WORDS])],
    lost: usize,
    committed: Option<u64>,
) -> (core::result::Result<Vec<Undo>, &'static str>, u64) {
    let mut steps = Vec::new();
    let mut unread = lost > 0;
    for (_, words) in records {
        match Undo::decode(words) {
            Some(step) => steps.push(step),
            None => unread = true,
        }
    }
    let last = steps.iter().map(|(op, ..)| *op).max().unwrap_or(0);
    let Some(committed) = committed else {
        return (Err("whether it had ended is not known"), last);
    };
    if unread {
        return (Err("its steps cannot be read"), last);
    }
    steps.retain(|&(op, ..)| op > committed);
    steps.sort_by_key(|&(_, place, _)| place);
    let is_whole = steps
        .iter()
        .enumerate()
        .all(|(index, &(op, place, _))| op == last && place == index);
    if !is_whole {
        return (Err("not all of its steps are there"), last);
    }
    let steps = steps.into_iter().rev().map(|(.., step)| step);
    (Ok(steps.collect()), last)
}

/// A descriptor, as far as it is known.
struct Known {
    record: Option<RecordId>,
    state: DescriptorState,
    /// It has gone on from there.
    is_behind: bool,
}

/// Does to the list of descriptors what a call has done to one.
fn apply(effect: Effect, descriptors: &mut Vec<Known>, closed: &mut Vec<RecordId>) {
    let (Effect::Set(state) | Effect::Closed(state)) = effect else {
        return;
    };
    let place = descriptors
        .iter()
        .position(|other| other.state.is_same(&state));
    let known = Known {
        record: place.and_then(|place| descriptors[place].record),
        state,
        is_behind: false,
    };
    match (effect, place) {
        (Effect::Set(_), Some(place)) => descriptors[place] = known,
        (Effect::Set(_), None) => descriptors.push(known),
        (_, Some(place)) => closed.extend(descriptors.swap_remove(place).record),
        (_, None) => {}
    }
}

/// Moves a descriptor to where a call under way has come with it: only one that is there, for such a call opens
/// nothing.
fn go_on(effect: Effect, descriptors: &mut [Known]) {
    let Effect::Set(state) = effect else { return };
    let known = descriptors
        .iter_mut()
        .find(|known| known.state.is_same(&state) && known.state.file == state.file);
    if let Some(known) = known {
        known.state.position = state.position;
        known.is_behind = false;
    }
}

impl Journal {
    /// The journal in this memory, with what an earlier instance left there. `seed`: any number that no
    /// earlier instance was given.
    pub fn open<M: Memory + 'static>(memory: M, seed: u64) -> Self {
        let left = memory.left();
        Self::of_pages(memory, left, seed)
    }

    /// An empty journal in this memory, whatever it holds. The numbers of its descriptors are unlike those
    /// that were given before.
    pub fn new<M: Memory + 'static>(memory: M, seed: u64) -> Self {
        Self::of_pages(memory, 0, seed)
    }

    fn of_pages<M: Memory + 'static>(memory: M, there: usize, seed: u64) -> Self {
        let is_first = there == 0;
        let was_used = memory.left() > 0;
        let calls_left: Left<_, CALL_WORDS> = Left::read(memory.clone(), there, CALL_PAGES);
        let undo_left: Left<_, UNDO_WORDS> = Left::read(memory.clone(), there, UNDO_PAGES);
        let deletions_left: Left<_, DELETION_WORDS> =
            Left::read(memory.clone(), there, DELETION_PAGES);
        let descriptors_left: Left<_, DESCRIPTOR_WORDS> =
            Left::read(memory, there, DESCRIPTOR_PAGES);

        let calls = Calls::of(&calls_left.records);
        let lost_calls = calls_left.lost + calls.unread.len();
        if lost_calls > 0 {
            log::error!(
                "{lost_calls} records of calls are lost: a call that is asked again may be done twice"
            );
        }
        let committed = calls.commit.as_ref().map(|&(.., names)| names);
        let known = if is_first { Some(0) } else { committed };
        let (undo, names_last) = steps(&undo_left.records, undo_left.lost, known);
        let undo_known = undo.is_ok();
        let undo = undo.unwrap_or_else(|reason| {
            log::error!("a change of names may stay half done: {reason}");
            Vec::new()
        });

        let mut descriptors = Vec::new();
        let mut unread_descriptors = Vec::new();
        for &(id, words) in &descriptors_left.records {
            match decode_descriptor(words) {
                Some((state, is_behind)) => descriptors.push(Known {
                    record: Some(id),
                    state,
                    is_behind,
                }),
                None => unread_descriptors.push(id),
            }
        }

        // What was done to descriptors last, once more: it may have been committed and no more.
        let commit_op = calls.commit.as_ref().map_or(0, |(_, call, _)| call.op);
        let mut closed = Vec::new();
        if let Some((_, call, _)) = &calls.commit {
            apply(call.effect, &mut descriptors, &mut closed);
        }
        // A call that is not over has its descriptor to itself: nobody has moved it since.
        for (_, call, _) in &calls.intents {
            if call.op != commit_op {
                go_on(call.effect, &mut descriptors);
            }
        }
        // What is still behind moved by a commit that is lost.
        let (behind, descriptors): (Vec<_>, Vec<_>) =
            descriptors.into_iter().partition(|known| known.is_behind);
        unread_descriptors.extend(behind.iter().filter_map(|known| known.record));
        let lost_descriptors = descriptors_left.lost + unread_descriptors.len();
        if lost_descriptors > 0 {
            log::error!("{lost_descriptors} descriptors are lost");
        }
        let hints = &descriptors_left.hints;
        let hints = hints.iter().filter_map(|&words| decode_descriptor(words));
        for state in hints
            .map(|(state, _)| state)
            .chain(behind.iter().map(|known| known.state))
        {
            let (role, number, file) = (state.role, state.descriptor.0, state.file.0);
            log::error!("lost: descriptor {number} of role {role}, of file {file}");
        }

        let old_tag = calls.header.map_or(seed as u32, |(.., tag)| tag as u32);
        let tag = match lost_descriptors {
            _ if !was_used => 0,
            0 if calls.header.is_some() => old_tag,
            _ => old_tag.wrapping_add(1),
        };
        let op_last = calls
            .intents
            .iter()
            .map(|(_, call, _)| call.op)
            .chain([commit_op, names_last, committed.unwrap_or(0)])
            .chain(deletions_left.records.iter().map(|(_, words)| words[1]))
            .max()
            .unwrap_or(0);
        let names_committed = if undo_known {
            committed.unwrap_or(0)
        } else {
            op_last
        };
        let last = calls.commit.as_ref().map(|(_, call, _)| call.clone());
        let journal = Self {
            tables: RefCell::new(None),
            remains: RefCell::default(),
            of: Cell::new(calls.header.map_or((0, 0), |(_, of, _)| of)),
            tag: Cell::new(tag),
            op: Cell::new(op_last),
            names_committed: Cell::new(names_committed),
            names: Cell::new(Names::None),
            steps: RefCell::new((
                undo_left.records.iter().map(|(id, _)| *id).collect(),
                Vec::new(),
            )),
            last: RefCell::new(last.unwrap_or_else(Call::none)),
            is_heard: Cell::new(false),
            behind: Cell::new(None),
            answers: RefCell::new(BTreeMap::new()),
            is_settled: Cell::new(true),
        };

        let deletions: Vec<_> = deletions_left
            .records
            .iter()
            .map(|&(id, [file, op])| (id, FileNumber(file), op))
            .collect();
        if deletions_left.lost > 0 {
            let lost = deletions_left.lost;
            log::error!("{lost} files without a name may stay");
        }
        // First what says what is valid, then the rest: should this instance die in between, the next one
        // must not take for whole what was made usable here.
        let Some(tables) = journal.accept(
            &calls,
            calls_left,
            (undo_left, deletions_left, descriptors_left),
        ) else {
            log::error!("no memory that outlives naming: its end would be noticed");
            return journal;
        };
        *journal.tables.borrow_mut() = Some(tables);
        journal.with(|tables| {
            for id in unread_descriptors.into_iter().chain(closed) {
                tables.descriptors.remove(id);
            }
        });
        let mut kept = Vec::new();
        for Known { record, state, .. } in descriptors {
            let words = encode_descriptor(&state, false);
            let id = journal.with(|tables| match record {
                Some(id) => {
                    tables.descriptors.set(id, &words);
                    Some(id)
                }
                None => tables.descriptors.insert(&words),
            });
            kept.extend(id.flatten().map(|id| (id, state)));
        }
        let mut intents = Vec::new();
        for (id, call, intent) in calls.intents {
            let call = Call {
                effect: Effect::None,
                ..call
            };
            match intent {
                _ if call.op == commit_op => journal.drop_intent(id),
                Intent::Answered => journal.keep_answer(id, call),
                intent => intents.push((id, call, intent)),
            }
        }
        journal.keep_last();
        let mut valid = Vec::new();
        for (id, file, op) in deletions {
            // A deletion that a change of names under way had planned is not to be made.
            if op <= journal.names_committed.get() {
                valid.push((id, file));
            } else {
                journal.deleted(id);
            }
        }
        journal.remains.replace(Rc::new(Remains {
            undo,
            intents,
            deletions: valid,
            descriptors: kept,
        }));
        let nothing = !journal.has_remains() && !journal.has_answers();
        journal.is_settled.set(nothing);
        journal
    }

    /// Makes the tables usable.
    fn accept<M: Memory + 'static>(
        &self,
        found: &Calls,
        calls: Left<M, CALL_WORDS>,
        (undo, deletions, descriptors): Others<M>,
    ) -> Option<Tables> {
        let mut calls = calls.accept()?;
        for &id in &found.unread {
            calls.remove(id);
        }
        let (volume, history) = self.of.get();
        let header = CallRecord::header(volume, history, u64::from(self.tag.get()));
        let commit = CallRecord::commit(&self.last.borrow(), self.names_committed.get());
        let header = match found.header {
            Some((id, ..)) => {
                calls.set(id, &header);
                id
            }
            None => calls.insert(&header)?,
        };
        let commit = match found.commit {
            Some((id, ..)) => {
                calls.set(id, &commit);
                id
            }
            None => calls.insert(&commit)?,
        };
        Some(Tables {
            calls,
            header,
            commit,
            undo: undo.accept()?,
            deletions: deletions.accept()?,
            descriptors: descriptors.accept()?,
        })
    }
}
