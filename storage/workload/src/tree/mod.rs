//! Trees of files: listing, walking in a defined order, hashing, removing, copying.

mod copy;
pub mod find;
mod hash;
mod list;
mod paths;
mod remove;
pub mod survey;

#[cfg(test)]
mod tests;

pub use copy::{Copied, copy, write_all};
pub(crate) use hash::read_link;
pub use hash::{TreeHash, hash_file, hash_tree};
pub use list::{Entry, list};
pub use paths::{Paths, join, walk};
pub use remove::{ends_in_name, remove};

/// Bytes of a file that are read or written at a time.
pub const CHUNK_BYTES: usize = 64 << 10;
