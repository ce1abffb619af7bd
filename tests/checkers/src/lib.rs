//! Three checkers of the storage stack, on the host. `cargo galago` runs them optimised; the same code
//! runs, in smaller slices, as tests.
//!
//! - [`crash_states`]: every short workload, crashed at every point of its writes.
//! - [`flush_order`]: the order of writes and flushes, proven from the bytes that a disk took.
//! - [`hostile_images`]: disks that mean harm, mounted and used.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod caught;
pub mod crash_states;
pub mod flush_order;
pub mod format;
pub mod hostile_images;
pub mod report;
pub mod rig;
