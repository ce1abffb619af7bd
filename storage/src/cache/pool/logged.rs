//! Pages of the roll-forward log: what has been written down since the last checkpoint, so that a crash below
//! undoes it.
//!
//! ```text
//!                 written down             crash below
//!      InLog: No ──────────────> Sent ───────────────────> Owed
//!              ^                 │  ^                        │
//!              └── checkpoint ───┘  └───── written down ─────┘
//! ```
//!
//! A crash makes clean pages dirty. One that was kept by the log alone remains where it is, dirty outside
//! the cache proper, which may have no room for it; on its way down it is inside, and afterwards it is kept
//! again. So a crash takes no memory, however much it undoes.

use alloc::rc::Rc;

use super::{Content, FrameId, Place, Pool};
use crate::{cache::files::File, surviving::Memory};

/// How many candidates an eviction looks at before it gives up: they are all kept by a full log.
const EVICTION_STEPS_MAX: usize = 64;

/// What a page is to the roll-forward log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InLog {
    /// Nothing: it is as at the checkpoint, or has never been written down since.
    No,
    /// It has been written down since the checkpoint.
    Sent,
    /// It had been, but a crash has undone that.
    Owed,
}

/// What an eviction did.
pub(in crate::cache) enum Evicted {
    /// The log keeps the page.
    Kept,
    /// To be removed: the frame, its file, its page within that.
    Gone(FrameId, Rc<File>, u64),
}

impl<M: Memory> Pool<M> {
    /// Puts a page of the roll-forward log into the cache, or if that is full, keeps it for the log alone.
    pub fn insert_logged(&mut self, file: &Rc<File>, index: u64, content: Content<M>) -> FrameId {
        let is_resident = self.counts.resident() < self.pages_max;
        let place = if is_resident {
            Place::Clean
        } else {
            Place::Kept
        };
        let id = self.insert(file, index, content, place);
        if is_resident {
            self.replacement.enter(id);
        }
        self.change(id, place, InLog::Sent);
        id
    }

    /// The layers below went back to the checkpoint. Whether the page is newer than they are now.
    pub fn go_back(&mut self, id: FrameId) -> bool {
        let frame = self.frame(id);
        if frame.in_log == InLog::Sent {
            let place = match frame.place {
                Place::Clean => Place::Dirty,
                place => place,
            };
            self.change(id, place, InLog::Owed);
        }
        self.is_newer(id)
    }

    /// Whether the page is newer than below, and not on its way there.
    pub fn is_newer(&mut self, id: FrameId) -> bool {
        let frame = self.frame(id);
        match frame.place {
            Place::Dirty => true,
            Place::Writing | Place::Clean => false,
            Place::Kept => frame.in_log == InLog::Owed,
        }
    }

    /// The write of a page ended. What was rewritten meanwhile stays dirty either way.
    pub fn end_write(&mut self, id: FrameId, written: bool) {
        let frame = self.frame(id);
        let (place, in_log) = (frame.place, frame.in_log);
        let logs = written && self.is_logging;
        // What fills the cache beyond its bound came from outside, and goes back there.
        let goes_back = (logs || in_log == InLog::Owed && !written) && self.is_overfull();
        let place = match place {
            Place::Writing if goes_back => Place::Kept,
            Place::Writing if written => Place::Clean,
            Place::Writing => Place::Dirty,
            place => place,
        };
        self.change(id, place, if logs { InLog::Sent } else { in_log });
    }

    /// Whether pages are in the cache proper that were outside before they were sent down.
    fn is_overfull(&self) -> bool {
        self.counts.resident() + self.counts.reserved > self.pages_max
            && self.counts.kept < self.kept_max
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
            let is_logged = frame.in_log != InLog::No;
            if is_logged && full {
                self.replacement.enter(id);
                continue;
            }
            self.evictions += 1;
            if is_logged {
                // Out of its queue already: `place` finds nothing to leave.
                self.place(id, Place::Kept);
                return Some(Evicted::Kept);
            }
            let frame = self.frame(id);
            return Some(Evicted::Gone(id, Rc::clone(&frame.file), frame.index));
        }
        None
    }

    /// The log does not need the page any more, nor does the ledger. Whether the page is out of the cache
    /// by that, as there is no room for it or as below may have what was lost here: then the caller must
    /// remove it.
    pub fn forget(&mut self, id: FrameId) -> bool {
        let content = &mut self.frame(id).content;
        let is_lost = content.is_lost;
        let guard = core::mem::take(&mut content.guard);
        let number = content.page.number();
        self.ledger.clear(number, guard);
        let has_room = self.counts.resident() + self.counts.reserved < self.pages_max;
        let place = match self.frame(id).place {
            Place::Kept if has_room => Place::Clean,
            place => place,
        };
        self.change(id, place, InLog::No);
        is_lost || place == Place::Kept
    }
}
