//! The states that a client's directory went through since the last `sync`, and which of them a tree is.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use storage::{BLOCK_BYTES, Result, vfs::Kind};
use tests::{
    model::Model,
    operation::Operation,
    outcome::{Outcome, apply},
    tree::{File, Tree},
};

use super::{
    Extent, Instant,
    state::{Half, State, changes},
};

/// What may be seen of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust {
    /// Each block may be newer than the rest.
    pub in_place: bool,
    /// The only disk has lied: anything may be an error.
    pub damaged: bool,
}

/// From when to when a directory was as found, and which of its states that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub from: Instant,
    pub to: Instant,
    state: usize,
}

pub(super) struct History {
    pub top: Vec<u8>,
    /// Blocks of files that an earlier crash has cost, by node and number.
    unreadable: BTreeSet<(u64, u64)>,
    /// As of now, with what is open.
    pub model: Model,
    states: Vec<State>,
    /// Not all of it could be read: nobody works here any more.
    is_left: bool,
    /// A count of links was left too high.
    pub counts_too_many: bool,
}

impl History {
    /// An empty directory.
    pub fn new(top: Vec<u8>, stamp_ns: u64) -> Self {
        let mut model = Model::new();
        model.at(stamp_ns);
        model.mkdir(&top, 0o755).expect("a new directory");
        Self {
            top,
            unreadable: BTreeSet::new(),
            states: vec![State::first(model.clone())],
            model,
            is_left: false,
            counts_too_many: false,
        }
    }

    /// A directory that was made between these instants.
    pub fn made(top: Vec<u8>, stamp_ns: u64, begun: Instant, ended: Instant) -> Self {
        let mut history = Self::new(top, stamp_ns);
        history.states.insert(0, State::first(Model::new()));
        if let Some(made) = history.states.last_mut() {
            (made.begun, made.ended) = (begun, Some(ended));
        }
        history
    }

    pub fn is_left(&self) -> bool {
        self.is_left
    }

    /// What the client is doing.
    pub fn under_way(&self) -> Option<&Operation> {
        let last = self.states.last().filter(|it| it.ended.is_none())?;
        last.by.as_ref().map(|(operation, _)| operation)
    }

    pub fn begin(
        &mut self,
        operation: &Operation,
        now: Instant,
        stamp_ns: u64,
    ) -> (Result<Outcome>, Option<u32>) {
        self.model.at(stamp_ns);
        let changes = changes(&self.model, operation);
        let outcome = apply(&mut self.model, operation);
        self.states.push(State {
            begun: now,
            ended: None,
            by: Some((operation.clone(), stamp_ns)),
            changes: outcome.0.is_ok() && changes,
            is_disturbed: false,
            half: None,
            model: self.model.clone(),
        });
        outcome
    }

    /// Says since when it has changed something, if it has.
    pub fn end(
        &mut self,
        extent: Extent,
        now: Instant,
    ) -> std::result::Result<Option<Instant>, String> {
        let Some(mut last) = self.states.pop() else {
            return Ok(None);
        };
        last.ended = Some(now);
        match (extent, self.states.last()) {
            (Extent::Nothing, Some(before)) => {
                self.model = before.model.clone();
                return Ok(None);
            }
            (Extent::Bytes(bytes), Some(before)) => {
                last = last.cut_to(&before.model, bytes)?;
                self.model = last.model.clone();
            }
            _ => {}
        }
        let changed = last.changes.then_some(last.begun);
        self.states.push(last);
        Ok(changed)
    }

    /// The client has died: of a write, a part may be done. With `halves`, the disk has failed: what was
    /// begun may not have been taken back.
    pub fn died(&mut self, halves: bool) {
        if let [.., before, after] = &self.states[..]
            && after.ended.is_none()
        {
            let mut parts = after.parts(&before.model);
            if halves {
                parts.extend(after.halves(&before.model));
            }
            let at = self.states.len() - 1;
            self.states.splice(at..at, parts);
        }
    }

    /// What the successor of the client has found. Goes on from what it is, or leaves it if that is not all.
    pub fn succeeded(
        &mut self,
        tree: &Tree,
        now: Instant,
        trust: Trust,
    ) -> std::result::Result<(), String> {
        let is_settled = |state: &State| state.ended.is_some();
        let settled = self.states.iter().rposition(is_settled).unwrap_or(0);
        let differences: Vec<_> = self.states[settled..]
            .iter()
            .map(|state| {
                let judge = |node: u64, found: &File, bytes: &[u8]| {
                    let known = |block: &u64| self.unreadable.contains(&(node, *block));
                    let expected = trust.damaged || found.unreadable.iter().all(known);
                    match expected {
                        true => found.difference_where_readable(bytes),
                        false => found.difference(bytes),
                    }
                };
                tree.difference_where(&state.model, &self.top, &judge)
            })
            .collect();
        let Some(found) = differences.iter().rposition(Option::is_none) else {
            let what = self.under_way();
            return Err(format!(
                "neither before nor after {what:?}: {differences:#?}"
            ));
        };
        if trust.damaged && !tree.is_whole() {
            self.is_left = true;
            return Ok(());
        }
        if found > 0 {
            self.states.swap(settled + 1, settled + found);
        }
        self.states.truncate(settled + 1 + found.min(1));
        if let Some(last) = self.states.last_mut() {
            last.ended.get_or_insert(now);
            last.model.close_all();
            self.model = last.model.clone();
            self.is_left |= last.half == Some(Half::Twice);
            self.counts_too_many |= last.half == Some(Half::Count);
        }
        Ok(())
    }

    /// No crash leads back behind this instant any more. Which state a directory is in that could not be read to the
    /// end, nobody knows.
    pub fn forget_before(&mut self, durable: Instant) {
        if self.is_left {
            return;
        }
        let has_ended = |state: &State| state.ended.is_some_and(|ended| ended <= durable);
        let needed = self.states.iter().rposition(has_ended).unwrap_or(0);
        self.states.drain(..needed);
    }

    /// A name of a file with blocks that cannot be read, if there is one.
    pub fn damaged(&self) -> Option<Vec<u8>> {
        if self.unreadable.is_empty() {
            return None;
        }
        let mut left = vec![self.top.clone()];
        while let Some(path) = left.pop() {
            for (name, node) in self.model.readdir(&path).unwrap_or_default() {
                let path = [&path[..], b"/", &name].concat();
                match self.model.node(node).kind() {
                    Kind::Directory => left.push(path),
                    _ if self.unreadable.iter().any(|it| it.0 == node) => return Some(path),
                    _ => {}
                }
            }
        }
        None
    }

    /// What is under way is made in two parts.
    pub fn disturb(&mut self) {
        if let Some(last) = self.states.last_mut().filter(|it| it.ended.is_none()) {
            last.is_disturbed = true;
        }
    }

    /// Has a crash find writes half done, too: all of them, or those that were disturbed.
    pub fn split_writes(&mut self, all: bool) {
        let mut states: Vec<State> = Vec::new();
        for state in std::mem::take(&mut self.states) {
            // What a client that died has left in parts is there already.
            let before = states.last().filter(|before| before.begun < state.begun);
            if let Some(before) = before
                && (all || state.is_disturbed && !state.appends(&before.model))
            {
                let parts = state.parts(&before.model);
                states.extend(parts);
            }
            states.push(state);
        }
        self.states = states;
    }

    /// When this directory was as `tree`, not before `durable`.
    pub fn fits(
        &self,
        tree: &Tree,
        durable: Instant,
        trust: Trust,
    ) -> std::result::Result<Vec<Fit>, String> {
        if self.is_left {
            self.was_ever(tree, trust)?;
            let any = Fit {
                from: 0,
                to: Instant::MAX,
                state: 0,
            };
            return Ok(vec![any]);
        }
        let mut fits = Vec::new();
        let mut differences = BTreeMap::new();
        for (index, state) in self.states.iter().enumerate() {
            let from = state.begun.max(durable);
            let next = self.states.get(index + 1);
            let to = next.map_or(Instant::MAX, |next| next.ended.unwrap_or(Instant::MAX));
            if from >= to {
                continue;
            }
            let difference = self.difference_at(index, tree, trust);
            match difference {
                None => fits.push(Fit {
                    from,
                    to,
                    state: index,
                }),
                Some(difference) => {
                    differences.insert(index, difference);
                }
            }
        }
        if fits.is_empty() {
            let top = self.top.escape_ascii();
            return Err(format!(
                "{top} is as at no time since the last sync: {differences:#?}"
            ));
        }
        Ok(fits)
    }

    /// The first difference from a state, and where data are overwritten in place from those after it.
    fn difference_at(&self, index: usize, tree: &Tree, trust: Trust) -> Option<String> {
        let judge = |node: u64, found: &File, bytes: &[u8]| match (trust.in_place, trust.damaged) {
            (true, _) => self.difference_since(index, node, found, bytes, trust),
            (false, true) => found.difference_where_readable(bytes),
            (false, false) => found.difference(bytes),
        };
        tree.difference_where(&self.states[index].model, &self.top, &judge)
    }

    /// Checks that what can be read of a directory that was given up is as it was once.
    pub fn was_ever(&self, tree: &Tree, trust: Trust) -> std::result::Result<(), String> {
        let differences: Vec<_> = (0..self.states.len())
            .map(|index| self.difference_at(index, tree, trust))
            .collect();
        if differences.iter().any(Option::is_none) {
            return Ok(());
        }
        let top = self.top.escape_ascii();
        Err(format!("{top}, given up, never was so: {differences:#?}"))
    }

    /// Goes on after a crash from the state that fits what was found, or leaves it if that is not all. With
    /// `keeps`, which is now, a later crash may lead to what was before that.
    pub fn go_on(&mut self, fit: Fit, tree: &Tree, trust: Trust, keeps: Option<Instant>) {
        let mut model = self.states[fit.state].model.clone();
        self.is_left |= trust.damaged && !tree.is_whole();
        self.is_left |= model.stat(&self.top, false).is_err();
        self.is_left |= self.states[fit.state].half == Some(Half::Twice);
        self.counts_too_many |= self.states[fit.state].half == Some(Half::Count);
        if self.is_left {
            return;
        }
        model.close_all();
        if trust.in_place {
            self.unreadable.clear();
            for (path, file) in tree.files() {
                let node = model.stat(path, false).expect("the tree is the model's");
                model.replace_contents(node, file.bytes.to_vec());
                let blocks = file.unreadable.iter().map(|&block| (node, block));
                self.unreadable.extend(blocks);
            }
        }
        self.model = model.clone();
        match keeps {
            None => self.states = vec![State::first(model)],
            Some(now) => {
                self.states.truncate(fit.state + 1);
                self.states[fit.state].ended.get_or_insert(now);
                self.states.push(State {
                    begun: now,
                    ended: Some(now),
                    ..State::first(model)
                });
            }
        }
    }

    /// Whether each block of a file is as it was after some operation from `first` on; `bytes` is the
    /// whole file then.
    fn difference_since(
        &self,
        first: usize,
        node: u64,
        found: &File,
        bytes: &[u8],
        trust: Trust,
    ) -> Option<String> {
        if found.bytes.len() != bytes.len() {
            return found.difference(bytes);
        }
        let since = self.states[first..].iter();
        let mut versions: Vec<_> = since.filter_map(|state| state.model.bytes(node)).collect();
        // Operations on other files leave this one alone.
        versions.dedup_by(|next, before| Rc::ptr_eq(next, before));
        for (block, has) in found.bytes.chunks(BLOCK_BYTES).enumerate() {
            let from = block * BLOCK_BYTES;
            let is = |version: &Rc<Vec<u8>>, expected: &[u8]| {
                same_until(&block_of(version, from), expected)
            };
            let good = if found.unreadable.contains(&(block as u64)) {
                // Bytes behind the end are overwritten as well.
                let then = block_of(bytes, from);
                trust.damaged
                    || self.unreadable.contains(&(node, block as u64))
                    || versions.iter().any(|version| !is(version, &then))
            } else {
                versions.iter().any(|version| is(version, has))
            };
            if !good {
                return Some(format!("block {block} is as at no time since"));
            }
        }
        None
    }
}

/// A block of a file, zeros behind its end.
fn block_of(bytes: &[u8], from: usize) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let rest = bytes.get(from..).unwrap_or_default();
    let len = rest.len().min(BLOCK_BYTES);
    block[..len].copy_from_slice(&rest[..len]);
    block
}

/// Whether a block begins with these bytes.
fn same_until(block: &[u8; BLOCK_BYTES], bytes: &[u8]) -> bool {
    block[..bytes.len()] == *bytes
}
