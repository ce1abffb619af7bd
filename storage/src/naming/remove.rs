//! Names that go, and files that end with their last name or their last descriptor.
//!
//! A file that is open when its last name goes gets an entry in the orphan directory, named by its
//! number, so that a mount after a crash finds and deletes it.

use alloc::{rc::Rc, string::ToString};

use super::{
    Naming,
    chores::NamesChore,
    directory::{self, Directory, Failure, Found},
    inode::Inode,
    kind_of,
    path::{Last, LastLink},
    volume::Volume,
};
use crate::{
    Error, Result,
    clock::Clock,
    file::{Attributes, FileService},
    vfs::Kind,
};

/// A file that is about to lose a name.
pub struct Unnamed {
    inode: Rc<Inode>,
    kind: Kind,
    links: u32,
    in_orphans: bool,
}

impl<F: FileService, C: Clock> Naming<F, C> {
    pub(super) async fn unlink(&self, volume: &Volume, path: &[u8]) -> Result<()> {
        self.change_names(volume, async || self.unlink_alone(volume, path).await)
            .await
    }

    async fn unlink_alone(&self, volume: &Volume, path: &[u8]) -> Result<()> {
        let walked = self.walk(volume, path, LastLink::Name).await?;
        let Last::Name(name) = &walked.last else {
            return Err(Error::IsADirectory);
        };
        let found = walked.found.ok_or(Error::NotFound)?;
        if found.kind == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        walked.existing()?;
        let parent = directory::load(&self.below, volume, walked.parent).await?;
        let unnamed = self.unname(volume, found).await?;
        if let Err(failure) = self.remove_entry(volume, &parent, name).await {
            return self.still_named(volume, unnamed, failure).await;
        }
        self.unnamed(volume, unnamed).await;
        Ok(())
    }

    pub(super) async fn rmdir(&self, volume: &Volume, path: &[u8]) -> Result<()> {
        self.change_names(volume, async || self.rmdir_alone(volume, path).await)
            .await
    }

    async fn rmdir_alone(&self, volume: &Volume, path: &[u8]) -> Result<()> {
        let walked = self.walk(volume, path, LastLink::Name).await?;
        let name = match &walked.last {
            Last::Root => return Err(Error::Busy),
            Last::Dot => return Err(Error::BadArgument),
            Last::DotDot => return Err(Error::NotEmpty),
            Last::Name(name) => name,
        };
        let found = walked.found.ok_or(Error::NotFound)?;
        if found.kind != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        let parent = directory::load(&self.below, volume, walked.parent).await?;
        let parent_inode = volume.inode(parent.number)?;
        self.check_empty(volume, found).await?;
        let unnamed = self.unname(volume, found).await?;
        if let Err(failure) = self.remove_entry(volume, &parent, name).await {
            return self.still_named(volume, unnamed, failure).await;
        }
        self.lower_links(volume, &parent_inode, 1, self.now_ns())
            .await;
        self.unnamed(volume, unnamed).await;
        Ok(())
    }

    /// [`Error::NotEmpty`] unless the directory is empty, or not there at all.
    pub(super) async fn check_empty(&self, volume: &Volume, found: Found) -> Result<()> {
        let inode = volume.inode(found.number)?;
        if self.attributes_if_there(&inode).await?.is_none() {
            return Ok(());
        }
        let directory = directory::load(&self.below, volume, found.number).await?;
        if directory.index()?.len() > 0 {
            Err(Error::NotEmpty)
        } else {
            Ok(())
        }
    }

    /// The attributes, or nothing if an entry names a file that is not there: damage, which the
    /// user can clear away.
    async fn attributes_if_there(&self, inode: &Inode) -> Result<Option<Attributes>> {
        match inode.attributes(&self.below).await {
            Err(Error::NotFound) => Ok(None),
            other => other.map(Some),
        }
    }

    /// To be called before a name of a file is removed: if it is the last and the file is open, the
    /// orphan directory names it from here on. Nothing if the file is not there.
    pub(super) async fn unname(&self, volume: &Volume, found: Found) -> Result<Option<Unnamed>> {
        let inode = volume.inode(found.number)?;
        let Some(attributes) = self.attributes_if_there(&inode).await? else {
            return Ok(None);
        };
        if kind_of(&attributes) != found.kind {
            return Err(Error::Corrupt);
        }
        let mut unnamed = Unnamed {
            inode,
            kind: found.kind,
            links: attributes.links,
            in_orphans: false,
        };
        if unnamed.is_last() && unnamed.inode.opens.get() > 0 {
            self.add_orphan(volume, &unnamed).await?;
            unnamed.in_orphans = true;
        }
        Ok(Some(unnamed))
    }

    /// To be called after the name was removed. A file that ends with it is deleted once the removal is
    /// committed. Nothing here can fail: what cannot be done now is left as a chore.
    pub(super) async fn unnamed(&self, volume: &Volume, unnamed: Option<Unnamed>) {
        let Some(unnamed) = unnamed else { return };
        let now = self.now_ns();
        if !unnamed.is_last() {
            self.lower_links(volume, &unnamed.inode, 1, now).await;
            return;
        }
        if !unnamed.in_orphans {
            if unnamed.inode.opens.get() == 0 {
                volume.forget(&unnamed.inode);
                self.leave_deletion(volume, unnamed.inode);
                return;
            }
            // It was opened while its name was being removed.
            if let Err(failure) = self.add_orphan(volume, &unnamed).await {
                let (number, error) = (unnamed.inode.number.0, failure.error);
                log::warn!("file {number} is lost if the system goes down: {error}");
            }
        }
        unnamed.inode.orphan.set(true);
        if unnamed.inode.opens.get() == 0 {
            // And closed again: no `OpenFile` is left to notice.
            volume.leave(NamesChore::End(unnamed.inode.clone()));
        }
        self.lower_links(volume, &unnamed.inode, unnamed.links, now)
            .await;
    }

    /// To be called if the name could not be removed: takes back what `unname` did. Returns the
    /// failure.
    pub(super) async fn still_named(
        &self,
        volume: &Volume,
        unnamed: Option<Unnamed>,
        failure: Failure,
    ) -> Result<()> {
        if let Some(unnamed) = unnamed
            && unnamed.in_orphans
            && failure.is_undone
        {
            // If this fails too, the next mount sees that the file has links.
            let _ = self.remove_orphan(volume, unnamed.inode.number).await;
        }
        Err(failure.error)
    }

    async fn add_orphan(
        &self,
        volume: &Volume,
        unnamed: &Unnamed,
    ) -> core::result::Result<(), Failure> {
        let number = unnamed.inode.number;
        let orphans = directory::load(&self.below, volume, volume.orphans).await?;
        let name = number.0.to_string();
        // An entry may be left from an operation that failed half-way.
        if orphans.index()?.find(name.as_bytes()).is_some() {
            return Ok(());
        }
        let now = self.now_ns();
        self.add_entry(volume, &orphans, name.as_bytes(), number, unnamed.kind, now)
            .await
    }

    /// Removes an entry, if it is there.
    pub(super) async fn remove_entry(
        &self,
        volume: &Volume,
        directory: &Directory,
        name: &[u8],
    ) -> core::result::Result<(), Failure> {
        let edit = {
            let index = directory.index()?;
            let Some(found) = index.find(name) else {
                return Ok(());
            };
            let mut edit = index.edit(found.position)?;
            edit.remove(found.position)?;
            edit
        };
        self.apply(volume, directory, edit, self.now_ns()).await
    }
}

impl Unnamed {
    /// Whether the name is the last. Directories have one.
    fn is_last(&self) -> bool {
        self.kind == Kind::Directory || self.links <= 1
    }
}
