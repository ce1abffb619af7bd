//! TwinFS: a file store whose every block of metadata has two places (paper, section IV-A).
//!
//! ```text
//!                      root block            two twins, at fixed places; writing one *is* the
//!            ┌─────────────┼─────────────┐   checkpoint
//!       inode bitmap  block bitmap  inode table      static areas, each under a static tree
//!                                        │
//!                                      inode         attributes and direct pointers
//!                                  ┌─────┴─────┐
//!                              indirect …      │     pairs of twins in the data area
//!                                  └─────┬─────┘
//!                                       data         pairs if the file is protected
//!
//!        ╔════════╗ stable: what the last checkpoint refers to, never overwritten
//!        ║ left   ║◀──────────┐
//!        ╚════════╝           │  safe block pointer: block number, twin state, checksum
//!        ┌────────┐           │
//!        │ right  │ unstable: takes every change since, until the next checkpoint makes it stable
//!        └────────┘
//! ```
//!
//! The first change of a block since the last checkpoint switches its pointer to the other twin, and so
//! changes the block that the pointer is in, up to the root. All of this happens in memory; blocks
//! are checksummed and written when a checkpoint is taken, or when memory runs out.
//!
//! | file | what |
//! | --- | --- |
//! | `layout` `root` `pointer` `inode` | the format; every byte is in `docs/formats/twinfs.md` |
//! | `cache` `volume` | the metadata in memory; how it is found and marked as changed |
//! | `bits` `allocator` | free blocks and inodes |
//! | `file_tree` | from a block of a file to its pointer |
//! | `fetch` `io` | running steps, reading what they miss, writing what must leave |
//! | `files` `read` `write` `plan` | the file calls |
//! | `load` `checkpoint` `epoch` `foreign` | format, info, load; sync; the end of its way back; what is no volume |
//! | `record` `overwrites` `log` `resync` | overwriting in place: the log's bytes, which versions can be there, writing it, a crash |
//!
//! **Errors.** A step over metadata either happens whole or not at all (see `volume`). Data are on the
//! device before a pointer to them is in memory (see `write`). Where that is not enough, because it is not
//! known what is on the medium, the volume fails: nothing is changed any more, and no checkpoint is
//! taken, until `load` returns to the last one (see `checkpoint`). The same goes for a call that is
//! dropped while its writes are in flight: `load` attaches to the device anew, which waits for them.

mod allocator;
mod bits;
mod cache;
mod checkpoint;
mod epoch;
mod fetch;
mod file_tree;
mod files;
mod foreign;
mod inode;
mod io;
mod layout;
mod load;
mod log;
mod overwrites;
mod plan;
mod pointer;
mod read;
mod record;
mod resync;
mod root;
mod volume;
mod write;

use core::cell::{Cell, RefCell};

use async_lock::Mutex;

use self::plan::PartOf;
use crate::{
    Error, Result,
    block::BlockDevice,
    buffer::Sink,
    checksum::Checksum,
    clock::Clock,
    file::{
        AttributeChange, Attributes, Checkpoint, FileNumber, FileStore, ResyncRange, StoreFormat,
        StoreInfo, Timestamp, Usage, Write,
    },
    lock::{Guard, RwLock},
    waiting::Signal,
};

/// How a store works; nothing of it is on the medium but the number of inodes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Blocks of metadata that are kept in memory, 4 KiB each; at least 256.
    pub cache_blocks: usize,
    /// `format` makes one inode for so many blocks; at least 1.
    pub blocks_per_inode: u64,
    /// What becomes of data that are written anew.
    pub overwrite: Overwrite,
    /// Whether volumes have twins. Without, `format` makes one whose metadata are overwritten in place,
    /// and any crash loses all of it: only to measure what twins cost (paper, Table I). A store takes
    /// no volume of the other kind.
    pub twins: bool,
}

/// What becomes of unprotected data that the last checkpoint has when they are written anew, and so
/// what a crash of the machine leaves of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// They go to another place. After a crash every file is exactly as in the checkpoint.
    #[default]
    Relocate,
    /// They go where they are, once their checksums are in the resynchronisation log (paper,
    /// section V). After a crash each block of a file is as in the checkpoint or as it was
    /// overwritten since, verified; a torn one is an error, or comes from another store.
    InPlace,
    /// As `InPlace`, without the log: only to measure what that costs. After a crash every block
    /// that was overwritten is an error.
    Unlogged,
}

impl core::str::FromStr for Overwrite {
    type Err = ();

    fn from_str(text: &str) -> core::result::Result<Self, ()> {
        match text {
            "relocate" => Ok(Self::Relocate),
            "in-place" => Ok(Self::InPlace),
            "unlogged" => Ok(Self::Unlogged),
            _ => Err(()),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cache_blocks: 4096,
            blocks_per_inode: 4,
            overwrite: Overwrite::default(),
            twins: true,
        }
    }
}

/// A file store with twins. See the module's description.
pub struct TwinFs<D, C> {
    disk: io::Disk<D>,
    clock: C,
    config: Config,
    volume: RefCell<Option<volume::Volume>>,
    /// Calls that change something hold it for reading; `sync` and `load` have it for themselves.
    order: RwLock,
    /// Who writes metadata: one at a time, or an older version could land on a newer one.
    write_back: Mutex<()>,
    /// Who begins to write after a checkpoint: the others wait.
    opening: Mutex<()>,
    overwrite_ended: Signal,
    /// Who writes the resynchronisation log: one at a time, for all who wait.
    logging: Mutex<()>,
    request_blocks: Cell<u64>,
}

impl<D: BlockDevice, C: Clock> TwinFs<D, C> {
    /// A store on `device`; call `load` before anything else.
    #[must_use]
    pub fn new(device: D, clock: C) -> Self {
        Self::with_config(device, clock, Config::default())
    }

    /// As [`TwinFs::new`], with other bounds.
    #[must_use]
    pub fn with_config(device: D, clock: C, config: Config) -> Self {
        Self {
            disk: io::Disk::new(device),
            clock,
            config,
            volume: RefCell::new(None),
            order: RwLock::new(),
            write_back: Mutex::new(()),
            opening: Mutex::new(()),
            overwrite_ended: Signal::default(),
            logging: Mutex::new(()),
            request_blocks: Cell::new(1),
        }
    }

    /// Begins a call that changes something.
    async fn begin_change(&self) -> Result<Guard<'_>> {
        let order = self.order.read().await;
        self.with(|volume| {
            if volume.failed {
                Err(Error::Device)
            } else {
                Ok(())
            }
        })?;
        Ok(order)
    }
}

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// The volume fails unless [`FailGuard::done`] is called.
    fn fail_if_dropped(&self) -> FailGuard<'_, D, C> {
        FailGuard(Some(self))
    }
}

/// See [`TwinFs::fail_if_dropped`].
struct FailGuard<'a, D: BlockDevice, C>(Option<&'a TwinFs<D, C>>);

impl<D: BlockDevice, C> FailGuard<'_, D, C> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl<D: BlockDevice, C> Drop for FailGuard<'_, D, C> {
    fn drop(&mut self) {
        if let Some(store) = self.0
            && let Some(volume) = store.volume.borrow_mut().as_mut()
        {
            volume.failed = true;
        }
    }
}

impl<D: BlockDevice, C: Clock> FileStore for TwinFs<D, C> {
    async fn format(&self, format: &StoreFormat) -> Result<()> {
        self.make(format).await
    }

    async fn info(&self) -> Result<StoreInfo> {
        self.describe().await
    }

    async fn load(&self, checkpoint: Timestamp) -> Result<()> {
        self.load_checkpoint(checkpoint).await
    }

    /// What the log had when the checkpoint was loaded; empty after the next `sync`.
    async fn resync_ranges(&self, skip: u64) -> Result<heapless::Vec<ResyncRange, 4>> {
        self.with(|volume| {
            let from = volume.resync_ranges.iter().skip(skip as usize);
            Ok(from.copied().take(4).collect())
        })
    }

    async fn prewrite(
        &self,
        file: FileNumber,
        offset: u64,
        checksums: &[Checksum],
    ) -> Result<bool> {
        if self.config.overwrite != Overwrite::InPlace {
            return Ok(false);
        }
        let _order = self.begin_change().await?;
        self.announce_early(file, offset, checksums).await?;
        Ok(true)
    }

    async fn create(&self, attributes: &Attributes) -> Result<FileNumber> {
        let _order = self.begin_change().await?;
        self.create_file(attributes).await
    }

    async fn delete(&self, file: FileNumber) -> Result<()> {
        let _order = self.begin_change().await?;
        self.delete_file(file).await
    }

    async fn read(&self, file: FileNumber, offset: u64, data: Sink<'_>) -> Result<usize> {
        self.read_blocks(file, offset, data).await
    }

    /// The file never becomes shorter by a write. Blocks wholly beyond its end are a
    /// [`Error::BadArgument`]. A write of up to 4 MiB happens whole or not at all, a longer one in
    /// pieces of that size.
    async fn write(&self, write: Write<'_>) -> Result<()> {
        let _order = self.begin_change().await?;
        self.write_blocks(&write, PartOf::Write).await
    }

    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        let _order = self.begin_change().await?;
        self.set_size(file, size, modified_ns).await
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.run(|volume| Ok(volume.inode(file)?.2)).await
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        let _order = self.begin_change().await?;
        self.change(file, change).await
    }

    /// The timestamp must be that of the last checkpoint plus one.
    async fn sync(&self, checkpoint: Checkpoint) -> Result<()> {
        let _order = self.order.write().await;
        self.take_checkpoint(checkpoint).await
    }

    async fn finish(&self, checkpoint: Timestamp) -> Result<()> {
        let _order = self.begin_change().await?;
        self.end_sync(checkpoint).await
    }

    /// What is free is what can be had now: blocks freed since the last checkpoint count after the
    /// next one, and a reserve for stack metadata does not count.
    async fn usage(&self) -> Result<Usage> {
        self.with(|volume| {
            let reserve = volume.blocks.reserve(allocator::Purpose::Data);
            Ok(Usage {
                blocks: volume.layout().data_blocks(),
                blocks_free: volume.blocks.available().saturating_sub(reserve),
                files: volume.layout().inodes - 1,
                files_free: volume.inodes.available(),
                stores: 1,
                stores_present: 1,
            })
        })
    }
}
