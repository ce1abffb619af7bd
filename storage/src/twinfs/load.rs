//! Making a volume, finding its checkpoints, and returning to one.

use alloc::{boxed::Box, vec::Vec};

use super::{
    Overwrite, TwinFs,
    cache::Block,
    fetch::block_buffer,
    foreign, io,
    layout::{BLOCKS_MAX, Layout, ROOT_BLOCKS},
    pointer::Pointer,
    root::{NoRoot, Root, STORES_MAX, TOP_COUNT},
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    block::{BlockDevice, Geometry},
    buffer::Sink,
    clock::Clock,
    file::{
        Attributes, Checkpoint, Class, FileNumber, MAPPING_FILE, StoreFormat, StoreInfo, Timestamp,
    },
};

/// What is at the two places of the root block.
struct Roots {
    newest: Box<Root>,
    /// The other, if it is the checkpoint before, stores may have to return to it, and the blocks
    /// that it points to are there.
    previous: Option<Box<Root>>,
    /// The newest is there a second time, as all stores have it, or only one took part in it.
    finished: bool,
    /// It is at its own place.
    at_home: bool,
}

impl<D: BlockDevice, C: Clock> TwinFs<D, C> {
    pub(super) async fn make(&self, format: &StoreFormat) -> Result<()> {
        let _order = self.order.write().await;
        self.forget().await;
        let geometry = self.attach().await?;
        if geometry.read_only {
            return Err(Error::ReadOnly);
        }
        let stores = (1..=STORES_MAX).contains(&format.stores) && format.index < format.stores;
        if !stores {
            return Err(Error::BadArgument);
        }
        let blocks = io::device_blocks(&geometry).min(BLOCKS_MAX);
        let inodes = Layout::inodes_for(blocks, self.config.blocks_per_inode);
        let twin_offset = if self.config.twins {
            format.twin_offset.into()
        } else {
            0
        };
        let layout = Layout::new(blocks, inodes, twin_offset)?;
        if layout.has_twins() != self.config.twins {
            return Err(Error::BadArgument);
        }
        // No root of an earlier volume may come back, whatever happens from here on.
        for block in ROOT_BLOCKS {
            self.erase_root(block).await?;
        }
        self.disk.flush().await?;
        let root = Root {
            volume: format.volume,
            index: format.index,
            stores: format.stores,
            algorithm: format.algorithm,
            checkpoint: Checkpoint {
                timestamp: Timestamp(0),
                present: 0,
            },
            blocks_free: layout.data_blocks(),
            inodes_free: layout.inodes,
            layout,
            tops: [Pointer::default(); TOP_COUNT],
        };
        let mut volume = Volume::new(root, self.config.cache_blocks);
        volume.writing = true;
        self.volume.replace(Some(volume));
        let made = self.make_first_checkpoint(format).await;
        self.forget().await;
        made
    }

    /// The mapping file, and checkpoint 1.
    async fn make_first_checkpoint(&self, format: &StoreFormat) -> Result<()> {
        let mapping = Attributes {
            class: Class {
                protected: true,
                ..Class::default()
            },
            ..Attributes::default()
        };
        // Inode 0 is never used.
        self.run(Volume::take_inode).await?;
        let file: FileNumber = self.create_file(&mapping).await?;
        debug_assert_eq!(file, MAPPING_FILE);
        let present = u32::MAX >> (STORES_MAX - format.stores);
        self.take_checkpoint(Checkpoint {
            timestamp: Timestamp(1),
            present,
        })
        .await
    }

    pub(super) async fn describe(&self) -> Result<StoreInfo> {
        let loaded = self.volume.borrow().as_ref().and_then(|volume| {
            let finished = volume.previous.is_none();
            (!volume.failed).then(|| volume.root.info(volume.previous, finished))
        });
        if let Some(info) = loaded {
            return self.reach_device().await.map(|()| info);
        }
        let geometry = self.attach().await?;
        let roots = self.read_roots(&geometry).await?;
        Ok(roots
            .newest
            .info(roots.previous.map(|root| root.checkpoint), roots.finished))
    }

    /// Whether the device still reads one of the root blocks, whatever is in memory.
    async fn reach_device(&self) -> Result<()> {
        let mut block = block_buffer();
        for place in ROOT_BLOCKS {
            match self.disk.read(place, Sink::local(&mut block)).await {
                Err(Error::Device) => {}
                result => return result,
            }
        }
        Err(Error::Device)
    }

    pub(super) async fn load_checkpoint(&self, timestamp: Timestamp) -> Result<()> {
        let _order = self.order.write().await;
        self.forget().await;
        let geometry = self.attach().await?;
        let Roots {
            newest,
            previous,
            at_home,
            ..
        } = self.read_roots(&geometry).await?;
        let newest_is_it = newest.checkpoint.timestamp == timestamp;
        let (root, previous) = if newest_is_it {
            (newest, previous.map(|root| root.checkpoint))
        } else {
            let root = previous
                .filter(|root| root.checkpoint.timestamp == timestamp)
                .ok_or(Error::NoCheckpoint)?;
            // What is written from now on overwrites twins that the newest refers to.
            self.erase_root(Root::place(newest.checkpoint.timestamp))
                .await?;
            self.disk.flush().await?;
            (root, None)
        };
        let mut volume = Volume::new(*root, self.config.cache_blocks);
        volume.previous = previous;
        volume.at_home = at_home || !newest_is_it;
        volume.overwrite = self.config.overwrite;
        if volume.overwrite == Overwrite::Unlogged {
            log::warn!(
                "data are overwritten without a log: a power failure loses what was overwritten"
            );
        }
        if !self.config.twins {
            log::warn!("metadata have no twins: any crash loses the volume");
        }
        if volume.root.checkpoint.has_way_back() {
            // An instance that died in the middle of a sync may have left a root that can be read and is
            // not on the medium yet. It is, before others are told that this store has it.
            self.disk.flush().await?;
        }
        self.volume.replace(Some(volume));
        let resynchronised = self.resynchronise().await;
        if resynchronised.is_err() {
            self.forget().await;
        }
        resynchronised
    }

    /// What is wrong with a volume that has twins or not, unlike this store.
    fn other_kind(&self) -> &'static str {
        if self.config.twins {
            "the volume has no twins: it was made to measure with, for a store with twins=off"
        } else {
            "the volume has twins, and twins=off stands for one without: format makes it"
        }
    }

    /// Discards everything in memory, once nothing of it is being written any more.
    async fn forget(&self) {
        let _alone = self.write_back.lock().await;
        self.volume.replace(None);
    }

    async fn attach(&self) -> Result<Geometry> {
        let geometry = self.disk.attach().await?;
        self.request_blocks.set(io::request_blocks(&geometry));
        Ok(geometry)
    }

    async fn read_root(
        &self,
        place: usize,
        geometry: &Geometry,
    ) -> Result<core::result::Result<Box<Root>, NoRoot>> {
        let blocks = io::device_blocks(geometry);
        if ROOT_BLOCKS[place] >= blocks {
            return Ok(Err(NoRoot::Zeros));
        }
        let mut block: Box<Block> = Box::new([0; BLOCK_BYTES]);
        let mut root = Err(NoRoot::Unreadable);
        let sound = |block: &[u8]| {
            if let Some(block) = block.as_array() {
                root = Root::decode(block, blocks).map(Box::new);
            }
            root.is_ok()
        };
        match self
            .disk
            .read_sound(ROOT_BLOCKS[place], &mut block[..], sound)
            .await
        {
            Ok(_) => {}
            // The other may be read.
            Err(Error::Device) => return Ok(Err(NoRoot::Unreadable)),
            Err(error) => return Err(error),
        }
        if root == Err(NoRoot::Unknown)
            && place == 0
            && let Some(what) = foreign::known(&block)
        {
            return Ok(Err(NoRoot::Foreign(what)));
        }
        Ok(root.and_then(|root| {
            if root.layout.has_twins() != self.config.twins {
                return Err(NoRoot::Twins);
            }
            Ok(root)
        }))
    }

    async fn read_roots(&self, geometry: &Geometry) -> Result<Roots> {
        let left = self.read_root(0, geometry).await?;
        let right = self.read_root(1, geometry).await?;
        let (place, newest, other) = match (left, right) {
            (Ok(left), Ok(right)) if right.checkpoint.timestamp > left.checkpoint.timestamp => {
                (1, right, Ok(left))
            }
            // Of two that are the same, the one that is at its own place.
            (Ok(left), Ok(right))
                if right.checkpoint.timestamp == left.checkpoint.timestamp
                    && Root::place(right.checkpoint.timestamp) == ROOT_BLOCKS[1] =>
            {
                (1, right, Ok(left))
            }
            (Ok(left), right) => (0, left, right),
            (left, Ok(right)) => (1, right, left),
            (Err(left), Err(right)) => {
                return Err(match (left, right) {
                    (NoRoot::Twins, _) | (_, NoRoot::Twins) => {
                        log::error!("{}", self.other_kind());
                        Error::WrongVersion
                    }
                    (NoRoot::Version, _) | (_, NoRoot::Version) => Error::WrongVersion,
                    (NoRoot::Unreadable, NoRoot::Unreadable) => Error::Device,
                    (NoRoot::Damaged | NoRoot::Unreadable, _)
                    | (_, NoRoot::Damaged | NoRoot::Unreadable) => Error::Corrupt,
                    (NoRoot::Foreign(what), _) => {
                        log::warn!("the disk holds {what}, which format would overwrite");
                        Error::NotFormatted
                    }
                    (NoRoot::Unknown, _) | (_, NoRoot::Unknown) => {
                        log::error!(
                            "neither root block is one, and the disk is not empty: both are damaged, or it \
                             never was a Galago volume; format would overwrite it"
                        );
                        Error::Corrupt
                    }
                    _ => Error::NotFormatted,
                });
            }
        };
        let at_home = Root::place(newest.checkpoint.timestamp) == ROOT_BLOCKS[place];
        let is_copied = !at_home || matches!(&other, Ok(other) if *other == newest);
        let finished = is_copied || !newest.checkpoint.has_way_back();
        let previous = match other {
            Ok(other) => {
                let before = !finished
                    && other.volume == newest.volume
                    && other.layout == newest.layout
                    && other.checkpoint.timestamp.0 == newest.checkpoint.timestamp.0 - 1;
                (before && self.tops_are_there(&other).await?).then_some(other)
            }
            Err(NoRoot::Zeros) => None,
            Err(problem) => {
                log::warn!("one of two root blocks cannot be used: {problem:?}");
                // It may have been the newest; then this one has been left behind.
                if !self.tops_are_there(&newest).await? {
                    return Err(Error::Corrupt);
                }
                None
            }
        };
        Ok(Roots {
            newest,
            previous,
            finished,
            at_home,
        })
    }

    /// Whether all blocks that a root block points to are as it says. Every later checkpoint
    /// overwrites some of them, so a root that a disk failed to erase or replace shows here.
    async fn tops_are_there(&self, root: &Root) -> Result<bool> {
        let offset = root.layout.twin_offset;
        let mut tops: Vec<(u64, Pointer)> = root
            .tops
            .iter()
            .filter(|top| !top.is_null())
            .map(|top| (top.place(offset), *top))
            .collect();
        tops.sort_unstable_by_key(|top| top.0);
        let places: Vec<u64> = tops.iter().map(|top| top.0).collect();
        for (place, index, len) in io::runs(&places, self.request_blocks.get()) {
            let mut data = alloc::vec![0; len * BLOCK_BYTES];
            let sound = |data: &[u8]| {
                data.chunks_exact(BLOCK_BYTES)
                    .zip(&tops[index..index + len])
                    .all(|(block, (_, top))| root.algorithm.of(block) == top.checksum)
            };
            match self.disk.read_sound(place, &mut data, sound).await {
                Ok(true) => {}
                Ok(false) | Err(Error::Device) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
