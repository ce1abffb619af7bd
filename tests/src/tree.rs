//! All that a file system holds below a directory, read once, to be compared with what it may hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use storage::{
    BLOCK_BYTES, Error,
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
    File(File),
    Link(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Kind>),
}

/// What was read of a file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its bytes; zeros where they could not be read.
    pub bytes: Rc<Vec<u8>>,
    /// The blocks that could not be read.
    pub unreadable: BTreeSet<u64>,
}

/// A directory and everything in it, by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// What could not be read, with everything below it.
    lost: BTreeMap<Vec<u8>, Error>,
}

/// The path of a name in a directory.
fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if path == b"/" { b"" } else { b"/" };
    [path, separator, name].concat()
}

/// Decides what a file may hold: of the node of this number, what was found, and what the model has;
/// returns the difference.
pub type Judge<'a> = dyn Fn(u64, &File, &[u8]) -> Option<String> + 'a;

impl Tree {
    /// Reads everything; an error comes with the path.
    pub async fn read<F: FileSystem>(system: &F, top: &[u8]) -> Result<Self, (String, Error)> {
        let tree = Self::read_what_can_be(system, top).await;
        match tree.lost.first_key_value() {
            None => Ok(tree),
            Some((path, &error)) => Err((path.escape_ascii().to_string(), error)),
        }
    }

    /// Reads what can be read, and takes note of what cannot. Of a directory that is not there nothing is.
    pub async fn read_what_can_be<F: FileSystem>(system: &F, top: &[u8]) -> Self {
        let mut tree = Self::default();
        let mut left = vec![top.to_vec()];
        while let Some(path) = left.pop() {
            match Entry::read(system, &path).await {
                Ok(entry) => {
                    if let Content::Directory(names) = &entry.content {
                        left.extend(names.keys().map(|name| join(&path, name)));
                    }
                    tree.entries.insert(path, entry);
                }
                Err(Error::NotFound) if path == top => {}
                Err(error) => {
                    tree.lost.insert(path, error);
                }
            }
        }
        tree
    }

    /// What a system would show that holds what the model has below a directory: for tests of those who judge trees.
    #[must_use]
    pub fn of(model: &Model, top: &[u8]) -> Self {
        let mut tree = Self::default();
        let mut left: Vec<_> = model.stat(top, false).ok().into_iter().collect();
        let mut paths = vec![top.to_vec()];
        while let (Some(number), Some(path)) = (left.pop(), paths.pop()) {
            let node = model.node(number);
            let content = match &node.body {
                Body::File(bytes) => Content::File(File {
                    bytes: bytes.clone(),
                    unreadable: BTreeSet::new(),
                }),
                Body::Link(target) => Content::Link(target.clone()),
                Body::Directory(names, _) => {
                    left.extend(names.values());
                    paths.extend(names.keys().map(|name| join(&path, name)));
                    let kind =
                        |(name, it): (&Vec<u8>, &u64)| (name.clone(), model.node(*it).kind());
                    Content::Directory(names.iter().map(kind).collect())
                }
            };
            let type_of = match content {
                Content::File(_) => 0o100_000,
                Content::Directory(_) => 0o040_000,
                Content::Link(_) => 0o120_000,
            };
            let stat = Stat {
                inode: number,
                mode: type_of | node.mode,
                links: node.links,
                uid: node.uid,
                gid: node.gid,
                size: node.size().unwrap_or(0),
                blocks: 0,
                accessed_ns: 0,
                modified_ns: node.modified,
                changed_ns: node.changed,
            };
            tree.entries.insert(path, Entry { stat, content });
        }
        tree
    }

    /// The same tree, of which a name and what is below it cannot be read.
    #[must_use]
    pub fn without(mut self, path: &[u8], error: Error) -> Self {
        self.entries.retain(|it, _| !it.starts_with(path));
        self.lost.insert(path.to_vec(), error);
        self
    }

    /// The same tree with another block in a file; without contents the block cannot be read.
    #[must_use]
    pub fn with_block(mut self, path: &[u8], block: u64, contents: Option<u8>) -> Self {
        if let Some(Content::File(file)) = self.entries.get_mut(path).map(|it| &mut it.content) {
            let bytes = Rc::make_mut(&mut file.bytes);
            let from = block as usize * BLOCK_BYTES;
            let to = bytes.len().min(from + BLOCK_BYTES);
            bytes[from..to].fill(contents.unwrap_or(0));
            if contents.is_none() {
                file.unreadable.insert(block);
            }
        }
        self
    }

    /// What could not be read, by path, with why. What is below it was not looked at.
    #[must_use]
    pub fn lost(&self) -> &BTreeMap<Vec<u8>, Error> {
        &self.lost
    }

    /// Whether all of it could be read, to the last block.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.files().all(|(_, file)| file.unreadable.is_empty())
    }

    /// The files, by path.
    pub fn files(&self) -> impl Iterator<Item = (&[u8], &File)> {
        self.entries
            .iter()
            .filter_map(|(path, entry)| match &entry.content {
                Content::File(file) => Some((&path[..], file)),
                _ => None,
            })
    }

    /// The first difference from what the model has below `top`, if there is one. Of what is lost nothing is
    /// said.
    #[must_use]
    pub fn difference(&self, model: &Model, top: &[u8]) -> Option<String> {
        self.difference_where(model, top, &|_, found, bytes| found.difference(bytes))
    }

    /// As [`Self::difference`], but what a file may hold is decided by `judge`: of the node of this
    /// number, what was found, and what the model has.
    #[must_use]
    pub fn difference_where(&self, model: &Model, top: &[u8], judge: &Judge<'_>) -> Option<String> {
        let mut inodes = BTreeMap::new();
        let Ok(root) = model.stat(top, false) else {
            let is_there = || format!("{}: is there", top.escape_ascii());
            return (!self.entries.is_empty()).then(is_there);
        };
        let mut left = vec![(top.to_vec(), root)];
        while let Some((path, number)) = left.pop() {
            let node = model.node(number);
            let at = path.escape_ascii();
            if self.lost.contains_key(&path) {
                continue;
            }
            let Some(entry) = self.entries.get(&path) else {
                return Some(format!("{at}: is missing"));
            };
            let is_root = number == model.root();
            let judge = |found: &File, bytes: &[u8]| judge(number, found, bytes);
            if let Some(difference) = entry.difference(model, node, is_root, &judge) {
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
    async fn read<F: FileSystem>(system: &F, path: &[u8]) -> storage::Result<Self> {
        let stat = system.stat(path, false).await?;
        let content = match stat.kind() {
            Kind::File => Content::File(contents(system, path, stat.size).await?),
            Kind::Link => {
                let mut target = vec![0; stat.size as usize + 1];
                let read = system.readlink(path, Sink::local(&mut target)).await;
                target.truncate(read?);
                Content::Link(target)
            }
            Kind::Directory => {
                let names = entries(system, path).await?;
                let kinds = names.into_iter().map(|(name, (_, kind))| (name, kind));
                Content::Directory(kinds.collect())
            }
        };
        Ok(Self { stat, content })
    }

    fn difference(
        &self,
        model: &Model,
        node: &Node,
        is_root: bool,
        judge: &dyn Fn(&File, &[u8]) -> Option<String>,
    ) -> Option<String> {
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
            (Content::File(found), Body::File(bytes)) => judge(found, bytes),
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

impl File {
    /// The first difference from these bytes.
    #[must_use]
    pub fn difference(&self, bytes: &[u8]) -> Option<String> {
        if let Some(block) = self.unreadable.first() {
            return Some(format!("block {block} cannot be read"));
        }
        self.difference_where_readable(bytes)
    }

    /// The first difference from these bytes, but for the blocks that could not be read.
    #[must_use]
    pub fn difference_where_readable(&self, bytes: &[u8]) -> Option<String> {
        let mut expected = bytes.to_vec();
        for &block in &self.unreadable {
            let from = expected.len().min(block as usize * BLOCK_BYTES);
            let to = expected.len().min(from + BLOCK_BYTES);
            expected[from..to].fill(0);
        }
        let bytes = &expected;
        if *self.bytes == *bytes {
            return None;
        }
        let lengths = || format!("{} bytes instead of {}", self.bytes.len(), bytes.len());
        different_bytes(&self.bytes, bytes).or_else(|| Some(lengths()))
    }
}

async fn contents<F: FileSystem>(system: &F, path: &[u8], size: u64) -> storage::Result<File> {
    let descriptor = system.open(path, OpenFlags::READ, 0).await?;
    let mut bytes = vec![0xee; size as usize + 1];
    let mut unreadable = BTreeSet::new();
    let (mut len, mut step) = (0, bytes.len());
    while len < bytes.len() {
        let end = bytes.len().min(len + step - len % step);
        let into = Sink::local(&mut bytes[len..end]);
        match system.read(descriptor, Some(len as u64), into).await {
            Ok(0) => break,
            Ok(read) => len += read,
            // Which block it is shows block by block.
            Err(Error::Corrupt) if step > BLOCK_BYTES => step = BLOCK_BYTES,
            Err(Error::Corrupt) => {
                unreadable.insert((len / BLOCK_BYTES) as u64);
                let end = end.min(size as usize);
                bytes[len..end].fill(0);
                len = end;
                if len == size as usize {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(len);
    system.close(descriptor).await?;
    Ok(File {
        bytes: Rc::new(bytes),
        unreadable,
    })
}
