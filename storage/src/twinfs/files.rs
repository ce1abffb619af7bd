//! Files as such: create, delete, attributes, and making them shorter or longer.

use alloc::vec::Vec;

use super::{
    TwinFs,
    cache::Slot,
    fetch::block_buffer,
    file_tree::{FILE_BYTES_MAX, inode_pointer, span},
    inode::{INODE_POINTERS, pointer_offset},
    layout::{INODE_BYTES, INODES_PER_BLOCK},
    plan::{PartOf, Request},
    pointer::{POINTER_BYTES, POINTERS_PER_BLOCK, Pointer},
    volume::{Step, Stop, Volume},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    block::BlockDevice,
    buffer::{Sink, Source},
    file::{AttributeChange, Attributes, FileNumber, MAPPING_FILE, Write},
};

/// Blocks that one step frees before others may run.
const FREES_PER_STEP: u32 = 512;
/// Corrupt blocks of inodes that one call passes over; the next one goes on behind them.
const PASSED_OVER_MAX: u32 = 1024;

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// Passes over numbers whose inodes are in corrupt blocks; they stay free, and are tried again when the search
    /// comes round. [`Error::Device`] if there is none that can be used: it is the store that fails then.
    pub(super) async fn create_file(&self, attributes: &Attributes) -> Result<FileNumber> {
        self.make_room().await?;
        let mut first = None;
        for _ in 0..PASSED_OVER_MAX {
            let mut number = None;
            let made = self.run(|volume| volume.create(attributes, &mut number));
            match (made.await, number) {
                (Err(Error::Corrupt), Some(number)) if first != Some(number) => {
                    log::error!("no file can have the number {number}, nor those beside it");
                    first = first.or(Some(number));
                    let behind = (number / INODES_PER_BLOCK + 1) * INODES_PER_BLOCK;
                    self.with(|volume| {
                        volume.inodes.look_from(behind % volume.layout().inodes);
                        Ok(())
                    })?;
                }
                // All have been tried, or not even a number is to be had.
                (Err(Error::Corrupt), _) => break,
                (made, _) => return made,
            }
        }
        Err(Error::Device)
    }

    pub(super) async fn delete_file(&self, file: FileNumber) -> Result<()> {
        if file == MAPPING_FILE {
            return Err(Error::BadArgument);
        }
        self.make_room().await?;
        self.shrink(file, 0).await?;
        self.run(|volume| volume.delete(file)).await
    }

    pub(super) async fn change(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.make_room().await?;
        self.run(|volume| {
            let (slot, offset, mut attributes) = volume.inode(file)?;
            change.apply(&mut attributes);
            volume.set_inode(slot, offset, &attributes);
            Ok(())
        })
        .await
    }

    /// Room for what is cleared behind the new end is taken first, so that one that no sound bitmap has room for
    /// changes nothing. If the device fails it half-way, the file has some size between the old and the new one, and the
    /// same call again ends it.
    pub(super) async fn set_size(
        &self,
        file: FileNumber,
        size: u64,
        modified_ns: u64,
    ) -> Result<()> {
        if size > FILE_BYTES_MAX {
            return Err(Error::TooBig);
        }
        self.make_room().await?;
        let old = self.run(|volume| Ok(volume.inode(file)?.2.size)).await?;
        if size < old {
            self.cut_to(file, size, modified_ns).await?;
        }
        self.run(|volume| {
            let (slot, offset, mut attributes) = volume.inode(file)?;
            attributes.size = size;
            attributes.modified_ns = modified_ns;
            attributes.changed_ns = modified_ns;
            volume.set_inode(slot, offset, &attributes);
            Ok(())
        })
        .await
    }

    /// Frees what is behind the block with the end, and clears what that has behind it.
    async fn cut_to(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        let keep = size.div_ceil(BLOCK_BYTES as u64);
        let data = match self.tail(file, size).await? {
            Tail::Clear => return self.shrink(file, keep).await,
            Tail::Unreadable => {
                // One that cannot even be found cannot be spoilt, either.
                self.run(|volume| volume.resolve(file, keep - 1, 1)).await?;
                self.shrink(file, keep).await?;
                return self.run(|volume| volume.spoil(file, keep - 1)).await;
            }
            Tail::Cleared(data) => data,
        };
        let checksums = [self.with(|volume| Ok(volume.root.algorithm))?.of(&data)];
        let request = Request {
            file,
            first: keep - 1,
            count: 1,
            size,
            part: PartOf::Cut,
        };
        let plan = async || self.run(|volume| volume.plan(request, &checksums)).await;
        let plan = match plan().await {
            // There is some as soon as what is behind it is gone, if that is newer than the checkpoint.
            Err(Error::NoSpace) => {
                self.shrink(file, keep).await?;
                plan().await?
            }
            planned => planned?,
        };
        let guard = self.guard(&plan);
        self.shrink(file, keep).await?;
        let data = Source::local(&data);
        // Nothing of it goes over what the checkpoint has, so the log has no say.
        self.carry_out(guard, size, &data, &checksums, modified_ns)
            .await
            .map(|_| ())
    }

    /// Makes zeros of what the last block has beyond `size`, where it is.
    pub(super) async fn clear_tail(
        &self,
        file: FileNumber,
        size: u64,
        modified_ns: u64,
    ) -> Result<()> {
        let block = BLOCK_BYTES as u64;
        let data = match self.tail(file, size).await? {
            Tail::Clear => return Ok(()),
            Tail::Unreadable => {
                let spoil = |volume: &mut Volume| volume.spoil(file, size / block);
                return self.run(spoil).await;
            }
            Tail::Cleared(data) => data,
        };
        let algorithm = self.with(|volume| Ok(volume.root.algorithm))?;
        let write = Write {
            file,
            offset: size / block * block,
            checksums: &[algorithm.of(&data)],
            data: Source::local(&data),
            size,
            modified_ns,
        };
        self.write_blocks(&write, PartOf::Load).await
    }

    /// What has to become of the block in which a file of `size` ends, so that it is zeros if the file grows.
    async fn tail(&self, file: FileNumber, size: u64) -> Result<Tail> {
        let used = (size % BLOCK_BYTES as u64) as usize;
        if used == 0 {
            return Ok(Tail::Clear);
        }
        let mut data = block_buffer();
        let start = size - used as u64;
        match self.read_blocks(file, start, Sink::local(&mut data)).await {
            Err(Error::Corrupt) => return Ok(Tail::Unreadable),
            result => result?,
        };
        if data[used..].iter().all(|&byte| byte == 0) {
            return Ok(Tail::Clear);
        }
        data[used..].fill(0);
        Ok(Tail::Cleared(data))
    }

    /// Frees everything from block `keep` of the file on.
    async fn shrink(&self, file: FileNumber, keep: u64) -> Result<()> {
        let mut lost = None;
        loop {
            let known = lost.take();
            let result = self
                .run_noting(|volume| volume.shrink(file, keep, known), &mut lost)
                .await;
            match result {
                // What is below a corrupt indirect block cannot be found, and so not be freed. The
                // file must go all the same.
                Err(Error::Corrupt) if lost.is_some() && lost != known => {}
                result => return result,
            }
        }
    }
}

/// See [`TwinFs::tail`].
enum Tail {
    /// Nothing: it is zeros there.
    Clear,
    /// The file becomes shorter all the same. What is behind its end must not come back with the block: it stays
    /// unreadable until it is written.
    Unreadable,
    /// These are its contents.
    Cleared(Vec<u8>),
}

/// A file that is being made shorter.
struct Shrinking {
    inode: (Slot, usize),
    protected: bool,
    keep: u64,
    lost: Option<u64>,
    frees_left: u32,
}

impl Shrinking {
    /// [`Stop::Again`] if this step has freed enough.
    fn check(&self) -> Step<()> {
        if self.frees_left == 0 {
            return Err(Stop::Again);
        }
        Ok(())
    }
}

impl Volume {
    /// `tried` is the number that was free, if there was one.
    fn create(&mut self, attributes: &Attributes, tried: &mut Option<u64>) -> Step<FileNumber> {
        *tried = None;
        let number = self.take_inode()?;
        *tried = Some(number);
        let made = self.make_inode(FileNumber(number), attributes);
        if made.is_err() {
            // Its bitmap block was at hand a moment ago, and still is.
            let _ = self.give_inode(number);
            self.inodes.look_from(number);
        }
        made
    }

    fn make_inode(&mut self, file: FileNumber, attributes: &Attributes) -> Step<FileNumber> {
        let (slot, offset) = self.inode_node(file)?;
        self.modify(slot)[offset..offset + INODE_BYTES].fill(0);
        let attributes = Attributes {
            size: 0,
            blocks: 0,
            ..*attributes
        };
        self.set_inode(slot, offset, &attributes);
        Ok(file)
    }

    fn delete(&mut self, file: FileNumber) -> Step<()> {
        let (slot, offset, _) = self.inode(file)?;
        self.give_inode(file.0)?;
        self.modify(slot)[offset..offset + INODE_BYTES].fill(0);
        Ok(())
    }

    /// Frees what there is from block `keep` on, from the end, a bounded part at a time. Whatever
    /// stops it, what was freed is no longer part of the file, and the file is no longer than that.
    fn shrink(&mut self, file: FileNumber, keep: u64, lost: Option<u64>) -> Step<()> {
        let (slot, offset, attributes) = self.inode(file)?;
        let mut shrinking = Shrinking {
            inode: (slot, offset),
            protected: attributes.class.protected,
            keep,
            lost,
            frees_left: FREES_PER_STEP,
        };
        for index in (0..INODE_POINTERS).rev() {
            let (first, height) = inode_pointer(index);
            if first + span(height) <= keep {
                break;
            }
            let at = (slot, offset + pointer_offset(index));
            match self.shrink_pointer(&mut shrinking, at, first, height) {
                // Something was freed: what is missed is a new step's affair, not too much for this one.
                Err(Stop::Miss(_)) if shrinking.frees_left < FREES_PER_STEP => {
                    return Err(Stop::Again);
                }
                result => result?,
            }
        }
        let (slot, offset, mut attributes) = self.inode(file)?;
        let size = keep.saturating_mul(BLOCK_BYTES as u64);
        if attributes.size > size {
            attributes.size = size;
            self.set_inode(slot, offset, &attributes);
        }
        Ok(())
    }

    /// Frees what is below one pointer and at or after `keep`; the pointer becomes null if all is.
    fn shrink_pointer(
        &mut self,
        file: &mut Shrinking,
        at: (Slot, usize),
        first: u64,
        height: usize,
    ) -> Step<()> {
        if Pointer::is_null_at(&*self.cache.node(at.0).content, at.1) {
            return Ok(());
        }
        if height == 0 {
            return self.free_data(file, at, first);
        }
        let child = Pointer::at(&*self.cache.node(at.0).content, at.1)
            .map_err(Stop::from)
            .and_then(|pointer| match file.lost {
                Some(lost) if lost == pointer.block => Err(Error::Corrupt.into()),
                _ => self.indirect(at, pointer, height),
            });
        let child = match child {
            Err(Stop::Fail(Error::Corrupt)) => {
                log::error!("blocks below a corrupt indirect block are lost until a check");
                // What is kept below it must not turn into zeros: then the pointer stays, and its error.
                if first >= file.keep {
                    self.cut(at);
                    file.frees_left = file.frees_left.saturating_sub(1);
                }
                return Ok(());
            }
            child => child?,
        };
        let below = span(height - 1);
        let kept = file.keep.saturating_sub(first).div_ceil(below);
        // The one that reaches across `keep` has to be looked into too.
        let from = file.keep.saturating_sub(first) / below;
        for index in (from..POINTERS_PER_BLOCK as u64).rev() {
            let pointer = (child, index as usize * POINTER_BYTES);
            self.shrink_pointer(file, pointer, first + index * below, height - 1)?;
        }
        if kept == 0 {
            file.check()?;
            self.drop_indirect(child)?;
            self.cut(at);
            file.frees_left -= 1;
        }
        Ok(())
    }

    fn free_data(&mut self, file: &mut Shrinking, at: (Slot, usize), block: u64) -> Step<()> {
        file.check()?;
        self.modify(at.0);
        match self.data_pointer(at.0, at.1, file.protected) {
            Ok(pointer) if pointer.protected => self.give_pair(pointer.block)?,
            // Taken since the checkpoint: it does not know the block.
            Ok(pointer) => self.give_block(pointer.block, !pointer.modified)?,
            Err(_) => log::error!("block {block} of a file has a corrupt pointer"),
        }
        self.cut(at);
        file.frees_left -= 1;
        let (slot, offset) = file.inode;
        let bytes = &self.cache.node(slot).content[offset..offset + INODE_BYTES];
        if let Some(mut attributes) = super::inode::decode(bytes)? {
            attributes.blocks = attributes.blocks.saturating_sub(1);
            attributes.size = attributes.size.min(block * BLOCK_BYTES as u64);
            self.set_inode(slot, offset, &attributes);
        }
        Ok(())
    }

    /// Makes a pointer null.
    fn cut(&mut self, at: (Slot, usize)) {
        Pointer::default().put(self.modify(at.0), at.1);
    }
}
