//! File calls: what the cache, the logical layer and every file store implement.
//!
//! Files are numbered, flat, and have attributes; directories, names and policies are other
//! layers' business. Numbers are *logical* above the logical layer, where naming picks them, and
//! *physical* below it, where each file store picks its own.

mod resuming;
mod wire;

use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    buffer::{Sink, Source},
    checksum::{Algorithm, Checksum},
};

pub use resuming::Resuming;
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

/// The attributes of a file. The stack gives meaning to `size` and `class`; the rest is naming's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes {
    /// What the stack must guarantee for the file's data.
    pub class: Class,
    /// POSIX file type and permissions (`st_mode`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names that refer to the file.
    pub links: u32,
    /// Length in bytes.
    pub size: u64,
    /// Blocks of [`crate::BLOCK_BYTES`] that its data occupies; computed, never set.
    pub blocks: u64,
    /// Last access, nanoseconds since the Unix epoch.
    pub accessed_ns: u64,
    /// Last change of the data.
    pub modified_ns: u64,
    /// Last change of the attributes.
    pub changed_ns: u64,
    /// For a physical file, the logical file it is a copy of; zero otherwise.
    pub logical: FileNumber,
}

/// What the stack must guarantee for a file's data, chosen when the file is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Class {
    /// How many copies.
    pub redundancy: Redundancy,
    /// Whether the data are part of every checkpoint: stack metadata (directories, the mapping)
    /// always, user files on request.
    pub protected: bool,
}

/// How many copies of a file there are, on different file stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Redundancy {
    /// One on every file store of the volume.
    #[default]
    Mirror,
    /// One, on the file store that has most room.
    Single,
}

/// Which attributes a `setattr` changes; the size is changed by `write` and `truncate` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttributeChange {
    /// New type and permissions.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// New link count.
    pub links: Option<u32>,
    /// New time of access.
    pub accessed_ns: Option<u64>,
    /// New time of change of the data.
    pub modified_ns: Option<u64>,
    /// New time of change of the attributes.
    pub changed_ns: Option<u64>,
}

impl AttributeChange {
    /// Applies the change.
    pub fn apply(&self, to: &mut Attributes) {
        to.mode = self.mode.unwrap_or(to.mode);
        to.uid = self.uid.unwrap_or(to.uid);
        to.gid = self.gid.unwrap_or(to.gid);
        to.links = self.links.unwrap_or(to.links);
        to.accessed_ns = self.accessed_ns.unwrap_or(to.accessed_ns);
        to.modified_ns = self.modified_ns.unwrap_or(to.modified_ns);
        to.changed_ns = self.changed_ns.unwrap_or(to.changed_ns);
    }

    /// The change that makes everything but the size and the class as in `attributes`.
    #[must_use]
    pub fn to(attributes: &Attributes) -> Self {
        Self {
            mode: Some(attributes.mode),
            uid: Some(attributes.uid),
            gid: Some(attributes.gid),
            links: Some(attributes.links),
            accessed_ns: Some(attributes.accessed_ns),
            modified_ns: Some(attributes.modified_ns),
            changed_ns: Some(attributes.changed_ns),
        }
    }
}

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

/// What a layer is told when it attaches to the one below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// What names the volume.
    pub volume: u128,
    /// The checkpoint that the layers below have loaded.
    pub checkpoint: Timestamp,
    /// How blocks are to be checksummed.
    pub algorithm: Algorithm,
    /// The first file number that naming may use; those below it are the stack's own.
    pub first_file: FileNumber,
    /// File stores in the volume.
    pub stores: u32,
    /// File stores at work; fewer than `stores` is a degraded volume.
    pub stores_present: u32,
}

/// What a caller that has outlived the layers below knows of their checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The last one that is finished on all stores.
    pub base: Timestamp,
    /// A sync was asked for since, and not answered: later ones may count.
    pub syncing: bool,
}

impl Resume {
    /// The checkpoints that the caller can go on from.
    #[must_use]
    pub fn checkpoints(&self) -> RangeInclusive<Timestamp> {
        let last = if self.syncing {
            Timestamp(u64::MAX)
        } else {
            self.base
        };
        self.base..=last
    }
}

/// How full a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Blocks of [`crate::BLOCK_BYTES`] in all that files can have.
    pub blocks: u64,
    /// Blocks free.
    pub blocks_free: u64,
    /// Files that there can be.
    pub files: u64,
    /// Files that can still be created.
    pub files_free: u64,
    /// File stores in the volume; of a store asked by itself, one.
    pub stores: u32,
    /// File stores at work now; fewer than `stores` is a degraded volume.
    pub stores_present: u32,
}

/// What the cache has done since its instance began, for whoever measures. Everything only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Work {
    /// Pages read that were in the cache.
    pub hits: u64,
    /// Pages read or modified that had to be fetched from below.
    pub misses: u64,
    /// Bytes copied from and to callers.
    pub bytes_copied: u64,
    /// Calls of any kind to the layer below.
    pub calls_below: u64,
    /// Those of `calls_below` that read data.
    pub reads_below: u64,
    /// Those of `calls_below` that wrote data.
    pub writes_below: u64,
    /// Checksums computed, one a block.
    pub checksums: u64,
    /// Bytes that they were computed of.
    pub bytes_checksummed: u64,
    /// Checkpoints made.
    pub syncs: u64,
    /// Pages copied because a write left a part of them standing.
    pub pages_copied: u64,
    /// Most pages that the roll-forward log ever had.
    pub log_pages_max: u64,
}

impl Work {
    /// The counters by name, but for the maximum, of which no difference can be taken.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 10] {
        [
            ("cache_hits", self.hits),
            ("cache_misses", self.misses),
            ("cache_bytes_copied", self.bytes_copied),
            ("cache_calls_below", self.calls_below),
            ("cache_reads_below", self.reads_below),
            ("cache_writes_below", self.writes_below),
            ("checksums", self.checksums),
            ("bytes_checksummed", self.bytes_checksummed),
            ("syncs", self.syncs),
            ("cache_pages_copied", self.pages_copied),
        ]
    }
}

/// How to make a volume of all the stores there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFormat {
    /// What names the volume: any number that no other volume has.
    pub volume: u128,
    /// How blocks are checksummed.
    pub algorithm: Algorithm,
    /// TwinFS: blocks between a left and its right twin, 1 to [`TWIN_OFFSET_MAX`]; the paper's best
    /// is 16.
    pub twin_offset: u32,
}

/// Most blocks between the twins of a pair: bounds what a run of left twins can be.
pub const TWIN_OFFSET_MAX: u32 = 256;

impl VolumeFormat {
    /// [`crate::Error::BadArgument`] for what no store takes. To be called by whoever would forget
    /// something before the stores are asked.
    pub fn check(&self) -> Result<()> {
        if (1..=TWIN_OFFSET_MAX).contains(&self.twin_offset) {
            Ok(())
        } else {
            Err(crate::Error::BadArgument)
        }
    }
}

/// Files by number. Implemented by the cache and by the logical layer.
///
/// Calls may overlap in time; on one file, the caller keeps conflicting calls apart (no read or
/// write beside a truncate or a delete of the same file), and while a `sync` runs it issues no
/// call that changes state.
///
/// An instance of the logical layer that has just (re)started answers everything but `attach` and
/// `format` with [`crate::Error::NotLoaded`]: a call that was queued for its predecessor must not
/// take effect before the cache knows what the predecessor has lost.
pub trait FileService {
    /// Begins the use of the service. After a crash of the machine the layers below first make equal
    /// what it left differing, which may end with a checkpoint (paper, section V-D).
    fn attach(&self) -> impl Future<Output = Result<Attachment>>;
    /// Begins it again after a restart of what is below, for a caller that has attached before and
    /// will write again all that it wrote since the checkpoint: whatever a caller that cannot do so
    /// would need first is left out. [`crate::Error::NoCheckpoint`] if no store has the checkpoint that
    /// the caller goes on from; then nothing is loaded.
    fn resume(&self, _: &Resume) -> impl Future<Output = Result<Attachment>> {
        self.attach()
    }
    /// Makes a new, empty volume on all stores and attaches to it. Everything they held is lost.
    fn format(&self, format: &VolumeFormat) -> impl Future<Output = Result<Attachment>>;
    /// Creates an empty file of this number with these attributes.
    /// [`crate::Error::Exists`] if there is one, [`crate::Error::NoSpace`].
    fn create(&self, file: FileNumber, attributes: &Attributes)
    -> impl Future<Output = Result<()>>;
    /// Deletes a file. Its blocks are not used again before the next checkpoint.
    fn delete(&self, file: FileNumber) -> impl Future<Output = Result<()>>;
    /// Reads up to `data.len()` bytes from `offset`; returns how many there were before the end of
    /// the file. Below the cache: whole blocks at block boundaries. Holes read as zeros.
    fn read(
        &self,
        file: FileNumber,
        offset: u64,
        data: Sink<'_>,
    ) -> impl Future<Output = Result<usize>>;
    /// Writes; returns how many bytes were taken, from the first on. Fewer than all: what came in
    /// the way of the next is the answer to a call for the rest. What lies in one block is written
    /// whole or not at all, as is every write below the cache.
    fn write(&self, write: Write<'_>) -> impl Future<Output = Result<usize>>;
    /// Makes the file `size` bytes long; what is cut off is gone, what is added reads as zeros.
    fn truncate(
        &self,
        file: FileNumber,
        size: u64,
        modified_ns: u64,
    ) -> impl Future<Output = Result<()>>;
    /// The attributes.
    fn getattr(&self, file: FileNumber) -> impl Future<Output = Result<Attributes>>;
    /// Changes attributes.
    fn setattr(
        &self,
        file: FileNumber,
        change: &AttributeChange,
    ) -> impl Future<Output = Result<()>>;
    /// Makes a global checkpoint; returns its timestamp once it is durable on every file store.
    fn sync(&self) -> impl Future<Output = Result<Timestamp>>;
    /// Completes when what must be remembered until the next `sync` has grown so much that the
    /// caller should `sync` soon; a call to keep pending beside the timer of the periodic `sync`.
    /// Only the cache ever completes it. If the caller does not `sync`, its calls fail in the end
    /// with [`crate::Error::NoMemory`]: then `sync` and issue them again.
    fn early_sync_wanted(&self) -> impl Future<Output = Result<()>> {
        core::future::pending()
    }
    /// Names what the service has held without a break: as long as it answers the same, nothing that was
    /// promised to the caller is gone. A cache that begins anew from a checkpoint names another.
    fn history(&self) -> impl Future<Output = Result<u64>> {
        core::future::ready(Ok(0))
    }
    /// Announces that blocks from `offset` on will be written, with data of these checksums, so that
    /// their records share log blocks and flushes (paper, section V-C). It promises nothing: they
    /// may be written with other data or not at all. False if announcements are of no use here.
    fn prewrite(
        &self,
        _file: FileNumber,
        _offset: u64,
        _checksums: &[Checksum],
    ) -> impl Future<Output = Result<bool>> {
        core::future::ready(Ok(false))
    }
    /// How full the volume is.
    fn usage(&self) -> impl Future<Output = Result<Usage>>;
    /// What the cache has done. Only the cache counts.
    fn work(&self) -> impl Future<Output = Result<Work>> {
        core::future::ready(Ok(Work::default()))
    }
    /// Writes into `bitmap` which file numbers must not be given to a new file, from `first` (a multiple
    /// of 8) on: bit `i % 8` of byte `i / 8` for number `first + i`. Those are the numbers of files; of the
    /// cache also those of files that were deleted and that the last checkpoint still has. Returns the
    /// number of bytes that carry information; beyond them nothing is in use.
    fn numbers(&self, first: FileNumber, bitmap: Sink<'_>) -> impl Future<Output = Result<usize>>;
}

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
    /// What the store is, and which checkpoints it can load. [`crate::Error::NotFormatted`].
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cache_did_in_an_age_fits_a_message() {
        let work = Work {
            hits: u64::MAX,
            misses: u64::MAX,
            bytes_copied: u64::MAX,
            calls_below: u64::MAX,
            reads_below: u64::MAX,
            writes_below: u64::MAX,
            checksums: u64::MAX,
            bytes_checksummed: u64::MAX,
            syncs: u64::MAX,
            pages_copied: u64::MAX,
            log_pages_max: u64::MAX,
        };
        let message = crate::transport::encode(&Ok::<_, crate::Error>(work)).unwrap();
        let found: Result<Work> = crate::transport::decode(&message).unwrap();
        assert_eq!(found, Ok(work));
    }
}
