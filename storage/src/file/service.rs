//! Files by their logical numbers: what the cache and the logical layer are to who is above them.

use core::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::{AttributeChange, Attributes, FileNumber, Timestamp, Usage, Work, Write};
use crate::{
    Result,
    buffer::Sink,
    checksum::{Algorithm, Checksum},
};

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
/// An instance of the logical layer that has just (re)started answers everything but `attach`, `resume`
/// and `format` with [`crate::Error::NotLoaded`]: a call that was queued for its predecessor must not
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
