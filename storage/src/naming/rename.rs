//! Renaming.
//!
//! Within one block of a directory it is one write, so nothing can come in between. Otherwise the
//! new name is written before the old one goes, with the link count raised for as long as both are
//! there: a crash in between leaves a file with two names, never with none.

use alloc::rc::Rc;

use super::{
    Naming,
    directory::{self, Directory, Edit, Entry, Failure, Found},
    inode::Inode,
    path::{Last, LastLink, Walked},
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    clock::Clock,
    file::{Attributes, FileNumber, FileService},
    point::{self, Point},
    vfs::Kind,
};

/// How a step ended.
type Made = core::result::Result<(), Failure>;

/// Both ends of a rename.
struct Ends<'a> {
    source: Rc<Directory>,
    source_inode: Rc<Inode>,
    target: Rc<Directory>,
    target_inode: Rc<Inode>,
    inode: Rc<Inode>,
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
        self.change_names(volume, async || self.rename_alone(volume, from, to).await)
            .await
    }

    async fn rename_alone(&self, volume: &Volume, from: &[u8], to: &[u8]) -> Result<()> {
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
            Some(replaced) => self.unname(volume, replaced).await?,
        };
        let ends = Ends {
            source_inode: volume.inode(source.number)?,
            target_inode: volume.inode(target.number)?,
            source,
            target,
            inode,
            moved,
            name: new_name,
            replaced: to.found,
        };
        let moved = match ends.one_write()? {
            Some(edit) => self.rename_in_block(volume, &ends, edit).await,
            None if moved.kind == Kind::Directory => {
                self.move_directory(volume, &ends, &attributes).await
            }
            None => self.move_file(volume, &ends).await,
        };
        if let Err(failure) = moved {
            return self.still_named(volume, unnamed, failure).await;
        }
        self.unnamed(volume, unnamed).await;
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
            (true, true) => self.check_empty(volume, replaced).await,
        }
    }

    async fn rename_in_block(&self, volume: &Volume, ends: &Ends<'_>, edit: Edit) -> Made {
        let now = self.now_ns();
        self.apply(volume, &ends.source, edit, now).await?;
        if ends.moved.kind == Kind::Directory && ends.replaced.is_some() {
            self.lower_links(volume, &ends.source_inode, 1, now).await;
        }
        // Marks the time of change.
        self.lower_links(volume, &ends.inode, 0, now).await;
        Ok(())
    }

    async fn move_file(&self, volume: &Volume, ends: &Ends<'_>) -> Made {
        let now = self.now_ns();
        let before_ns = ends.inode.attributes(&self.below).await?.changed_ns;
        let target = ends.target_inode.attributes(&self.below).await?;
        self.change_links(&ends.inode, 1, now).await?;
        let mut moved = self.write_target(volume, ends, now).await;
        if moved.is_ok() {
            point::pass(Point::TargetWritten);
            moved = self.write_source(volume, ends, now).await;
            if moved.is_err() {
                moved = self.undo_target(volume, ends, moved, &target).await;
            }
        }
        // If nobody knows whether there are one or two names, the count stays at two.
        match moved {
            Ok(()) => self.lower_links(volume, &ends.inode, 1, now).await,
            Err(failure) if failure.is_undone => {
                self.lower_links(volume, &ends.inode, 1, before_ns).await;
            }
            Err(_) => {}
        }
        moved
    }

    async fn move_directory(
        &self,
        volume: &Volume,
        ends: &Ends<'_>,
        attributes: &Attributes,
    ) -> Made {
        let now = self.now_ns();
        let changes_parent = ends.source.number != ends.target.number;
        let adds_link = changes_parent && ends.replaced.is_none();
        let target = ends.target_inode.attributes(&self.below).await?;
        if adds_link {
            self.change_links(&ends.target_inode, 1, now).await?;
        }
        let mut moved = self.write_target(volume, ends, now).await;
        if moved.is_ok() && changes_parent {
            moved = self
                .write_parent(volume, ends, ends.target.number, attributes)
                .await;
            if moved.is_err() {
                moved = self.undo_target(volume, ends, moved, &target).await;
            }
        }
        if moved.is_ok() {
            moved = self.write_source(volume, ends, now).await;
            if moved.is_err_and(|failure| failure.is_undone) {
                let back = match changes_parent {
                    true => {
                        self.write_parent(volume, ends, ends.source.number, attributes)
                            .await
                    }
                    false => Ok(()),
                };
                if back.is_ok() {
                    moved = self.undo_target(volume, ends, moved, &target).await;
                }
            }
        }
        match moved {
            Ok(()) => {
                if changes_parent || ends.replaced.is_some() {
                    self.lower_links(volume, &ends.source_inode, 1, now).await;
                }
                // Marks the time of change.
                self.lower_links(volume, &ends.inode, 0, now).await;
            }
            Err(failure) if failure.is_undone && adds_link => {
                self.lower_links(volume, &ends.target_inode, 1, target.changed_ns)
                    .await;
            }
            Err(_) => {}
        }
        moved
    }

    /// Writes the new name.
    async fn write_target(&self, volume: &Volume, ends: &Ends<'_>, now_ns: u64) -> Made {
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
        self.apply(volume, &ends.target, edit, now_ns).await
    }

    /// Takes the new name away again, or gives it back to what had it, because of a failure; which
    /// is then undone or not. The directory was like this before.
    async fn undo_target(
        &self,
        volume: &Volume,
        ends: &Ends<'_>,
        failed: Made,
        before: &Attributes,
    ) -> Made {
        let Err(Failure {
            error,
            is_undone: true,
        }) = failed
        else {
            return failed;
        };
        let edit = {
            let target = directory::load(&self.below, volume, ends.target.number).await;
            let target = target.map_err(|_| Failure {
                error,
                is_undone: false,
            })?;
            let index = target.index()?;
            let found = index.find(ends.name).ok_or(Failure {
                error,
                is_undone: false,
            })?;
            let mut edit = index.edit(found.position)?;
            match ends.replaced {
                None => edit.remove(found.position)?,
                Some(replaced) => edit.replace(found.position, replaced.number, replaced.kind)?,
            }
            edit
        };
        let undone = self
            .apply(volume, &ends.target, edit, before.modified_ns)
            .await;
        if undone.is_ok() && before.changed_ns != before.modified_ns {
            self.lower_links(volume, &ends.target_inode, 0, before.changed_ns)
                .await;
        }
        Err(Failure {
            error,
            is_undone: undone.is_ok(),
        })
    }

    /// Removes the old name. It is where it was: entries do not move.
    async fn write_source(&self, volume: &Volume, ends: &Ends<'_>, now_ns: u64) -> Made {
        let mut edit = ends.source.index()?.edit(ends.moved.position)?;
        edit.remove(ends.moved.position)?;
        self.apply(volume, &ends.source, edit, now_ns).await
    }

    /// Makes `..` of a directory mean another parent. What it holds has not changed, so its time of
    /// change stays.
    async fn write_parent(
        &self,
        volume: &Volume,
        ends: &Ends<'_>,
        parent: FileNumber,
        attributes: &Attributes,
    ) -> Made {
        let directory = directory::load(&self.below, volume, ends.moved.number).await?;
        let mut edit = directory.index()?.edit(0)?;
        edit.set_parent(parent);
        self.apply(volume, &directory, edit, attributes.modified_ns)
            .await
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
