//! A file system in memory and a device in memory, for the tests: as simple as can be.

use alloc::{
    collections::BTreeMap,
    rc::Rc,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::cell::{Cell, RefCell};

use storage::{
    Error, Result,
    block::{BlockDevice, Geometry, SECTOR_BYTES},
    buffer::{Sink, Source},
    file::{VolumeFormat, Work},
    vfs::{
        Descriptor, DirectoryEntry, FileSystem, Kind, OpenFlags, SeekFrom, SetTime, Stat, StatFs,
        push_entry,
    },
};

/// What a name stands for; hard links share it.
#[derive(Default)]
struct Node {
    inode: u64,
    mode: Cell<u32>,
    owner: Cell<(u32, u32)>,
    modified_ns: Cell<u64>,
    data: RefCell<Vec<u8>>,
}

struct Open {
    path: String,
    node: Rc<Node>,
    position: u64,
    append: bool,
}

/// A file system that is a sorted map from paths to nodes. It follows no symbolic links.
#[derive(Default)]
pub struct MemoryFs {
    nodes: RefCell<BTreeMap<String, Rc<Node>>>,
    open: RefCell<BTreeMap<u32, Open>>,
    next: Cell<u64>,
    limit: Cell<usize>,
    write_lens: RefCell<Vec<usize>>,
    fsyncs: RefCell<Vec<(String, usize)>>,
}

fn text(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.iter().map(|part| alloc::format!("/{part}")).collect()
}

impl MemoryFs {
    pub fn new() -> Self {
        let system = Self {
            limit: Cell::new(usize::MAX),
            ..Self::default()
        };
        system.add("", Kind::Directory.mode() | 0o755, Vec::new());
        system
    }

    fn add(&self, path: &str, mode: u32, data: Vec<u8>) -> Rc<Node> {
        self.next.set(self.next.get() + 1);
        let node = Rc::new(Node {
            inode: self.next.get(),
            mode: Cell::new(mode),
            data: RefCell::new(data),
            ..Node::default()
        });
        self.nodes
            .borrow_mut()
            .insert(path.to_string(), node.clone());
        node
    }

    /// A file with this content, and the directories above it.
    pub fn put(&self, path: &str, content: &[u8]) {
        for (slash, _) in path.match_indices('/').skip(1) {
            if !self.nodes.borrow().contains_key(&path[..slash]) {
                self.add(&path[..slash], Kind::Directory.mode() | 0o755, Vec::new());
            }
        }
        self.add(path, Kind::File.mode() | 0o644, content.to_vec());
    }

    pub fn content(&self, path: &str) -> Vec<u8> {
        self.nodes.borrow()[path].data.borrow().clone()
    }

    /// All paths but the root.
    pub fn paths(&self) -> Vec<String> {
        self.nodes
            .borrow()
            .keys()
            .filter(|path| !path.is_empty())
            .cloned()
            .collect()
    }

    pub fn flip(&self, path: &str, offset: usize) {
        self.nodes.borrow()[path].data.borrow_mut()[offset] ^= 0x10;
    }

    pub fn cut(&self, path: &str, len: usize) {
        self.nodes.borrow()[path].data.borrow_mut().truncate(len);
    }

    /// Writes fail once files hold so many bytes together.
    pub fn limit_bytes(&self, limit: usize) {
        self.limit.set(limit);
    }

    /// What `fsync` was called for, and how long it was then.
    pub fn fsyncs(&self) -> Vec<(String, usize)> {
        self.fsyncs.borrow().clone()
    }

    pub fn write_lens(&self) -> Vec<usize> {
        self.write_lens.borrow().clone()
    }

    pub fn open_count(&self) -> usize {
        self.open.borrow().len()
    }

    fn find(&self, path: &str) -> Result<Rc<Node>> {
        self.nodes
            .borrow()
            .get(path)
            .cloned()
            .ok_or(Error::NotFound)
    }

    fn parent_exists(&self, path: &str) -> Result<()> {
        let parent = &path[..path.rfind('/').ok_or(Error::Exists)?];
        match Kind::of_mode(self.find(parent)?.mode.get()) {
            Kind::Directory => Ok(()),
            _ => Err(Error::NotADirectory),
        }
    }

    fn stat_of(&self, node: &Rc<Node>) -> Stat {
        let links = self
            .nodes
            .borrow()
            .values()
            .filter(|other| Rc::ptr_eq(other, node))
            .count();
        let (uid, gid) = node.owner.get();
        Stat {
            inode: node.inode,
            mode: node.mode.get(),
            links: links as u32,
            uid,
            gid,
            size: node.data.borrow().len() as u64,
            blocks: 0,
            accessed_ns: 0,
            modified_ns: node.modified_ns.get(),
            changed_ns: 0,
        }
    }

    fn node(&self, descriptor: Descriptor) -> Result<Rc<Node>> {
        let open = self.open.borrow();
        open.get(&descriptor.0)
            .map(|open| open.node.clone())
            .ok_or(Error::BadDescriptor)
    }

    fn new_name(&self, path: &str) -> Result<()> {
        self.parent_exists(path)?;
        if self.find(path).is_ok() {
            Err(Error::Exists)
        } else {
            Ok(())
        }
    }
}

impl FileSystem for MemoryFs {
    async fn format(&self, _: &VolumeFormat) -> Result<()> {
        Err(Error::ReadOnly)
    }
    async fn mount(&self) -> Result<()> {
        Ok(())
    }
    async fn open(&self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Descriptor> {
        let path = text(path);
        let node = match self.find(&path) {
            Ok(_) if flags.contains(OpenFlags::EXCLUSIVE) => return Err(Error::Exists),
            Ok(node) => node,
            Err(_) if flags.contains(OpenFlags::CREATE) => {
                self.parent_exists(&path)?;
                self.add(&path, Kind::File.mode() | mode, Vec::new())
            }
            Err(error) => return Err(error),
        };
        let directory = Kind::of_mode(node.mode.get()) == Kind::Directory;
        if directory && flags.contains(OpenFlags::WRITE) {
            return Err(Error::IsADirectory);
        }
        if !directory && flags.contains(OpenFlags::DIRECTORY) {
            return Err(Error::NotADirectory);
        }
        if flags.contains(OpenFlags::TRUNCATE) {
            node.data.borrow_mut().clear();
        }
        self.next.set(self.next.get() + 1);
        let number = self.next.get() as u32;
        let append = flags.contains(OpenFlags::APPEND);
        self.open.borrow_mut().insert(
            number,
            Open {
                path,
                node,
                position: 0,
                append,
            },
        );
        Ok(Descriptor(number))
    }
    async fn close(&self, descriptor: Descriptor) -> Result<()> {
        self.open
            .borrow_mut()
            .remove(&descriptor.0)
            .map(|_| ())
            .ok_or(Error::BadDescriptor)
    }
    async fn read(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        mut data: Sink<'_>,
    ) -> Result<usize> {
        let mut open = self.open.borrow_mut();
        let open = open.get_mut(&descriptor.0).ok_or(Error::BadDescriptor)?;
        let content = open.node.data.borrow();
        let start = (offset.unwrap_or(open.position) as usize).min(content.len());
        let part = &content[start..content.len().min(start + data.len())];
        data.copy_from(0, part)?;
        if offset.is_none() {
            open.position += part.len() as u64;
        }
        Ok(part.len())
    }
    async fn write(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Source<'_>,
    ) -> Result<usize> {
        self.write_lens.borrow_mut().push(data.len());
        let bytes = data.to_vec()?;
        if self.limit.get() < usize::MAX {
            let nodes = self.nodes.borrow();
            let held: usize = nodes.values().map(|node| node.data.borrow().len()).sum();
            if held + bytes.len() > self.limit.get() {
                return Err(Error::NoSpace);
            }
        }
        let mut open = self.open.borrow_mut();
        let open = open.get_mut(&descriptor.0).ok_or(Error::BadDescriptor)?;
        let mut content = open.node.data.borrow_mut();
        let at_end = content.len() as u64;
        let start = if open.append {
            at_end
        } else {
            offset.unwrap_or(open.position)
        } as usize;
        if content.len() < start + bytes.len() {
            content.resize(start + bytes.len(), 0);
        }
        content[start..start + bytes.len()].copy_from_slice(&bytes);
        if offset.is_none() {
            open.position = (start + bytes.len()) as u64;
        }
        Ok(bytes.len())
    }
    async fn seek(&self, _: Descriptor, _: SeekFrom) -> Result<u64> {
        Err(Error::BadArgument)
    }
    async fn truncate(&self, descriptor: Descriptor, size: u64) -> Result<()> {
        self.node(descriptor)?
            .data
            .borrow_mut()
            .resize(size as usize, 0);
        Ok(())
    }
    async fn fstat(&self, descriptor: Descriptor) -> Result<Stat> {
        Ok(self.stat_of(&self.node(descriptor)?))
    }
    async fn fsync(&self, descriptor: Descriptor) -> Result<()> {
        let length = self.node(descriptor)?.data.borrow().len();
        let path = self.open.borrow()[&descriptor.0].path.clone();
        self.fsyncs.borrow_mut().push((path, length));
        Ok(())
    }
    async fn readdir(&self, descriptor: Descriptor, mut data: Sink<'_>) -> Result<usize> {
        let mut open = self.open.borrow_mut();
        let open = open.get_mut(&descriptor.0).ok_or(Error::BadDescriptor)?;
        let prefix = alloc::format!("{}/", open.path);
        let nodes = self.nodes.borrow();
        let below = nodes.iter().filter_map(|(path, node)| {
            let name = path.strip_prefix(&prefix)?;
            (!name.is_empty() && !name.contains('/')).then_some((name, node))
        });
        let dots = [(".", &open.node), ("..", &open.node)];
        let mut buffer = Vec::new();
        for (name, node) in dots.into_iter().chain(below).skip(open.position as usize) {
            let before = buffer.len();
            let kind = Kind::of_mode(node.mode.get());
            push_entry(
                &mut buffer,
                DirectoryEntry {
                    inode: node.inode,
                    kind,
                    name: name.as_bytes(),
                },
            );
            if buffer.len() > data.len() {
                buffer.truncate(before);
                break;
            }
            open.position += 1;
        }
        data.copy_from(0, &buffer)?;
        Ok(buffer.len())
    }
    async fn stat(&self, path: &[u8], _: bool) -> Result<Stat> {
        Ok(self.stat_of(&self.find(&text(path))?))
    }
    async fn mkdir(&self, path: &[u8], mode: u32) -> Result<()> {
        let path = text(path);
        self.new_name(&path)?;
        self.add(&path, Kind::Directory.mode() | mode, Vec::new());
        Ok(())
    }
    async fn rmdir(&self, path: &[u8]) -> Result<()> {
        let path = text(path);
        self.find(&path)?;
        let prefix = alloc::format!("{path}/");
        if self
            .nodes
            .borrow()
            .keys()
            .any(|other| other.starts_with(&prefix))
        {
            return Err(Error::NotEmpty);
        }
        self.nodes.borrow_mut().remove(&path);
        Ok(())
    }
    async fn unlink(&self, path: &[u8]) -> Result<()> {
        let path = text(path);
        if Kind::of_mode(self.find(&path)?.mode.get()) == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        self.nodes.borrow_mut().remove(&path);
        Ok(())
    }
    async fn rename(&self, _: &[u8], _: &[u8]) -> Result<()> {
        Err(Error::BadArgument)
    }
    async fn link(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let (node, to) = (self.find(&text(from))?, text(to));
        self.new_name(&to)?;
        self.nodes.borrow_mut().insert(to, node);
        Ok(())
    }
    async fn symlink(&self, target: &[u8], path: &[u8]) -> Result<()> {
        let path = text(path);
        self.new_name(&path)?;
        self.add(&path, Kind::Link.mode() | 0o777, target.to_vec());
        Ok(())
    }
    async fn readlink(&self, path: &[u8], mut data: Sink<'_>) -> Result<usize> {
        let node = self.find(&text(path))?;
        let target = node.data.borrow();
        data.copy_from(0, &target[..target.len().min(data.len())])?;
        Ok(target.len())
    }
    async fn chmod(&self, path: &[u8], mode: u32) -> Result<()> {
        let node = self.find(&text(path))?;
        node.mode.set(node.mode.get() & Kind::MODE_MASK | mode);
        Ok(())
    }
    async fn chown(&self, path: &[u8], uid: u32, gid: u32) -> Result<()> {
        self.find(&text(path))?.owner.set((uid, gid));
        Ok(())
    }
    async fn utimes(&self, path: &[u8], _: SetTime, modified: SetTime) -> Result<()> {
        if let SetTime::At(ns) = modified {
            self.find(&text(path))?.modified_ns.set(ns);
        }
        Ok(())
    }
    async fn statfs(&self) -> Result<StatFs> {
        Err(Error::BadArgument)
    }
    async fn work(&self) -> Result<Work> {
        Ok(Work::default())
    }
    async fn sync(&self) -> Result<u64> {
        Ok(1)
    }
}

/// A device that is a vector; requests of at most 64 KiB, in units of two sectors.
pub struct MemoryDevice {
    data: RefCell<Vec<u8>>,
    flushes: Cell<u32>,
}

impl MemoryDevice {
    pub fn new(bytes: usize) -> Self {
        Self {
            data: RefCell::new(vec![0xee; bytes]),
            flushes: Cell::new(0),
        }
    }

    pub fn with(content: &[u8]) -> Self {
        let device = Self::new(content.len().next_multiple_of(2 * SECTOR_BYTES));
        device.data.borrow_mut()[..content.len()].copy_from_slice(content);
        device
    }

    pub fn content(&self) -> Vec<u8> {
        self.data.borrow().clone()
    }

    pub fn flushes(&self) -> u32 {
        self.flushes.get()
    }

    fn place(&self, sector: u64, len: usize) -> Result<core::ops::Range<usize>> {
        let start = sector as usize * SECTOR_BYTES;
        let aligned = sector.is_multiple_of(2) && len.is_multiple_of(2 * SECTOR_BYTES);
        let fits = start + len <= self.data.borrow().len();
        if aligned && fits && (1..=65536).contains(&len) {
            Ok(start..start + len)
        } else {
            Err(Error::BadArgument)
        }
    }
}

impl BlockDevice for MemoryDevice {
    async fn attach(&self) -> Result<Geometry> {
        Ok(Geometry {
            sectors: (self.data.borrow().len() / SECTOR_BYTES) as u64,
            alignment_sectors: 2,
            transfer_bytes_max: 65536,
            read_only: false,
            flush: true,
            discard: false,
            write_zeroes: false,
        })
    }
    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        let place = self.place(sector, data.len())?;
        data.copy_from(0, &self.data.borrow()[place])
    }
    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        let place = self.place(sector, data.len())?;
        data.copy_to(0, &mut self.data.borrow_mut()[place])
    }
    async fn flush(&self) -> Result<()> {
        self.flushes.set(self.flushes.get() + 1);
        Ok(())
    }
    async fn discard(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
    async fn write_zeroes(&self, _: u64, _: u64) -> Result<()> {
        Ok(())
    }
}
