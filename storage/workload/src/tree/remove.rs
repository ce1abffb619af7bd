//! Removes a file or a tree.

use storage::{
    Result,
    vfs::{FileSystem, Kind},
};

use super::{join, walk};
use crate::Go;

/// Removes `path` and, if it is a directory, everything below it; symbolic links are not followed.
/// `progress` is called with every path before it goes; told to stop, it leaves the rest.
///
/// Errors: those of `stat`, walking, `unlink` and `rmdir`.
pub async fn remove<F: FileSystem>(
    system: &F,
    path: &[u8],
    progress: &mut dyn FnMut(&[u8]) -> Go,
) -> Result<Go> {
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
