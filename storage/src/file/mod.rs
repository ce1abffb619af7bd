//! File calls: what the cache, the logical layer and every file store implement.
//!
//! Files are numbered, flat, and have attributes; directories, names and policies are other
//! layers' business. Numbers are *logical* above the logical layer, where naming picks them, and
//! *physical* below it, where each file store picks its own.

mod attributes;
mod resuming;
mod service;
mod store;
mod usage;
mod wire;

use serde::{Deserialize, Serialize};

use crate::{buffer::Source, checksum::Checksum};

pub use attributes::{AttributeChange, Attributes, Class, Redundancy};
pub use resuming::Resuming;
pub use service::{Attachment, FileService, Resume, TWIN_OFFSET_MAX, VolumeFormat};
pub use store::{Checkpoint, FileStore, MAPPING_FILE, ResyncRange, StoreFormat, StoreInfo};
pub use usage::{Usage, Work};
pub use wire::{Client, StoreClient, serve, serve_store, stays_pending};

/// Number of a file: logical above the logical layer, physical below it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct FileNumber(pub u64);

/// A checkpoint's timestamp: counts up by one with every global checkpoint of a volume.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

/// A write, whole.
#[derive(Clone)]
pub struct Write<'a> {
    /// The file.
    pub file: FileNumber,
    /// Where in it, bytes.
    pub offset: u64,
    /// What. Below the cache: whole blocks at block boundaries, the last one zero-padded.
    pub data: Source<'a>,
    /// Checksum of each block of `data`; empty above the cache, which computes them.
    pub checksums: &'a [Checksum],
    /// Below the cache: length of the file after this write. Above: ignored, the file grows to
    /// hold what is written.
    pub size: u64,
    /// Becomes the time of change of the data and of the attributes.
    pub modified_ns: u64,
}
