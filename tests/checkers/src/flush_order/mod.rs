//! The order of writes and flushes, proven from the bytes that a disk took.
//!
//! A power failure shows a wrong order only if it comes at the right moment and loses the right sectors. The
//! order itself can be seen in every run: whoever knows the format can say, at each write, which checkpoints
//! a crash may lead back to, and which blocks they need.
//!
//! ```text
//!    trace:  write … FLUSH  root 7  FLUSH  synced 7   write …
//!                     │       │       │       │          └ not to a block of a checkpoint that may still be loaded
//!                     │       │       │       └ root 7 is on the medium
//!                     │       │       └ until here, root 6 and its blocks may be needed
//!                     │       └ every block that root 7 refers to is on the medium, by its checksum
//!                     └ what was written before is on the medium
//! ```
//!
//! Everything is read by `format`, from the document. The same checker reads what a simulated disk recorded
//! and what QEMU's `blklogwrites` driver wrote (see `log_writes`).

mod checker;
mod log_writes;
mod logs;
mod medium;
mod references;
mod trace;

pub use checker::{Checker, Counts};
pub use log_writes::{LogError, read_log};
pub use logs::{Options, check_logs};
pub use trace::{Event, blocks_of, of_disk};

#[cfg(test)]
mod tests;
