//! What every task may do for itself: end, log, ask the time, get memory; and reading the log.

use alloc::{string::String, vec::Vec};

use abi::{Cause, Error, LAST_WORDS_BYTES, LOG_READ_BYTES_MAX, LOG_RECORD_BYTES_MAX, Rights};
use kernel_core::PAGE;

use super::Outcome;
use crate::{
    kernel::Kernel,
    log,
    memory::{
        self, PageFlags, copy, layout,
        space::{AddressSpace, MapError},
    },
    task::death::Reason,
};

impl Kernel {
    pub(super) fn space(&self, role: usize) -> Result<&AddressSpace, Error> {
        self.tasks[role].space.as_ref().ok_or(Error::BadState)
    }

    /// Up to `max` bytes of a task's memory.
    fn read_bytes(&self, role: usize, address: u64, len: u64, max: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = alloc::vec![0; len.min(max) as usize];
        copy::read(self.space(role)?, address, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn exit(&mut self, role: usize, code: u64) -> Outcome {
        self.end_task(
            role,
            Reason {
                address: code,
                ..Reason::of(Cause::Exit)
            },
        );
        Ok(None)
    }

    pub(super) fn panicked(&mut self, role: usize, text: u64, len: u64) -> Outcome {
        let words = self.read_bytes(role, text, len, LAST_WORDS_BYTES as u64);
        self.tasks[role].last_words = words.unwrap_or_default();
        self.end_task(role, Reason::of(Cause::Panic));
        Ok(None)
    }

    pub(super) fn add_log(&mut self, role: usize, level: u64, text: u64, len: u64) -> Outcome {
        let bytes = self.read_bytes(role, text, len, LOG_RECORD_BYTES_MAX as u64)?;
        self.log_as(role, level.min(5), &String::from_utf8_lossy(&bytes));
        Ok(Some(0))
    }

    /// Reads whole records of the log; the console's right.
    pub(super) fn read_log(&mut self, role: usize, into: u64, len: u64) -> Outcome {
        if !self.require(role, Rights::READ_LOG) {
            return Ok(None);
        }
        let mut buffer = alloc::vec![0; len.min(LOG_READ_BYTES_MAX as u64) as usize];
        if !self.space(role)?.is_valid(into, buffer.len() as u64, true) {
            return Err(Error::BadAddress);
        }
        let used = log::read(&mut buffer);
        copy::write(self.space(role)?, into, &buffer[..used])?;
        Ok(Some(used as u64))
    }

    /// Maps zeroed pages one after the other from `start`: all of them, or none. Past the quota the
    /// task dies.
    fn map_pages(&mut self, role: usize, start: u64, pages: u64) -> Result<(), Error> {
        let flags = PageFlags::WRITABLE | PageFlags::NO_EXECUTE;
        let task = &mut self.tasks[role];
        let space = task.space.as_mut().ok_or(Error::BadState)?;
        for page in 0..pages {
            let Err(error) = space.map_new(&mut self.frames, start + page * PAGE, flags) else {
                continue;
            };
            for mapped in 0..page {
                if let Some(frame) = space.unmap(start + mapped * PAGE) {
                    self.frames.release(frame);
                }
            }
            if error == MapError::Quota {
                self.end_task(role, Reason::of(Cause::Quota));
            }
            return Err(error.into());
        }
        Ok(())
    }

    pub(super) fn grow_heap(&mut self, role: usize, pages: u64) -> Outcome {
        let start = self.tasks[role].heap_end;
        if pages == 0 {
            return Ok(Some(start));
        }
        if pages > self.tasks[role].quota_pages {
            self.end_task(role, Reason::of(Cause::Quota));
            return Ok(None);
        }
        self.map_pages(role, start, pages)?;
        self.tasks[role].heap_end = start + pages * PAGE;
        Ok(Some(start))
    }

    /// Maps the first `pages` pages of the memory that outlives instances, allocating what there is
    /// not yet: all of it, or none. The frames are held twice: by the role, for good, and by the
    /// mapping. Past the quota the task dies, with nothing allocated. No pages: says how many there are.
    pub(super) fn role_memory(&mut self, role: usize, pages: u64, existed: u64) -> Outcome {
        let start = layout::role_memory(role);
        let task = &mut self.tasks[role];
        let space = task.space.as_mut().ok_or(Error::BadState)?;
        let old = task.role_memory.len() as u64;
        if pages.saturating_sub(old) > abi::ROLE_PAGES_MAX {
            return Err(Error::BadArgument);
        }
        if !space.is_valid(existed, size_of::<u64>() as u64, true) {
            return Err(Error::BadAddress);
        }
        if pages == 0 {
            copy::write_value(space, existed, &old)?;
            return Ok(Some(start));
        }
        let is_mapped = |page: &u64| space.frame_at(start + page * PAGE, true).is_some();
        let mapped = (0..pages).take_while(is_mapped).count() as u64;
        if !space.has_quota_for(pages - mapped) {
            self.end_task(role, Reason::of(Cause::Quota));
            return Ok(None);
        }
        let frames = &mut self.frames;
        let mut failed = None;
        for page in mapped..pages {
            if page >= task.role_memory.len() as u64 {
                let Some(frame) = frames.allocate() else {
                    failed = Some((page, MapError::NoMemory));
                    break;
                };
                memory::zero(frame);
                task.role_memory.push(frame);
            }
            let frame = task.role_memory[page as usize];
            frames.hold(frame);
            let flags = PageFlags::WRITABLE | PageFlags::NO_EXECUTE;
            if let Err(error) = space.map(frames, start + page * PAGE, frame, flags) {
                frames.release(frame);
                failed = Some((page, error));
                break;
            }
        }
        if let Some((end, error)) = failed {
            let unmapped = (mapped..end).filter_map(|page| space.unmap(start + page * PAGE));
            unmapped.for_each(|frame| frames.release(frame));
            let fresh = task.role_memory.drain(old as usize..);
            fresh.for_each(|frame| frames.release(frame));
            return Err(error.into());
        }
        copy::write_value(space, existed, &old.min(pages))?;
        Ok(Some(start))
    }
}
