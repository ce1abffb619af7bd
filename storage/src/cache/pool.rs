//! The pool: every page there is, how many there may be, and what each is kept for.
//!
//! ```text
//!               write                 sent down
//!     (none) ─────────> Dirty ──────────────────> Writing ──done──> Clean ──> (none)
//!        │                ^ └<── rewritten, failed ──┘                │ logged and
//!        └──read──> Clean ┘                                           v the cache is full
//!                                                                   Kept ──sync──> (none)
//! ```
//!
//! Dirty, Writing and Clean pages are the cache proper, at most `pages` of them. Kept pages belong to
//! the roll-forward log alone: written down since the last checkpoint, then evicted; at most
//! `kept_max` of them. Beside these there are only the pages of reads under way and the fresh copies
//! of pages rewritten while on their way down, both bounded by the calls under way.

use alloc::{rc::Rc, vec::Vec};

use super::{
    files::File,
    page::{Page, PageRef, zeroed},
    replacement::Replacement,
};
use crate::{
    BLOCK_BYTES,
    checksum::{Algorithm, Checksum},
};

/// Index of a frame.
pub(super) type FrameId = u32;

/// How many candidates an eviction looks at before it gives up: they are all kept by a full log.
const EVICTION_STEPS_MAX: usize = 64;

/// What a frame is kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Newer than below.
    Dirty,
    /// On its way down, not changed since.
    Writing,
    /// As below.
    Clean,
    /// As below, and kept only because the log needs it.
    Kept,
}

/// A page and what is known of it.
pub(super) struct Frame {
    /// Its file.
    pub file: Rc<File>,
    /// Where in it, pages.
    pub index: u64,
    page: PageRef,
    place: Place,
    /// Written down since the last checkpoint: the roll-forward log needs it.
    logged: bool,
    /// Of the present content, once computed.
    checksum: Option<Checksum>,
}

/// How many frames there are of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Dirty.
    pub dirty: usize,
    /// On their way down.
    pub writing: usize,
    /// Clean, in the replacement queues.
    pub clean: usize,
    /// Kept by the log alone.
    pub kept: usize,
    /// Needed by the log, wherever they are.
    pub logged: usize,
    /// Promised to writers.
    pub reserved: usize,
}

impl Counts {
    /// Frames of the cache proper.
    pub fn resident(&self) -> usize {
        self.dirty + self.writing + self.clean
    }

    /// Frames that cannot be given up before they are written or, if logged, before a sync.
    pub fn pinned(&self) -> usize {
        self.dirty + self.writing + self.logged
    }
}

/// All pages.
pub(super) struct Pool {
    frames: Vec<Option<Frame>>,
    vacant: Vec<FrameId>,
    spare: Vec<PageRef>,
    replacement: Replacement,
    counts: Counts,
    pages_max: usize,
    kept_max: usize,
    /// Pages copied because they were on their way down.
    pub copies_on_write: u64,
    /// Pages given up for others.
    pub evictions: u64,
    /// Checksums computed.
    pub checksums: u64,
}

impl Pool {
    /// An empty pool.
    pub fn new(pages_max: usize, kept_max: usize) -> Self {
        Self {
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

    /// A page for whatever content; its present one is of no meaning.
    pub fn take(&mut self) -> PageRef {
        self.spare.pop().unwrap_or_else(zeroed)
    }

    /// Gives back a page that may still be held elsewhere.
    pub fn give_back(&mut self, page: PageRef) {
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

    /// Puts a page that is as below into the cache, if there is room. `ahead`: nobody has used it.
    pub fn insert_clean(
        &mut self,
        file: &Rc<File>,
        index: u64,
        page: PageRef,
        ahead: bool,
    ) -> Option<FrameId> {
        if self.counts.resident() + self.counts.reserved >= self.pages_max {
            self.give_back(page);
            return None;
        }
        let id = self.insert(file, index, page, Place::Clean);
        self.replacement.enter(id);
        if ahead {
            self.replacement.fetched_ahead(id);
        }
        Some(id)
    }

    /// Puts a page that is newer than below into the cache. The caller has a promise.
    pub fn insert_dirty(&mut self, file: &Rc<File>, index: u64, page: PageRef) -> FrameId {
        self.insert(file, index, page, Place::Dirty)
    }

    fn insert(&mut self, file: &Rc<File>, index: u64, page: PageRef, place: Place) -> FrameId {
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.frames.push(None);
            (self.frames.len() - 1) as FrameId
        });
        let file = Rc::clone(file);
        self.replacement.renew(id, (file.number, index));
        self.frames[id as usize] = Some(Frame {
            file,
            index,
            page,
            place,
            logged: false,
            checksum: None,
        });
        *self.count(place) += 1;
        id
    }

    fn count(&mut self, place: Place) -> &mut usize {
        match place {
            Place::Dirty => &mut self.counts.dirty,
            Place::Writing => &mut self.counts.writing,
            Place::Clean => &mut self.counts.clean,
            Place::Kept => &mut self.counts.kept,
        }
    }

    /// The frame. Files hold ids of live frames only.
    fn frame(&mut self, id: FrameId) -> &mut Frame {
        self.frames[id as usize]
            .as_mut()
            .expect("a file refers to a live frame")
    }

    fn place(&mut self, id: FrameId, to: Place) {
        let from = core::mem::replace(&mut self.frame(id).place, to);
        *self.count(from) -= 1;
        *self.count(to) += 1;
        if from == Place::Clean && to != Place::Clean {
            self.replacement.leave(id);
        } else if to == Place::Clean && from != Place::Clean {
            self.replacement.enter(id);
        }
    }

    /// The content, for a reader. `again`: he goes on where he was, which is no further use.
    pub fn read(&mut self, id: FrameId, again: bool) -> &[u8; BLOCK_BYTES] {
        if !again {
            self.replacement.touch(id);
        }
        &self.frame(id).page.0
    }

    /// The content, to be made newer than below. Whether the page becomes part of the cache proper
    /// by that (so that the caller must have a promise) says [`Pool::is_kept`].
    /// `again`: the writer goes on within the page, which is no further use of it.
    pub fn write(&mut self, id: FrameId, again: bool) -> &mut [u8; BLOCK_BYTES] {
        if !again {
            self.replacement.touch(id);
        }
        self.place(id, Place::Dirty);
        self.content(id)
    }

    /// The content, to be changed as it was or will be changed below too.
    pub fn amend(&mut self, id: FrameId) -> &mut [u8; BLOCK_BYTES] {
        self.content(id)
    }

    fn content(&mut self, id: FrameId) -> &mut [u8; BLOCK_BYTES] {
        if Rc::strong_count(&self.frame(id).page) > 1 {
            let mut fresh = self.take();
            let frame = self.frames[id as usize]
                .as_mut()
                .expect("a file refers to a live frame");
            copy_into(&mut fresh, &frame.page);
            frame.page = fresh;
            self.copies_on_write += 1;
        }
        let frame = self.frame(id);
        frame.checksum = None;
        // The only holder, as of just now: `make_mut`'s copy is never taken.
        &mut Rc::get_mut(&mut frame.page)
            .expect("the page has one holder")
            .0
    }

    /// Whether the page is kept by the log alone.
    pub fn is_kept(&mut self, id: FrameId) -> bool {
        self.frame(id).place == Place::Kept
    }

    /// Whether the page is newer than below.
    pub fn is_dirty(&mut self, id: FrameId) -> bool {
        self.frame(id).place == Place::Dirty
    }

    /// Whether a write to the page spends a block below that no earlier one has spent.
    pub fn is_fresh_below(&mut self, id: FrameId) -> bool {
        let frame = self.frame(id);
        !frame.logged && matches!(frame.place, Place::Clean)
    }

    /// Sends a dirty page down: its content stays as it is until the page is given back.
    pub fn begin_write(&mut self, id: FrameId, algorithm: Algorithm) -> (PageRef, Checksum) {
        self.place(id, Place::Writing);
        self.stable(id, algorithm)
    }

    /// The write of a page ended. What was rewritten meanwhile stays dirty either way.
    pub fn end_write(&mut self, id: FrameId, written: bool) {
        if written && !core::mem::replace(&mut self.frame(id).logged, true) {
            self.counts.logged += 1;
        }
        if self.frame(id).place == Place::Writing {
            self.place(id, if written { Place::Clean } else { Place::Dirty });
        }
    }

    /// Whether the log must replay the page: written down, and not going to be written anyway.
    pub fn is_replayable(&mut self, id: FrameId) -> bool {
        let frame = self.frame(id);
        frame.logged && matches!(frame.place, Place::Clean | Place::Kept)
    }

    /// The content of a page that the log must replay; `None` if it need not.
    pub fn replay(&mut self, id: FrameId, algorithm: Algorithm) -> Option<(PageRef, Checksum)> {
        self.is_replayable(id).then(|| self.stable(id, algorithm))
    }

    fn stable(&mut self, id: FrameId, algorithm: Algorithm) -> (PageRef, Checksum) {
        let frame = self.frame(id);
        let known = frame.checksum.is_some();
        let checksum = *frame
            .checksum
            .get_or_insert_with(|| algorithm.of(&frame.page.0));
        let page = Rc::clone(&frame.page);
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
        *self.count(frame.place) -= 1;
        if frame.logged {
            self.counts.logged -= 1;
        }
        self.vacant.push(id);
        self.give_back(frame.page);
    }

    /// Makes room for one more page in the cache proper. Some page left it; if the log does not
    /// keep that page, the caller must remove it from its file and from here. `None`: nothing can go.
    pub fn evict(&mut self) -> Option<Evicted> {
        for _ in 0..EVICTION_STEPS_MAX {
            let frames = &self.frames;
            let id = self.replacement.choose(|id| match &frames[id as usize] {
                Some(frame) => (frame.file.number, frame.index),
                None => unreachable!("a queue holds live frames only"),
            })?;
            let full = self.counts.kept >= self.kept_max;
            let frame = self.frame(id);
            if frame.logged && full {
                self.replacement.enter(id);
                continue;
            }
            self.evictions += 1;
            let frame = self.frame(id);
            if frame.logged {
                // Out of its queue already: `place` finds nothing to leave.
                self.place(id, Place::Kept);
                return Some(Evicted::Kept);
            }
            return Some(Evicted::Gone(id, Rc::clone(&frame.file), frame.index));
        }
        None
    }

    /// The log does not need the page any more. Whether the page is out of the cache by that, as
    /// there is no room for it: then the caller must remove it.
    pub fn forget(&mut self, id: FrameId) -> bool {
        if core::mem::replace(&mut self.frame(id).logged, false) {
            self.counts.logged -= 1;
        }
        let room = self.counts.resident() + self.counts.reserved < self.pages_max;
        if self.frame(id).place == Place::Kept && room {
            self.place(id, Place::Clean);
        }
        self.frame(id).place == Place::Kept
    }
}

/// What an eviction did.
pub(super) enum Evicted {
    /// The log keeps the page.
    Kept,
    /// To be removed: the frame, its file, its page within that.
    Gone(FrameId, Rc<File>, u64),
}

fn copy_into(fresh: &mut PageRef, from: &Page) {
    match Rc::get_mut(fresh) {
        Some(page) => page.0.copy_from_slice(&from.0),
        None => unreachable!("a spare page has one holder"),
    }
}
