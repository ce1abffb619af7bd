//! The naming layer: paths and directories on top of numbered files.
//!
//! A directory is a file of entries, protected by every checkpoint; a file's POSIX attributes are
//! the attributes of the file below. What naming remembers of them (indexes, attributes, which
//! numbers are used) it could read again; the rest (who has what open, the operation under way, an
//! answer on its way) is in memory that outlives the instance: see [`journal`] and `docs/naming.md`.
//!
//! Locks, always taken in this order:
//!
//! 1. `checkpoint`: shared by every operation that changes something, exclusive for `sync`, so
//!    that a checkpoint shows whole operations. Reads and lookups do not take it.
//! 2. `namespace`: one change of names at a time. Lookups do not take it.
//! 3. an inode's lock, one at a time: shared by reads, exclusive for changes.

mod asked;
mod attributes;
mod chores;
mod client;
mod create;
mod descriptors;
mod directory;
mod inode;
mod io;
mod journal;
mod mount;
mod numbers;
mod open;
mod path;
mod readdir;
mod recover;
mod remove;
mod rename;
mod serve;
mod sync;
mod table;
mod volume;

use alloc::{rc::Rc, vec::Vec};
use core::cell::{Cell, RefCell};

use async_lock::Mutex;

pub use self::{
    client::Client,
    descriptors::ClientId,
    journal::{CALLS_MAX, PAGES_MAX as SURVIVING_PAGES_MAX},
};
use self::{
    descriptors::{Descriptors, OpenFile},
    journal::Journal,
    sync::Syncs,
    volume::Volume,
};
use crate::{
    Error, Result,
    clock::Clock,
    file::FileService,
    lock::{Guard, RwLock},
    surviving::{Heap, Memory},
    vfs::{Kind, Stat},
};

/// A call of a client, as no other call has been or will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CallKey {
    role: u64,
    generation: u64,
    session: u32,
    number: u64,
}

/// Names that a file can have.
pub const LINKS_MAX: u32 = 65_000;

/// Longest a file can be, in bytes, as far as naming is concerned: what `off_t` can say.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// How much naming remembers and how much can be open.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files whose attributes are remembered, open ones included; about 300 bytes each.
    pub inodes: usize,
    /// Bytes of directories and their indexes; half as much again may be needed while one grows.
    pub directory_bytes: usize,
    /// Descriptors of one client.
    pub descriptors_per_client: usize,
    /// Descriptors in all; leave some inodes beyond.
    pub descriptors: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inodes: 8192,
            directory_bytes: 32 << 20,
            descriptors_per_client: 1024,
            descriptors: 4096,
        }
    }
}

/// The naming layer over the cache.
pub struct Naming<F, C> {
    below: F,
    clock: C,
    limits: Limits,
    volume: RefCell<Option<Rc<Volume>>>,
    mounting: Mutex<()>,
    descriptors: RefCell<Descriptors>,
    checkpoint: RwLock,
    namespace: Mutex<()>,
    /// Whether anything changed since the last checkpoint.
    changed: Cell<bool>,
    syncs: Syncs,
    journal: Journal,
}

impl<F: FileService, C: Clock> Naming<F, C> {
    /// Naming over `below`, not mounted, that nothing outlives.
    pub fn new(below: F, clock: C, limits: Limits) -> Self {
        Self::with_memory(below, clock, limits, Heap::new(SURVIVING_PAGES_MAX))
    }

    /// Naming over `below`, not mounted, in the place of the instance that has left this memory. It uses
    /// [`SURVIVING_PAGES_MAX`] pages of it.
    pub fn with_memory(below: F, clock: C, limits: Limits, memory: impl Memory + 'static) -> Self {
        let journal = Journal::open(memory, clock.now_ns());
        Self::with_journal(below, clock, limits, journal)
    }

    /// The same, but what the instance before has left is given up: instance after instance has died of it.
    pub fn with_memory_discarded(
        below: F,
        clock: C,
        limits: Limits,
        memory: impl Memory + 'static,
    ) -> Self {
        if memory.left() > 0 {
            log::error!(
                "what was open is lost, and half an operation may stay: what earlier instances have left \
                 is given up"
            );
        }
        let journal = Journal::new(memory, clock.now_ns());
        Self::with_journal(below, clock, limits, journal)
    }

    fn with_journal(below: F, clock: C, limits: Limits, journal: Journal) -> Self {
        Self {
            below,
            clock,
            limits,
            volume: RefCell::new(None),
            mounting: Mutex::new(()),
            descriptors: RefCell::new(Descriptors::new(
                limits.descriptors_per_client,
                limits.descriptors,
            )),
            checkpoint: RwLock::new(),
            namespace: Mutex::new(()),
            changed: Cell::new(false),
            syncs: Syncs::default(),
            journal,
        }
    }

    /// The file system as this client sees it.
    pub fn client(&self, id: ClientId) -> Client<'_, F, C> {
        Client::new(self, id, None)
    }

    /// Closes everything that a role has open, when it is known not to come back.
    pub async fn client_gone(&self, role: u64) {
        let left = self.descriptors.borrow_mut().close_all(role);
        self.forget_descriptors(role, left);
        self.journal.forget_client(role);
        let volume = self.volume.borrow().clone();
        if let Some(volume) = volume {
            self.tidy(&volume).await;
        }
    }

    /// Lets go of what a role had open.
    fn forget_descriptors(&self, role: u64, left: Vec<Rc<OpenFile>>) {
        for file in left {
            self.journal.forget_descriptor(role, &file.record);
        }
    }

    /// Whether this is the mounted volume still: a format puts another in its place.
    fn is_current(&self, volume: &Volume) -> bool {
        let mounted = self.volume.borrow();
        mounted
            .as_deref()
            .is_some_and(|mounted| core::ptr::eq(mounted, volume))
    }

    /// Begins an operation that changes something of this volume; a `sync` waits until it is over.
    /// [`Error::Busy`] if another volume was made while it waited for its turn.
    async fn change(&self, volume: &Volume) -> Result<Guard<'_>> {
        let guard = self.checkpoint.read().await;
        if !self.is_current(volume) {
            return Err(Error::Busy);
        }
        self.changed.set(true);
        Ok(guard)
    }

    /// Runs a change of names, alone. What it has done of it when it is given up, or when naming dies, is
    /// taken back before the next one.
    async fn change_names<T>(
        &self,
        volume: &Volume,
        operation: impl AsyncFnOnce() -> Result<T>,
    ) -> Result<T> {
        let _change = self.change(volume).await?;
        let _namespace = self.namespace.lock().await;
        self.begin_names(volume).await;
        let result = operation().await;
        self.journal.end_names();
        result
    }

    fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }
}

/// Permission bits of a mode that a client gives.
fn permissions(mode: u32) -> u32 {
    mode & 0o7777
}

/// Attributes as `stat` tells them.
fn stat_of(inode: u64, attributes: &crate::file::Attributes) -> Stat {
    Stat {
        inode,
        mode: attributes.mode,
        links: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        size: attributes.size,
        blocks: attributes.blocks,
        accessed_ns: attributes.accessed_ns,
        modified_ns: attributes.modified_ns,
        changed_ns: attributes.changed_ns,
    }
}

/// The kind that attributes tell.
fn kind_of(attributes: &crate::file::Attributes) -> Kind {
    Kind::of_mode(attributes.mode)
}
