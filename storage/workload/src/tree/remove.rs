//! Removes a file or a tree.

use storage::{
    Error, Result,
    vfs::{FileSystem, Kind},
};

use super::{join, walk};
use crate::Go;

/// Whether a path ends in a name: not in `.`, `..` or nothing, which name what cannot be removed.
pub fn ends_in_name(path: &[u8]) -> bool {
    let last = path.split(|&byte| byte == b'/').rfind(|it| !it.is_empty());
    last.is_some_and(|name| name != b"." && name != b"..")
}

/// Removes `path` and, if it is a directory, everything below it; symbolic links are not followed.
/// `progress` is called with every path before it goes; told to stop, it leaves the rest.
///
/// Errors: [`Error::BadArgument`], with nothing removed, for a path that does not end in a name, as
/// POSIX has it for `rm`; else those of `stat`, walking, `unlink` and `rmdir`.
pub async fn remove<F: FileSystem>(
    system: &F,
    path: &[u8],
    progress: &mut dyn FnMut(&[u8]) -> Go,
) -> Result<Go> {
    if !ends_in_name(path) {
        return Err(Error::BadArgument);
    }
    if system.stat(path, false).await?.kind() != Kind::Directory {
        system.unlink(path).await?;
        return Ok(Go::On);
    }
    // Backwards, what is in a directory comes before it.
    for (below, kind) in walk(system, path).await?.iter().rev() {
        let whole = join(path, below);
        if progress(&whole) == Go::Stop {
            return Ok(Go::Stop);
        }
        match kind {
            Kind::Directory => system.rmdir(&whole).await?,
            _ => system.unlink(&whole).await?,
        }
    }
    system.rmdir(path).await?;
    Ok(Go::On)
}
