//! Work that is done against a file system: benchmarks, hashes of trees, archives.
//!
//! Everything here is written against [`storage::vfs::FileSystem`] and runs alike in a guest task
//! and in a host test.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`postmark`] | the PostMark benchmark, every byte of which is verifiable |
//! | [`appends`] | appends that are made durable as they come |
//! | [`tree`] | walks, hashes, removes and copies trees of files |
//! | [`tar`] | reads and writes tar archives as streams |
//! | [`stream`] | bytes in order, from and to a device |
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod appends;
pub mod postmark;
pub mod stream;
pub mod tar;
pub mod tree;

#[cfg(test)]
mod testing;

/// Whether long-running work shall go on; what a progress callback returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Go {
    /// Continue.
    On,
    /// Leave off as soon as possible, with what was done so far.
    Stop,
}
