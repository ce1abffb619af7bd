//! Crash states, exhaustively, after CrashMonkey and its workload generator (Mohan et al., *Finding
//! Crash-Consistency Bugs with Bounded Black-Box Crash Testing*, OSDI 2018).
//!
//! Crashes that lose data are rarely deep: nearly all that were ever reported need at most three calls on
//! few names. So instead of a few long random workloads this tries *all* short ones, and of each all
//! states that a power failure can leave the disks in, within bounds:
//!
//! ```text
//!   tree ─▶ call ─▶ … ─▶ last call ─▶ sync       recorded: writes, flushes, and when calls returned
//!                        └─ crashes ──────┘      before that, a shorter workload has crashed already
//!
//!   write FLUSH write write write FLUSH write FLUSH
//!               └─ of these any part ┘            prefixes, suffixes, all but one or two, one alone,
//!                                                 the last one torn (see `state`)
//! ```
//!
//! Each state is mounted, compared with what the oracle allows, written to, synced, mounted again and
//! compared once more (see `check`). States with the same contents are checked once.

mod call;
mod check;
mod explore;
mod recording;
mod state;
mod workload;

pub use explore::{Options, Outcome, run};

#[cfg(test)]
mod tests;
