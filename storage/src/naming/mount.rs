//! Making a volume and mounting it.
//!
//! The first call of any client mounts the volume if nobody did. Mounting attaches the layer below,
//! looks for the root, and deletes what was open and had no name when the system went down. What
//! cannot be deleted takes up room and no more: the volume is mounted all the same.

use alloc::{rc::Rc, vec::Vec};

use super::{
    Naming,
    chores::NamesChore,
    directory::{self, format},
    inode::Inode,
    io::write_block,
    numbers::Numbers,
    volume::Volume,
};
use crate::{
    Error, Result,
    buffer::Source,
    clock::Clock,
    file::{Attributes, Class, FileNumber, FileService, Redundancy, VolumeFormat, Write},
    vfs::Kind,
};

/// What the stack guarantees for directories and symbolic links: they are stack metadata.
pub const METADATA: Class = Class {
    redundancy: Redundancy::Mirror,
    protected: true,
};

impl<F: FileService, C: Clock> Naming<F, C> {
    /// The mounted volume; mounts it first if need be. [`Error::NotFormatted`] if there is none.
    pub(super) async fn mounted(&self) -> Result<Rc<Volume>> {
        if let Some(volume) = &*self.volume.borrow() {
            return Ok(volume.clone());
        }
        let _mounting = self.mounting.lock().await;
        if let Some(volume) = &*self.volume.borrow() {
            return Ok(volume.clone());
        }
        let volume = Rc::new(self.load_volume().await?);
        self.recover(&volume).await?;
        // An earlier instance may have changed what is not in a checkpoint yet.
        self.changed.set(true);
        if let Err(error) = self.purge_orphans(&volume).await {
            log::error!("files that have no name cannot be looked for: {error}");
        }
        *self.volume.borrow_mut() = Some(volume.clone());
        Ok(volume)
    }

    /// Mounts the volume, unless it is mounted.
    pub async fn mount(&self) -> Result<()> {
        self.mounted().await.map(|_| ())
    }

    /// Makes an empty volume and mounts it. [`Error::Busy`] while anything is open.
    pub(super) async fn format_volume(&self, format: &VolumeFormat) -> Result<()> {
        // Before anything is forgotten.
        format.check()?;
        let _mounting = self.mounting.lock().await;
        let _alone = self.checkpoint.write().await;
        let open = |volume: &Rc<Volume>| volume.open_files.get() > 0;
        let in_use = self.volume.borrow().as_ref().is_some_and(open);
        if in_use || !self.descriptors.borrow().is_empty() {
            return Err(Error::Busy);
        }
        *self.volume.borrow_mut() = None;
        self.changed.set(false);
        self.journal.discard();
        let attachment = self.below.format(format).await?;
        let (root, orphans) = Volume::roots(&attachment);
        self.make_top_directory(root, root, 0o755).await?;
        self.make_top_directory(orphans, orphans, 0o700).await?;
        let timestamp = self.below.sync().await?;
        let volume = Rc::new(self.load_volume().await?);
        volume.checkpoint.set(timestamp);
        self.recover(&volume).await?;
        *self.volume.borrow_mut() = Some(volume);
        Ok(())
    }

    async fn make_top_directory(
        &self,
        number: FileNumber,
        parent: FileNumber,
        permissions: u32,
    ) -> Result<()> {
        let now = self.now_ns();
        self.below
            .create(number, &new_attributes(Kind::Directory, permissions, now))
            .await?;
        self.write_first_block(number, parent, now).await
    }

    /// Writes block 0 of a new directory.
    pub(super) async fn write_first_block(
        &self,
        directory: FileNumber,
        parent: FileNumber,
        now_ns: u64,
    ) -> Result<()> {
        let block = format::empty(directory, parent, 0);
        write_block(&self.below, first_write(directory, &block[..], now_ns)).await
    }

    async fn load_volume(&self) -> Result<Volume> {
        let attachment = self.below.attach().await?;
        let (root, orphans) = Volume::roots(&attachment);
        for directory in [root, orphans] {
            let attributes = match self.below.getattr(directory).await {
                // A format that did not get as far as the first checkpoint with a root.
                Err(Error::NotFound) if directory == root => return Err(Error::NotFormatted),
                Err(Error::NotFound) => return Err(Error::Corrupt),
                other => other?,
            };
            if Kind::of_mode(attributes.mode) != Kind::Directory {
                return Err(Error::Corrupt);
            }
        }
        let numbers = Numbers::load(&self.below, FileNumber(orphans.0 + 1)).await?;
        Ok(Volume::new(attachment, numbers, &self.limits))
    }

    /// Whether a file without a name is open, as an earlier instance of naming left it; it is then marked.
    fn is_open_orphan(&self, volume: &Volume, number: FileNumber) -> bool {
        let open = volume
            .inode(number)
            .ok()
            .filter(|inode| inode.opens.get() > 0);
        open.is_some_and(|inode| {
            inode.orphan.set(true);
            true
        })
    }

    /// Deletes the files that were open and had no name, but for those that are open still. An entry whose file has a name again, or
    /// is not there, only goes itself. What fails is left as a chore; of a file that cannot be
    /// looked at, nobody knows whether it has a name, so it stays until a later mount. No locks are
    /// needed: nobody else has the volume yet.
    async fn purge_orphans(&self, volume: &Volume) -> Result<()> {
        let directory = directory::load(&self.below, volume, volume.orphans).await?;
        if directory.index()?.len() == 0 {
            return Ok(());
        }
        let orphans: Vec<_> = {
            let index = directory.index()?;
            index
                .entries_from(0)
                .map(|(entry, _)| (entry.number, entry.name.to_vec()))
                .collect()
        };
        for (number, name) in orphans {
            match self.below.getattr(number).await {
                Err(Error::NotFound) => {}
                Ok(attributes) if attributes.links > 0 => {}
                Ok(_) if self.is_open_orphan(volume, number) => continue,
                Ok(_) => {
                    let inode = Rc::new(Inode::unknown(number, volume.checkpoints()));
                    volume.forget(&inode);
                    if self.delete_file(volume, &inode).await.is_err() {
                        volume.leave(NamesChore::End(inode));
                        continue;
                    }
                }
                Err(error) => {
                    log::error!("file {} is left without a name: {error}", number.0);
                    continue;
                }
            }
            // A removal that fails makes naming forget the directory.
            let directory = directory::load(&self.below, volume, volume.orphans).await?;
            if (self.remove_entry(volume, &directory, &name).await).is_err() {
                volume.leave(NamesChore::Entry(number));
            }
        }
        Ok(())
    }
}

/// The attributes of a new file.
pub fn new_attributes(kind: Kind, permissions: u32, now_ns: u64) -> Attributes {
    let (class, links) = match kind {
        Kind::File => (Class::default(), 1),
        Kind::Link => (METADATA, 1),
        Kind::Directory => (METADATA, 2),
    };
    Attributes {
        class,
        mode: kind.mode() | super::permissions(permissions),
        links,
        accessed_ns: now_ns,
        modified_ns: now_ns,
        changed_ns: now_ns,
        ..Attributes::default()
    }
}

/// The write of all of a file that is empty.
pub fn first_write(file: FileNumber, data: &[u8], modified_ns: u64) -> Write<'_> {
    let size = data.len() as u64;
    Write {
        file,
        offset: 0,
        data: Source::local(data),
        checksums: &[],
        size,
        modified_ns,
    }
}
