//! A POSIX file system in its simplest form: the oracle that the stack is compared with.
//!
//! It is written from POSIX, as Linux reads it, and shares nothing with the stack but the names of
//! the errors and flags. Nodes are in a map by number; nothing is ever written anywhere.

mod open;
mod paths;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, rc::Rc};

use storage::{Error, vfs::Kind};

use self::{open::Open, paths::Place};

type Result<T> = std::result::Result<T, Error>;

const ROOT: u64 = 1;

/// What a file is.
#[derive(Clone, Debug)]
pub enum Body {
    /// Its contents.
    File(Rc<Vec<u8>>),
    /// Its names, and the directory above.
    Directory(BTreeMap<Vec<u8>, u64>, u64),
    /// What it points to.
    Link(Vec<u8>),
}

/// A file, a directory or a symbolic link.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub body: Body,
    /// Permissions, without the type.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names, of a directory also `.` and each child's `..`.
    pub links: u32,
    /// Last change of the data.
    pub modified: u64,
    /// Last change of the attributes.
    pub changed: u64,
}

impl Node {
    /// What kind of file it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::File(_) => Kind::File,
            Body::Directory(..) => Kind::Directory,
            Body::Link(_) => Kind::Link,
        }
    }

    /// Its length, except that a directory's is its own affair.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        match &self.body {
            Body::File(bytes) => Some(bytes.len() as u64),
            Body::Directory(..) => None,
            Body::Link(target) => Some(target.len() as u64),
        }
    }
}

/// The whole file system.
#[derive(Clone, Debug)]
pub struct Model {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    open: BTreeMap<u32, Open>,
    now: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// An empty root directory.
    #[must_use]
    pub fn new() -> Self {
        let body = Body::Directory(BTreeMap::new(), ROOT);
        let root = Node {
            body,
            mode: 0o755,
            uid: 0,
            gid: 0,
            links: 2,
            modified: 0,
            changed: 0,
        };
        let nodes = BTreeMap::from([(ROOT, root)]);
        Self {
            nodes,
            next: ROOT + 1,
            open: BTreeMap::new(),
            now: 0,
        }
    }

    /// Sets the time.
    pub fn at(&mut self, now: u64) {
        self.now = now;
    }

    /// The root directory's number.
    #[must_use]
    pub fn root(&self) -> u64 {
        ROOT
    }

    /// A node, which there is.
    #[must_use]
    pub fn node(&self, number: u64) -> &Node {
        &self.nodes[&number]
    }

    /// All files with their contents, those without a name too.
    pub fn files(&self) -> impl Iterator<Item = (u64, &Rc<Vec<u8>>)> {
        self.nodes
            .iter()
            .filter_map(|(&number, node)| match &node.body {
                Body::File(bytes) => Some((number, bytes)),
                _ => None,
            })
    }

    /// Makes the contents of a file other ones of the same length; it was not this program that did.
    pub fn replace_contents(&mut self, number: u64, contents: Vec<u8>) {
        if let Body::File(bytes) = &mut self.node_mut(number).body {
            assert_eq!(bytes.len(), contents.len());
            *bytes = Rc::new(contents);
        }
    }

    /// Makes a file shorter and says nothing of it in its times, as a truncation does that was broken off halfway.
    pub fn cut_off(&mut self, number: u64, size: usize) {
        if let Body::File(bytes) = &mut self.node_mut(number).body {
            Rc::make_mut(bytes).truncate(size);
        }
    }

    /// A file's bytes, if there is a file of this number.
    #[must_use]
    pub fn bytes(&self, number: u64) -> Option<&Rc<Vec<u8>>> {
        match &self.nodes.get(&number)?.body {
            Body::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn names(&self, directory: u64) -> Result<&BTreeMap<Vec<u8>, u64>> {
        match &self.node(directory).body {
            Body::Directory(names, _) => Ok(names),
            _ => Err(Error::NotADirectory),
        }
    }

    fn node_mut(&mut self, number: u64) -> &mut Node {
        self.nodes
            .get_mut(&number)
            .expect("a node that is named or open")
    }

    fn changed(&mut self, number: u64) {
        self.node_mut(number).changed = self.now;
    }

    /// A name came or went.
    fn directory_changed(&mut self, directory: u64) {
        let now = self.now;
        let node = self.node_mut(directory);
        (node.modified, node.changed) = (now, now);
    }

    fn enter(&mut self, directory: u64, name: Vec<u8>, node: u64) {
        if let Body::Directory(names, _) = &mut self.node_mut(directory).body {
            names.insert(name, node);
        }
        self.directory_changed(directory);
    }

    fn leave(&mut self, directory: u64, name: &[u8]) {
        if let Body::Directory(names, _) = &mut self.node_mut(directory).body {
            names.remove(name);
        }
        self.directory_changed(directory);
    }

    fn make(&mut self, place: Place, body: Body, mode: u32) -> Result<u64> {
        if place.node.is_some() {
            return Err(Error::Exists);
        }
        let name = place.name.ok_or(Error::Exists)?;
        let number = self.next;
        self.next += 1;
        let links = if matches!(body, Body::Directory(..)) {
            2
        } else {
            1
        };
        if links == 2 {
            self.node_mut(place.directory).links += 1;
        }
        let (modified, changed) = (self.now, self.now);
        let node = Node {
            body,
            mode: mode & 0o7777,
            uid: 0,
            gid: 0,
            links,
            modified,
            changed,
        };
        self.nodes.insert(number, node);
        self.enter(place.directory, name, number);
        Ok(number)
    }

    /// Drops a node that has neither names nor users.
    fn reap(&mut self, number: u64) {
        let is_open = self.open.values().any(|open| open.node == number);
        if self.node(number).links == 0 && !is_open {
            self.nodes.remove(&number);
        }
    }

    fn drop_name(&mut self, number: u64) {
        let now = self.now;
        let node = self.node_mut(number);
        let is_directory = matches!(node.body, Body::Directory(..));
        node.links = if is_directory { 0 } else { node.links - 1 };
        node.changed = now;
        self.reap(number);
    }

    fn resize(&mut self, number: u64, size: usize) {
        if let Body::File(bytes) = &mut self.node_mut(number).body {
            Rc::make_mut(bytes).resize(size, 0);
        }
        self.directory_changed(number);
    }

    /// `stat` or `lstat`.
    pub fn stat(&self, path: &[u8], follow: bool) -> Result<u64> {
        self.find(path, follow)
    }

    /// `mkdir`.
    pub fn mkdir(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let place = self.lookup(path, false)?;
        let parent = place.directory;
        self.make(place, Body::Directory(BTreeMap::new(), parent), mode)
            .map(|_| ())
    }

    /// `rmdir`.
    pub fn rmdir(&mut self, path: &[u8]) -> Result<()> {
        let place = self.lookup(path, false)?;
        let node = place.node.ok_or(Error::NotFound)?;
        let name = place.name.ok_or(Error::Busy)?;
        if !self.names(node)?.is_empty() {
            return Err(Error::NotEmpty);
        }
        self.node_mut(place.directory).links -= 1;
        self.leave(place.directory, &name);
        self.drop_name(node);
        Ok(())
    }

    /// `unlink`.
    pub fn unlink(&mut self, path: &[u8]) -> Result<()> {
        let place = self.lookup(path, false)?;
        let node = place.node.ok_or(Error::NotFound)?;
        let name = place.name.ok_or(Error::IsADirectory)?;
        if self.node(node).kind() == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        self.leave(place.directory, &name);
        self.drop_name(node);
        Ok(())
    }

    /// `rename`.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let (from, to) = (self.lookup(from, false)?, self.lookup(to, false)?);
        let node = from.node.ok_or(Error::NotFound)?;
        let (old, new) = (from.name.ok_or(Error::Busy)?, to.name.ok_or(Error::Busy)?);
        if to.node == Some(node) {
            return Ok(());
        }
        let is_directory = self.node(node).kind() == Kind::Directory;
        if is_directory && self.is_above(node, to.directory) {
            return Err(Error::BadArgument);
        }
        if let Some(victim) = to.node {
            match (is_directory, self.node(victim).kind() == Kind::Directory) {
                (true, false) => return Err(Error::NotADirectory),
                (false, true) => return Err(Error::IsADirectory),
                (true, true) if !self.names(victim)?.is_empty() => return Err(Error::NotEmpty),
                _ => {}
            }
            if is_directory {
                self.node_mut(to.directory).links -= 1;
            }
            self.leave(to.directory, &new);
            self.drop_name(victim);
        }
        self.leave(from.directory, &old);
        self.enter(to.directory, new, node);
        self.changed(node);
        if let Body::Directory(_, parent) = &mut self.node_mut(node).body {
            *parent = to.directory;
            self.node_mut(from.directory).links -= 1;
            self.node_mut(to.directory).links += 1;
        }
        Ok(())
    }

    /// `link`; a symbolic link is not followed.
    pub fn link(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let node = self.find(from, false)?;
        let place = self.lookup(to, false)?;
        if place.node.is_some() {
            return Err(Error::Exists);
        }
        if self.node(node).kind() == Kind::Directory {
            return Err(Error::NotPermitted);
        }
        self.node_mut(node).links += 1;
        self.changed(node);
        self.enter(place.directory, place.name.ok_or(Error::Exists)?, node);
        Ok(())
    }

    /// Gives a file a second name, in place of what had it, as a rename does that was broken off halfway. What had the
    /// name keeps its count of links.
    pub fn name_twice(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let (from, to) = (self.lookup(from, false)?, self.lookup(to, false)?);
        let node = from.node.ok_or(Error::NotFound)?;
        let new = to.name.ok_or(Error::Busy)?;
        if to.node == Some(node) {
            return Err(Error::Exists);
        }
        if self.node(node).kind() == Kind::Directory {
            // What had the name was a directory, and counted already.
            self.node_mut(to.directory).links += u32::from(to.node.is_none());
        } else {
            self.node_mut(node).links += 1;
            self.changed(node);
        }
        self.enter(to.directory, new, node);
        Ok(())
    }

    /// Counts one link more than there is, as an operation does that was broken off halfway: of a file, or of the
    /// directory that a path is in.
    pub fn count_too_many(&mut self, path: &[u8], of_parent: bool) -> Result<()> {
        let place = self.lookup(path, false)?;
        let node = match of_parent {
            true => place.directory,
            false => place.node.ok_or(Error::NotFound)?,
        };
        self.node_mut(node).links += 1;
        self.changed(node);
        Ok(())
    }

    /// `symlink`.
    pub fn symlink(&mut self, target: &[u8], path: &[u8]) -> Result<()> {
        let place = self.lookup(path, false)?;
        self.make(place, Body::Link(target.to_vec()), 0o777)
            .map(|_| ())
    }

    /// `readlink`.
    pub fn readlink(&self, path: &[u8]) -> Result<Vec<u8>> {
        match &self.node(self.find(path, false)?).body {
            Body::Link(target) => Ok(target.clone()),
            _ => Err(Error::BadArgument),
        }
    }

    /// `chmod`.
    pub fn chmod(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let node = self.find(path, true)?;
        self.node_mut(node).mode = mode & 0o7777;
        self.changed(node);
        Ok(())
    }

    /// `chown`.
    pub fn chown(&mut self, path: &[u8], uid: u32, gid: u32) -> Result<()> {
        let node = self.find(path, true)?;
        let at = self.node_mut(node);
        (at.uid, at.gid) = (uid, gid);
        self.changed(node);
        Ok(())
    }

    /// `utimes`, of the time of change of the data.
    pub fn utimes(&mut self, path: &[u8], modified: u64) -> Result<()> {
        let node = self.find(path, true)?;
        self.node_mut(node).modified = modified;
        self.changed(node);
        Ok(())
    }

    /// The names in a directory and the nodes they name, in order of the names.
    pub fn readdir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, u64)>> {
        let names = self.names(self.find(path, true)?)?;
        Ok(names
            .iter()
            .map(|(name, node)| (name.clone(), *node))
            .collect())
    }
}
