//! Open files.

use std::rc::Rc;

use storage::{
    BLOCK_BYTES, Error,
    vfs::{Kind, OpenFlags},
};

use super::{Body, Model, Result};

/// A file that is open.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub node: u64,
    flags: OpenFlags,
    position: u64,
}

impl Model {
    /// The numbers of what is open, in order.
    #[must_use]
    pub fn handles(&self) -> Vec<u32> {
        self.open.keys().copied().collect()
    }

    /// What is left after a crash of the machine: nothing is open.
    pub fn close_all(&mut self) {
        for handle in self.handles() {
            self.close(handle);
        }
    }

    /// `open`; the handle is the lowest that is free.
    pub fn open(&mut self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<u32> {
        let exclusive = flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
        let follow = !flags.contains(OpenFlags::NO_FOLLOW) && !exclusive;
        let place = self.lookup(path, follow)?;
        let node = match place.node {
            Some(_) if exclusive => return Err(Error::Exists),
            Some(node) => node,
            None if flags.contains(OpenFlags::CREATE) => {
                self.make(place, Body::File(Rc::default()), mode)?
            }
            None => return Err(Error::NotFound),
        };
        let changes = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        match self.node(node).kind() {
            Kind::Link => return Err(Error::TooManyLinks),
            Kind::Directory if flags.intersects(changes) => return Err(Error::IsADirectory),
            Kind::File if flags.contains(OpenFlags::DIRECTORY) => {
                return Err(Error::NotADirectory);
            }
            _ => {}
        }
        if flags.contains(OpenFlags::TRUNCATE) {
            self.resize(node, 0);
        }
        let handle = (0..)
            .find(|handle| !self.open.contains_key(handle))
            .unwrap_or(0);
        self.open.insert(
            handle,
            Open {
                node,
                flags,
                position: 0,
            },
        );
        Ok(handle)
    }

    /// `close` of an open handle.
    pub fn close(&mut self, handle: u32) {
        if let Some(open) = self.open.remove(&handle) {
            self.reap(open.node);
        }
    }

    fn file(&self, handle: u32, to: OpenFlags) -> Result<(&Open, &Rc<Vec<u8>>)> {
        let open = self.open.get(&handle).ok_or(Error::BadDescriptor)?;
        if !open.flags.contains(to) {
            return Err(Error::BadDescriptor);
        }
        match &self.node(open.node).body {
            Body::File(bytes) => Ok((open, bytes)),
            _ => Err(Error::IsADirectory),
        }
    }

    /// `read` or `pread`.
    pub fn read(&mut self, handle: u32, offset: Option<u64>, len: usize) -> Result<Vec<u8>> {
        let (open, bytes) = self.file(handle, OpenFlags::READ)?;
        let at = offset.unwrap_or(open.position).min(bytes.len() as u64) as usize;
        let read = bytes[at..(at + len).min(bytes.len())].to_vec();
        if let (None, Some(open)) = (offset, self.open.get_mut(&handle)) {
            open.position += read.len() as u64;
        }
        Ok(read)
    }

    /// Whether what is written to a handle without an offset goes to the end of its file.
    #[must_use]
    pub fn appends(&self, handle: u32) -> bool {
        let open = self.open.get(&handle);
        open.is_some_and(|open| open.flags.contains(OpenFlags::APPEND))
    }

    /// Of a write, the numbers of its first bytes that end at a boundary of blocks.
    #[must_use]
    pub fn bytes_to_boundaries(&self, handle: u32, offset: Option<u64>, len: usize) -> Vec<usize> {
        let Ok((open, bytes)) = self.file(handle, OpenFlags::WRITE) else {
            return Vec::new();
        };
        let here = if open.flags.contains(OpenFlags::APPEND) {
            bytes.len() as u64
        } else {
            open.position
        };
        let at = offset.unwrap_or(here) as usize;
        let first = at.next_multiple_of(BLOCK_BYTES) - at;
        let boundaries = (first..len).step_by(BLOCK_BYTES);
        boundaries.filter(|&bytes| bytes > 0).collect()
    }

    /// `write` or `pwrite` of all of `data`, which is not empty.
    pub fn write(&mut self, handle: u32, offset: Option<u64>, data: &[u8]) -> Result<usize> {
        let (open, bytes) = self.file(handle, OpenFlags::WRITE)?;
        let (number, len) = (open.node, bytes.len());
        // With an offset, O_APPEND has no effect: so POSIX, not Linux.
        let here = if open.flags.contains(OpenFlags::APPEND) {
            len as u64
        } else {
            open.position
        };
        let at = offset.unwrap_or(here) as usize;
        let end = at + data.len();
        if end > len {
            self.resize(number, end);
        }
        if let Body::File(bytes) = &mut self.node_mut(number).body {
            Rc::make_mut(bytes)[at..end].copy_from_slice(data);
        }
        self.directory_changed(number);
        if let (None, Some(open)) = (offset, self.open.get_mut(&handle)) {
            open.position = end as u64;
        }
        Ok(data.len())
    }

    /// `ftruncate`.
    pub fn truncate(&mut self, handle: u32, size: usize) -> Result<()> {
        let open = self.open.get(&handle).ok_or(Error::BadDescriptor)?;
        // POSIX has EINVAL for a descriptor that is not open for writing, and Linux too.
        if !open.flags.contains(OpenFlags::WRITE) {
            return Err(Error::BadArgument);
        }
        self.resize(open.node, size);
        Ok(())
    }

    /// The node that is open.
    pub fn fstat(&self, handle: u32) -> Result<u64> {
        Ok(self.open.get(&handle).ok_or(Error::BadDescriptor)?.node)
    }
}
