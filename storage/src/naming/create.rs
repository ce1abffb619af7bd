//! New names: of new directories and links, and further ones of files.

use alloc::rc::Rc;

use super::{
    LINKS_MAX, Naming,
    directory::{self, Directory, Entry, Failure},
    inode::Inode,
    io::write_block,
    journal::Undo,
    mount::{first_write, new_attributes},
    numbers::Numbers,
    path::{LastLink, TARGET_BYTES_MAX},
    volume::Volume,
};
use crate::{
    Error, Result,
    clock::Clock,
    file::{FileNumber, FileService},
    point::{self, Point},
    vfs::Kind,
};

impl<F: FileService, C: Clock> Naming<F, C> {
    pub(super) async fn mkdir(&self, volume: &Volume, path: &[u8], mode: u32) -> Result<()> {
        self.change_names(volume, async || {
            let walked = self.walk(volume, path, LastLink::Name).await?;
            let name = walked.vacant(Kind::Directory)?;
            let parent = directory::load(&self.below, volume, walked.parent).await?;
            let parent_inode = volume.inode(parent.number)?;
            let before_ns = parent_inode.attributes(&self.below).await?.changed_ns;
            let now = self.now_ns();
            let inode = self.new_inode(volume, Kind::Directory, mode, now).await?;
            let written = self
                .write_first_block(inode.number, parent.number, now)
                .await;
            self.settle_first_write(volume, &inode, written, crate::BLOCK_BYTES as u64, now)
                .await?;
            // First the count, then the name, so that a failure leaves nothing that has a name.
            if let Err(error) = self.change_links(&parent_inode, 1, now).await {
                self.undo_create(volume, inode).await;
                return Err(error);
            }
            let named = self
                .name_new(volume, &parent, name, inode, Kind::Directory, now)
                .await;
            if let Err(failure) = &named
                && failure.is_undone
            {
                self.lower_links(volume, &parent_inode, 1, before_ns).await;
            }
            Ok(named?)
        })
        .await
    }

    pub(super) async fn symlink(&self, volume: &Volume, target: &[u8], path: &[u8]) -> Result<()> {
        match target.len() {
            0 => return Err(Error::NotFound),
            1..=TARGET_BYTES_MAX => {}
            _ => return Err(Error::NameTooLong),
        }
        if target.contains(&0) {
            return Err(Error::BadArgument);
        }
        self.change_names(volume, async || {
            let walked = self.walk(volume, path, LastLink::Name).await?;
            let name = walked.vacant(Kind::Link)?;
            let parent = directory::load(&self.below, volume, walked.parent).await?;
            let now = self.now_ns();
            let inode = self.new_inode(volume, Kind::Link, 0o777, now).await?;
            let written = write_block(&self.below, first_write(inode.number, target, now)).await;
            self.settle_first_write(volume, &inode, written, target.len() as u64, now)
                .await?;
            Ok(self
                .name_new(volume, &parent, name, inode, Kind::Link, now)
                .await?)
        })
        .await
    }

    pub(super) async fn link(&self, volume: &Volume, from: &[u8], to: &[u8]) -> Result<()> {
        self.change_names(volume, async || {
            let found = self.walk(volume, from, LastLink::Keep).await?.existing()?;
            let inode = volume.inode(found.number)?;
            let walked = self.walk(volume, to, LastLink::Name).await?;
            if found.kind == Kind::Directory {
                return Err(Error::NotPermitted);
            }
            let name = walked.vacant(found.kind)?;
            let attributes = inode.attributes(&self.below).await?;
            if attributes.links >= LINKS_MAX {
                return Err(Error::LinksExhausted);
            }
            let parent = directory::load(&self.below, volume, walked.parent).await?;
            let now = self.now_ns();
            // First the count, then the name: a count that is too high only keeps a file too long.
            self.change_links(&inode, 1, now).await?;
            let added = self
                .add_entry(volume, &parent, name, found.number, found.kind, now)
                .await;
            if let Err(failure) = &added
                && failure.is_undone
            {
                self.lower_links(volume, &inode, 1, attributes.changed_ns)
                    .await;
            }
            Ok(added?)
        })
        .await
    }

    /// Creates a file that has no name yet.
    pub(super) async fn new_inode(
        &self,
        volume: &Volume,
        kind: Kind,
        permissions: u32,
        now_ns: u64,
    ) -> Result<Rc<Inode>> {
        /// Numbers that turn out to be in use before this is taken as damage below.
        const TRIES_MAX: usize = 8;
        let attributes = new_attributes(kind, permissions, now_ns);
        for _ in 0..TRIES_MAX {
            let number = Numbers::allocate(&volume.numbers, &self.below).await?;
            self.journal.step(Undo::Delete(number));
            match self.below.create(number, &attributes).await {
                Ok(()) => {
                    point::pass(Point::FileCreated);
                    let inode = Inode::created(number, attributes, volume.checkpoints());
                    let inode = Rc::new(inode);
                    let added = volume.add_inode(inode.clone());
                    if added.is_err() {
                        self.undo_create(volume, inode.clone()).await;
                    }
                    return added.map(|()| inode);
                }
                // A call that was given up can have created it.
                Err(Error::Exists) => self.journal.unstep(),
                Err(error) => {
                    self.settle_number(volume, number).await;
                    return Err(error);
                }
            }
        }
        Err(Error::Corrupt)
    }

    /// After a creation that failed: the number is free again, or the file was made all the same
    /// and is deleted. If nobody knows, the number stays used.
    async fn settle_number(&self, volume: &Volume, number: FileNumber) {
        match self.below.getattr(number).await {
            Err(Error::NotFound) => volume.numbers.borrow_mut().give_back(number),
            Err(_) => {}
            Ok(_) => {
                let inode = Rc::new(Inode::unknown(number, volume.checkpoints()));
                self.undo_create(volume, inode).await;
            }
        }
    }

    /// Notes the first contents of a new file, or deletes it if they could not be written.
    async fn settle_first_write(
        &self,
        volume: &Volume,
        inode: &Rc<Inode>,
        written: Result<()>,
        size: u64,
        now_ns: u64,
    ) -> Result<()> {
        match written {
            Ok(()) => inode.data_changed(volume.checkpoints(), now_ns, |_| size),
            Err(_) => self.undo_create(volume, inode.clone()).await,
        }
        written
    }

    /// Gives a new file its name, or deletes it if that is known to have failed.
    pub(super) async fn name_new(
        &self,
        volume: &Volume,
        parent: &Directory,
        name: &[u8],
        inode: Rc<Inode>,
        kind: Kind,
        now_ns: u64,
    ) -> core::result::Result<(), Failure> {
        let added = self
            .add_entry(volume, parent, name, inode.number, kind, now_ns)
            .await;
        if let Err(failure) = &added
            && failure.is_undone
        {
            self.undo_create(volume, inode).await;
        }
        added
    }

    async fn undo_create(&self, volume: &Volume, inode: Rc<Inode>) {
        volume.forget(&inode);
        self.delete_soon(volume, inode).await;
    }

    /// Adds an entry to a directory.
    pub(super) async fn add_entry(
        &self,
        volume: &Volume,
        directory: &Directory,
        name: &[u8],
        number: FileNumber,
        kind: Kind,
        now_ns: u64,
    ) -> core::result::Result<(), Failure> {
        let edit = directory.index()?.insertion(Entry { number, kind, name })?;
        self.apply(volume, directory, edit, now_ns).await
    }

    /// Changes how many links a file has.
    pub(super) async fn change_links(&self, inode: &Inode, by: i32, now_ns: u64) -> Result<()> {
        let _alone = inode.lock.write().await;
        inode
            .change_links(&self.below, &self.journal, by, now_ns)
            .await
    }
}
