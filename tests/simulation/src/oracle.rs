//! What the file system must hold, and what a crash of the machine may have cost.
//!
//! Every client works in a directory of its own, so that the outcome of each of its operations is known
//! when it begins; whatever one client sees of another is a difference. The states that a client's directory
//! went through since the last `sync` are kept, with when each operation began and ended:
//!
//! ```text
//!   client 0   ──s0──[ op ]──s1──────[ op ]──s2──
//!   client 1   ──s0─────[ op ]──s1─────[ op ─ ─ ─      under way at the crash
//!                      ▲     └ T ┘
//!                    sync that has returned began here: not before this
//! ```
//!
//! After a crash there must be one instant T, not before the last `sync` that has returned was asked for,
//! such that every directory is as at T: operations that had ended are in it whole, those that had not
//! begun are not in it at all.
//!
//! Where data are overwritten in place (`in_place`), that holds of names, sizes and attributes, and each
//! block of a file is as at T or as at any time since; it may be unreadable if it was overwritten since T.

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

/// An instant, in beginnings and ends of operations.
pub type Instant = u64;

/// What a client's directory held after an operation.
struct State {
    begun: Instant,
    ended: Option<Instant>,
    model: Model,
}

struct History {
    top: Vec<u8>,
    /// Blocks of files that an earlier crash has cost, by node and number.
    unreadable: BTreeSet<(u64, u64)>,
    /// As of now, with what is open.
    model: Model,
    states: Vec<State>,
    /// What the client is doing.
    under_way: Option<Operation>,
}

/// See the module's description.
pub struct Oracle {
    clients: Vec<History>,
    now: Instant,
    durable: Instant,
    stamp_ns: u64,
    in_place: bool,
}

impl Oracle {
    /// Clients with an empty directory each, all of it synced.
    #[must_use]
    pub fn new(tops: Vec<Vec<u8>>, stamp_ns: u64, in_place: bool) -> Self {
        let history = |top: Vec<u8>| {
            let mut model = Model::new();
            model.at(stamp_ns);
            model.mkdir(&top, 0o755).expect("a new directory");
            History {
                top,
                unreadable: BTreeSet::new(),
                states: vec![State {
                    begun: 0,
                    ended: Some(0),
                    model: model.clone(),
                }],
                model,
                under_way: None,
            }
        };
        Self {
            clients: tops.into_iter().map(history).collect(),
            now: 0,
            durable: 0,
            stamp_ns,
            in_place,
        }
    }

    /// The time that the file system gives to what happens now, nanoseconds. It stands still while any
    /// operation is under way.
    #[must_use]
    pub fn stamp_ns(&self) -> u64 {
        self.stamp_ns
    }

    /// What a client's directory holds now.
    #[must_use]
    pub fn model(&self, client: usize) -> &Model {
        &self.clients[client].model
    }

    /// The client's directory.
    #[must_use]
    pub fn top(&self, client: usize) -> &[u8] {
        &self.clients[client].top
    }

    /// A client begins something. Says what will come of it, and the handle that an `open` gives.
    pub fn begin(
        &mut self,
        client: usize,
        operation: &Operation,
    ) -> (Result<Outcome>, Option<u32>) {
        self.now += 1;
        if self.clients.iter().all(|client| client.under_way.is_none()) {
            self.stamp_ns += 1000;
        }
        let history = &mut self.clients[client];
        history.model.at(self.stamp_ns);
        history.under_way = Some(operation.clone());
        let outcome = apply(&mut history.model, operation);
        history.states.push(State {
            begun: self.now,
            ended: None,
            model: history.model.clone(),
        });
        outcome
    }

    /// What the client began has ended.
    pub fn end(&mut self, client: usize) {
        self.now += 1;
        let history = &mut self.clients[client];
        history.under_way = None;
        if let Some(last) = history.states.last_mut() {
            last.ended = Some(self.now);
        }
    }

    /// A client has died. What it was doing is done, or not, or will be; of a write, a part of it, in whole
    /// blocks. Nothing is open any more.
    pub fn died(&mut self, client: usize) {
        let history = &mut self.clients[client];
        let parts = match (&history.under_way, &history.states[..]) {
            (Some(Operation::Write(handle, offset, len, number)), [.., before, after])
                if after.ended.is_none() =>
            {
                let part = |bytes: usize| {
                    let mut model = before.model.clone();
                    model.at(self.stamp_ns);
                    let part = Operation::Write(*handle, *offset, bytes, *number);
                    let written = apply(&mut model, &part).0.is_ok();
                    written.then_some(State {
                        begun: after.begun,
                        ended: None,
                        model,
                    })
                };
                let bytes = before.model.bytes_to_boundaries(*handle, *offset, *len);
                bytes.into_iter().filter_map(part).collect()
            }
            _ => Vec::new(),
        };
        let at = history.states.len() - 1;
        history.states.splice(at..at, parts);
    }

    /// What the successor of a client that died has found in its directory, and nothing of the client is
    /// under way any more. Goes on from what it is.
    ///
    /// # Errors
    /// With what is wrong, if it may not be so.
    pub fn succeeded(&mut self, client: usize, tree: &Tree) -> std::result::Result<(), String> {
        self.now += 1;
        let history = &mut self.clients[client];
        let is_settled = |state: &State| state.ended.is_some();
        let settled = history.states.iter().rposition(is_settled).unwrap_or(0);
        let judge = |node: u64, found: &File, bytes: &[u8]| {
            let known = |block: &u64| history.unreadable.contains(&(node, *block));
            let same = found.bytes[..] == *bytes && found.unreadable.iter().all(known);
            (!same).then(|| "the bytes differ".into())
        };
        let differences: Vec<_> = history.states[settled..]
            .iter()
            .map(|state| tree.difference_where(&state.model, &history.top, &judge))
            .collect();
        let Some(found) = differences.iter().rposition(Option::is_none) else {
            let what = &history.under_way;
            return Err(format!(
                "neither before nor after {what:?}: {differences:#?}"
            ));
        };
        if found > 0 {
            history.states.swap(settled + 1, settled + found);
        }
        history.states.truncate(settled + 1 + found.min(1));
        if let Some(last) = history.states.last_mut() {
            last.ended.get_or_insert(self.now);
            last.model.close_all();
            history.model = last.model.clone();
        }
        history.under_way = None;
        Ok(())
    }

    /// Somebody asks for a `sync`: the instant from which on it may count.
    pub fn sync_begun(&mut self) -> Instant {
        self.now += 1;
        self.now
    }

    /// It has returned.
    pub fn sync_ended(&mut self, begun: Instant) {
        self.now += 1;
        self.durable = self.durable.max(begun);
        let durable = self.durable;
        for history in &mut self.clients {
            let has_ended = |state: &State| state.ended.is_some_and(|ended| ended <= durable);
            let needed = history.states.iter().rposition(has_ended).unwrap_or(0);
            history.states.drain(..needed);
        }
    }

    /// A name of the client's of a file with blocks that cannot be read, if there is one.
    #[must_use]
    pub fn damaged(&self, client: usize) -> Option<Vec<u8>> {
        let history = &self.clients[client];
        if history.unreadable.is_empty() {
            return None;
        }
        let mut left = vec![history.top.clone()];
        while let Some(path) = left.pop() {
            for (name, node) in history.model.readdir(&path).unwrap_or_default() {
                let path = [&path[..], b"/", &name].concat();
                match history.model.node(node).kind() {
                    Kind::Directory => left.push(path),
                    _ if history.unreadable.iter().any(|it| it.0 == node) => return Some(path),
                    _ => {}
                }
            }
        }
        None
    }

    /// The machine has crashed, and these are the clients' directories now. Goes on from what they are.
    ///
    /// # Errors
    /// With what is wrong, if they may not be so.
    pub fn crashed(&mut self, trees: &[Tree]) -> std::result::Result<(), String> {
        // For each client, the instants at which its directory was as found: from, to, which state.
        let mut fits: Vec<Vec<(Instant, Instant, usize)>> = Vec::new();
        for (history, tree) in self.clients.iter().zip(trees) {
            fits.push(history.fits(tree, self.durable, self.in_place)?);
        }
        let begins = fits.iter().flatten().map(|&(from, ..)| from);
        let mut instants: Vec<Instant> = begins.chain([self.durable]).collect();
        instants.sort_unstable();
        let at = |instant: Instant| -> Option<Vec<usize>> {
            let state = |fit: &Vec<(Instant, Instant, usize)>| {
                let holds = |it: &&(Instant, Instant, usize)| (it.0..it.1).contains(&instant);
                fit.iter().rfind(holds).map(|it| it.2)
            };
            fits.iter().map(state).collect()
        };
        let Some(states) = instants.iter().rev().find_map(|&instant| at(instant)) else {
            return Err(format!(
                "the directories are as of different instants (from, to, state): {fits:?}, synced {}",
                self.durable
            ));
        };
        for ((history, state), tree) in self.clients.iter_mut().zip(states).zip(trees) {
            let mut model = history.states.swap_remove(state).model;
            model.close_all();
            if self.in_place {
                history.unreadable.clear();
                for (path, file) in tree.files() {
                    let node = model.stat(path, false).expect("the tree is the model's");
                    model.replace_contents(node, file.bytes.to_vec());
                    let blocks = file.unreadable.iter().map(|&block| (node, block));
                    history.unreadable.extend(blocks);
                }
            }
            history.model = model.clone();
            history.under_way = None;
            history.states = vec![State {
                begun: 0,
                ended: Some(0),
                model,
            }];
        }
        (self.now, self.durable) = (0, 0);
        Ok(())
    }
}

impl History {
    /// When this directory was as `tree`, not before `durable`.
    fn fits(
        &self,
        tree: &Tree,
        durable: Instant,
        in_place: bool,
    ) -> std::result::Result<Vec<(Instant, Instant, usize)>, String> {
        let mut fits = Vec::new();
        let mut differences = BTreeMap::new();
        for (index, state) in self.states.iter().enumerate() {
            let from = state.begun.max(durable);
            let next = self.states.get(index + 1);
            let to = next.map_or(Instant::MAX, |next| next.ended.unwrap_or(Instant::MAX));
            if from >= to {
                continue;
            }
            let difference = if in_place {
                let judge = |node: u64, found: &File, bytes: &[u8]| {
                    self.difference_since(index, node, found, bytes)
                };
                tree.difference_where(&state.model, &self.top, &judge)
            } else {
                tree.difference(&state.model, &self.top)
            };
            match difference {
                None => fits.push((from, to, index)),
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

    /// Whether each block of a file is as it was after some operation from `first` on; `bytes` is the
    /// whole file then.
    fn difference_since(
        &self,
        first: usize,
        node: u64,
        found: &File,
        bytes: &[u8],
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
                self.unreadable.contains(&(node, block as u64))
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
