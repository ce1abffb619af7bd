//! How many frames there are of each kind.

use super::{Place, logged::InLog};

/// How many frames there are of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cache) struct Counts {
    /// Dirty.
    pub dirty: usize,
    /// On their way down.
    pub writing: usize,
    /// Clean, in the replacement queues.
    pub clean: usize,
    /// Kept by the log alone.
    pub kept: usize,
    /// Written down since the checkpoint, wherever they are.
    pub logged: usize,
    /// Undone below by a crash and not written down since, wherever they are.
    pub owed: usize,
    /// Those of `owed` that are on their way or dirty, not kept by the log alone.
    owed_resident: usize,
    /// Promised to writers.
    pub reserved: usize,
}

impl Counts {
    /// Frames of the cache proper.
    pub fn resident(&self) -> usize {
        self.dirty + self.writing + self.clean
    }

    /// Frames that are newer than below.
    pub fn newer(&self) -> usize {
        self.dirty + self.writing + (self.owed - self.owed_resident)
    }

    /// Those of them that writers have to answer for: not those that were down before a crash.
    pub fn newly_dirty(&self) -> usize {
        self.newer() - self.owed
    }

    /// Frames that are in the roll-forward log.
    pub fn in_log(&self) -> usize {
        self.logged + self.owed
    }

    /// Frames that cannot be given up before they are written or, if logged, before a sync.
    pub fn pinned(&self) -> usize {
        self.newer() + self.logged
    }

    /// There is a frame more of this kind.
    pub(super) fn add(&mut self, place: Place, in_log: InLog) {
        self.each(place, in_log, |count| *count += 1);
    }

    /// There is a frame less of this kind.
    pub(super) fn remove(&mut self, place: Place, in_log: InLog) {
        self.each(place, in_log, |count| *count -= 1);
    }

    fn each(&mut self, place: Place, in_log: InLog, change: impl Fn(&mut usize)) {
        change(match place {
            Place::Dirty => &mut self.dirty,
            Place::Writing => &mut self.writing,
            Place::Clean => &mut self.clean,
            Place::Kept => &mut self.kept,
        });
        match in_log {
            InLog::No => {}
            InLog::Sent => change(&mut self.logged),
            InLog::Owed => {
                change(&mut self.owed);
                if place != Place::Kept {
                    change(&mut self.owed_resident);
                }
            }
        }
    }
}
