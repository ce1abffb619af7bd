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
//!
//! Where the volume can be full (`tight`), an operation that needs room may fail, and then nothing of it is
//! done; a write may end short, after a whole block, and as there may be a checkpoint between its parts, a
//! crash may find as much of it.
//!
//! A write under way when naming died may be found like that as well, but for an append: that is cut off, and made anew.
//!
//! Where the only disk fails (`distrust`), see that file.

mod distrust;
mod history;
#[cfg(test)]
mod judged;
mod state;

use std::collections::BTreeSet;

use storage::Result;
use tests::{model::Model, operation::Operation, outcome::Outcome, tree::Tree};

use distrust::Distrust;
use history::{Fit, History, Trust};

/// An instant, in beginnings and ends of operations.
pub type Instant = u64;

/// How much of an operation was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// So many bytes of a write.
    Bytes(usize),
    /// Nothing.
    Nothing,
}

/// A `sync` that has begun.
#[derive(Clone, Copy, Debug)]
pub struct SyncBegun {
    at: Instant,
    /// Something had changed, so that it makes a checkpoint.
    changes: bool,
}

/// What may be seen at all.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Data are overwritten in place.
    pub in_place: bool,
    /// The volume can be full.
    pub tight: bool,
    /// The only disk fails.
    pub distrust: bool,
}

/// See the module's description.
pub struct Oracle {
    /// Those that clients work in, by client.
    clients: Vec<History>,
    /// Those that clients have given up, as not all of them could be read.
    given_up: Vec<History>,
    tops_made: usize,
    /// Clients that are having a new directory made: no operation of theirs, but its time counts as well.
    moving: BTreeSet<usize>,
    now: Instant,
    durable: Instant,
    stamp_ns: u64,
    rules: Rules,
    distrust: Option<Distrust>,
}

impl Oracle {
    /// Clients with an empty directory each, all of it synced.
    #[must_use]
    pub fn new(tops: Vec<Vec<u8>>, stamp_ns: u64, rules: Rules) -> Self {
        let history = |top| History::new(top, stamp_ns);
        Self {
            clients: tops.into_iter().map(history).collect(),
            given_up: Vec::new(),
            tops_made: 0,
            moving: BTreeSet::new(),
            now: 0,
            durable: 0,
            stamp_ns,
            rules,
            distrust: rules.distrust.then(Distrust::default),
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
        let rest = |history: &History| history.under_way().is_none();
        if self.moving.is_empty() && self.clients.iter().all(rest) {
            self.stamp_ns += 1000;
        }
        self.clients[client].begin(operation, self.now, self.stamp_ns)
    }

    /// What the client began has ended, so far.
    ///
    /// # Errors
    /// With what is wrong, if it may not end like that.
    pub fn end(&mut self, client: usize, extent: Extent) -> std::result::Result<(), String> {
        self.now += 1;
        let changed = self.clients[client].end(extent, self.now)?;
        if let (Some(distrust), Some(begun)) = (&mut self.distrust, changed) {
            distrust.changed(begun);
        }
        Ok(())
    }

    /// Naming has died. What it had made of a write stays until that is issued once more, and a checkpoint may have it.
    pub fn naming_died(&mut self) {
        self.clients.iter_mut().for_each(History::disturb);
    }

    /// A client has died. What it was doing is done, or not, or will be; of a write, a part of it, in whole
    /// blocks. Nothing is open any more.
    pub fn died(&mut self, client: usize) {
        let halves = self.rules.distrust;
        self.clients[client].died(halves);
        self.moving.remove(&client);
    }

    /// What the successor of a client that died has found in its directory, and nothing of the client is
    /// under way any more. Goes on from what it is.
    ///
    /// # Errors
    /// With what is wrong, if it may not be so.
    pub fn succeeded(&mut self, client: usize, tree: &Tree) -> std::result::Result<(), String> {
        self.now += 1;
        let trust = self.trust();
        self.clients[client].succeeded(tree, self.now, trust)
    }

    /// Somebody asks for a `sync`.
    pub fn sync_begun(&mut self) -> SyncBegun {
        self.now += 1;
        SyncBegun {
            at: self.now,
            changes: self.distrust.as_ref().is_none_or(Distrust::has_changed),
        }
    }

    /// It has returned.
    pub fn sync_ended(&mut self, begun: SyncBegun) {
        self.now += 1;
        let needed = match &mut self.distrust {
            None => {
                self.durable = self.durable.max(begun.at);
                self.durable
            }
            Some(distrust) => {
                match begun.changes {
                    true => distrust.synced(begun.at),
                    false => distrust.synced_again(begun.at),
                }
                self.durable = distrust.durable();
                distrust.needed()
            }
        };
        for history in &mut self.clients {
            history.forget_before(needed);
        }
    }

    /// A name of the client's of a file with blocks that cannot be read, if there is one.
    #[must_use]
    pub fn damaged(&self, client: usize) -> Option<Vec<u8>> {
        self.clients[client].damaged()
    }

    /// The directories that are looked at after a crash: the clients', then those that were given up.
    #[must_use]
    pub fn tops(&self) -> Vec<Vec<u8>> {
        let all = self.clients.iter().chain(&self.given_up);
        all.map(|history| history.top.clone()).collect()
    }

    /// The machine has crashed, and these are the directories now, in the order of [`Self::tops`]. Goes on from
    /// what they are. A client whose directory could not be read to the end, or is gone, gives it up:
    /// [`Self::is_homeless`].
    ///
    /// # Errors
    /// With what is wrong, if they may not be so.
    pub fn crashed(&mut self, trees: &[Tree]) -> std::result::Result<(), String> {
        let (trees, left) = trees.split_at(self.clients.len());
        let trust = self.trust();
        for (history, tree) in self.given_up.iter().zip(left) {
            history.was_ever(tree, trust)?;
        }
        self.durable = self
            .distrust
            .as_ref()
            .map_or(self.durable, Distrust::durable);
        let mut fits = self.fits(trees);
        if fits.is_err() {
            let all = self.rules.tight;
            self.clients.iter_mut().for_each(|it| it.split_writes(all));
            fits = self.fits(trees);
        }
        let fits = fits?;
        self.now += 1;
        self.moving.clear();
        // A disk that lies may lead back behind this crash yet.
        let keeps = self.distrust.is_some().then_some(self.now);
        for ((history, fit), tree) in self.clients.iter_mut().zip(fits).zip(trees) {
            history.go_on(fit, tree, trust, keeps);
        }
        match &mut self.distrust {
            None => (self.now, self.durable) = (0, 0),
            Some(distrust) => distrust.crashed(),
        }
        Ok(())
    }

    /// What the disk has done by now: how often it lied, and how often about where it wrote.
    pub fn disk_did(&mut self, lies: u64, strays: u64) {
        self.now += 1;
        if let Some(distrust) = &mut self.distrust {
            distrust.disk_did(lies, strays, self.now);
        }
    }

    /// Whether the disk has lied, ever.
    #[must_use]
    pub fn is_lied_to(&self) -> bool {
        self.distrust.as_ref().is_some_and(Distrust::is_lied_to)
    }

    /// Whether a count of links was left too high anywhere.
    #[must_use]
    pub fn counts_too_many(&self) -> bool {
        self.clients.iter().any(|history| history.counts_too_many)
    }

    /// Whether a client has left a directory, or is about to.
    #[must_use]
    pub fn has_left_any(&self) -> bool {
        !self.given_up.is_empty() || self.clients.iter().any(History::is_left)
    }

    fn trust(&self) -> Trust {
        Trust {
            in_place: self.rules.in_place,
            damaged: self.is_lied_to(),
        }
    }

    /// Whether a client has no directory to work in.
    #[must_use]
    pub fn is_homeless(&self, client: usize) -> bool {
        self.clients[client].is_left()
    }

    /// A path for a client that has no directory, which it has made now: it was never used before.
    pub fn next_top(&mut self, client: usize) -> Vec<u8> {
        self.tops_made += 1;
        self.moving.insert(client);
        format!("/again{}", self.tops_made).into_bytes()
    }

    /// A client works in another directory, which was made since `begun`.
    pub fn moved(&mut self, client: usize, top: Vec<u8>, begun: Instant) {
        self.now += 1;
        let new = History::made(top, self.stamp_ns, begun, self.now);
        let old = std::mem::replace(&mut self.clients[client], new);
        self.given_up.push(old);
        self.moving.remove(&client);
    }

    /// How many directories were given up.
    #[must_use]
    pub fn given_up(&self) -> usize {
        self.given_up.len()
    }

    /// Now.
    pub fn instant(&mut self) -> Instant {
        self.now += 1;
        self.now
    }

    /// The states that all directories had at one instant, and that they have now.
    fn fits(&self, trees: &[Tree]) -> std::result::Result<Vec<Fit>, String> {
        let mut fits: Vec<Vec<Fit>> = Vec::new();
        for (history, tree) in self.clients.iter().zip(trees) {
            fits.push(history.fits(tree, self.durable, self.trust())?);
        }
        let begins = fits.iter().flatten().map(|fit| fit.from);
        let instants: BTreeSet<Instant> = begins.chain([self.durable]).collect();
        let at = |instant: Instant| -> Option<Vec<Fit>> {
            let state = |fits: &Vec<Fit>| {
                let holds = |it: &&Fit| (it.from..it.to).contains(&instant);
                fits.iter().rfind(holds).copied()
            };
            fits.iter().map(state).collect()
        };
        let found = instants.iter().rev().find_map(|&instant| at(instant));
        found.ok_or_else(|| {
            format!(
                "the directories are as of different instants: {fits:?}, synced {}",
                self.durable
            )
        })
    }
}
