//! What holds when the only disk fails, and there is no other copy.
//!
//! A disk that **says** that it fails (a read error, a write error, a read that comes out wrong) costs errors, and
//! nothing else: what is answered is right, what was synced stays.
//!
//! A disk that **lies** (a write that is lost, torn, changed or goes elsewhere, a flush that is none) costs what
//! it lied about. Checksums find every block of it, so that it reads as an error, but for one: the root, which
//! nothing points to. A root that never came on the medium leaves the one before it, a whole checkpoint that
//! was once right, and no store can know that there was a later one. So a crash may lead back behind a
//! `sync` that has returned, to any state since the last that is *firm*:
//!
//! ```text
//!    ── lie ──[ change ]── sync ──            firm: made a checkpoint, after the last lie
//!    ──────────────────── sync ──             firm, as long as there was no lie at all
//!    ── lie ─────────────── sync ──           not firm: nothing to write, the root may be a lie
//!    ──[ change ]── sync, lie ──              not firm
//! ```
//!
//! A write that goes elsewhere can hit the newest root, or both: then an earlier firm sync counts (not the one before,
//! as two may share a checkpoint), or there is no volume any more.

use super::Instant;

/// See the module's description.
#[derive(Default)]
pub struct Distrust {
    lies: u64,
    strays: u64,
    /// When the disk lied last, and about where it wrote.
    lied: Option<Instant>,
    strayed: Option<Instant>,
    /// Something was changed, all of it since then.
    changed: bool,
    /// The last firm syncs, the last one first.
    firm: [Instant; 3],
}

impl Distrust {
    pub fn disk_did(&mut self, lies: u64, strays: u64, now: Instant) {
        if lies > self.lies {
            (self.lied, self.changed) = (Some(now), false);
        }
        if strays > self.strays {
            self.strayed = Some(now);
        }
        (self.lies, self.strays) = (lies, strays);
    }

    pub fn is_lied_to(&self) -> bool {
        self.lied.is_some()
    }

    /// An operation that began then has changed something, and has ended.
    pub fn changed(&mut self, begun: Instant) {
        self.changed |= self.lied.is_none_or(|lied| lied < begun);
    }

    pub fn has_changed(&self) -> bool {
        self.changed
    }

    /// A sync that began then has made a checkpoint.
    pub fn synced(&mut self, begun: Instant) {
        if self.lied.is_none_or(|lied| lied < begun) {
            self.firm = [begun, self.firm[0], self.firm[1]];
            // What it does not need to write does not make the next one firm.
            self.changed = false;
        }
    }

    /// A sync that began then has returned, and may have had nothing to write. If nothing was ever a lie, the
    /// checkpoint before it is there.
    pub fn synced_again(&mut self, begun: Instant) {
        if self.lied.is_none() {
            self.firm[0] = begun;
        }
    }

    /// No crash leads back behind this.
    pub fn durable(&self) -> Instant {
        let [last, _, before] = self.firm;
        match self.strayed {
            Some(strayed) if strayed > last => before,
            _ => last,
        }
    }

    /// Whatever strays from now on, nobody asks for what was before this.
    pub fn needed(&self) -> Instant {
        self.firm[2]
    }

    /// The machine has crashed, and nothing has changed since.
    pub fn crashed(&mut self) {
        self.changed = false;
    }
}
