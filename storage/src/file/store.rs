//! Files by their physical numbers: what a file store is to the logical layer.

use serde::{Deserialize, Serialize};

use super::{AttributeChange, Attributes, FileNumber, Timestamp, Usage, Write};
use crate::{
    Result,
    buffer::Sink,
    checksum::{Algorithm, Checksum},
};

/// A checkpoint that a store can load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When it was taken, in checkpoints.
    pub timestamp: Timestamp,
    /// The stores that took part in it, one bit a store. A store that is not among them is stale.
    pub present: u32,
}

impl Checkpoint {
    /// Whether stores may have to return from it to the one before: one of several may not have come to
    /// the end of it. One that a single store took is finished everywhere when it is finished there.
    #[must_use]
    pub fn has_way_back(&self) -> bool {
        self.present.count_ones() > 1
    }
}

/// What a store says of itself before it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreInfo {
    /// The volume that the store is a part of.
    pub volume: u128,
    /// Which part, counted from zero.
    pub index: u32,
    /// How many parts the volume has.
    pub stores: u32,
    /// How blocks are checksummed.
    pub algorithm: Algorithm,
    /// The newest checkpoint that can be loaded.
    pub newest: Checkpoint,
    /// The one before, while it still can.
    pub previous: Option<Checkpoint>,
    /// The newest is known to be finished on all stores: the one before was forgotten for that.
    pub finished: bool,
}

/// How to make a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFormat {
    /// The volume that the store is to be a part of.
    pub volume: u128,
    /// Which part.
    pub index: u32,
    /// How many parts.
    pub stores: u32,
    /// How blocks are checksummed.
    pub algorithm: Algorithm,
    /// Blocks between a left and its right twin.
    pub twin_offset: u32,
}

/// A block of a file that was overwritten in place since the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncRange {
    /// The physical file.
    pub file: FileNumber,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// The mapping file's physical number, the same on every store, made by `format`.
pub const MAPPING_FILE: FileNumber = FileNumber(1);

/// A file store: files by physical number on one device, with local checkpoints.
///
/// Every data block read is verified; what does not match is [`crate::Error::Corrupt`], never data.
/// Until `load`, everything but `format`, `info` and `load` is [`crate::Error::NotLoaded`].
pub trait FileStore {
    /// Makes an empty store, with an empty mapping file and checkpoint 1 taken. Everything the
    /// device held is lost.
    fn format(&self, format: &StoreFormat) -> impl Future<Output = Result<()>>;
    /// What the store is, and which checkpoints it can load. [`crate::Error::NotFormatted`];
    /// [`crate::Error::Device`] if the device is dead, also if the store is loaded.
    fn info(&self) -> impl Future<Output = Result<StoreInfo>>;
    /// Returns to a checkpoint; everything since is discarded, a newer checkpoint too: when this
    /// returns it is gone from the medium, as its timestamp will be used again.
    /// [`crate::Error::NoCheckpoint`].
    fn load(&self, checkpoint: Timestamp) -> impl Future<Output = Result<()>>;
    /// What was overwritten in place since the loaded checkpoint and may differ between stores,
    /// from the `skip`th range on; empty at the end.
    fn resync_ranges(
        &self,
        skip: u64,
    ) -> impl Future<Output = Result<heapless::Vec<ResyncRange, 4>>>;
    /// As [`FileService::prewrite`].
    fn prewrite(
        &self,
        file: FileNumber,
        offset: u64,
        checksums: &[Checksum],
    ) -> impl Future<Output = Result<bool>>;
    /// Creates an empty file; the store picks its number.
    fn create(&self, attributes: &Attributes) -> impl Future<Output = Result<FileNumber>>;
    /// As [`FileService::delete`].
    fn delete(&self, file: FileNumber) -> impl Future<Output = Result<()>>;
    /// As [`FileService::read`], in whole blocks.
    fn read(
        &self,
        file: FileNumber,
        offset: u64,
        data: Sink<'_>,
    ) -> impl Future<Output = Result<usize>>;
    /// As [`FileService::write`], in whole blocks, with their checksums.
    fn write(&self, write: Write<'_>) -> impl Future<Output = Result<()>>;
    /// As [`FileService::truncate`].
    fn truncate(
        &self,
        file: FileNumber,
        size: u64,
        modified_ns: u64,
    ) -> impl Future<Output = Result<()>>;
    /// As [`FileService::getattr`].
    fn getattr(&self, file: FileNumber) -> impl Future<Output = Result<Attributes>>;
    /// As [`FileService::setattr`].
    fn setattr(
        &self,
        file: FileNumber,
        change: &AttributeChange,
    ) -> impl Future<Output = Result<()>>;
    /// Takes a local checkpoint; returns once it is on the medium. The caller issues nothing that
    /// changes state until every store has taken it.
    ///
    /// After an error the store is as it was and can be told again, but for
    /// [`crate::Error::NotLoaded`]: what is on the medium is not known, the new checkpoint may be, and
    /// only `info` and `load` find out.
    fn sync(&self, checkpoint: Checkpoint) -> impl Future<Output = Result<()>>;
    /// The newest checkpoint, which is this one, is finished on all stores: nobody goes back to the one
    /// before any more. When this returns that is so on the medium, too.
    fn finish(&self, checkpoint: Timestamp) -> impl Future<Output = Result<()>>;
    /// How full the store is.
    fn usage(&self) -> impl Future<Output = Result<Usage>>;
}
