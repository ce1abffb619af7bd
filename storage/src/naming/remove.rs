//! Names that go, and files that end with their last name or their last descriptor.
//!
//! A file that is open when its last name goes gets an entry in the orphan directory, named by its
//! number, so that a mount after a crash finds and deletes it.

use alloc::{rc::Rc, string::ToString};

use super::{
    Naming,
    directory::{self, Directory},
    inode::Inode,
    path::{Last, LastLink},
    volume::Volume,
};
use crate::{
    Error, Result,
    clock::Clock,
    file::{AttributeChange, Attributes, FileService},
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
        let change = self.change().await;
        let namespace = self.namespace.lock().await;
        let walked = self.walk(volume, path, LastLink::Name).await?;
        let Last::Name(name) = &walked.last else {
            return Err(Error::IsADirectory);
        };
        let found = walked.found.ok_or(Error::NotFound)?;
        if found.kind == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        walked.existing()?;
        let inode = volume.inode(found.number)?;
        let attributes = self.attributes_if_there(&inode).await?;
        let parent = directory::load(&self.below, volume, walked.parent).await?;
        let unnamed = match attributes {
            Some(attributes) => Some(self.unname(volume, inode, found.kind, &attributes).await?),
            None => None,
        };
        self.remove_entry(volume, &parent, name).await?;
        let ends = match unnamed {
            Some(unnamed) => self.unnamed(volume, unnamed).await?,
            None => None,
        };
        drop(namespace);
        if let Some(inode) = ends {
            self.delete_file(volume, &inode).await?;
        }
        drop(change);
        self.reap(volume).await;
        Ok(())
    }

    pub(super) async fn rmdir(&self, volume: &Volume, path: &[u8]) -> Result<()> {
        let change = self.change().await;
        let namespace = self.namespace.lock().await;
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
        let inode = volume.inode(found.number)?;
        let attributes = self.attributes_if_there(&inode).await?;
        let parent = directory::load(&self.below, volume, walked.parent).await?;
        let unnamed = match attributes {
            Some(attributes) => {
                let victim = directory::load(&self.below, volume, found.number).await?;
                if victim.index()?.len() > 0 {
                    return Err(Error::NotEmpty);
                }
                Some(
                    self.unname(volume, inode, Kind::Directory, &attributes)
                        .await?,
                )
            }
            None => None,
        };
        self.remove_entry(volume, &parent, name).await?;
        self.change_links(volume, parent.number, -1, self.now_ns())
            .await?;
        let ends = match unnamed {
            Some(unnamed) => self.unnamed(volume, unnamed).await?,
            None => None,
        };
        drop(namespace);
        if let Some(inode) = ends {
            self.delete_file(volume, &inode).await?;
        }
        drop(change);
        self.reap(volume).await;
        Ok(())
    }

    /// The attributes, or nothing if an entry names a file that is not there: damage, which the
    /// user can clear away.
    pub(super) async fn attributes_if_there(&self, inode: &Inode) -> Result<Option<Attributes>> {
        match inode.attributes(&self.below).await {
            Err(Error::NotFound) => Ok(None),
            other => other.map(Some),
        }
    }

    /// To be called before a name of a file is removed: if it is the last and the file is open, the
    /// orphan directory names it from here on.
    pub(super) async fn unname(
        &self,
        volume: &Volume,
        inode: Rc<Inode>,
        kind: Kind,
        attributes: &Attributes,
    ) -> Result<Unnamed> {
        if super::kind_of(attributes) != kind {
            return Err(Error::Corrupt);
        }
        let links = if kind == Kind::Directory {
            1
        } else {
            attributes.links
        };
        let in_orphans = links <= 1 && inode.opens.get() > 0;
        if in_orphans {
            self.add_orphan(volume, &inode, kind).await?;
        }
        Ok(Unnamed {
            inode,
            kind,
            links,
            in_orphans,
        })
    }

    /// To be called after the name was removed. Returns the file if it ends with it; the caller
    /// then deletes it.
    pub(super) async fn unnamed(
        &self,
        volume: &Volume,
        file: Unnamed,
    ) -> Result<Option<Rc<Inode>>> {
        let Unnamed {
            inode,
            kind,
            links,
            in_orphans,
        } = file;
        let now = self.now_ns();
        if links > 1 {
            self.change_links(volume, inode.number, -1, now).await?;
            return Ok(None);
        }
        if !in_orphans {
            if inode.opens.get() == 0 {
                volume.forget(&inode);
                return Ok(Some(inode));
            }
            // It was opened while its name was being removed.
            self.add_orphan(volume, &inode, kind).await?;
        }
        inode.orphan.set(true);
        if inode.opens.get() == 0 {
            // And closed again: no `OpenFile` is left to notice.
            volume.reap.borrow_mut().push(inode.clone());
        }
        let _alone = inode.lock.write().await;
        let change = AttributeChange {
            links: Some(0),
            changed_ns: Some(now),
            ..AttributeChange::default()
        };
        inode.change(&self.below, &change).await?;
        Ok(None)
    }

    async fn add_orphan(&self, volume: &Volume, inode: &Inode, kind: Kind) -> Result<()> {
        let orphans = directory::load(&self.below, volume, volume.orphans).await?;
        let name = inode.number.0.to_string();
        // An entry may be left from an operation that failed half-way.
        if orphans.index()?.find(name.as_bytes()).is_some() {
            return Ok(());
        }
        let now = self.now_ns();
        self.add_entry(volume, &orphans, name.as_bytes(), inode.number, kind, now)
            .await
    }

    /// Removes an entry, if it is there.
    pub(super) async fn remove_entry(
        &self,
        volume: &Volume,
        directory: &Directory,
        name: &[u8],
    ) -> Result<()> {
        let edit = {
            let index = directory.index()?;
            let Some(found) = index.find(name) else {
                return Ok(());
            };
            let mut edit = index.edit(found.position)?;
            edit.remove(found.position)?;
            edit
        };
        directory::apply(&self.below, volume, directory, edit, self.now_ns()).await
    }

    /// Deletes a file that was forgotten: nobody can find it any more; who found it before is
    /// waited for.
    pub(super) async fn delete_file(&self, volume: &Volume, inode: &Inode) -> Result<()> {
        debug_assert!(inode.gone.get());
        let _alone = inode.lock.write().await;
        // Not free before the layer below says so would be too late: a window of the bitmap may be
        // read in between.
        volume.numbers.borrow_mut().free(inode.number);
        self.below.delete(inode.number).await
    }

    /// Deletes the files whose last descriptor was closed after their last name went. What cannot
    /// be deleted stays in the orphan directory for the next mount.
    pub(super) async fn reap(&self, volume: &Volume) {
        while !volume.reap.borrow().is_empty() {
            let _change = self.change().await;
            let _namespace = self.namespace.lock().await;
            let inode = volume.reap.borrow_mut().pop();
            let Some(inode) = inode.filter(|inode| inode.opens.get() == 0 && !inode.gone.get())
            else {
                continue;
            };
            if let Err(error) = self.reap_one(volume, &inode).await {
                log::warn!(
                    "file {} stays until the next mount: {error}",
                    inode.number.0
                );
            }
        }
    }

    async fn reap_one(&self, volume: &Volume, inode: &Inode) -> Result<()> {
        let orphans = directory::load(&self.below, volume, volume.orphans).await?;
        volume.forget(inode);
        self.delete_file(volume, inode).await?;
        self.remove_entry(volume, &orphans, inode.number.0.to_string().as_bytes())
            .await
    }
}
