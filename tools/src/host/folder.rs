//! Temporary folders that cannot outlive `galago`: they go when they are dropped, and on a signal.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::processes;

/// Most bytes in the path of a folder for sockets: the host takes socket paths of 107.
const SOCKET_FOLDER_BYTES_MAX: usize = 90;

/// A temporary folder, for one run of one thing.
#[derive(Debug)]
pub struct TempFolder {
    folder: tempfile::TempDir,
}

impl TempFolder {
    /// A new folder in `parent`, which is made if it is missing; its name begins with `prefix`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(parent: &Path, prefix: &str) -> Result<Self> {
        let made = std::fs::create_dir_all(parent)
            .and_then(|()| tempfile::Builder::new().prefix(prefix).tempdir_in(parent));
        let folder = made
            .with_context(|| format!("cannot make a temporary folder in {}", parent.display()))?;
        processes::remember_folder(folder.path());
        Ok(Self { folder })
    }

    /// A new folder whose path is short enough for sockets: among the host's temporary files, or in
    /// `/tmp` where `TMPDIR` is long.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn for_sockets() -> Result<Self> {
        let usual = std::env::temp_dir();
        let fits = usual.as_os_str().len() <= SOCKET_FOLDER_BYTES_MAX;
        Self::new(&if fits { usual } else { PathBuf::from("/tmp") }, "galago-")
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        processes::forget_folder(self.folder.path());
    }
}
