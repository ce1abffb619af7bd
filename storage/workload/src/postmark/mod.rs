//! PostMark 1.53: many small files as a mail or news server has them, created, read, appended to
//! and deleted at random.
//!
//! ```text
//! subdirectories → initial files → [sync] → transactions → delete all files → subdirectories
//! ```
//!
//! The algorithm and its random numbers are the original's, so a run does the same as a run of the
//! original with the same parameters. Beyond it, what is in a file follows from the seed and the
//! file's number, so that every read is checked, and `verify` can check what a run left.

mod content;
mod files;
pub mod interface;
mod parameters;
mod plan;
mod random;
mod report;
mod run;
mod scan;
mod table;
mod verify;

#[cfg(test)]
mod tests;

pub use content::Content;
pub use parameters::{
    BLOCK_MAX, BUFFER_BYTES, FILES_MAX, LOCATION_BYTES_MAX, PRESETS, Parameters, Preset, SIZE_MAX,
    SUBDIRECTORIES_MAX, TRANSACTIONS_MAX,
};
pub use plan::{Plan, Step, Transaction};
pub use report::{ERRORS_KEPT, Errors, Phase, Progress, Report, mebibytes, per_second, seconds};
pub use run::{ERRORS_MAX, run};
pub use table::File;
pub use verify::{Check, Verified, verify};
