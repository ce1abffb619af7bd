//! The cache: pages of logical files in memory, and the log that makes crashes below invisible.
//!
//! ```text
//!        read, write, getattr, setattr              create, delete, truncate   sync
//!   read.rs   write.rs   attributes.rs              outline.rs   cut.rs          sync.rs
//!        │        │                                      │
//!      pool.rs  replacement.rs   ◄── writeback.rs        │
//!                                        │               │
//!                       below.rs: every call to the layer below
//!                                        │
//!                  redo.rs   recovery.rs ◄── log.rs
//!                                        ^
//!                 ledger: what the next instance must know ──► revival.rs
//! ```
//!
//! - Data and attributes are written back: a write costs copying and no call below. They go down at
//!   a sync, when the cache fills up, and in the background ([`Cache::background`]).
//! - `create`, `delete` and `truncate` go down at once, as their callers need the answer.
//! - Whatever went down since the last checkpoint is in the roll-forward log. When the layer below
//!   dies, the cache attaches to its next instance, takes what the log has for not sent down yet, and
//!   issues again what was pending. Callers notice a delay.
//! - The log is bounded by asking for a sync early (`early_sync_wanted`). Nothing here ever
//!   *waits* for a sync: the one who syncs waits for all calls that change state to end first. So when all
//!   memory is full of what only a sync can free, a write fails with [`crate::Error::NoMemory`], and naming
//!   syncs and issues it again.
//! - A full volume shows when data are written, not when they are written back: a write that would
//!   need more blocks than there are free fails with [`crate::Error::NoSpace`]. Should write-back run into
//!   any error all the same, the pages stay dirty and `sync` reports it.
//!
//! Several calls may be under way at once; the cache itself is single-threaded. No `RefCell` stays
//! borrowed over an `await`. Locks are taken in this order: the gate, a promise of pages
//! ([`room`]), a file's lock. See `docs/cache.md`.

mod attributes;
mod below;
mod cut;
mod files;
mod ledger;
mod log;
mod outline;
mod page;
mod pool;
mod pressure;
mod read;
mod readahead;
mod recovery;
mod redo;
mod replacement;
mod revival;
mod room;
mod service;
mod statistics;
mod sync;
mod unfinished;
mod write;
mod writeback;

use alloc::{collections::BTreeMap, rc::Rc};
use core::cell::{Cell, RefCell};

use async_lock::{Mutex, Semaphore};
use futures_util::future::join;

pub use statistics::Statistics;

use self::{
    below::Link, files::Files, log::Log, pool::Pool, room::Space, unfinished::Unfinished,
    writeback::Turns,
};
use crate::{
    clock::Clock,
    file::{FileNumber, FileService},
    lock::RwLock,
    surviving::{Heap, Memory},
    waiting::Signal,
};

/// Pages in one call below: what leaves a request's segments room for its checksums.
const RUN_PAGES_MAX: usize = 60;

/// How large the cache may become, and how it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Pages of 4 KiB in the cache; at least 64.
    pub pages: usize,
    /// Pages that the roll-forward log may keep beyond those.
    pub log_pages: usize,
    /// Files of which only attributes are known, and files changed since the last checkpoint.
    pub files: usize,
    /// Percentage of `pages` that may be dirty before the background begins to write.
    pub dirty_percent: usize,
    /// Percentage of `pages` that may be dirty before writers wait for that.
    pub dirty_percent_max: usize,
    /// Pages read ahead of a reader who reads in order, at most.
    pub read_ahead_pages: usize,
    /// Calls to the layer below at once. Must fit its mailbox.
    pub calls_below: usize,
    /// Pages that cannot be given up before a sync, and changed files, from which on one is wanted
    /// while crashes are fresh: who crashed lately may crash again, and a sync that takes longer
    /// than the next crash takes to come is never through.
    pub pages_after_crash: usize,
    /// How long a crash is fresh, nanoseconds.
    pub crash_fresh_ns: u64,
    /// Deaths of the layer below under one and the same call, attaching again included, before the cache
    /// gives up. A sync is long, and whoever kills every so often may well hit it many times over.
    pub call_attempts: usize,
    /// Whether to verify a page each time it is read, and not only before a part of it is written: so that
    /// nothing that was overwritten in memory by mistake is ever served.
    pub verify_reads: bool,
    /// Whether to keep the roll-forward log. Without, a crash of the layer below or of the cache ends
    /// the stack: for measuring what the log costs (paper, Table III).
    pub roll_forward: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            pages: 16384,
            log_pages: 16384,
            files: 32768,
            dirty_percent: 40,
            dirty_percent_max: 75,
            read_ahead_pages: RUN_PAGES_MAX,
            calls_below: 24,
            pages_after_crash: 256,
            crash_fresh_ns: 10_000_000_000,
            call_attempts: 256,
            verify_reads: true,
            roll_forward: true,
        }
    }
}

impl Config {
    /// The same, within the bounds that the cache needs to work.
    fn bounded(mut self) -> Self {
        self.pages = self.pages.max(64);
        self.files = self.files.max(16);
        self.dirty_percent_max = self.dirty_percent_max.clamp(10, 90);
        self.dirty_percent = self.dirty_percent.min(self.dirty_percent_max);
        self.calls_below = self.calls_below.max(1);
        self
    }

    fn dirty_start(&self) -> usize {
        self.pages * self.dirty_percent / 100
    }

    fn dirty_max(&self) -> usize {
        self.pages * self.dirty_percent_max / 100
    }

    /// Calls of write-back to the layer below at once.
    fn write_backs_below(&self) -> usize {
        (self.calls_below - self.calls_below / 4).max(1)
    }

    /// Pages that cannot be given up before a sync, from which on one is wanted.
    fn sync_pages(&self) -> usize {
        (self.pages + self.log_pages) / 2
    }

    /// Changed files, from which on a sync is wanted.
    fn sync_files(&self) -> usize {
        self.files / 2
    }

    /// Pages of data there can be: in the cache, kept by the log, on their way down, and being read.
    fn data_pages(&self) -> usize {
        self.pages + self.log_pages + 2 * self.calls_below * RUN_PAGES_MAX
    }

    /// Pages of memory that the cache takes at most.
    #[must_use]
    pub fn memory_pages(&self) -> usize {
        let config = self.bounded();
        config.data_pages() + ledger::overhead(config.data_pages(), config.files)
    }
}

/// The cache, over the file service `L`, with its pages in the memory `M`. Clones are the same cache.
///
/// Whoever places it also runs [`Cache::background`] beside the calls.
pub struct Cache<L, C, M: Memory = Heap>(Rc<Inner<L, C, M>>);

impl<L, C, M: Memory> Clone for Cache<L, C, M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

struct Inner<L, C, M: Memory> {
    lower: L,
    clock: C,
    config: Config,
    /// Names what is held without a break.
    history: Cell<u64>,
    link: RefCell<Link>,
    /// The link's phase changed.
    link_changed: Signal,
    /// Calls below under way.
    permits: Semaphore,
    /// Those of them that write-back may have: so it never has all of them, and readers need not wait for it.
    write_back_permits: Semaphore,
    calls_under_way: Cell<usize>,
    /// A call below ended.
    call_ended: Signal,
    /// Shared by calls that change state, alone for a sync.
    gate: RwLock,
    files: RefCell<Files>,
    pool: RefCell<Pool<M>>,
    log: RefCell<Log>,
    /// Files with anything newer than below.
    unclean: RefCell<BTreeMap<FileNumber, Rc<files::File>>>,
    /// What is written back next.
    turns: Turns,
    space: Cell<Space>,
    space_refresh: Mutex<()>,
    /// Pages became clean or promises were taken back.
    room_made: Signal,
    /// The background may have something to do.
    work: Signal,
    /// Counts rounds of write-back.
    write_backs_ended: Cell<u64>,
    /// A write-back failed; the background rests until something has changed.
    write_back_failed: Cell<bool>,
    /// A sync may be wanted.
    pressure: Signal,
    /// Counts those who have asked to be told when a sync is wanted. Only the last one is.
    pressure_watch: Cell<u64>,
    /// A writer was turned away for want of what a sync would free.
    starved: Cell<bool>,
    /// The last sync failed: asking for another at once would not help.
    sync_failed: Cell<bool>,
    /// Announcing writes may be of use below: nobody has said that it is not.
    prewrites: Cell<bool>,
    /// An attempt to make, delete or cut a file again has ended.
    redo_ended: Signal,
    /// Since when something is owed to the layers below that a crash has undone.
    owes_since_ns: Cell<Option<u64>>,
    unfinished: Rc<Unfinished>,
    statistics: RefCell<Statistics>,
}

impl<L: FileService + 'static, C: Clock + 'static> Cache<L, C> {
    /// A cache over `lower` with memory of its own, to be attached or formatted before anything else.
    pub fn new(lower: L, clock: C, config: Config) -> Self {
        let memory = Heap::new(config.memory_pages());
        Self::revive(lower, clock, config, memory, Trust::Verify)
    }
}

/// What to do with what an earlier instance has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Go on with it, once it is verified.
    Verify,
    /// Give it up, because instances that went on with it have died of it.
    Discard,
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Cache<L, C, M> {
    /// A cache over `lower` that goes on where the last instance with this memory died. What it finds
    /// damaged it names in the log, and in an event for programs. If there is nothing to go on
    /// with, it is to be attached or formatted before anything else, and says so by
    /// [`crate::Error::NotLoaded`].
    ///
    /// # Panics
    ///
    /// If somebody else uses the memory, or if it has not as much as [`Config::memory_pages`].
    pub fn revive(lower: L, clock: C, config: Config, memory: M, trust: Trust) -> Self {
        let config = config.bounded();
        let (mut ledger, restored) = revival::read(memory, config.data_pages(), trust);
        if !config.roll_forward {
            ledger.switch_off();
        }
        let history = clock.now_ns();
        let cache = Self(Rc::new(Inner {
            lower,
            clock,
            config,
            history: Cell::new(history),
            link: RefCell::new(Link::default()),
            link_changed: Signal::default(),
            permits: Semaphore::new(config.calls_below),
            write_back_permits: Semaphore::new(config.write_backs_below()),
            calls_under_way: Cell::new(0),
            call_ended: Signal::default(),
            gate: RwLock::new(),
            files: RefCell::new(Files::new(config.files)),
            pool: RefCell::new(Pool::new(
                ledger,
                config.pages,
                config.log_pages,
                config.roll_forward,
            )),
            log: RefCell::new(Log::default()),
            unclean: RefCell::new(BTreeMap::new()),
            turns: Turns::default(),
            space: Cell::new(Space::default()),
            space_refresh: Mutex::new(()),
            room_made: Signal::default(),
            work: Signal::default(),
            write_backs_ended: Cell::new(0),
            write_back_failed: Cell::new(false),
            pressure: Signal::default(),
            pressure_watch: Cell::new(0),
            starved: Cell::new(false),
            sync_failed: Cell::new(false),
            prewrites: Cell::new(true),
            redo_ended: Signal::default(),
            owes_since_ns: Cell::new(None),
            unfinished: Rc::new(Unfinished::default()),
            statistics: RefCell::new(Statistics::default()),
        }));
        if let Some(restored) = restored {
            cache.0.restore(restored);
        }
        cache
    }

    /// Recovers what an earlier instance has left, writes back when much is dirty, and carries calls to
    /// their end whose callers went away. Never ends.
    pub async fn background(&self) {
        let work = async {
            self.0.recover().await;
            self.0.write_back_for_ever().await;
        };
        join(work, self.0.unfinished.drive()).await;
    }

    /// Gives up everything that is under way. To be called by whoever ends an instance and goes on himself,
    /// as tests and simulations do: what is under way holds the instance, and its memory.
    pub fn end(&self) {
        self.0.unfinished.give_up();
    }

    /// What the cache has done so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let pool = self.0.pool.borrow();
        let counts = pool.counts();
        Statistics {
            evictions: pool.evictions,
            checksums: pool.checksums,
            copies_on_write: pool.copies_on_write,
            pages: counts.resident() as u64,
            dirty_pages: counts.newer() as u64,
            log_pages: counts.in_log() as u64,
            log_pages_kept: counts.kept as u64,
            log_files: self.0.log.borrow().len() as u64,
            files: self.0.files.borrow().len() as u64,
            ..*self.0.statistics.borrow()
        }
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    fn count(&self, change: impl FnOnce(&mut Statistics)) {
        change(&mut self.statistics.borrow_mut());
    }
}
