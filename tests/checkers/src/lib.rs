//! Three checkers of the storage stack, on the host. `cargo galago` runs them optimised; the same code
//! runs, in smaller slices, as tests.
//!
//! - [`crash_states`]: every short workload, crashed at every point of its writes.
#![forbid(unsafe_code)]
#![recursion_limit = "256"]

pub mod crash_states;
pub mod report;
