//! Write-back: dirty pages and attributes on their way down.
//!
//! Pages that follow each other go in one call, with the checksums that were computed when they were written. Of one file, one
//! write-back is under way at a time, in several calls at once that all carry the same size and the
//! same time, so their order does not matter, and is none of the copies' business; files beside each other. Readers and writers of the file go on: a
//! page rewritten on its way down gets a copy, and stays dirty.

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::cell::Cell;

use futures_util::{StreamExt, stream};

use super::{
    Inner, RUN_PAGES_MAX,
    below::{Needs, Phase},
    files::{File, Presence},
    page::{PageRef, page_of, pages_in, start_of},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::Source,
    checksum::{Algorithm, Checksum},
    clock::Clock,
    file::{AttributeChange, FileNumber, FileService, Write},
    surviving::Memory,
};

/// Files written back at once.
const FILES_AT_ONCE: usize = 8;
/// Calls for one file at once.
const RUNS_AT_ONCE: usize = 4;
/// Calls for one file at a time, when the aim is room and not a sync.
const RUNS_FOR_ROOM: usize = 8;

/// Pages that follow each other, held stable, with their checksums.
pub(super) struct Run<M: Memory> {
    offset: u64,
    pages: Vec<PageRef<M>>,
    checksums: Vec<Checksum>,
}

impl<M: Memory> Run<M> {
    /// The page behind the last.
    fn end(&self) -> u64 {
        page_of(self.offset) + self.pages.len() as u64
    }

    /// Checks the answer to that call: below, a write is made whole or not at all.
    pub fn is_whole(&self, taken: usize) -> Result<()> {
        if taken == self.pages.len() * BLOCK_BYTES {
            Ok(())
        } else {
            Err(Error::Protocol)
        }
    }

    /// The call that writes it.
    pub fn write(&self, file: FileNumber, size: u64, modified_ns: u64) -> Write<'_> {
        let mut data = Source::empty();
        for page in &self.pages {
            data.push_local(&page[..]);
        }
        Write {
            file,
            offset: self.offset,
            data,
            checksums: &self.checksums,
            size,
            modified_ns,
        }
    }
}

/// Adds a page to the last run, or begins another.
pub(super) fn add_to<M: Memory>(
    runs: &mut Vec<Run<M>>,
    index: u64,
    page: PageRef<M>,
    checksum: Checksum,
) {
    match runs.last_mut() {
        Some(run) if run.end() == index && run.pages.len() < RUN_PAGES_MAX => {
            run.pages.push(page);
            run.checksums.push(checksum);
        }
        _ => runs.push(Run {
            offset: start_of(index),
            pages: [page].into(),
            checksums: [checksum].into(),
        }),
    }
}

/// Ascending page numbers as runs: first page, count.
pub(super) fn runs(indices: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for index in indices {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == index && *count < RUN_PAGES_MAX as u64 => {
                *count += 1;
            }
            _ => runs.push((index, 1)),
        }
    }
    runs
}

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

    /// The file has something that is newer than below.
    pub(super) fn mark_unclean(&self, file: &Rc<File>) {
        self.unclean
            .borrow_mut()
            .entry(file.number)
            .or_insert_with(|| Rc::clone(file));
    }

    /// The file has nothing that is newer than below.
    pub(super) fn mark_clean(&self, file: &Rc<File>) {
        let mut unclean = self.unclean.borrow_mut();
        if unclean
            .get(&file.number)
            .is_some_and(|known| Rc::ptr_eq(known, file))
        {
            unclean.remove(&file.number);
        }
    }

    /// A few files whose turn it is to be written back.
    fn next_unclean(&self) -> Vec<Rc<File>> {
        let unclean = self.unclean.borrow();
        let after = self.cursor.get();
        let round = unclean.range((
            core::ops::Bound::Excluded(after),
            core::ops::Bound::Unbounded,
        ));
        let files: Vec<_> = round
            .chain(unclean.range(..=after))
            .map(|(_, file)| file)
            .filter(|file| {
                let state = file.state.borrow();
                !state.writing_back && !state.dirty.is_empty()
            })
            .take(FILES_AT_ONCE)
            .cloned()
            .collect();
        if let Some(last) = files.last() {
            self.cursor.set(last.number);
        }
        files
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// The background's work.
    pub(super) async fn write_back_for_ever(self: &Rc<Self>) {
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
    pub(super) async fn write_back_some(self: &Rc<Self>) -> Result<()> {
        let files = self.next_unclean();
        if files.is_empty() {
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
            .run(async move { inner.flush_all(files, RUNS_FOR_ROOM).await })
            .await
    }

    /// Writes these files back; the first error, once all have been tried.
    pub(super) async fn flush_all(
        self: &Rc<Self>,
        files: Vec<Rc<File>>,
        runs_max: usize,
    ) -> Result<()> {
        self.prewrite(&files, runs_max).await;
        let mut flushes = stream::iter(files)
            .map(|file| self.flush(file, runs_max))
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

    /// Says below which of these pages are about to be overwritten, if that is of any use there: what
    /// is announced together costs one flush of a log together. It promises nothing.
    async fn prewrite(self: &Rc<Self>, files: &[Rc<File>], runs_max: usize) {
        for file in files {
            if !self.prewrites.get() {
                return;
            }
            let todo = {
                let state = file.state.borrow();
                let there = pages_in(state.below.size);
                let dirty = state.dirty.iter().copied();
                runs(dirty.take_while(|&page| page < there))
            };
            for (first, count) in todo.into_iter().take(runs_max) {
                let algorithm = self.algorithm();
                let checksums: Vec<Checksum> = {
                    let state = file.state.borrow();
                    let mut pool = self.pool.borrow_mut();
                    (first..first + count)
                        .map_while(|page| {
                            pool.read(*state.pages.get(&page)?, true)
                                .ok()
                                .map(|it| algorithm.of(it))
                        })
                        .collect()
                };
                let (number, offset) = (file.number, start_of(first));
                let announced = self
                    .query(Needs::Outline(number), async |lower: &L| {
                        lower.prewrite(number, offset, &checksums).await
                    })
                    .await;
                if announced == Ok(false) {
                    self.prewrites.set(false);
                    return;
                }
            }
        }
    }

    /// Writes one file back: up to `runs_max` runs of pages; then, if no page is dirty any more, its
    /// size and attributes.
    async fn flush(self: &Rc<Self>, file: Rc<File>, runs_max: usize) -> Result<()> {
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
        let shared = file.lock.read().await;
        if file.state.borrow().presence == Presence::Gone {
            self.mark_clean(&file);
            return Ok(());
        }
        let mut todo = runs(file.state.borrow().dirty.iter().copied());
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
                    let (page, checksum) = pool.begin_write(id, algorithm);
                    add_to(&mut sent.runs, index, page, checksum);
                }
            }
            (batch.size.get(), batch.modified_ns.get())
        };
        batch.under_way.set(batch.under_way.get() + 1);
        let mut outcome = Ok(());
        while let (Some(run), Ok(())) = (sent.runs.last(), outcome) {
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

    /// Brings the attributes below to what they are here.
    async fn flush_attributes(self: &Rc<Self>, file: &Rc<File>) -> Result<()> {
        if !file.state.borrow().attributes_differ() {
            return Ok(());
        }
        let number = file.number;
        let change = AttributeChange::to(&file.state.borrow().now);
        self.change(Needs::Outline(number), async |lower: &L| {
            lower.setattr(number, &change).await
        })
        .await?;
        let mut state = file.state.borrow_mut();
        change.apply(&mut state.below);
        state.below_unsure = false;
        Ok(())
    }

    /// Brings the size below to what it is here, if no write has: data at the end were cut off before
    /// they were ever sent down.
    async fn flush_size(self: &Rc<Self>, file: &Rc<File>) -> Result<()> {
        let differs = |file: &File| {
            let state = file.state.borrow();
            state.presence == Presence::Present
                && state.dirty.is_empty()
                && state.now.size != state.below.size
        };
        if !differs(file) {
            return Ok(());
        }
        let _alone = file.lock.write().await;
        if !differs(file) {
            return Ok(());
        }
        let (number, now) = (file.number, file.state.borrow().now);
        let cut = self
            .change(Needs::Outline(number), async |lower: &L| {
                lower.truncate(number, now.size, now.modified_ns).await
            })
            .await;
        if let Err(error) = cut {
            self.adopt_size(file).await;
            return Err(error);
        }
        {
            let mut state = file.state.borrow_mut();
            self.log
                .borrow_mut()
                .resized(file, state.below.size, now.size);
            state.below.size = now.size;
            state.below.modified_ns = now.modified_ns;
            state.below.changed_ns = now.modified_ns;
        }
        self.flush_attributes(file).await
    }

    /// Writes everything back to this instance, if it lives as long. Nothing is written meanwhile.
    pub(super) async fn write_back_everything(self: &Rc<Self>, generation: u64) -> Result<()> {
        /// One round would do, but for a write-back that was under way when the round began.
        const ROUNDS_MAX: usize = 4;
        self.redo_all().await?;
        for _ in 0..ROUNDS_MAX {
            let files: Vec<_> = self.unclean.borrow().values().cloned().collect();
            if files.is_empty() || !self.is_current(generation) {
                return Ok(());
            }
            self.flush_all(files, usize::MAX).await?;
        }
        match self.is_current(generation) {
            true => Err(Error::Busy),
            false => Ok(()),
        }
    }
}

const _: () = assert!(RUN_PAGES_MAX * BLOCK_BYTES <= 1 << 20);
