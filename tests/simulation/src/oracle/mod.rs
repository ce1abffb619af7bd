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

mod history;

use std::collections::BTreeSet;

use storage::Result;
use tests::{model::Model, operation::Operation, outcome::Outcome, tree::Tree};

use history::{Fit, History};

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

/// See the module's description.
pub struct Oracle {
    clients: Vec<History>,
    now: Instant,
    durable: Instant,
    stamp_ns: u64,
    in_place: bool,
    tight: bool,
}

impl Oracle {
    /// Clients with an empty directory each, all of it synced.
    #[must_use]
    pub fn new(tops: Vec<Vec<u8>>, stamp_ns: u64, in_place: bool, tight: bool) -> Self {
        let history = |top| History::new(top, stamp_ns);
        Self {
            clients: tops.into_iter().map(history).collect(),
            now: 0,
            durable: 0,
            stamp_ns,
            in_place,
            tight,
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
        if self.clients.iter().all(rest) {
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
        self.clients[client].end(extent, self.now)
    }

    /// A client has died. What it was doing is done, or not, or will be; of a write, a part of it, in whole
    /// blocks. Nothing is open any more.
    pub fn died(&mut self, client: usize) {
        self.clients[client].died();
    }

    /// What the successor of a client that died has found in its directory, and nothing of the client is
    /// under way any more. Goes on from what it is.
    ///
    /// # Errors
    /// With what is wrong, if it may not be so.
    pub fn succeeded(&mut self, client: usize, tree: &Tree) -> std::result::Result<(), String> {
        self.now += 1;
        self.clients[client].succeeded(tree, self.now)
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
        for history in &mut self.clients {
            history.forget_before(self.durable);
        }
    }

    /// A name of the client's of a file with blocks that cannot be read, if there is one.
    #[must_use]
    pub fn damaged(&self, client: usize) -> Option<Vec<u8>> {
        self.clients[client].damaged()
    }

    /// The machine has crashed, and these are the clients' directories now. Goes on from what they are.
    ///
    /// # Errors
    /// With what is wrong, if they may not be so.
    pub fn crashed(&mut self, trees: &[Tree]) -> std::result::Result<(), String> {
        let mut fits = self.fits(trees);
        if fits.is_err() && self.tight {
            self.clients.iter_mut().for_each(History::split_writes);
            fits = self.fits(trees);
        }
        for ((history, fit), tree) in self.clients.iter_mut().zip(fits?).zip(trees) {
            history.go_on(fit, tree, self.in_place);
        }
        (self.now, self.durable) = (0, 0);
        Ok(())
    }

    /// The states that all directories had at one instant, and that they have now.
    fn fits(&self, trees: &[Tree]) -> std::result::Result<Vec<Fit>, String> {
        let mut fits: Vec<Vec<Fit>> = Vec::new();
        for (history, tree) in self.clients.iter().zip(trees) {
            fits.push(history.fits(tree, self.durable, self.in_place)?);
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
