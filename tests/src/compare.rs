//! Whether a file system holds exactly what the model holds.

use std::collections::BTreeMap;

use storage::{
    Result,
    buffer::Sink,
    vfs::{Entries, FileSystem, Kind, OpenFlags, Stat},
};

use crate::{
    model::{Body, Model, Node},
    operation::same_bytes,
};

/// What of a file's attributes is compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Description {
    mode: u32,
    links: u32,
    owner: (u32, u32),
    size: Option<u64>,
    modified: u64,
    changed: u64,
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
    let mut inodes = BTreeMap::new();
    let root = model.stat(top, false);
    let root = root.unwrap_or_else(|error| panic!("{what}: the model: {error}"));
    let mut left = vec![(top.to_vec(), root)];
    while let Some((path, number)) = left.pop() {
        let node = model.node(number);
        let at = format!("{what}: {}", path.escape_ascii());
        let stat = system
            .stat(&path, false)
            .await
            .unwrap_or_else(|error| panic!("{at}: {error}"));
        // The root's times are those of the format until something changes in it.
        let mut expected = describe(node);
        if number == model.root() && expected.changed == 0 {
            (expected.modified, expected.changed) = (stat.modified_ns, stat.changed_ns);
        }
        assert_eq!(Description::from(&stat), expected, "{at}: found, expected");
        // Two names of one file are two names of one inode, and of no other.
        assert_eq!(
            *inodes.entry(number).or_insert(stat.inode),
            stat.inode,
            "{at}: inode"
        );
        match &node.body {
            Body::File(bytes) => {
                let found = contents(system, &path, stat.size).await;
                let found = found.unwrap_or_else(|error| panic!("{at}: {error}"));
                same_bytes(&found, bytes, &at);
            }
            Body::Link(target) => {
                let mut found = vec![0; target.len() + 1];
                let len = system.readlink(&path, Sink::local(&mut found)).await;
                assert_eq!(len, Ok(target.len()), "{at}: readlink");
                assert_eq!(found[..target.len()], target[..], "{at}: readlink");
            }
            Body::Directory(names, _) => {
                let found = entries(system, &path).await;
                let found = found.unwrap_or_else(|error| panic!("{at}: {error}"));
                let kinds: BTreeMap<_, _> = found
                    .iter()
                    .map(|(name, (_, kind))| (name.clone(), *kind))
                    .collect();
                let expected = names
                    .iter()
                    .map(|(name, it)| (name.clone(), model.node(*it).kind()));
                assert_eq!(kinds, expected.collect(), "{at}: names, found and expected");
                for (name, child) in names {
                    let separator: &[u8] = if path == b"/" { b"" } else { b"/" };
                    left.push(([&path, separator, name].concat(), *child));
                }
            }
        }
    }
    let distinct: std::collections::BTreeSet<_> = inodes.values().collect();
    assert_eq!(
        distinct.len(),
        inodes.len(),
        "{what}: two files with one inode number"
    );
}

async fn contents<F: FileSystem>(system: &F, path: &[u8], size: u64) -> Result<Vec<u8>> {
    let descriptor = system.open(path, OpenFlags::READ, 0).await?;
    let mut bytes = vec![0xee; size as usize + 1];
    let mut len = 0;
    while len < bytes.len() {
        let read = system
            .read(descriptor, None, Sink::local(&mut bytes[len..]))
            .await?;
        if read == 0 {
            break;
        }
        len += read;
    }
    bytes.truncate(len);
    system.close(descriptor).await?;
    Ok(bytes)
}
