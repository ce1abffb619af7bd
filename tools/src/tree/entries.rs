//! The entries of a tree: read from the host's files, or made up from a seed.

use std::collections::BTreeMap;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link and where it points.
    Link(Vec<u8>),
}

/// One entry of a tree.
pub type Entry<'a> = (&'a [u8], &'a Content);

/// Entries by path, relative to the tree's root, without leading or trailing slash. Sorted by the paths'
/// bytes. The directories on the way to an entry are always there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<Vec<u8>, Content>,
}

impl Tree {
    /// The project's own source: what git tracks, or without git everything but `target`, `.git` and
    /// images.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn of_source(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        for path in tracked(root).map_or_else(|| walk(root), Ok)? {
            tree.read(root, &path)?;
        }
        Ok(tree)
    }

    /// Adds an entry, and the directories on the way to it.
    pub fn insert(&mut self, path: &[u8], content: Content) {
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            self.entries
                .entry(path[..end].to_vec())
                .or_insert(Content::Directory);
        }
        self.entries.insert(path.to_vec(), content);
    }

    /// All entries, sorted by the bytes of their paths.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries
            .iter()
            .map(|(path, content)| (path.as_slice(), content))
    }

    /// How many files there are, and their bytes.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        let files = self.entries.values().filter_map(|content| match content {
            Content::File { bytes, .. } => Some(bytes.len() as u64),
            _ => None,
        });
        files.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    fn read(&mut self, root: &Path, path: &Path) -> Result<()> {
        let full = root.join(path);
        let shown = || full.display().to_string();
        // A file that git tracks may have been removed since.
        let Ok(data) = full.symlink_metadata() else {
            return Ok(());
        };
        let content = if data.is_symlink() {
            Content::Link(
                std::fs::read_link(&full)
                    .with_context(shown)?
                    .into_os_string()
                    .into_vec(),
            )
        } else if data.is_file() {
            Content::File {
                bytes: std::fs::read(&full).with_context(shown)?,
                executable: data.permissions().mode() & 0o100 != 0,
            }
        } else {
            return Ok(());
        };
        self.insert(path.as_os_str().as_bytes(), content);
        Ok(())
    }
}

/// What git tracks, or nothing without git.
fn tracked(root: &Path) -> Option<Vec<PathBuf>> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .ok()
        .filter(|output| output.status.success() && !output.stdout.is_empty())?;
    let names = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    Some(
        names
            .map(|name| std::ffi::OsStr::from_bytes(name).into())
            .collect(),
    )
}

/// Files and links below `root`, but for `target`, `.git` and images.
fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = root.join(&folder);
        for entry in std::fs::read_dir(&full).with_context(|| full.display().to_string())? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let skipped = path == Path::new("target")
                || path == Path::new(".git")
                || path.extension().is_some_and(|extension| extension == "img");
            if skipped {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(path)
            } else {
                found.push(path)
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_a_tree_is_read_without_what_was_built() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir_all(root.join("target/debug")).expect("made");
        std::fs::create_dir_all(root.join("src/sub")).expect("made");
        std::fs::write(root.join("target/debug/x"), "built").expect("written");
        std::fs::write(root.join("src/sub/main.rs"), "fn main() {}").expect("written");
        std::os::unix::fs::symlink("sub/main.rs", root.join("src/link")).expect("linked");
        let mut tree = Tree::default();
        for path in walk(root).expect("walked") {
            tree.read(root, &path).expect("read");
        }
        let names: Vec<&[u8]> = tree.entries().map(|(path, _)| path).collect();
        let expected: [&[u8]; 4] = [b"src", b"src/link", b"src/sub", b"src/sub/main.rs"];
        assert_eq!(names, expected);
        assert_eq!(tree.size(), (1, 12));
    }
}
