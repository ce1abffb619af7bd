//! The pool: every page there is, how many there may be, and what each is kept for.
//!
//! ```text
//!               write                 sent down
//!     (none) ─────────> Dirty ──────────────────> Writing ──done──> Clean ──> (none)
//!        │                ^ └<── rewritten, failed ──┘                │ in the log, and
//!        └──read──> Clean ┘                                           v the cache is full
//!                                                                   Kept ──sync──> (none)
//! ```
//!
//! Dirty, Writing and Clean pages are the cache proper, at most `pages` of them. Kept pages belong to
//! the roll-forward log alone ([`logged`]): written down since the last checkpoint, then evicted; at most
//! `kept_max` of them. Beside these there are only the pages of reads under way and the fresh copies
//! of pages rewritten while on their way down, both bounded by the calls under way.

mod counts;
mod logged;

use alloc::{rc::Rc, vec::Vec};

pub(super) use counts::Counts;
pub(super) use logged::Evicted;

use self::logged::InLog;

use super::{files::File, ledger::Ledger, page::PageRef, replacement::Replacement};
use crate::{
    BLOCK_BYTES, Error, Result,
    checksum::{Algorithm, Checksum},
    surviving::Memory,
};

/// Index of a frame.
pub(super) type FrameId = u32;

/// What a frame is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Newer than below.
    Dirty,
    /// On its way down, not changed since.
    Writing,
    /// As below.
    Clean,
    /// Kept only because the log needs it.
    Kept,
}

/// A page and what is known of it.
pub(super) struct Frame<M: Memory> {
    /// Its file.
    pub file: Rc<File>,
    /// Where in it, pages.
    pub index: u64,
    content: Content<M>,
    place: Place,
    in_log: InLog,
}

/// What a frame holds.
pub(super) struct Content<M: Memory> {
    /// The page.
    pub page: PageRef<M>,
    /// Of what the page should hold; of a page that is as below, once computed.
    pub checksum: Option<Checksum>,
    /// The page holds something else: it was overwritten by mistake while nobody was there to see it. It
    /// is written down as it is, so that it reads as an error there too.
    pub is_lost: bool,
    /// Of the ledger's entry of the page, zero if there is none: those have one that are newer than the
    /// checkpoint.
    pub guard: u64,
}

/// What a page turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What it should be.
    Good,
    /// Overwritten by mistake; below there is the same, so it can be dropped.
    Spoilt,
    /// Overwritten by mistake, or known to have been. The content is nowhere else.
    Lost {
        /// Nobody knew.
        is_news: bool,
    },
}

impl<M: Memory> Content<M> {
    /// A page that is as below.
    fn as_below(page: PageRef<M>, checksum: Option<Checksum>) -> Self {
        Self {
            page,
            checksum,
            is_lost: false,
            guard: 0,
        }
    }
}

/// All pages.
pub(super) struct Pool<M: Memory> {
    /// What the next instance must know of the pages, and of all else.
    pub ledger: Ledger<M>,
    frames: Vec<Option<Frame<M>>>,
    vacant: Vec<FrameId>,
    spare: Vec<PageRef<M>>,
    replacement: Replacement,
    counts: Counts,
    pages_max: usize,
    kept_max: usize,
    /// Whether pages written down are kept for the roll-forward log.
    is_logging: bool,
    /// Pages copied because a write left a part of them standing.
    pub copies_on_write: u64,
    /// Pages given up for others.
    pub evictions: u64,
    /// Checksums computed.
    pub checksums: u64,
}

impl<M: Memory> Pool<M> {
    /// An empty pool, of pages that the ledger describes.
    pub fn new(ledger: Ledger<M>, pages_max: usize, kept_max: usize, is_logging: bool) -> Self {
        Self {
            ledger,
            is_logging,
            frames: Vec::new(),
            vacant: Vec::new(),
            spare: Vec::new(),
            replacement: Replacement::new(pages_max),
            counts: Counts::default(),
            pages_max,
            kept_max,
            copies_on_write: 0,
            evictions: 0,
            checksums: 0,
        }
    }

    /// How many there are of what.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// A page for whatever content; its present one is of no meaning. [`Error::NoMemory`]: all are on their
    /// way down or being read.
    pub fn take(&mut self) -> Result<PageRef<M>> {
        let spare = self.spare.pop();
        spare.or_else(|| self.ledger.page()).ok_or(Error::NoMemory)
    }

    /// Gives back a page that may still be held elsewhere.
    pub fn give_back(&mut self, page: PageRef<M>) {
        // The spare pages make up for those missing from the cache proper.
        if Rc::strong_count(&page) == 1
            && self.counts.resident() + self.spare.len() < self.pages_max
        {
            self.spare.push(page);
        }
    }

    /// Promises `n` frames to a writer, if there is room without evicting.
    pub fn reserve(&mut self, n: usize) -> bool {
        let fits = self.counts.resident() + self.counts.reserved + n <= self.pages_max;
        if fits {
            self.counts.reserved += n;
        }
        fits
    }

    /// Takes back a promise.
    pub fn unreserve(&mut self, n: usize) {
        self.counts.reserved -= n;
    }

    /// Puts a page that is as below into the cache, if there is room, with the checksum to know it by.
    /// `ahead`: nobody has used it.
    pub fn insert_clean(
        &mut self,
        file: &Rc<File>,
        index: u64,
        page: PageRef<M>,
        checksum: Option<Checksum>,
        ahead: bool,
    ) -> Option<FrameId> {
        if self.counts.resident() + self.counts.reserved >= self.pages_max {
            self.give_back(page);
            return None;
        }
        let id = self.insert(file, index, Content::as_below(page, checksum), Place::Clean);
        self.replacement.enter(id);
        if ahead {
            self.replacement.fetched_ahead(id);
        }
        Some(id)
    }

    /// Puts a page that is newer than below into the cache. The caller has a promise.
    pub fn insert_dirty(&mut self, file: &Rc<File>, index: u64, content: Content<M>) -> FrameId {
        self.insert(file, index, content, Place::Dirty)
    }

    fn insert(
        &mut self,
        file: &Rc<File>,
        index: u64,
        content: Content<M>,
        place: Place,
    ) -> FrameId {
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.frames.push(None);
            (self.frames.len() - 1) as FrameId
        });
        let file = Rc::clone(file);
        self.replacement.renew(id, (file.number, index));
        self.frames[id as usize] = Some(Frame {
            file,
            index,
            content,
            place,
            in_log: InLog::No,
        });
        self.counts.add(place, InLog::No);
        id
    }

    /// The frame. Files hold ids of live frames only.
    fn frame(&mut self, id: FrameId) -> &mut Frame<M> {
        self.frames[id as usize]
            .as_mut()
            .expect("a file refers to a live frame")
    }

    fn place(&mut self, id: FrameId, to: Place) {
        let in_log = self.frame(id).in_log;
        self.change(id, to, in_log);
    }

    fn change(&mut self, id: FrameId, to: Place, in_log: InLog) {
        let frame = self.frame(id);
        let from = core::mem::replace(&mut frame.place, to);
        let was_in_log = core::mem::replace(&mut frame.in_log, in_log);
        self.counts.remove(from, was_in_log);
        self.counts.add(to, in_log);
        if from == Place::Clean && to != Place::Clean {
            self.replacement.leave(id);
        } else if to == Place::Clean && from != Place::Clean {
            self.replacement.enter(id);
        }
    }

    /// The content, for a reader. `again`: he goes on where he was, which is no further use.
    /// [`Error::Corrupt`] if it is lost.
    pub fn read(&mut self, id: FrameId, again: bool) -> Result<&[u8; BLOCK_BYTES]> {
        if !again {
            self.replacement.touch(id);
        }
        let content = &self.frame(id).content;
        if content.is_lost {
            return Err(Error::Corrupt);
        }
        Ok(&content.page)
    }

    /// Compares a page with its checksum, before anybody relies on it.
    pub fn verify(&mut self, id: FrameId, algorithm: Algorithm) -> Verdict {
        let Frame {
            content,
            place,
            in_log,
            ..
        } = self.frame(id);
        if content.is_lost {
            return Verdict::Lost { is_news: false };
        }
        let Some(checksum) = content.checksum else {
            return Verdict::Good;
        };
        let is_good = algorithm.of(&content.page[..]) == checksum;
        let verdict = match (is_good, *place, *in_log) {
            (true, ..) => Verdict::Good,
            (false, Place::Clean, InLog::No) => Verdict::Spoilt,
            _ => {
                content.is_lost = true;
                Verdict::Lost { is_news: true }
            }
        };
        self.checksums += 1;
        verdict
    }

    /// The content, of which a part goes into a fresh page.
    pub fn copy(&mut self, id: FrameId) -> Result<PageRef<M>> {
        let content = &self.frame(id).content;
        if content.is_lost {
            return Err(Error::Corrupt);
        }
        let page = Rc::clone(&content.page);
        self.copies_on_write += 1;
        Ok(page)
    }

    /// Puts content that is newer than below in the place of the old, which is returned. Whether the
    /// page becomes part of the cache proper by that (so that the caller must have a promise) says
    /// [`Pool::is_kept`]. `again`: the writer goes on within the page, which is no further use of it.
    pub fn write(&mut self, id: FrameId, content: Content<M>, again: bool) -> Content<M> {
        if !again {
            self.replacement.touch(id);
        }
        self.place(id, Place::Dirty);
        core::mem::replace(&mut self.frame(id).content, content)
    }

    /// The content, to be changed as it was or will be changed below too.
    pub fn amend(&mut self, id: FrameId) -> &mut Content<M> {
        &mut self.frame(id).content
    }

    /// The guard of the page's entry in the ledger.
    pub fn guard(&mut self, id: FrameId) -> u64 {
        self.frame(id).content.guard
    }

    /// A page is of no use any more, and so is its entry in the ledger.
    pub fn discard(&mut self, content: Content<M>) {
        self.ledger.clear(content.page.number(), content.guard);
        self.give_back(content.page);
    }

    /// Whether the page is kept by the log alone.
    pub fn is_kept(&mut self, id: FrameId) -> bool {
        self.frame(id).place == Place::Kept
    }

    /// Whether a write to the page spends a block below that no earlier one has spent.
    pub fn is_fresh_below(&mut self, id: FrameId) -> bool {
        let frame = self.frame(id);
        (frame.place, frame.in_log) == (Place::Clean, InLog::No)
    }

    /// The checksum with which a page will be written down.
    pub fn checksum(&mut self, id: FrameId, algorithm: Algorithm) -> Checksum {
        self.stable(id, algorithm).1
    }

    /// Sends a dirty page down: its content stays as it is until the page is given back.
    pub fn begin_write(&mut self, id: FrameId, algorithm: Algorithm) -> (PageRef<M>, Checksum) {
        self.place(id, Place::Writing);
        self.stable(id, algorithm)
    }

    fn stable(&mut self, id: FrameId, algorithm: Algorithm) -> (PageRef<M>, Checksum) {
        let Content { page, checksum, .. } = &mut self.frame(id).content;
        let known = checksum.is_some();
        let checksum = *checksum.get_or_insert_with(|| algorithm.of(&page[..]));
        let page = Rc::clone(page);
        self.checksums += u64::from(!known);
        (page, checksum)
    }

    /// Removes a page whose file has removed it.
    pub fn remove(&mut self, id: FrameId) {
        let Some(frame) = self.frames[id as usize].take() else {
            return;
        };
        if frame.place == Place::Clean {
            self.replacement.leave(id);
        }
        self.counts.remove(frame.place, frame.in_log);
        self.vacant.push(id);
        self.discard(frame.content);
    }
}
