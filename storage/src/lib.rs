//! The Galago storage stack: layers over two interfaces.
//!
//! ```text
//!      naming     paths and directories          implements vfs::FileSystem over file::FileService
//!      cache      pages, roll-forward log        implements file::FileService over file::FileService
//!      logical    mapping, policies, checkpoints implements file::FileService over file::FileStore
//!      twinfs     a layout on one device         implements file::FileStore over block::BlockDevice
//!      filters    on the way to the device       implement block::BlockDevice over block::BlockDevice
//! ```
//!
//! A layer is a type, generic over what is below it, with no knowledge of tasks, kernels or
//! executors: it is `async`, single-threaded (`&self` with interior mutability, no `Send`), and
//! runs alike in a task of its own, collapsed with others, or on a host over an image file.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod block;
pub mod buffer;
pub mod cache;
pub mod checksum;
pub mod clock;
pub mod error;
pub mod faulty;
pub mod file;
mod lock;
pub mod logical;
pub mod naming;
pub mod point;
pub mod succession;
pub mod surviving;
pub mod transport;
pub mod twinfs;
pub mod vfs;
mod waiting;

pub use error::Error;

/// Bytes in a block of a file store and in a page of the cache.
pub const BLOCK_BYTES: usize = 4096;

/// The target of log records that are events: JSON objects for programs (`docs/console.md`).
pub const EVENT: &str = "event";

/// What every fallible operation of the stack returns.
pub type Result<T> = core::result::Result<T, Error>;
