//! Data: straight through to the layer below, one call for one call.
//!
//! A write is alone with its file; reads share it. So a read sees a write whole or not at all, and
//! writes that append never land on one another.

use super::{FILE_BYTES_MAX, Naming, descriptors::OpenFile, inode::Inode, stat_of, volume::Volume};
use crate::{
    Error, Result,
    buffer::{Sink, Source},
    clock::Clock,
    file::{FileService, Write},
    vfs::{OpenFlags, SeekFrom, Stat},
};

impl<F: FileService, C: Clock> Naming<F, C> {
    pub(super) async fn read(
        &self,
        file: &OpenFile,
        offset: Option<u64>,
        data: Sink<'_>,
    ) -> Result<usize> {
        if !file.flags.get().contains(OpenFlags::READ) {
            return Err(Error::BadDescriptor);
        }
        if file.is_directory.get() {
            return Err(Error::IsADirectory);
        }
        match offset {
            Some(offset) => self.read_at(&file.inode, offset, data).await,
            None => {
                let mut offset = file.offset.lock().await;
                let count = self.read_at(&file.inode, *offset, data).await?;
                *offset += count as u64;
                Ok(count)
            }
        }
    }

    async fn read_at(&self, inode: &Inode, offset: u64, data: Sink<'_>) -> Result<usize> {
        if offset > FILE_BYTES_MAX {
            return Err(Error::BadArgument);
        }
        let wanted = data.len();
        if wanted == 0 {
            return Ok(0);
        }
        let _shared = inode.lock.read().await;
        let count = self.below.read(inode.number, offset, data).await?;
        if count > wanted {
            Err(Error::Protocol)
        } else {
            Ok(count)
        }
    }

    pub(super) async fn write(
        &self,
        volume: &Volume,
        file: &OpenFile,
        offset: Option<u64>,
        data: Source<'_>,
    ) -> Result<usize> {
        let flags = file.flags.get();
        if !flags.contains(OpenFlags::WRITE) {
            return Err(Error::BadDescriptor);
        }
        let len = data.len();
        match offset {
            Some(offset) => {
                self.write_at(volume, &file.inode, Some(offset), data)
                    .await?;
            }
            None => {
                let mut position = file.offset.lock().await;
                let offset = (!flags.contains(OpenFlags::APPEND)).then_some(*position);
                *position = self.write_at(volume, &file.inode, offset, data).await?;
            }
        }
        Ok(len)
    }

    /// Writes at `offset` or at the end; returns where the write ended. Nothing to write changes
    /// nothing.
    async fn write_at(
        &self,
        volume: &Volume,
        inode: &Inode,
        offset: Option<u64>,
        data: Source<'_>,
    ) -> Result<u64> {
        if offset.is_some_and(|offset| offset > FILE_BYTES_MAX) {
            return Err(Error::BadArgument);
        }
        let _change = self.change().await;
        let _alone = inode.lock.write().await;
        let offset = match offset {
            Some(offset) => offset,
            None => inode.attributes(&self.below).await?.size,
        };
        if data.is_empty() {
            return Ok(offset);
        }
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|&end| end <= FILE_BYTES_MAX);
        let end = end.ok_or(Error::TooBig)?;
        let now = self.now_ns();
        let doubt = inode.doubt();
        let write = Write {
            file: inode.number,
            offset,
            data,
            checksums: &[],
            size: end,
            modified_ns: now,
        };
        self.below.write(write).await?;
        inode.data_changed(volume.checkpoints(), now, |size| size.max(end));
        doubt.settle();
        Ok(end)
    }

    pub(super) async fn truncate(&self, volume: &Volume, file: &OpenFile, size: u64) -> Result<()> {
        if !file.flags.get().contains(OpenFlags::WRITE) {
            return Err(Error::BadArgument);
        }
        if size > FILE_BYTES_MAX {
            return Err(Error::TooBig);
        }
        let _change = self.change().await;
        self.truncate_inode(volume, &file.inode, size).await
    }

    /// Sets the length of a file; the caller has begun a change.
    pub(super) async fn truncate_inode(
        &self,
        volume: &Volume,
        inode: &Inode,
        size: u64,
    ) -> Result<()> {
        let _alone = inode.lock.write().await;
        let now = self.now_ns();
        let doubt = inode.doubt();
        self.below.truncate(inode.number, size, now).await?;
        inode.data_changed(volume.checkpoints(), now, |_| size);
        volume.full.set(false);
        doubt.settle();
        Ok(())
    }

    pub(super) async fn seek(&self, file: &OpenFile, to: SeekFrom) -> Result<u64> {
        let mut offset = file.offset.lock().await;
        let target = match to {
            SeekFrom::Start(start) => Some(start),
            // Positions in a directory mean nothing to arithmetic.
            _ if file.is_directory.get() => None,
            SeekFrom::Current(by) => offset.checked_add_signed(by),
            SeekFrom::End(by) => file
                .inode
                .attributes(&self.below)
                .await?
                .size
                .checked_add_signed(by),
        };
        let target = target.filter(|&target| target <= FILE_BYTES_MAX);
        *offset = target.ok_or(Error::BadArgument)?;
        Ok(*offset)
    }

    pub(super) async fn fstat(&self, volume: &Volume, file: &OpenFile) -> Result<Stat> {
        let inode = &file.inode;
        let attributes = inode
            .attributes_with_blocks(&self.below, volume.checkpoints())
            .await?;
        Ok(stat_of(inode.number.0, &attributes))
    }
}
