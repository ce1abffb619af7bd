//! Which files are written back next, when room is the aim and not a sync.
//!
//! ```text
//!   unclean files, by number    2  3  5  8 │ 9 14 15 20 21 … 97 │ 98 …       the cursor goes round
//!                                          └──── one lot ───────┘
//!   announced together                       9 14 15 20 21 … 97              one flush of a log below serves all
//!   written back, some at a time             9 14 15 20 │ 21 …
//! ```
//!
//! Room is made in small steps, as writers wait for it. If each step announced its own (*prewrite*; paper, section
//! V-C), each would wait for a flush of the log below. So what many steps will write is announced together, and the log
//! has the records of all when the first of them is written. What changes between its announcement and its turn costs a
//! record and a flush more: therefore those files come first that are announced at all.

use alloc::{collections::VecDeque, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    ops::{Bound, Range},
};

use async_lock::Mutex;
use futures_util::{StreamExt, stream};

use super::{
    super::{
        Inner,
        below::{Needs, Phase},
        files::File,
        page::{pages_in, start_of},
    },
    FILES_AT_ONCE, run,
};
use crate::{
    Result,
    checksum::Checksum,
    clock::Clock,
    file::{FileNumber, FileService},
    surviving::Memory,
};

/// Files of a lot. With four times as many there are half the flushes, and 3 % more writes: what joins the files of a
/// lot late waits for the next.
const LOT_FILES: usize = 64;
/// Pages of a file in a lot, and pages from which on the lot takes no further file: the log has room for records of
/// many lots.
const LOT_PAGES: usize = 1024;
/// Runs of one file that are written at a time.
const RUNS_FOR_ROOM: usize = 8;

/// Pages of a file that are to be written back.
pub(in crate::cache) struct Turn {
    /// The file.
    pub file: Rc<File>,
    /// The pages, as far as they are dirty.
    pub pages: Range<u64>,
}

impl Turn {
    /// All that is dirty.
    pub fn whole(file: &Rc<File>) -> Self {
        Self {
            file: Rc::clone(file),
            pages: 0..u64::MAX,
        }
    }

    /// Whether any of it is dirty and not on its way.
    fn is_due(&self) -> bool {
        let state = self.file.state.borrow();
        !state.writing_back && state.dirty.range(self.pages.clone()).next().is_some()
    }

    /// The dirty pages, as runs, that below has already.
    fn overwrites(&self) -> Vec<(u64, u64)> {
        let state = self.file.state.borrow();
        let end = self.pages.end.min(pages_in(state.below.size));
        run::runs(state.dirty.range(self.pages.start.min(end)..end).copied())
    }
}

/// Whose turn it is.
#[derive(Default)]
pub(in crate::cache) struct Turns {
    /// The file up to which the lots have got, in their rounds.
    cursor: Cell<FileNumber>,
    /// What is left of the lot.
    lot: RefCell<VecDeque<Turn>>,
    /// Held by who makes the next lot.
    choosing: Mutex<()>,
}

impl Turns {
    /// What was announced is void: the log below begins anew, or its instance has died.
    pub fn clear(&self) {
        self.lot.borrow_mut().clear();
    }

    /// What a turn has left over is next.
    pub fn go_on(&self, rest: Turn) {
        self.lot.borrow_mut().push_front(rest);
    }

    fn take(&self) -> Vec<Turn> {
        let mut lot = self.lot.borrow_mut();
        let mut turns = Vec::new();
        while turns.len() < FILES_AT_ONCE
            && let Some(turn) = lot.pop_front()
        {
            if turn.is_due() {
                turns.push(turn);
            }
        }
        turns
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// The file has something that is newer than below.
    pub(in crate::cache) fn mark_unclean(&self, file: &Rc<File>) {
        self.unclean
            .borrow_mut()
            .entry(file.number)
            .or_insert_with(|| Rc::clone(file));
    }

    /// The file has nothing that is newer than below.
    pub(in crate::cache) fn mark_clean(&self, file: &Rc<File>) {
        let mut unclean = self.unclean.borrow_mut();
        if unclean
            .get(&file.number)
            .is_some_and(|known| Rc::ptr_eq(known, file))
        {
            unclean.remove(&file.number);
        }
    }

    /// The files behind those of the last lot.
    fn next_lot(&self) -> Vec<Turn> {
        let unclean = self.unclean.borrow();
        let after = self.turns.cursor.get();
        let behind = unclean.range((Bound::Excluded(after), Bound::Unbounded));
        // Where nothing is announced, a lot is what is written at a time.
        let files_max = if self.prewrites.get() {
            LOT_FILES
        } else {
            FILES_AT_ONCE
        };
        let mut room = LOT_PAGES;
        let mut lot = Vec::new();
        for (&number, file) in behind.chain(unclean.range(..=after)) {
            let turn = Turn::whole(file);
            if !turn.is_due() {
                continue;
            }
            let state = file.state.borrow();
            let end = state.dirty.iter().nth(LOT_PAGES).copied();
            lot.push(Turn {
                pages: 0..end.unwrap_or(u64::MAX),
                ..turn
            });
            self.turns.cursor.set(number);
            room = room.saturating_sub(state.dirty.len());
            if room == 0 || lot.len() == files_max {
                break;
            }
        }
        lot
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// The background's work.
    pub(in crate::cache) async fn write_back_for_ever(self: &Rc<Self>) {
        loop {
            self.work
                .until(|| {
                    (self.pool.borrow().counts().newer() > self.config.dirty_start() || self.owes())
                        && !self.write_back_failed.get()
                        && self.phase() != Phase::Stopped
                })
                .await;
            let _gate = self.gate.read().await;
            let owes_outlines = self.log.borrow().owes();
            let outcome = if owes_outlines {
                self.redo_all().await
            } else {
                self.write_back_some().await
            };
            if let Err(error) = outcome {
                ::log::warn!("cache: write-back failed, pages stay dirty: {error}");
                self.write_back_failed.set(true);
            }
        }
    }

    /// Writes some dirty pages back, or waits until others have. The caller holds no file's lock.
    pub(in crate::cache) async fn write_back_some(self: &Rc<Self>) -> Result<()> {
        let turns = self.next_turns().await;
        if turns.is_empty() {
            if self.pool.borrow().counts().newer() > 0 {
                // All of it is on its way already: wait for any of that to end, well or not.
                let ended = self.write_backs_ended.get();
                let more = || self.write_backs_ended.get() != ended;
                self.room_made
                    .until(|| more() || self.phase() == Phase::Stopped)
                    .await;
            }
            return Ok(());
        }
        let inner = Rc::clone(self);
        self.unfinished
            .run(async move { inner.flush_all(turns, RUNS_FOR_ROOM).await })
            .await
    }

    /// A few of the lot, or of the next.
    async fn next_turns(self: &Rc<Self>) -> Vec<Turn> {
        let _alone = self.turns.choosing.lock().await;
        loop {
            let turns = self.turns.take();
            if !turns.is_empty() {
                return turns;
            }
            // Others may write all of it back while it is announced; then there is another lot, or none.
            let mut lot = self.next_lot();
            if lot.is_empty() {
                return lot;
            }
            self.announce(&lot).await;
            if self.prewrites.get() {
                lot.sort_by_cached_key(|turn| turn.overwrites().is_empty());
            }
            self.turns.lot.borrow_mut().extend(lot);
        }
    }

    /// Says below which of these pages are about to be overwritten, if that is of any use there: what
    /// is announced together costs one flush of a log together. It promises nothing.
    pub(in crate::cache) async fn announce(self: &Rc<Self>, turns: &[Turn]) {
        let announced = stream::iter(turns).map(|turn| self.announce_file(turn));
        announced.buffer_unordered(FILES_AT_ONCE).collect().await
    }

    async fn announce_file(self: &Rc<Self>, turn: &Turn) {
        if !self.prewrites.get() {
            return;
        }
        let number = turn.file.number;
        for (first, count) in turn.overwrites() {
            let _share = self.share_for_write_back().await;
            let checksums = self.checksums(&turn.file, first..first + count);
            let announced = self
                .query(Needs::Outline(number), async |lower: &L| {
                    lower.prewrite(number, start_of(first), &checksums).await
                })
                .await;
            if announced == Ok(false) {
                return self.prewrites.set(false);
            }
        }
    }

    /// Of these pages, as far as they are here one after the other.
    fn checksums(&self, file: &File, pages: Range<u64>) -> Vec<Checksum> {
        let algorithm = self.algorithm();
        let state = file.state.borrow();
        let mut pool = self.pool.borrow_mut();
        let checksum = |page| Some(pool.checksum(*state.pages.get(&page)?, algorithm));
        pages.map_while(checksum).collect()
    }
}
