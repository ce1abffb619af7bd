//! Disks that fail, on purpose: a block filter with rules, and a model of a disk's volatile cache.
//!
//! ```text
//!     file store
//!         │ block calls
//!     Faulty        rules: this place, reads or writes, skip so many, so many times, this action
//!         │
//!     WriteCache    what was written and not flushed, for power cuts
//!         │
//!     the disk
//! ```
//!
//! After MINIX's faulty block device. The filter knows nothing of the store above it: what type a block
//! is of it reads from the store's own structures on the disk ([`kinds`]). Everything that is left to
//! chance follows from seeds, so that the same requests meet the same faults.
//!
//! What a write becomes is first an [`Outcome`]: the sectors that the disk will hold. Then there are two
//! ways. In the guest the outcome is really written, because the rest of the system must find it
//! there after any crash. In simulation the disk below gets the write as it was meant, and the
//! outcome goes to an [`Overlay`], so that the truth is there to be compared. Both are one match in
//! `Faulty::commit`. *Why not an overlay alone?* In the guest it would die with the filter's task,
//! and a crash would heal the disk.

mod control;
mod cut;
mod device;
mod kept;
mod kind;
mod kinds;
mod layout;
mod learn;
mod outcome;
mod overlay;
mod random;
mod rule;
mod rules;
mod write_cache;

pub use control::{Client, Control, serve};
pub use cut::Settled;
pub use device::{Faulty, Persistence, Timer};
pub use kept::{Kept, PAGES as KEPT_PAGES};
pub use kind::{KINDS, Kind};
pub use overlay::{OVERLAY_SECTORS_MAX, Overlay};
pub use random::Random;
pub use rule::{Action, CORRUPT_BYTES_MAX, Direction, Place, Rule, SLOW_MS_MAX};
pub use rules::{Armed, RULES_MAX};
pub use write_cache::WriteCache;
