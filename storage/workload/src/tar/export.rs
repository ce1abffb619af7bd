//! Packs a file or a tree into an archive.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use storage::{
    Error,
    buffer::Sink,
    vfs::{FileSystem, Kind as FileKind, OpenFlags, Stat},
};

use super::{Failure, Kind, Member, TarError, Writer};
use crate::{
    Go,
    stream::Write,
    tree::{CHUNK_BYTES, join, read_link, walk},
};

/// Files of several names that are remembered, so that the archive holds links; those beyond are
/// packed once for each name.
const LINKED_MAX: usize = 10_000;

/// What was packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic and hard links.
    pub links: u64,
    /// Bytes of files.
    pub bytes: u64,
}

/// Packs `source`: a file under its own name, or what is below a directory under paths relative to
/// it, sorted. Does not end the archive. `progress` is called after every chunk and every member.
///
/// A file that is shorter than it was when it was begun is an error ([`Error::Busy`]).
pub async fn export<F: FileSystem, W: Write>(
    system: &F,
    source: &[u8],
    archive: &mut Writer<W>,
    progress: &mut dyn FnMut(&Exported, &[u8]) -> Go,
) -> Result<Exported, Failure> {
    let mut export = Export {
        system,
        archive,
        exported: Exported::default(),
        linked: BTreeMap::new(),
        buffer: vec![0; CHUNK_BYTES],
        progress,
    };
    let stat = system
        .stat(source, true)
        .await
        .map_err(|error| Failure::new(source, error))?;
    if stat.kind() == FileKind::Directory {
        let paths = walk(system, source)
            .await
            .map_err(|error| Failure::new(source, error))?;
        for (path, _) in paths.iter() {
            let result = export.member(&join(source, path), path).await;
            result.map_err(|error| Failure::new(path, error))?;
        }
    } else {
        let slash = source
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1);
        let name = &source[slash..];
        export
            .member(source, name)
            .await
            .map_err(|error| Failure::new(source, error))?;
    }
    Ok(export.exported)
}

struct Export<'a, F, W> {
    system: &'a F,
    archive: &'a mut Writer<W>,
    exported: Exported,
    /// Inode numbers of files with several names, and the first.
    linked: BTreeMap<u64, Vec<u8>>,
    buffer: Vec<u8>,
    progress: &'a mut dyn FnMut(&Exported, &[u8]) -> Go,
}

impl<F: FileSystem, W: Write> Export<'_, F, W> {
    async fn member(&mut self, whole: &[u8], path: &[u8]) -> Result<(), TarError> {
        let stat = self.system.stat(whole, false).await?;
        let mut member = Member {
            path: path.to_vec(),
            kind: Kind::File,
            link: Vec::new(),
            mode: stat.mode & 0o7777,
            uid: stat.uid,
            gid: stat.gid,
            size: 0,
            modified_ns: stat.modified_ns,
        };
        match stat.kind() {
            FileKind::Directory => {
                member.kind = Kind::Directory;
                self.exported.directories += 1;
                self.archive.begin(&member).await?;
            }
            FileKind::Link => {
                member.kind = Kind::Symlink;
                member.link = read_link(self.system, whole).await?;
                self.exported.links += 1;
                self.archive.begin(&member).await?;
            }
            FileKind::File => match self.first_name(&stat, path) {
                Some(first) => {
                    member.kind = Kind::HardLink;
                    member.link = first;
                    self.exported.links += 1;
                    self.archive.begin(&member).await?;
                }
                None => {
                    member.size = stat.size;
                    self.archive.begin(&member).await?;
                    self.data(whole, path, stat.size).await?;
                    self.exported.files += 1;
                }
            },
        }
        self.tell(path)
    }

    /// The name under which the file was packed before; else this one is remembered.
    fn first_name(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.links < 2 {
            return None;
        }
        let first = self.linked.get(&stat.inode).cloned();
        if first.is_none() && self.linked.len() < LINKED_MAX {
            self.linked.insert(stat.inode, path.to_vec());
        }
        first
    }

    fn tell(&mut self, path: &[u8]) -> Result<(), TarError> {
        match (self.progress)(&self.exported, path) {
            Go::On => Ok(()),
            Go::Stop => Err(TarError::Stopped),
        }
    }

    async fn data(&mut self, whole: &[u8], path: &[u8], size: u64) -> Result<(), TarError> {
        let descriptor = self.system.open(whole, OpenFlags::READ, 0).await?;
        let mut offset = 0;
        let result = loop {
            let want = (size - offset).min(self.buffer.len() as u64) as usize;
            if want == 0 {
                break Ok(());
            }
            let sink = Sink::local(&mut self.buffer[..want]);
            let len = match self.system.read(descriptor, Some(offset), sink).await {
                Ok(0) => break Err(Error::Busy.into()),
                Ok(len) => len.min(want),
                Err(error) => break Err(error.into()),
            };
            if let Err(error) = self.archive.data(&self.buffer[..len]).await {
                break Err(error);
            }
            offset += len as u64;
            self.exported.bytes += len as u64;
            if let Err(error) = self.tell(path) {
                break Err(error);
            }
        };
        let closed = self.system.close(descriptor).await;
        result?;
        Ok(closed?)
    }
}
