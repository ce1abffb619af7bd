//! Copies a file or a tree within a file system.

use alloc::vec;

use storage::{
    Error, Result,
    buffer::{Sink, Source},
    vfs::{Descriptor, FileSystem, Kind, OpenFlags},
};

use super::{CHUNK_BYTES, hash::read_link, join, walk};
use crate::Go;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files and symbolic links.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes of content.
    pub bytes: u64,
}

/// Copies `from` to the path `to`, with permissions but not owners and times; of hard links, each
/// becomes a file. A directory is copied with what is below it.
///
/// Errors: those of the calls; [`Error::BadArgument`] for a copy of a directory into itself,
/// [`Error::Busy`] if it was stopped.
pub async fn copy<F: FileSystem>(
    system: &F,
    from: &[u8],
    to: &[u8],
    progress: &mut dyn FnMut(&Copied, &[u8]) -> Go,
) -> Result<Copied> {
    let mut copied = Copied::default();
    let stat = system.stat(from, true).await?;
    if stat.kind() != Kind::Directory {
        copied.files = 1;
        copied.bytes = copy_file(system, from, to, stat.mode).await?;
        return Ok(copied);
    }
    if is_below(to, from) {
        return Err(Error::BadArgument);
    }
    let paths = walk(system, from).await?;
    make_directory(system, to, stat.mode).await?;
    copied.directories = 1;
    for (path, kind) in paths.iter() {
        let (source, target) = (join(from, path), join(to, path));
        match kind {
            Kind::Directory => {
                let mode = system.stat(&source, false).await?.mode;
                make_directory(system, &target, mode).await?;
                copied.directories += 1;
            }
            Kind::Link => {
                let link = read_link(system, &source).await?;
                system.symlink(&link, &target).await?;
                copied.files += 1;
            }
            Kind::File => {
                let mode = system.stat(&source, false).await?.mode;
                copied.bytes += copy_file(system, &source, &target, mode).await?;
                copied.files += 1;
            }
        }
        if progress(&copied, path) == Go::Stop {
            return Err(Error::Busy);
        }
    }
    Ok(copied)
}

/// Whether one path names a place in or below the other, as written.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    let parts = |path: &'_ [u8]| {
        let parts = path
            .split(|&byte| byte == b'/')
            .filter(|part| !matches!(*part, b"" | b"."));
        parts.map(<[u8]>::to_vec).collect::<vec::Vec<_>>()
    };
    parts(path).starts_with(&parts(directory))
}

async fn make_directory<F: FileSystem>(system: &F, path: &[u8], mode: u32) -> Result<()> {
    match system.mkdir(path, mode & 0o7777).await {
        Err(Error::Exists) if system.stat(path, true).await?.kind() == Kind::Directory => Ok(()),
        result => result,
    }
}

async fn copy_file<F: FileSystem>(system: &F, from: &[u8], to: &[u8], mode: u32) -> Result<u64> {
    let source = system.open(from, OpenFlags::READ, 0).await?;
    let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let result = match same_file(system, source, to).await {
        Ok(true) => Err(Error::BadArgument),
        Err(error) => Err(error),
        Ok(false) => match system.open(to, flags, mode & 0o7777).await {
            Err(error) => Err(error),
            Ok(target) => {
                let result = copy_bytes(system, source, target).await;
                let closed = system.close(target).await;
                result.and_then(|bytes| closed.map(|()| bytes))
            }
        },
    };
    let closed = system.close(source).await;
    let bytes = result?;
    closed?;
    Ok(bytes)
}

async fn same_file<F: FileSystem>(system: &F, open: Descriptor, path: &[u8]) -> Result<bool> {
    match system.stat(path, true).await {
        Ok(stat) => Ok(stat.inode == system.fstat(open).await?.inode),
        Err(Error::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn copy_bytes<F: FileSystem>(system: &F, from: Descriptor, to: Descriptor) -> Result<u64> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let len = system
            .read(from, Some(bytes), Sink::local(&mut buffer))
            .await?;
        if len == 0 {
            return Ok(bytes);
        }
        let chunk = buffer.get(..len).ok_or(Error::Protocol)?;
        write_all(system, to, Some(bytes), chunk).await?;
        bytes += len as u64;
    }
}

/// Writes all of `data` at `offset`, or where the descriptor is; [`Error::NoSpace`] if a write takes
/// nothing.
pub async fn write_all<F: FileSystem>(
    system: &F,
    descriptor: Descriptor,
    offset: Option<u64>,
    data: &[u8],
) -> Result<()> {
    let mut done = 0;
    while done < data.len() {
        let rest = Source::local(&data[done..]);
        match system
            .write(descriptor, offset.map(|offset| offset + done as u64), rest)
            .await?
        {
            0 => return Err(Error::NoSpace),
            count => done += count.min(data.len() - done),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_found_however_it_is_written() {
        assert!(is_below(b"/a/b", b"/a"));
        assert!(is_below(b"a//./b", b"/a/"));
        assert!(is_below(b"/a", b"a"));
        assert!(!is_below(b"/ab", b"/a"));
    }
}
