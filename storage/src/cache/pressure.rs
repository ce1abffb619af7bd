//! When a sync should come: before what only a sync can free has used up the room for it.
//!
//! Who crashed lately may crash again, and each crash undoes what was written down since the checkpoint. So for
//! a while after a crash little is kept. But the sync does not come before what the crash has undone is below
//! again: the background sees to that while applications go on, and a sync would have them wait for it. Only
//! when crashes come one after the other, faster than that, is it left to the sync.

use alloc::rc::Rc;

use super::{Inner, below::Phase};
use crate::{Error, Result, clock::Clock, file::FileService, surviving::Memory};

impl<L, C: Clock, M: Memory> Inner<L, C, M> {
    /// Somebody is turned away for want of what only a sync frees.
    pub(super) fn starve(&self) -> Error {
        self.starved.set(true);
        self.pressure.notify();
        Error::NoMemory
    }

    /// Whether a sync should come soon.
    pub(super) fn sync_wanted(&self) -> bool {
        let (mut pages, mut files) = (self.config.sync_pages(), self.config.sync_files());
        if self.wants_short_log() {
            pages = pages.min(self.config.pages_after_crash);
            files = files.min(self.config.pages_after_crash);
        }
        !self.sync_failed.get()
            && (self.starved.get()
                || self.pool.borrow().counts().pinned() >= pages
                || self.log.borrow().len() >= files)
    }

    fn wants_short_log(&self) -> bool {
        let is_fresh =
            |now_ns: u64, then_ns: u64| now_ns.saturating_sub(then_ns) < self.config.crash_fresh_ns;
        let [Some(last_ns), before] = self.link.borrow().crashed_ns else {
            return false;
        };
        let repeats = before.is_some_and(|before_ns| is_fresh(last_ns, before_ns));
        is_fresh(self.clock.now_ns(), last_ns) && (repeats || !self.owes())
    }

    /// The layer below has died.
    pub(super) fn crashed(&self, now_ns: u64) {
        let mut link = self.link.borrow_mut();
        link.crashed_ns = [Some(now_ns), link.crashed_ns[0]];
        let since = self.owes_since_ns.get();
        self.count(|count| count.recoveries_overtaken += u64::from(since.is_some()));
        self.owes_since_ns.set(since.or(Some(now_ns)));
    }

    /// Whether anything that a crash has undone is not below again.
    pub(super) fn owes(&self) -> bool {
        self.log.borrow().owes() || self.pool.borrow().counts().owed > 0
    }

    /// To be called when something of it is below.
    pub(super) fn note_nothing_owed(&self) {
        if self.owes() {
            return;
        }
        if let Some(since_ns) = self.owes_since_ns.take() {
            let ns = self.clock.now_ns().saturating_sub(since_ns);
            self.count(|count| count.below_again_ns_last = ns);
            ::log::info!(
                target: crate::EVENT,
                r#"{{"event":"below_again","duration_ns":{ns}}}"#
            );
        }
    }

    /// Wakes the one who waits for a sync to be wanted, if it is.
    pub(super) fn note_pressure(&self) {
        if self.sync_wanted() {
            self.pressure.notify();
        }
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Waits until a sync should come soon. [`Error::Busy`] once somebody else waits for that: a
    /// caller that has restarted takes its predecessor's place.
    pub(super) async fn early_sync_wanted(self: &Rc<Self>) -> Result<()> {
        let watch = self.pressure_watch.get() + 1;
        self.pressure_watch.set(watch);
        self.pressure.notify();
        let replaced = || self.pressure_watch.get() != watch;
        self.pressure
            .until(|| self.sync_wanted() || replaced() || self.phase() == Phase::Stopped)
            .await;
        if self.phase() == Phase::Stopped {
            Err(Error::PeerGone)
        } else if replaced() {
            Err(Error::Busy)
        } else {
            Ok(())
        }
    }
}
