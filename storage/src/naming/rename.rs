//! Renaming.
//!
//! Within one block of a directory it is one write, so nothing can come in between. Otherwise the
//! new name is written before the old one goes, with the link count raised for as long as both are
//! there: a crash in between leaves a file with two names, never with none.

use super::{
    Naming,
    directory::{self, Directory, Edit, Entry, Found},
    path::{Last, LastLink, Walked},
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    clock::Clock,
    file::{Attributes, FileService},
    vfs::Kind,
};

/// Both ends of a rename.
struct Ends<'a> {
    source: &'a Directory,
    target: &'a Directory,
    moved: Found,
    name: &'a [u8],
    replaced: Option<Found>,
}

fn name(walked: &Walked) -> Result<&[u8]> {
    match &walked.last {
        Last::Root => Err(Error::Busy),
        Last::Dot | Last::DotDot => Err(Error::BadArgument),
        Last::Name(name) => Ok(name),
    }
}

impl<F: FileService, C: Clock> Naming<F, C> {
    pub(super) async fn rename(&self, volume: &Volume, from: &[u8], to: &[u8]) -> Result<()> {
        let change = self.change().await;
        let namespace = self.namespace.lock().await;
        let from = self.walk(volume, from, LastLink::Name).await?;
        let to = self.walk(volume, to, LastLink::Name).await?;
        name(&from)?;
        let new_name = name(&to)?;
        let moved = from.existing()?;
        if to.slash && moved.kind != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        if moved.kind == Kind::Directory && self.is_within(volume, to.parent, moved.number).await? {
            return Err(Error::BadArgument);
        }
        if to
            .found
            .is_some_and(|replaced| replaced.number == moved.number)
        {
            return Ok(());
        }
        self.check_replaced(volume, moved, to.found).await?;

        let source = directory::load(&self.below, volume, from.parent).await?;
        let target = directory::load(&self.below, volume, to.parent).await?;
        let inode = volume.inode(moved.number)?;
        let attributes = inode.attributes(&self.below).await?;
        let unnamed = match to.found {
            None => None,
            Some(replaced) => {
                let inode = volume.inode(replaced.number)?;
                match self.attributes_if_there(&inode).await? {
                    None => None,
                    Some(attributes) => Some(
                        self.unname(volume, inode, replaced.kind, &attributes)
                            .await?,
                    ),
                }
            }
        };
        let ends = Ends {
            source: &source,
            target: &target,
            moved,
            name: new_name,
            replaced: to.found,
        };
        match ends.one_write()? {
            Some(edit) => self.rename_in_block(volume, &ends, edit).await?,
            None if moved.kind == Kind::Directory => {
                self.move_directory(volume, &ends, &attributes).await?;
            }
            None => self.move_file(volume, &ends).await?,
        }
        let deleted = match unnamed {
            Some(unnamed) => self.unnamed(volume, unnamed).await?,
            None => None,
        };
        drop(namespace);
        if let Some(inode) = deleted {
            self.delete_file(volume, &inode).await?;
        }
        drop(change);
        self.reap(volume).await;
        Ok(())
    }

    /// Whether what is there can be replaced by what is moved.
    async fn check_replaced(
        &self,
        volume: &Volume,
        moved: Found,
        replaced: Option<Found>,
    ) -> Result<()> {
        let Some(replaced) = replaced else {
            return Ok(());
        };
        match (
            moved.kind == Kind::Directory,
            replaced.kind == Kind::Directory,
        ) {
            (false, false) => Ok(()),
            (false, true) => Err(Error::IsADirectory),
            (true, false) => Err(Error::NotADirectory),
            (true, true) => {
                let directory = directory::load(&self.below, volume, replaced.number).await?;
                if directory.index()?.len() > 0 {
                    Err(Error::NotEmpty)
                } else {
                    Ok(())
                }
            }
        }
    }

    async fn rename_in_block(&self, volume: &Volume, ends: &Ends<'_>, edit: Edit) -> Result<()> {
        let now = self.now_ns();
        directory::apply(&self.below, volume, ends.source, edit, now).await?;
        if ends.moved.kind == Kind::Directory && ends.replaced.is_some() {
            self.change_links(volume, ends.source.number, -1, now)
                .await?;
        }
        self.change_links(volume, ends.moved.number, 0, now).await
    }

    async fn move_file(&self, volume: &Volume, ends: &Ends<'_>) -> Result<()> {
        let now = self.now_ns();
        self.change_links(volume, ends.moved.number, 1, now).await?;
        let written = self.write_target(volume, ends, now).await;
        if written.is_ok() {
            self.write_source(volume, ends, now).await?;
        }
        self.change_links(volume, ends.moved.number, -1, now)
            .await?;
        written
    }

    async fn move_directory(
        &self,
        volume: &Volume,
        ends: &Ends<'_>,
        attributes: &Attributes,
    ) -> Result<()> {
        let now = self.now_ns();
        let changes_parent = ends.source.number != ends.target.number;
        if changes_parent && ends.replaced.is_none() {
            self.change_links(volume, ends.target.number, 1, now)
                .await?;
        }
        self.write_target(volume, ends, now).await?;
        if changes_parent {
            let directory = directory::load(&self.below, volume, ends.moved.number).await?;
            let mut edit = directory.index()?.edit(0)?;
            edit.set_parent(ends.target.number);
            // What it holds has not changed, so its time of change stays.
            let modified = attributes.modified_ns;
            directory::apply(&self.below, volume, &directory, edit, modified).await?;
        }
        self.write_source(volume, ends, now).await?;
        if changes_parent || ends.replaced.is_some() {
            self.change_links(volume, ends.source.number, -1, now)
                .await?;
        }
        self.change_links(volume, ends.moved.number, 0, now).await
    }

    /// Writes the new name.
    async fn write_target(&self, volume: &Volume, ends: &Ends<'_>, now_ns: u64) -> Result<()> {
        let Found { number, kind, .. } = ends.moved;
        let edit = {
            let index = ends.target.index()?;
            match ends.replaced {
                None => index.insertion(Entry {
                    number,
                    kind,
                    name: ends.name,
                })?,
                Some(replaced) => {
                    let mut edit = index.edit(replaced.position)?;
                    edit.replace(replaced.position, number, kind)?;
                    edit
                }
            }
        };
        directory::apply(&self.below, volume, ends.target, edit, now_ns).await
    }

    /// Removes the old name. It is where it was: entries do not move.
    async fn write_source(&self, volume: &Volume, ends: &Ends<'_>, now_ns: u64) -> Result<()> {
        let mut edit = ends.source.index()?.edit(ends.moved.position)?;
        edit.remove(ends.moved.position)?;
        directory::apply(&self.below, volume, ends.source, edit, now_ns).await
    }
}

impl Ends<'_> {
    /// Both changes as one, if they are in the same block.
    fn one_write(&self) -> Result<Option<Edit>> {
        let Found {
            number,
            kind,
            position,
        } = self.moved;
        if self.source.number != self.target.number {
            return Ok(None);
        }
        let index = self.source.index()?;
        let mut edit = index.edit(position)?;
        edit.remove(position)?;
        let fits = match self.replaced {
            Some(replaced) if replaced.position / BLOCK_BYTES != position / BLOCK_BYTES => false,
            Some(replaced) => {
                edit.replace(replaced.position, number, kind)?;
                true
            }
            None => edit.insert(Entry {
                number,
                kind,
                name: self.name,
            })?,
        };
        Ok(fits.then_some(edit))
    }
}
