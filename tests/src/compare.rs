//! Whether a file system holds exactly what the model holds.

use std::collections::BTreeMap;

use storage::{
    Result,
    buffer::Sink,
    vfs::{Entries, FileSystem, Kind, OpenFlags, Stat},
};

use crate::{
    model::{Model, Node},
    tree::Tree,
};

/// What of a file's attributes is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    mode: u32,
    links: u32,
    owner: (u32, u32),
    size: Option<u64>,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

impl From<&Stat> for Description {
    fn from(stat: &Stat) -> Self {
        Self {
            mode: stat.mode,
            links: stat.links,
            owner: (stat.uid, stat.gid),
            size: (stat.kind() != Kind::Directory).then_some(stat.size),
            modified: stat.modified_ns,
            changed: stat.changed_ns,
        }
    }
}

/// The same of a node of the model.
#[must_use]
pub fn describe(node: &Node) -> Description {
    let kind = match node.kind() {
        Kind::File => 0o100_000,
        Kind::Directory => 0o040_000,
        Kind::Link => 0o120_000,
    };
    Description {
        mode: kind | node.mode,
        links: node.links,
        owner: (node.uid, node.gid),
        size: node.size(),
        modified: node.modified,
        changed: node.changed,
    }
}

/// The entries of a directory but `.` and `..`: name to inode and kind. No name twice.
pub async fn entries<F: FileSystem>(
    system: &F,
    path: &[u8],
) -> Result<BTreeMap<Vec<u8>, (u64, Kind)>> {
    let flags = OpenFlags::READ | OpenFlags::DIRECTORY;
    let descriptor = system.open(path, flags, 0).await?;
    let mut found = BTreeMap::new();
    // Small, so that a directory takes several calls.
    let mut buffer = [0; 400];
    loop {
        let len = system.readdir(descriptor, Sink::local(&mut buffer)).await?;
        if len == 0 {
            break;
        }
        for entry in Entries(&buffer[..len]) {
            let twice = found.insert(entry.name.to_vec(), (entry.inode, entry.kind));
            assert!(twice.is_none(), "{:?} twice in one directory", entry.name);
        }
    }
    system.close(descriptor).await?;
    for dots in [&b"."[..], b".."] {
        assert!(found.remove(dots).is_some(), "a directory has . and ..");
    }
    Ok(found)
}

/// Compares everything that has a name; panics, with `what`, at the first difference.
pub async fn same_tree<F: FileSystem>(system: &F, model: &Model, what: &str) {
    same_subtree(system, model, b"/", what).await;
}

/// As [`same_tree`], of a directory and everything in it.
pub async fn same_subtree<F: FileSystem>(system: &F, model: &Model, top: &[u8], what: &str) {
    let tree = Tree::read(system, top).await;
    let tree = tree.unwrap_or_else(|(path, error)| panic!("{what}: {path}: {error}"));
    if let Some(difference) = tree.difference(model, top) {
        panic!("{what}: {difference}");
    }
}

/// Where two files of one length differ: the byte, what is there, and what should be.
#[must_use]
pub fn different_bytes(found: &[u8], expected: &[u8]) -> Option<String> {
    let at = (0..found.len().min(expected.len())).find(|&at| found[at] != expected[at])?;
    let show = |bytes: &[u8]| format!("{:x?}", &bytes[at..(at + 8).min(bytes.len())]);
    let (found, expected) = (show(found), show(expected));
    Some(format!("byte {at}: {found} instead of {expected}"))
}

/// As `assert_eq`, but tells where the difference is instead of all bytes.
pub fn same_bytes(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    // The whole first: telling where costs far more.
    if found != expected
        && let Some(difference) = different_bytes(found, expected)
    {
        panic!("{what}: {difference}");
    }
}
