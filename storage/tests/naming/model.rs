//! Another file system: the simplest one that does the same, in memory.

use std::collections::BTreeMap;

use storage::{
    Error, Result,
    vfs::{Kind, OpenFlags, SeekFrom},
};

pub type Id = u64;

#[derive(Clone, Debug)]
pub enum Body {
    File(Vec<u8>),
    Directory {
        entries: BTreeMap<Vec<u8>, Id>,
        parent: Id,
    },
    Link(Vec<u8>),
}

#[derive(Clone, Debug)]
pub struct Node {
    pub body: Body,
    pub mode: u32,
    pub owner: (u32, u32),
}

#[derive(Clone, Debug)]
struct Open {
    id: Id,
    flags: OpenFlags,
    offset: u64,
}

/// The model.
#[derive(Clone, Debug)]
pub struct Model {
    pub nodes: BTreeMap<Id, Node>,
    open: BTreeMap<u32, Open>,
    next: Id,
}

pub const ROOT: Id = 1;

/// What a path led to.
struct Place {
    parent: Id,
    /// Nothing for the root and for dots.
    name: Option<Vec<u8>>,
    dots: &'static str,
    slash: bool,
    target: Option<Id>,
}

#[derive(Clone, Copy, PartialEq)]
enum Follow {
    Always,
    IfSlash,
    Never,
}

impl Model {
    pub fn new() -> Self {
        let root = Node {
            body: Body::Directory {
                entries: BTreeMap::new(),
                parent: ROOT,
            },
            mode: 0o755,
            owner: (0, 0),
        };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            open: BTreeMap::new(),
            next: ROOT + 1,
        }
    }

    /// After a restart nothing is open, and what has no name is gone.
    pub fn restart(&mut self) {
        self.open.clear();
        self.collect();
    }

    pub fn kind(&self, id: Id) -> Kind {
        match self.nodes[&id].body {
            Body::File(_) => Kind::File,
            Body::Directory { .. } => Kind::Directory,
            Body::Link(_) => Kind::Link,
        }
    }

    pub fn entries(&self, id: Id) -> Result<&BTreeMap<Vec<u8>, Id>> {
        match &self.nodes[&id].body {
            Body::Directory { entries, .. } => Ok(entries),
            _ => Err(Error::NotADirectory),
        }
    }

    fn entries_mut(&mut self, id: Id) -> &mut BTreeMap<Vec<u8>, Id> {
        match &mut self.nodes.get_mut(&id).unwrap().body {
            Body::Directory { entries, .. } => entries,
            _ => panic!("no directory"),
        }
    }

    /// Links, counted anew each time.
    pub fn links(&self, id: Id) -> u32 {
        let mut names = 0;
        for node in self.nodes.values() {
            if let Body::Directory { entries, .. } = &node.body {
                names += entries.values().filter(|&&entry| entry == id).count() as u32;
            }
        }
        match &self.nodes[&id].body {
            Body::Directory { .. } if names == 0 && id != ROOT => 0,
            Body::Directory { entries, .. } => {
                2 + entries
                    .values()
                    .filter(|&&e| self.kind(e) == Kind::Directory)
                    .count() as u32
            }
            _ => names,
        }
    }

    pub fn size(&self, id: Id) -> u64 {
        match &self.nodes[&id].body {
            Body::File(bytes) | Body::Link(bytes) => bytes.len() as u64,
            Body::Directory { .. } => 0,
        }
    }

    /// Throws away what is neither named nor open.
    fn collect(&mut self) {
        let mut kept: Vec<Id> = vec![ROOT];
        kept.extend(self.open.values().map(|open| open.id));
        let mut index = 0;
        while index < kept.len() {
            if let Ok(entries) = self.entries(kept[index]) {
                kept.extend(entries.values().copied());
            }
            index += 1;
        }
        self.nodes.retain(|id, _| kept.contains(id));
    }

    fn walk(&self, path: &[u8], follow: Follow) -> Result<Place> {
        self.walk_from(ROOT, path, follow, &mut 0)
    }

    fn walk_from(&self, start: Id, path: &[u8], follow: Follow, links: &mut u32) -> Result<Place> {
        if path.is_empty() {
            return Err(Error::NotFound);
        }
        let slash = path.ends_with(b"/");
        let mut current = if path.starts_with(b"/") { ROOT } else { start };
        let parts: Vec<&[u8]> = path
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
            .collect();
        let Some((&last, before)) = parts.split_last() else {
            return Ok(Place {
                parent: ROOT,
                name: None,
                dots: "/",
                slash: false,
                target: Some(ROOT),
            });
        };
        for part in before {
            current = self.step(current, part, links)?;
            self.entries(current)?;
        }
        self.entries(current)?;
        if last == b"." || last == b".." {
            let target = self.step(current, last, links)?;
            let dots = if last == b"." { "." } else { ".." };
            return Ok(Place {
                parent: target,
                name: None,
                dots,
                slash,
                target: Some(target),
            });
        }
        if last.len() > 255 {
            return Err(Error::NameTooLong);
        }
        let target = self.entries(current)?.get(last).copied();
        if let Some(id) = target
            && let Body::Link(text) = &self.nodes[&id].body
            && (follow == Follow::Always || (follow == Follow::IfSlash && slash))
        {
            *links += 1;
            if *links > 40 {
                return Err(Error::TooManyLinks);
            }
            let mut text = text.clone();
            if slash {
                text.push(b'/');
            }
            return self.walk_from(current, &text, follow, links);
        }
        Ok(Place {
            parent: current,
            name: Some(last.to_vec()),
            dots: "",
            slash,
            target,
        })
    }

    /// One component on the way, links followed.
    fn step(&self, from: Id, part: &[u8], links: &mut u32) -> Result<Id> {
        let Body::Directory { entries, parent } = &self.nodes[&from].body else {
            return Err(Error::NotADirectory);
        };
        match part {
            b"." => return Ok(from),
            b".." => return Ok(*parent),
            _ if part.len() > 255 => return Err(Error::NameTooLong),
            _ => {}
        }
        let id = *entries.get(part).ok_or(Error::NotFound)?;
        let Body::Link(text) = &self.nodes[&id].body else {
            return Ok(id);
        };
        *links += 1;
        if *links > 40 {
            return Err(Error::TooManyLinks);
        }
        let place = self.walk_from(from, text, Follow::Always, links)?;
        let id = place.target.ok_or(Error::NotFound)?;
        if place.slash && self.kind(id) != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        Ok(id)
    }

    fn existing(&self, place: &Place) -> Result<Id> {
        let id = place.target.ok_or(Error::NotFound)?;
        if place.slash && self.kind(id) != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        Ok(id)
    }

    fn add(&mut self, parent: Id, name: Vec<u8>, body: Body, mode: u32) -> Id {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(
            id,
            Node {
                body,
                mode,
                owner: (0, 0),
            },
        );
        self.entries_mut(parent).insert(name, id);
        id
    }

    fn vacant(&self, place: &Place, directory: bool) -> Result<Vec<u8>> {
        match (&place.name, place.target) {
            (None, _) | (_, Some(_)) => Err(Error::Exists),
            (Some(_), None) if place.slash && !directory => Err(Error::NotFound),
            (Some(name), None) => Ok(name.clone()),
        }
    }

    pub fn look(&self, path: &[u8], follow: bool) -> Result<Id> {
        let follow = if follow {
            Follow::Always
        } else {
            Follow::IfSlash
        };
        self.existing(&self.walk(path, follow)?)
    }

    pub fn mkdir(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let place = self.walk(path, Follow::Never)?;
        let name = self.vacant(&place, true)?;
        let body = Body::Directory {
            entries: BTreeMap::new(),
            parent: place.parent,
        };
        self.add(place.parent, name, body, mode);
        Ok(())
    }

    pub fn symlink(&mut self, target: &[u8], path: &[u8]) -> Result<()> {
        if target.is_empty() {
            return Err(Error::NotFound);
        }
        let place = self.walk(path, Follow::Never)?;
        let name = self.vacant(&place, false)?;
        self.add(place.parent, name, Body::Link(target.to_vec()), 0o777);
        Ok(())
    }

    pub fn readlink(&self, path: &[u8]) -> Result<Vec<u8>> {
        match &self.nodes[&self.look(path, false)?].body {
            Body::Link(target) => Ok(target.clone()),
            _ => Err(Error::BadArgument),
        }
    }

    pub fn link(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let id = self.look(from, false)?;
        let place = self.walk(to, Follow::Never)?;
        if self.kind(id) == Kind::Directory {
            return Err(Error::NotPermitted);
        }
        let name = self.vacant(&place, false)?;
        self.entries_mut(place.parent).insert(name, id);
        Ok(())
    }

    pub fn unlink(&mut self, path: &[u8]) -> Result<()> {
        let place = self.walk(path, Follow::Never)?;
        let Some(name) = &place.name else {
            return Err(Error::IsADirectory);
        };
        let id = place.target.ok_or(Error::NotFound)?;
        if self.kind(id) == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        self.existing(&place)?;
        self.entries_mut(place.parent).remove(name);
        self.collect();
        Ok(())
    }

    pub fn rmdir(&mut self, path: &[u8]) -> Result<()> {
        let place = self.walk(path, Follow::Never)?;
        match place.dots {
            "/" => return Err(Error::Busy),
            "." => return Err(Error::BadArgument),
            ".." => return Err(Error::NotEmpty),
            _ => {}
        }
        let id = place.target.ok_or(Error::NotFound)?;
        if !self.entries(id)?.is_empty() {
            return Err(Error::NotEmpty);
        }
        self.entries_mut(place.parent).remove(&place.name.unwrap());
        self.collect();
        Ok(())
    }

    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<()> {
        let (from, to) = (
            self.walk(from, Follow::Never)?,
            self.walk(to, Follow::Never)?,
        );
        for place in [&from, &to] {
            match place.dots {
                "" => {}
                "/" => return Err(Error::Busy),
                _ => return Err(Error::BadArgument),
            }
        }
        let moved = self.existing(&from)?;
        let is_directory = self.kind(moved) == Kind::Directory;
        if to.slash && !is_directory {
            return Err(Error::NotADirectory);
        }
        if is_directory {
            let mut above = to.parent;
            loop {
                if above == moved {
                    return Err(Error::BadArgument);
                }
                if above == ROOT {
                    break;
                }
                let Body::Directory { parent, .. } = &self.nodes[&above].body else {
                    panic!()
                };
                above = *parent;
            }
        }
        if let Some(replaced) = to.target {
            if replaced == moved {
                return Ok(());
            }
            match (is_directory, self.kind(replaced) == Kind::Directory) {
                (false, true) => return Err(Error::IsADirectory),
                (true, false) => return Err(Error::NotADirectory),
                (true, true) if !self.entries(replaced)?.is_empty() => return Err(Error::NotEmpty),
                _ => {}
            }
        }
        self.entries_mut(from.parent).remove(&from.name.unwrap());
        self.entries_mut(to.parent).insert(to.name.unwrap(), moved);
        if let Body::Directory { parent, .. } = &mut self.nodes.get_mut(&moved).unwrap().body {
            *parent = to.parent;
        }
        self.collect();
        Ok(())
    }

    pub fn chmod(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let id = self.look(path, true)?;
        self.nodes.get_mut(&id).unwrap().mode = mode;
        Ok(())
    }

    pub fn chown(&mut self, path: &[u8], owner: (u32, u32)) -> Result<()> {
        let id = self.look(path, true)?;
        self.nodes.get_mut(&id).unwrap().owner = owner;
        Ok(())
    }

    pub fn open(&mut self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<u32> {
        let create = flags.contains(OpenFlags::CREATE);
        let exclusive = create && flags.contains(OpenFlags::EXCLUSIVE);
        let follow = if exclusive {
            Follow::Never
        } else {
            Follow::Always
        };
        let place = self.walk(path, follow)?;
        let id = match place.target {
            Some(_) if exclusive => return Err(Error::Exists),
            Some(_) => self.existing(&place)?,
            None if !create => return Err(Error::NotFound),
            None if place.slash => return Err(Error::IsADirectory),
            None => self.add(
                place.parent,
                place.name.unwrap(),
                Body::File(Vec::new()),
                mode,
            ),
        };
        if self.kind(id) == Kind::Directory && (create || flags.contains(OpenFlags::WRITE)) {
            return Err(Error::IsADirectory);
        }
        if flags.contains(OpenFlags::TRUNCATE) {
            self.nodes.get_mut(&id).unwrap().body = Body::File(Vec::new());
        }
        let descriptor = (0..)
            .find(|descriptor| !self.open.contains_key(descriptor))
            .unwrap();
        self.open.insert(
            descriptor,
            Open {
                id,
                flags,
                offset: 0,
            },
        );
        Ok(descriptor)
    }

    pub fn close(&mut self, descriptor: u32) -> Result<()> {
        self.open.remove(&descriptor).ok_or(Error::BadDescriptor)?;
        self.collect();
        Ok(())
    }

    pub fn opened(&self, descriptor: u32) -> Result<Id> {
        self.open
            .get(&descriptor)
            .map(|open| open.id)
            .ok_or(Error::BadDescriptor)
    }

    pub fn read(&mut self, descriptor: u32, at: Option<u64>, len: usize) -> Result<Vec<u8>> {
        let open = self.open.get_mut(&descriptor).ok_or(Error::BadDescriptor)?;
        if !open.flags.contains(OpenFlags::READ) {
            return Err(Error::BadDescriptor);
        }
        let Body::File(bytes) = &self.nodes[&open.id].body else {
            return Err(Error::IsADirectory);
        };
        let start = (at.unwrap_or(open.offset) as usize).min(bytes.len());
        let read = bytes[start..(start + len).min(bytes.len())].to_vec();
        if at.is_none() {
            open.offset += read.len() as u64;
        }
        Ok(read)
    }

    pub fn write(&mut self, descriptor: u32, at: Option<u64>, data: &[u8]) -> Result<usize> {
        let open = self.open.get_mut(&descriptor).ok_or(Error::BadDescriptor)?;
        if !open.flags.contains(OpenFlags::WRITE) {
            return Err(Error::BadDescriptor);
        }
        let Body::File(bytes) = &mut self.nodes.get_mut(&open.id).unwrap().body else {
            panic!("a directory open for writing")
        };
        let start = match at {
            Some(at) => at as usize,
            None if open.flags.contains(OpenFlags::APPEND) => bytes.len(),
            None => open.offset as usize,
        };
        if !data.is_empty() {
            bytes.resize(bytes.len().max(start + data.len()), 0);
            bytes[start..start + data.len()].copy_from_slice(data);
        }
        if at.is_none() {
            open.offset = (start + data.len()) as u64;
        }
        Ok(data.len())
    }

    pub fn truncate(&mut self, descriptor: u32, size: u64) -> Result<()> {
        let open = self.open.get(&descriptor).ok_or(Error::BadDescriptor)?;
        if !open.flags.contains(OpenFlags::WRITE) {
            return Err(Error::BadArgument);
        }
        let Body::File(bytes) = &mut self.nodes.get_mut(&open.id).unwrap().body else {
            panic!()
        };
        bytes.resize(size as usize, 0);
        Ok(())
    }

    pub fn seek(&mut self, descriptor: u32, to: SeekFrom) -> Result<u64> {
        let open = self.open.get(&descriptor).ok_or(Error::BadDescriptor)?;
        let base = match to {
            SeekFrom::Start(at) => return self.set_offset(descriptor, at as i64),
            _ if self.kind(open.id) == Kind::Directory => return Err(Error::BadArgument),
            SeekFrom::Current(by) => open.offset as i64 + by,
            SeekFrom::End(by) => self.size(open.id) as i64 + by,
        };
        self.set_offset(descriptor, base)
    }

    fn set_offset(&mut self, descriptor: u32, at: i64) -> Result<u64> {
        let offset = u64::try_from(at).map_err(|_| Error::BadArgument)?;
        self.open.get_mut(&descriptor).unwrap().offset = offset;
        Ok(offset)
    }
}
