//! All that a file system holds below a directory, read once, to be compared with what it may hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use storage::{
    Error,
    buffer::Sink,
    vfs::{FileSystem, Kind, OpenFlags, Stat},
};

use crate::{
    compare::{Description, describe, different_bytes, entries},
    model::{Body, Model, Node},
};

/// What has a name.
#[derive(Clone, Debug)]
struct Entry {
    stat: Stat,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    File(Rc<Vec<u8>>),
    Link(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Kind>),
}

/// A directory and everything in it, by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// The path of a name in a directory.
fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if path == b"/" { b"" } else { b"/" };
    [path, separator, name].concat()
}

impl Tree {
    /// Reads everything; an error comes with the path.
    pub async fn read<F: FileSystem>(system: &F, top: &[u8]) -> Result<Self, (String, Error)> {
        let mut tree = Self::default();
        let mut left = vec![top.to_vec()];
        while let Some(path) = left.pop() {
            let failed = |error| (path.escape_ascii().to_string(), error);
            let stat = system.stat(&path, false).await.map_err(failed)?;
            let content = match stat.kind() {
                Kind::File => {
                    let bytes = contents(system, &path, stat.size).await;
                    Content::File(Rc::new(bytes.map_err(failed)?))
                }
                Kind::Link => {
                    let mut target = vec![0; stat.size as usize + 1];
                    let read = system.readlink(&path, Sink::local(&mut target)).await;
                    target.truncate(read.map_err(failed)?);
                    Content::Link(target)
                }
                Kind::Directory => {
                    let names = entries(system, &path).await.map_err(failed)?;
                    left.extend(names.keys().map(|name| join(&path, name)));
                    let kinds = names.into_iter().map(|(name, (_, kind))| (name, kind));
                    Content::Directory(kinds.collect())
                }
            };
            tree.entries.insert(path, Entry { stat, content });
        }
        Ok(tree)
    }

    /// The first difference from what the model has below `top`, if there is one.
    #[must_use]
    pub fn difference(&self, model: &Model, top: &[u8]) -> Option<String> {
        let mut inodes = BTreeMap::new();
        let Ok(root) = model.stat(top, false) else {
            return Some(format!("{}: is there", top.escape_ascii()));
        };
        let mut left = vec![(top.to_vec(), root)];
        while let Some((path, number)) = left.pop() {
            let node = model.node(number);
            let at = path.escape_ascii();
            let Some(entry) = self.entries.get(&path) else {
                return Some(format!("{at}: is missing"));
            };
            let is_root = number == model.root();
            if let Some(difference) = entry.difference(model, node, is_root) {
                return Some(format!("{at}: {difference}"));
            }
            // Two names of one file are two names of one inode, and of no other.
            if *inodes.entry(number).or_insert(entry.stat.inode) != entry.stat.inode {
                return Some(format!("{at}: another inode than under its other name"));
            }
            if let Body::Directory(names, _) = &node.body {
                left.extend(names.iter().map(|(name, &it)| (join(&path, name), it)));
            }
        }
        let distinct: BTreeSet<_> = inodes.values().collect();
        (distinct.len() < inodes.len()).then(|| "two files with one inode number".into())
    }
}

impl Entry {
    fn difference(&self, model: &Model, node: &Node, is_root: bool) -> Option<String> {
        let mut expected = describe(node);
        // The root's times are those of the format until something changes in it.
        if is_root && expected.changed == 0 {
            (expected.modified, expected.changed) = (self.stat.modified_ns, self.stat.changed_ns);
        }
        let found = Description::from(&self.stat);
        if found != expected {
            return Some(format!("{found:?} instead of {expected:?}"));
        }
        match (&self.content, &node.body) {
            (Content::File(found), Body::File(bytes)) if found == bytes => None,
            (Content::File(found), Body::File(bytes)) => {
                let lengths = || format!("{} bytes instead of {}", found.len(), bytes.len());
                different_bytes(found, bytes).or_else(|| Some(lengths()))
            }
            (Content::Link(found), Body::Link(target)) => (found != target).then(|| {
                let (found, target) = (found.escape_ascii(), target.escape_ascii());
                format!("leads to {found} instead of {target}")
            }),
            (Content::Directory(found), Body::Directory(names, _)) => {
                let kinds = names
                    .iter()
                    .map(|(name, it)| (name, model.node(*it).kind()));
                let same = found.iter().map(|(name, kind)| (name, *kind)).eq(kinds);
                let show = |names: &mut dyn Iterator<Item = &Vec<u8>>| -> Vec<String> {
                    names.map(|name| name.escape_ascii().to_string()).collect()
                };
                (!same).then(|| {
                    let (found, expected) = (show(&mut found.keys()), show(&mut names.keys()));
                    format!("holds {found:?} instead of {expected:?}")
                })
            }
            _ => Some("is of another kind".into()),
        }
    }
}

async fn contents<F: FileSystem>(system: &F, path: &[u8], size: u64) -> storage::Result<Vec<u8>> {
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
