//! Write-back: dirty pages and attributes on their way down.
//!
//! Pages that follow each other go in one call, with the checksums that were computed when they were written. Of one file, one
//! write-back is under way at a time, in several calls at once that all carry the same size and the
//! same time, so their order does not matter, and is none of the copies' business; files beside each other. Readers and writers of the file go on: a
//! page rewritten on its way down gets a copy, and stays dirty.

mod attributes;
mod run;
mod turns;

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::cell::Cell;

use async_lock::SemaphoreGuard;
use futures_util::{StreamExt, stream};

use self::{
    run::{Run, add_to, runs},
    turns::Turn,
};
use super::{
    Inner,
    below::Needs,
    files::{File, Presence},
    page::page_of,
    pool::Verdict,
    revival::tell_lost,
};
use crate::{
    Error, Result, checksum::Algorithm, clock::Clock, file::FileService, surviving::Memory,
};

pub(super) use turns::Turns;

/// Files written back at once.
const FILES_AT_ONCE: usize = 8;
/// Calls for one file at once.
const RUNS_AT_ONCE: usize = 4;

/// The write-back of one file, while it is under way.
struct Batch<'a> {
    file: &'a File,
    /// What size the calls under way carry.
    size: Cell<u64>,
    /// What time they carry; if the file has changed since, its attributes follow.
    modified_ns: Cell<u64>,
    under_way: Cell<usize>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.file.state.borrow_mut().writing_back = false;
        self.file.changed.notify();
    }
}

/// Pages that were sent down; unless told otherwise, in vain.
struct Sent<'a, L, C, M: Memory> {
    inner: &'a Inner<L, C, M>,
    file: &'a File,
    runs: Vec<Run<M>>,
}

impl<L, C, M: Memory> Sent<'_, L, C, M> {
    fn ended(&self, run: &Run<M>, written: bool) {
        let mut state = self.file.state.borrow_mut();
        let mut pool = self.inner.pool.borrow_mut();
        for index in page_of(run.offset)..run.end() {
            let Some(&id) = state.pages.get(&index) else {
                continue;
            };
            pool.end_write(id, written);
            if pool.is_newer(id) {
                state.dirty.insert(index);
            }
        }
        let logged = pool.counts().logged as u64;
        self.inner
            .count(|count| count.log_pages_max = count.log_pages_max.max(logged));
    }
}

impl<L, C, M: Memory> Drop for Sent<'_, L, C, M> {
    fn drop(&mut self) {
        for run in core::mem::take(&mut self.runs) {
            self.ended(&run, false);
        }
        self.inner.room_made.notify();
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// How blocks are to be checksummed.
    pub(super) fn algorithm(&self) -> Algorithm {
        let link = self.link.borrow();
        link.attachment
            .map_or(Algorithm::default(), |attachment| attachment.algorithm)
    }

    /// Waits for one of the calls below that write-back may have under way.
    async fn share_for_write_back(&self) -> SemaphoreGuard<'_> {
        self.write_back_permits.acquire().await
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Writes these back, of each up to `runs_max` runs; the first error, once all have been tried.
    pub(super) async fn flush_all(
        self: &Rc<Self>,
        turns: Vec<Turn>,
        runs_max: usize,
    ) -> Result<()> {
        let mut flushes = stream::iter(turns)
            .map(|turn| self.flush(turn, runs_max))
            .buffer_unordered(FILES_AT_ONCE);
        let mut outcome = Ok(());
        while let Some(flushed) = flushes.next().await {
            outcome = outcome.and(flushed);
        }
        if outcome.is_ok() {
            self.write_back_failed.set(false);
        }
        self.write_backs_ended.set(self.write_backs_ended.get() + 1);
        self.room_made.notify();
        self.note_nothing_owed();
        self.note_pressure();
        outcome
    }

    /// Writes pages of one file back; then, if no page is dirty any more, its size and attributes.
    async fn flush(self: &Rc<Self>, turn: Turn, runs_max: usize) -> Result<()> {
        let Turn { file, pages } = turn;
        file.changed
            .until(|| !file.state.borrow().writing_back)
            .await;
        file.state.borrow_mut().writing_back = true;
        let batch = Batch {
            file: &file,
            size: Cell::default(),
            modified_ns: Cell::default(),
            under_way: Cell::new(0),
        };
        if self.log.borrow().is_owed(file.number) {
            Box::pin(self.redo(file.number)).await?;
        }
        self.settle_cut(&file).await?;
        let shared = file.lock.read().await;
        if file.state.borrow().presence == Presence::Gone {
            self.mark_clean(&file);
            return Ok(());
        }
        let mut todo = runs(file.state.borrow().dirty.range(pages.clone()).copied());
        let rest = todo.get(runs_max).map(|&(first, _)| first..pages.end);
        todo.truncate(runs_max);
        let mut writes = stream::iter(todo)
            .map(|(first, count)| self.write_run(&file, first, count, &batch))
            .buffer_unordered(RUNS_AT_ONCE);
        let mut outcome = Ok(());
        while let Some(written) = writes.next().await {
            outcome = outcome.and(written);
        }
        drop(writes);
        outcome?;
        if file.state.borrow().dirty.is_empty() {
            self.flush_attributes(&file).await?;
        }
        drop(shared);
        self.flush_size(&file).await?;
        if !file.state.borrow().unclean() {
            self.mark_clean(&file);
        }
        drop(batch);
        if let Some(pages) = rest {
            self.turns.go_on(Turn { file, pages });
        }
        Ok(())
    }

    /// Writes the dirty pages of a run.
    async fn write_run(
        self: &Rc<Self>,
        file: &Rc<File>,
        first: u64,
        count: u64,
        batch: &Batch<'_>,
    ) -> Result<()> {
        let algorithm = self.algorithm();
        let mut sent = Sent {
            inner: self,
            file,
            runs: Vec::new(),
        };
        let mut lost = Vec::new();
        let (size, modified_ns) = {
            let mut state = file.state.borrow_mut();
            if batch.under_way.get() == 0 {
                batch.size.set(state.now.size);
                batch.modified_ns.set(state.now.modified_ns);
            } else if state.now.size != batch.size.get() {
                // The file has grown since. Calls that carry different sizes must not overtake each
                // other: wait for the next batch.
                return Ok(());
            }
            let mut pool = self.pool.borrow_mut();
            let dirty: Vec<u64> = state.dirty.range(first..first + count).copied().collect();
            for index in dirty {
                state.dirty.remove(&index);
                if let Some(&id) = state.pages.get(&index) {
                    // One that was overwritten goes down with the checksum of what it should be: it reads as
                    // an error from there too. Nobody may read it before, so it is said here.
                    if pool.verify(id, algorithm) == (Verdict::Lost { is_news: true }) {
                        lost.push(index);
                    }
                    let (page, checksum) = pool.begin_write(id, algorithm);
                    add_to(&mut sent.runs, index, page, checksum);
                }
            }
            (batch.size.get(), batch.modified_ns.get())
        };
        tell_lost(file.number, &lost);
        batch.under_way.set(batch.under_way.get() + 1);
        let mut outcome = Ok(());
        while let (Some(run), Ok(())) = (sent.runs.last(), outcome) {
            let _share = self.share_for_write_back().await;
            outcome = self
                .change(Needs::Outline(file.number), async |lower: &L| {
                    let write = run.write(file.number, size, modified_ns);
                    run.is_whole(lower.write(write).await?)
                })
                .await;
            // In the poll in which the answer came: the log is complete at any `await`.
            {
                let mut state = file.state.borrow_mut();
                // Even a write that failed may have lengthened the file.
                state.below.size = state.below.size.max(size);
                state.size_unsure = outcome.is_err();
                state.below.modified_ns = modified_ns;
                state.below.changed_ns = modified_ns;
            }
            if outcome.is_ok()
                && let Some(run) = sent.runs.pop()
            {
                sent.ended(&run, true);
                self.count(|count| {
                    count.pages_written += run.pages.len() as u64;
                    count.writes_below += 1;
                });
                let mut pool = self.pool.borrow_mut();
                run.pages.into_iter().for_each(|page| pool.give_back(page));
            }
        }
        batch.under_way.set(batch.under_way.get() - 1);
        outcome
    }

    /// Writes everything back to this instance, if it lives as long. Nothing is written meanwhile.
    pub(super) async fn write_back_everything(self: &Rc<Self>, generation: u64) -> Result<()> {
        /// One round would do, but for a write-back that was under way when the round began.
        const ROUNDS_MAX: usize = 4;
        self.redo_all().await?;
        for _ in 0..ROUNDS_MAX {
            let turns: Vec<_> = self.unclean.borrow().values().map(Turn::whole).collect();
            if turns.is_empty() || !self.is_current(generation) {
                return Ok(());
            }
            self.announce(&turns).await;
            self.flush_all(turns, usize::MAX).await?;
        }
        match self.is_current(generation) {
            true => Err(Error::Busy),
            false => Ok(()),
        }
    }
}
