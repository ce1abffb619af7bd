//! The whole stack in one process on a deterministic executor, judged by an oracle: see
//! `docs/simulation.md`.
//!
//! ```text
//!   case      which run: a seed, and what is left out of it
//!   mix       what the run is made of
//!   run       boots, work, kills, power cuts
//!   machine   one boot: tasks, disks, the restart manager          oracle   what may be there
//!   programs  the layers in tasks                          client, habits   what is done
//!   disk      a medium below a volatile write cache
//!   kernel    tasks, calls, grants, time                         shrink   a smaller case that fails
//! ```
#![forbid(unsafe_code)]

pub mod case;
mod client;
mod disk;
mod habits;
pub mod kernel;
mod machine;
mod mix;
mod oracle;
mod programs;
mod roles;
mod run;
mod shrink;

pub use case::Case;
pub use run::{Counts, Violation, catch_panics, run};
pub use shrink::shrink;
