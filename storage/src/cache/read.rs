//! Reads: from pages where there are any, else from below, in runs and ahead of the reader.

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::ops::Range;

use super::{
    Inner, RUN_PAGES_MAX,
    below::Needs,
    files::{File, Presence},
    page::{PageRef, page_of, pages_in, start_of},
    pool::{FrameId, Verdict},
    revival::tell_lost,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::{Sink, SinkSegment},
    clock::Clock,
    file::{FileNumber, FileService},
    surviving::Memory,
};

/// Pages that are being read from below: nobody else reads or writes them meanwhile.
struct Reading<'a> {
    file: &'a File,
    pages: Range<u64>,
}

impl<'a> Reading<'a> {
    fn begin(file: &'a File, pages: Range<u64>) -> Self {
        file.state.borrow_mut().reading.push(pages.clone());
        Self { file, pages }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let mut state = self.file.state.borrow_mut();
        if let Some(at) = state.reading.iter().position(|range| *range == self.pages) {
            state.reading.swap_remove(at);
        }
        drop(state);
        self.file.changed.notify();
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// The file of this number, its attributes known.
    pub(super) async fn open(self: &Rc<Self>, number: FileNumber) -> Result<Rc<File>> {
        let file = self.files.borrow_mut().entry(number);
        if file.state.borrow().presence == Presence::Unknown {
            // In a place of its own, like all that hardly any call comes to: a call's future is moved as a whole.
            Box::pin(self.load(&file)).await?;
        }
        self.settle_cut(&file).await?;
        Ok(file)
    }

    /// Asks below for the attributes of a file that nobody has asked for yet.
    async fn load(self: &Rc<Self>, file: &Rc<File>) -> Result<()> {
        let _loading = file.loading.lock().await;
        if file.state.borrow().presence != Presence::Unknown {
            return Ok(());
        }
        let number = file.number;
        let attributes = self
            .query(Needs::Outline(number), async |lower: &L| {
                lower.getattr(number).await
            })
            .await;
        let mut state = file.state.borrow_mut();
        if state.presence != Presence::Unknown {
            return Ok(());
        }
        match attributes {
            Ok(attributes) => {
                state.present(attributes);
                Ok(())
            }
            Err(error) => {
                drop(state);
                self.forget_unknown(file);
                Err(error)
            }
        }
    }

    /// Fetches pages from below. Those beyond the end of the file come as zeros.
    pub(super) async fn fetch(
        self: &Rc<Self>,
        file: &Rc<File>,
        first: u64,
        count: u64,
    ) -> Result<Vec<PageRef<M>>> {
        let _reading = Reading::begin(file, first..first + count);
        let mut pages: Vec<PageRef<M>> = {
            let mut pool = self.pool.borrow_mut();
            let pages: Result<Vec<_>> = (0..count).map(|_| pool.take()).collect();
            pages?
        };
        let number = file.number;
        let fetched = self
            .query(Needs::Outline(number), async |lower: &L| {
                let mut sink = Sink::empty();
                for page in &mut pages {
                    let page = Rc::get_mut(page).expect("nobody else knows the page yet");
                    sink.push(SinkSegment::Local(&mut page[..]));
                }
                lower.read(number, start_of(first), sink).await
            })
            .await;
        let bytes = match fetched {
            Ok(bytes) if bytes <= pages.len() * BLOCK_BYTES => bytes,
            other => {
                let mut pool = self.pool.borrow_mut();
                pages.into_iter().for_each(|page| pool.give_back(page));
                return Err(other.err().unwrap_or(Error::Protocol));
            }
        };
        self.count(|statistics| {
            statistics.pages_fetched += count;
            statistics.reads_below += 1;
        });
        for (at, page) in pages.iter_mut().enumerate().skip(bytes / BLOCK_BYTES) {
            let valid = bytes.saturating_sub(at * BLOCK_BYTES);
            let page = Rc::get_mut(page).expect("the call that filled the page is over");
            page[valid..].fill(0);
        }
        Ok(pages)
    }

    /// Reads; returns how many bytes there were.
    pub(super) async fn read(
        self: &Rc<Self>,
        number: FileNumber,
        offset: u64,
        mut data: Sink<'_>,
    ) -> Result<usize> {
        let file = self.open(number).await?;
        let _shared = file.lock.read().await;
        let (len, goes_on) = {
            let mut state = file.state.borrow_mut();
            if state.presence != Presence::Present {
                return Err(Error::NotFound);
            }
            let len = state.now.size.saturating_sub(offset).min(data.len() as u64);
            (len as usize, state.ahead.read(offset, len))
        };
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let page = page_of(at);
            let skip = (at - start_of(page)) as usize;
            let step = (BLOCK_BYTES - skip).min(len - done);
            file.changed
                .until(|| !file.state.borrow().is_reading(page))
                .await;
            if file.state.borrow().presence != Presence::Present {
                return Err(Error::NotFound);
            }
            let (cached, below) = {
                let state = file.state.borrow();
                (state.pages.get(&page).copied(), pages_in(state.below.size))
            };
            if let Some(id) = cached {
                if self.config.verify_reads && !self.is_sound(&file, page, id) {
                    continue;
                }
                let mut pool = self.pool.borrow_mut();
                let page = pool.read(id, skip > 0 && goes_on)?;
                data.copy_from(done, &page[skip..skip + step])?;
                drop(pool);
                self.count(|count| count.hits += 1);
                done += step;
            } else if page >= below {
                data.zero(done, step)?;
                done += step;
            } else {
                let last = page_of(offset + len as u64 - 1);
                let pages = Box::pin(self.fetch_ahead(&file, page, last)).await?;
                for (index, content) in (page..=last).zip(&pages) {
                    let from = start_of(index).max(at);
                    let to = start_of(index)
                        .saturating_add(BLOCK_BYTES as u64)
                        .min(offset + len as u64);
                    let part = (from - start_of(index)) as usize..(to - start_of(index)) as usize;
                    data.copy_from((from - offset) as usize, &content[part])?;
                    done = (to - offset) as usize;
                }
                self.keep(&file, page, pages, last);
            }
        }
        self.count(|count| count.bytes_copied += len as u64);
        Ok(len)
    }

    /// Fetches the missing pages from `first` on that a reader wants up to `last`, and some more.
    async fn fetch_ahead(
        self: &Rc<Self>,
        file: &Rc<File>,
        first: u64,
        last: u64,
    ) -> Result<Vec<PageRef<M>>> {
        let (wanted, extended) = {
            let mut state = file.state.borrow_mut();
            let end = pages_in(state.below.size).min(first + RUN_PAGES_MAX as u64);
            let missing = |page| !state.pages.contains_key(&page) && !state.is_reading(page);
            let free = (first..end).take_while(|&page| missing(page)).count() as u64;
            let wanted = (last + 1 - first).min(free);
            let most = (wanted + self.config.read_ahead_pages as u64).min(RUN_PAGES_MAX as u64);
            (wanted, state.ahead.extend(wanted, most).min(free))
        };
        self.count(|count| count.misses += wanted);
        match self.fetch(file, first, extended).await {
            // Nobody has asked for the pages beyond: what is wrong there may not matter.
            Err(Error::Device | Error::Corrupt) if extended > wanted => {
                self.fetch(file, first, wanted).await
            }
            outcome => outcome,
        }
    }

    /// Puts pages that were fetched into the cache, as far as there is room; those up to `last` have
    /// been used.
    fn keep(&self, file: &Rc<File>, first: u64, pages: Vec<PageRef<M>>, last: u64) {
        let algorithm = self.algorithm();
        for (index, page) in (first..).zip(pages) {
            while {
                let counts = self.pool.borrow().counts();
                counts.resident() + counts.reserved >= self.config.pages
            } && self.evict_one()
            {}
            let mut state = file.state.borrow_mut();
            let mut pool = self.pool.borrow_mut();
            if state.presence != Presence::Present || state.pages.contains_key(&index) {
                pool.give_back(page);
            } else {
                let checksum = self.config.verify_reads.then(|| algorithm.of(&page[..]));
                pool.checksums += u64::from(checksum.is_some());
                if let Some(id) = pool.insert_clean(file, index, page, checksum, index > last) {
                    state.pages.insert(index, id);
                }
            }
        }
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// Verifies a page of a file. One that was overwritten by mistake is dropped, if below there is the same:
    /// then this is `false`. If not, it is lost, and whoever reads it finds out.
    pub(super) fn is_sound(&self, file: &File, page: u64, id: FrameId) -> bool {
        let verdict = self.pool.borrow_mut().verify(id, self.algorithm());
        match verdict {
            Verdict::Good | Verdict::Lost { is_news: false } => {}
            Verdict::Lost { is_news: true } => tell_lost(file.number, &[page]),
            Verdict::Spoilt => {
                ::log::warn!(
                    "cache: page {page} of file {} was overwritten in memory, and is read again from below",
                    file.number.0
                );
                file.state.borrow_mut().pages.remove(&page);
                self.pool.borrow_mut().remove(id);
                return false;
            }
        }
        true
    }

    /// Drops a file from the table that turned out not to exist. If other calls hold it as well, they
    /// may yet find that it does, and there must be one of each number: it stays, and is forgotten
    /// in its turn.
    pub(super) fn forget_unknown(&self, file: &Rc<File>) {
        /// The table, and the caller.
        const HOLDERS: usize = 2;
        let unknown = file.state.borrow().presence == Presence::Unknown;
        if unknown && Rc::strong_count(file) <= HOLDERS {
            self.files.borrow_mut().remove(file);
        }
    }
}
