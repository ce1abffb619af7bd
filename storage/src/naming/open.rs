//! Opening, creating and closing files.

use alloc::rc::Rc;

use super::{
    Naming,
    descriptors::{ClientId, OpenFile, Reservation},
    directory::{self, Found},
    kind_of,
    path::{LastLink, Walked},
    volume::Volume,
};
use crate::{
    Error, Result,
    clock::Clock,
    file::FileService,
    vfs::{Descriptor, Kind, OpenFlags},
};

impl<F: FileService, C: Clock> Naming<F, C> {
    pub(super) async fn open(
        &self,
        volume: &Rc<Volume>,
        client: ClientId,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<Descriptor> {
        check_flags(flags)?;
        // From here on there can be no format.
        let reservation = Reservation::new(&self.descriptors, client, self.journal.tag())?;
        if !self.is_current(volume) {
            return Err(Error::Busy);
        }
        let file = if flags.contains(OpenFlags::CREATE) {
            self.open_or_create(volume, path, flags, mode).await
        } else {
            self.open_existing(volume, path, flags).await
        };
        file.and_then(|file| reservation.install(Rc::new(file)))
    }

    async fn open_existing(
        &self,
        volume: &Rc<Volume>,
        path: &[u8],
        flags: OpenFlags,
    ) -> Result<OpenFile> {
        let _change = match flags.contains(OpenFlags::TRUNCATE) {
            true => Some(self.change(volume).await?),
            false => None,
        };
        let walked = self.walk(volume, path, last_link(flags)).await?;
        self.open_found(volume, walked.existing()?, flags).await
    }

    /// Nothing may come between the lookup and this: from its first line on the file is held.
    async fn open_found(
        &self,
        volume: &Rc<Volume>,
        found: Found,
        flags: OpenFlags,
    ) -> Result<OpenFile> {
        let file = OpenFile::new(volume, volume.inode(found.number)?, flags);
        match found.kind {
            Kind::Link if flags.contains(OpenFlags::DIRECTORY) => return Err(Error::NotADirectory),
            Kind::Link => return Err(Error::TooManyLinks),
            Kind::File if flags.contains(OpenFlags::DIRECTORY) => return Err(Error::NotADirectory),
            Kind::Directory if flags.intersects(OpenFlags::WRITE | OpenFlags::CREATE) => {
                return Err(Error::IsADirectory);
            }
            Kind::File | Kind::Directory => {}
        }
        let attributes = file.inode.attributes(&self.below).await?;
        if kind_of(&attributes) != found.kind {
            return Err(Error::Corrupt);
        }
        file.is_directory.set(found.kind == Kind::Directory);
        if flags.contains(OpenFlags::TRUNCATE) {
            // Cut once more, if it is opened once more.
            self.truncate_inode(volume, &file.inode, 0, |_| {}).await?;
        }
        Ok(file)
    }

    async fn open_or_create(
        &self,
        volume: &Rc<Volume>,
        path: &[u8],
        flags: OpenFlags,
        mode: u32,
    ) -> Result<OpenFile> {
        let exclusive = flags.contains(OpenFlags::EXCLUSIVE);
        let last_link = if exclusive {
            LastLink::Name
        } else {
            last_link(flags)
        };
        self.change_names(volume, async || {
            let walked = self.walk(volume, path, last_link).await?;
            match walked.found {
                Some(_) if exclusive => Err(Error::Exists),
                Some(_) => self.open_found(volume, walked.existing()?, flags).await,
                None if walked.slash => Err(Error::IsADirectory),
                None => self.create_file(volume, &walked, flags, mode).await,
            }
        })
        .await
    }

    async fn create_file(
        &self,
        volume: &Rc<Volume>,
        walked: &Walked,
        flags: OpenFlags,
        mode: u32,
    ) -> Result<OpenFile> {
        let name = walked.vacant(Kind::File)?;
        let parent = directory::load(&self.below, volume, walked.parent).await?;
        let now = self.now_ns();
        let inode = self.new_inode(volume, Kind::File, mode, now).await?;
        // Open before it has a name: whoever removes the name at once must not delete the file.
        let file = OpenFile::new(volume, inode, flags);
        self.name_new(volume, &parent, name, file.inode.clone(), Kind::File, now)
            .await?;
        Ok(file)
    }
}

fn last_link(flags: OpenFlags) -> LastLink {
    if flags.contains(OpenFlags::NO_FOLLOW) {
        LastLink::Keep
    } else {
        LastLink::Follow
    }
}

/// Combinations that POSIX leaves open are errors rather than surprises.
fn check_flags(flags: OpenFlags) -> Result<()> {
    let truncates_unwritable =
        flags.contains(OpenFlags::TRUNCATE) && !flags.contains(OpenFlags::WRITE);
    let creates_directory = flags.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY);
    if truncates_unwritable || creates_directory {
        Err(Error::BadArgument)
    } else {
        Ok(())
    }
}
