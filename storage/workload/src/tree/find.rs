//! The paths of files that are known by number only: directories know names and numbers, files know
//! neither who names them nor where. So the tree is walked until all are found.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

use storage::{
    Error, Result,
    vfs::{FileSystem, Kind},
};

use super::{join, list};

/// Directories that are looked into.
const DIRECTORIES_MAX: usize = 100_000;
/// Directories that cannot be read and are told.
const UNREADABLE_MAX: usize = 16;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// A path for each number that has one; of several names the first that is met.
    pub paths: BTreeMap<u64, Vec<u8>>,
    /// Directories that cannot be read: what is below them may have been meant.
    pub unreadable: Vec<Vec<u8>>,
    /// There are more directories than are looked into.
    pub gave_up: bool,
}

/// Looks for the files of these inode numbers below the root. Directories that cannot be read are left out.
///
/// Errors: those of `stat` of the root; those of listing that are over when it is tried again.
pub async fn find<F: FileSystem>(system: &F, numbers: &BTreeSet<u64>) -> Result<Found> {
    let mut found = Found::default();
    let root = system.stat(b"/", false).await?.inode;
    if numbers.contains(&root) {
        found.paths.insert(root, b"/".to_vec());
    }
    let mut directories = vec![b"/".to_vec()];
    let mut looked_into = 0;
    while let Some(directory) = directories.pop() {
        if found.paths.len() == numbers.len() {
            break;
        }
        if looked_into == DIRECTORIES_MAX {
            found.gave_up = true;
            break;
        }
        looked_into += 1;
        let entries = match list(system, &directory).await {
            Ok(entries) => entries,
            Err(Error::Corrupt | Error::Device) => {
                if found.unreadable.len() < UNREADABLE_MAX {
                    found.unreadable.push(directory);
                }
                continue;
            }
            // It went away in the meantime.
            Err(Error::NotFound | Error::NotADirectory) => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = join(&directory, &entry.name);
            if numbers.contains(&entry.inode) {
                found
                    .paths
                    .entry(entry.inode)
                    .or_insert_with(|| path.clone());
            }
            if entry.kind == Kind::Directory && directories.len() < DIRECTORIES_MAX {
                directories.push(path);
            }
        }
    }
    Ok(found)
}
