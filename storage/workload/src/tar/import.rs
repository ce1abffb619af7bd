//! Unpacks an archive into a directory.

use alloc::{vec, vec::Vec};

use storage::{
    Error,
    vfs::{FileSystem, Kind as FileKind, OpenFlags, SetTime},
};

use super::{Failure, Kind, Member, Reader, TarError};
use crate::{
    Go,
    stream::Read,
    tree::{CHUNK_BYTES, join, write_all},
};

/// Directories whose times are set at the end, when nothing is put into them any more; those
/// beyond keep the time of the import.
const DIRECTORIES_MAX: usize = 50_000;

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic and hard links.
    pub links: u64,
    /// Members of other kinds, passed over.
    pub skipped: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// Unpacks the archive into the directory `target`, which is made if it is missing. As `tar` does,
/// it replaces files that are there and keeps directories; modes, owners and times become those of
/// the archive. `progress` is called after every chunk and every member.
///
/// Every path stays below `target`: leading slashes go, `..` is an error, and so is a directory
/// that is a symbolic link.
pub async fn import<F: FileSystem, R: Read>(
    system: &F,
    archive: &mut Reader<R>,
    target: &[u8],
    progress: &mut dyn FnMut(&Imported, &[u8]) -> Go,
) -> Result<Imported, Failure> {
    let mut import = Import {
        system,
        target,
        imported: Imported::default(),
        parent: None,
        directories: Vec::new(),
        buffer: vec![0; CHUNK_BYTES],
        progress,
    };
    import
        .directory_chain(&[], Missing::Make)
        .await
        .map_err(|error| Failure::new(target, error))?;
    // Bounded by the archive: each round reads at least a record of it.
    while let Some(member) = archive
        .next()
        .await
        .map_err(|error| Failure::new(b"", error))?
    {
        let result = import.member(&member, archive).await;
        result.map_err(|error| Failure::new(&member.path, error))?;
    }
    import.finish().await?;
    Ok(import.imported)
}

/// What is to become of directories that are not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Fail,
}

struct Import<'a, F> {
    system: &'a F,
    target: &'a [u8],
    imported: Imported,
    /// The directory below the target that was seen last to be one.
    parent: Option<Vec<u8>>,
    directories: Vec<Member>,
    buffer: Vec<u8>,
    progress: &'a mut dyn FnMut(&Imported, &[u8]) -> Go,
}

/// The path below the target, in its simplest form; empty for the target itself.
fn safe(path: &[u8]) -> Result<Vec<u8>, TarError> {
    let mut safe = Vec::with_capacity(path.len());
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(TarError::UnsafePath),
            part => {
                if !safe.is_empty() {
                    safe.push(b'/');
                }
                safe.extend_from_slice(part);
            }
        }
    }
    Ok(safe)
}

impl<F: FileSystem> Import<'_, F> {
    async fn member<R: Read>(
        &mut self,
        member: &Member,
        archive: &mut Reader<R>,
    ) -> Result<(), TarError> {
        let path = safe(&member.path)?;
        let whole = join(self.target, &path);
        match member.kind {
            Kind::Directory => {
                self.directory_chain(&path, Missing::Make).await?;
                self.imported.directories += 1;
                if self.directories.len() < DIRECTORIES_MAX {
                    self.directories.push(Member {
                        path: whole,
                        ..member.clone()
                    });
                }
            }
            Kind::Other(_) => self.imported.skipped += 1,
            _ if path.is_empty() => return Err(TarError::UnsafePath),
            Kind::File => {
                self.parent_of(&path, Missing::Make).await?;
                self.file(member, &whole, archive).await?;
                self.imported.files += 1;
            }
            Kind::Symlink => {
                self.parent_of(&path, Missing::Make).await?;
                match self.system.symlink(&member.link, &whole).await {
                    Err(Error::Exists) => {
                        self.system.unlink(&whole).await?;
                        self.system.symlink(&member.link, &whole).await?;
                    }
                    result => result?,
                }
                self.imported.links += 1;
            }
            Kind::HardLink => {
                self.parent_of(&path, Missing::Make).await?;
                self.hard_link(member, &whole).await?;
                self.imported.links += 1;
            }
        }
        self.tell(&member.path)
    }

    fn tell(&mut self, path: &[u8]) -> Result<(), TarError> {
        match (self.progress)(&self.imported, path) {
            Go::On => Ok(()),
            Go::Stop => Err(TarError::Stopped),
        }
    }

    async fn parent_of(&mut self, path: &[u8], missing: Missing) -> Result<(), TarError> {
        let slash = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        self.directory_chain(&path[..slash], missing).await
    }

    /// Makes sure that the path and all above it, up to the target, are directories.
    async fn directory_chain(&mut self, path: &[u8], missing: Missing) -> Result<(), TarError> {
        if self.parent.as_deref() == Some(path) {
            return Ok(());
        }
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(end, _)| end);
        for end in core::iter::once(0).chain(ends).chain([path.len()]) {
            let whole = join(self.target, &path[..end]);
            // The target itself may be reached through a symbolic link: that is the user's.
            match self.system.stat(&whole, end == 0).await {
                Ok(stat) if stat.kind() == FileKind::Directory => {}
                Ok(stat) if stat.kind() == FileKind::Link => return Err(TarError::UnsafePath),
                Ok(_) => return Err(Error::NotADirectory.into()),
                Err(Error::NotFound) if missing == Missing::Make => {
                    self.system.mkdir(&whole, 0o755).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.parent = Some(path.to_vec());
        Ok(())
    }

    async fn file<R: Read>(
        &mut self,
        member: &Member,
        whole: &[u8],
        archive: &mut Reader<R>,
    ) -> Result<(), TarError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        let descriptor = match self.system.open(whole, flags, member.mode).await {
            Err(Error::Exists) => {
                self.system.unlink(whole).await?;
                self.system.open(whole, flags, member.mode).await?
            }
            result => result?,
        };
        let mut offset = 0;
        let result = loop {
            // Fill the chunk, so that the file is written in few and large calls.
            let mut filled = 0;
            let result = loop {
                match archive.read(&mut self.buffer[filled..]).await {
                    Ok(0) => break Ok(()),
                    Ok(len) => filled += len,
                    Err(error) => break Err(error),
                }
            };
            if result.is_err() || filled == 0 {
                break result;
            }
            let chunk = &self.buffer[..filled];
            if let Err(error) = write_all(self.system, descriptor, Some(offset), chunk).await {
                break Err(error.into());
            }
            offset += filled as u64;
            self.imported.bytes += filled as u64;
            if let Err(error) = self.tell(&member.path) {
                break Err(error);
            }
        };
        let closed = self.system.close(descriptor).await;
        result?;
        closed?;
        self.owner_and_time(member, whole).await
    }

    async fn hard_link(&mut self, member: &Member, whole: &[u8]) -> Result<(), TarError> {
        // What is linked to must lie below the target as much as the link: not behind a symbolic
        // link that leads out of it.
        let from = safe(&member.link)?;
        self.parent_of(&from, Missing::Fail).await?;
        let from = join(self.target, &from);
        match self.system.link(&from, whole).await {
            Err(Error::Exists) => {
                self.system.unlink(whole).await?;
                Ok(self.system.link(&from, whole).await?)
            }
            result => Ok(result?),
        }
    }

    async fn owner_and_time(&self, member: &Member, whole: &[u8]) -> Result<(), TarError> {
        if (member.uid, member.gid) != (0, 0) {
            self.system.chown(whole, member.uid, member.gid).await?;
        }
        let time = SetTime::At(member.modified_ns);
        Ok(self.system.utimes(whole, SetTime::Keep, time).await?)
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        // In order, so that of a directory named twice the last mention holds, as for files.
        for directory in core::mem::take(&mut self.directories) {
            let path = &directory.path;
            let mode = self.system.chmod(path, directory.mode).await;
            mode.map_err(|error| Failure::new(path, error))?;
            let result = self.owner_and_time(&directory, path).await;
            result.map_err(|error| Failure::new(path, error))?;
        }
        Ok(())
    }
}
