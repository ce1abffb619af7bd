//! The address space of a task: made, grown, looked through and taken apart.

use kernel_core::{
    PAGE,
    frames::{Frame, Frames},
};

use super::{
    KernelSpace,
    layout::{USER_END, direct},
    tables::{Entry, Flags, Table, index},
    zero,
};

/// Why a page could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The machine has no frame left.
    NoMemory,
    /// The task holds as much as it may.
    Quota,
    /// There is something, or the address is not a task's.
    Occupied,
}

/// An address space. Its frames are let go by [`AddressSpace::destroy`].
pub struct AddressSpace {
    root: Frame,
    pages: u64,
    quota: u64,
}

impl AddressSpace {
    /// An address space with nothing but the kernel in it, that may come to hold `quota` pages,
    /// tables included.
    pub fn new(frames: &mut Frames, kernel: KernelSpace, quota: u64) -> Result<Self, MapError> {
        let root = frames.allocate().ok_or(MapError::NoMemory)?;
        zero(root);
        let upper = table(kernel.root).0[256..].as_ptr();
        let target = table(root).0[256..].as_mut_ptr();
        // SAFETY: two distinct tables of 512 entries; the upper halves are copied.
        unsafe { target.copy_from_nonoverlapping(upper, 256) };
        Ok(Self {
            root,
            pages: 1,
            quota,
        })
    }

    /// The top table.
    pub fn root(&self) -> Frame {
        self.root
    }

    /// Pages held, tables included.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Maps a fresh, zeroed frame.
    pub fn map_new(
        &mut self,
        frames: &mut Frames,
        address: u64,
        flags: Flags,
    ) -> Result<Frame, MapError> {
        if self.pages >= self.quota {
            return Err(MapError::Quota);
        }
        let frame = frames.allocate().ok_or(MapError::NoMemory)?;
        zero(frame);
        match self.map(frames, address, frame, flags) {
            Ok(()) => Ok(frame),
            Err(error) => {
                frames.release(frame);
                Err(error)
            }
        }
    }

    /// Maps a frame, of which the address space becomes the holder the caller was. Device
    /// registers ([`Flags::DEVICE`]) are not counted.
    pub fn map(
        &mut self,
        frames: &mut Frames,
        address: u64,
        frame: Frame,
        flags: Flags,
    ) -> Result<(), MapError> {
        if address >= USER_END || !address.is_multiple_of(PAGE) {
            return Err(MapError::Occupied);
        }
        let mut level_table = table(self.root);
        for level in [3, 2, 1] {
            let entry = &mut level_table.0[index(address, level)];
            if !entry.flags().contains(Flags::PRESENT) {
                if self.pages >= self.quota {
                    return Err(MapError::Quota);
                }
                let below = frames.allocate().ok_or(MapError::NoMemory)?;
                zero(below);
                self.pages += 1;
                *entry = Entry::new(below, Flags::PRESENT | Flags::WRITABLE | Flags::USER);
            }
            level_table = table(entry.frame());
        }
        let entry = &mut level_table.0[index(address, 0)];
        if entry.flags().contains(Flags::PRESENT) {
            return Err(MapError::Occupied);
        }
        if !flags.contains(Flags::DEVICE) {
            if self.pages >= self.quota {
                return Err(MapError::Quota);
            }
            self.pages += 1;
        }
        *entry = Entry::new(frame, flags | Flags::PRESENT | Flags::USER);
        Ok(())
    }

    fn entry(&self, address: u64) -> Option<&mut Entry> {
        if address >= USER_END {
            return None;
        }
        let mut level_table = table(self.root);
        for level in [3, 2, 1] {
            let entry = level_table.0[index(address, level)];
            if !entry.flags().contains(Flags::PRESENT) {
                return None;
            }
            level_table = table(entry.frame());
        }
        let entry = &mut level_table.0[index(address, 0)];
        entry.flags().contains(Flags::PRESENT).then_some(entry)
    }

    /// The frame at an address that the task may read or, with `write`, write. Device registers
    /// are nobody's memory to lend.
    pub fn frame_at(&self, address: u64, write: bool) -> Option<Frame> {
        let entry = self.entry(address)?;
        is_usable(entry.flags(), write).then(|| entry.frame())
    }

    /// Unmaps a page; returns its frame, which the caller holds from now on, unless it is a
    /// device's.
    pub fn unmap(&mut self, address: u64) -> Option<Frame> {
        let entry = self.entry(address)?;
        let (frame, flags) = (entry.frame(), entry.flags());
        *entry = Entry::NONE;
        x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(address));
        if flags.contains(Flags::DEVICE) {
            return None;
        }
        self.pages -= 1;
        Some(frame)
    }

    /// Whether so many more pages, with the tables for them, are within the quota.
    pub fn has_quota_for(&self, pages: u64) -> bool {
        let tables = pages / 512 + 4;
        self.pages.saturating_add(pages).saturating_add(tables) <= self.quota
    }

    /// Whether all of a range is memory that the task may lend. What it allocated for its device is
    /// not: were it lent to a device and the call given up, it would get another frame in its place,
    /// and its own device would not know.
    pub fn may_lend(&self, address: u64, len: u64, write: bool) -> bool {
        self.all(address, len, |flags| {
            is_usable(flags, write) && !flags.contains(Flags::DMA)
        })
    }

    /// Whether all of a range is memory of the task's that it may read or, with `write`, write.
    pub fn is_valid(&self, address: u64, len: u64, write: bool) -> bool {
        self.all(address, len, |flags| is_usable(flags, write))
    }

    /// Whether all pages of a range are there and such.
    fn all(&self, address: u64, len: u64, such: impl Fn(Flags) -> bool) -> bool {
        let Some(end) = address.checked_add(len).filter(|&end| end <= USER_END) else {
            return false;
        };
        (address & !(PAGE - 1)..end)
            .step_by(PAGE as usize)
            .all(|page| self.entry(page).is_some_and(|entry| such(entry.flags())))
    }

    /// Maps `fresh` where another frame is mapped, for the same uses. The mapping becomes the holder of
    /// `fresh` that the caller was, and the caller that of the other frame.
    pub fn replace(&mut self, address: u64, fresh: Frame) {
        if let Some(entry) = self.entry(address) {
            *entry = Entry::new(fresh, entry.flags());
            x86_64::instructions::tlb::flush(x86_64::VirtAddr::new(address));
        }
    }

    /// Lets go of everything mapped, and of the tables.
    pub fn destroy(self, frames: &mut Frames) {
        release_below(frames, self.root, 3);
        frames.release(self.root);
    }
}

/// Whether the task may read a page or, with `write`, write it, and the kernel for it.
fn is_usable(flags: Flags, write: bool) -> bool {
    !flags.contains(Flags::DEVICE) && (!write || flags.contains(Flags::WRITABLE))
}

/// Lets go of what a table of `level` refers to, in the lower half only if it is the top one.
fn release_below(frames: &mut Frames, at: Frame, level: usize) {
    let entries = if level == 3 { 256 } else { 512 };
    for entry in &table(at).0[..entries] {
        let flags = entry.flags();
        if !flags.contains(Flags::PRESENT) || flags.contains(Flags::DEVICE) {
            continue;
        }
        if level > 0 {
            release_below(frames, entry.frame(), level - 1);
        }
        frames.release(entry.frame());
    }
}

/// A page table in the direct map.
fn table(frame: Frame) -> &'static mut Table {
    // SAFETY: only frames that hold page tables get here. The kernel is never entered twice at a
    // time for one address space, and no reference is kept from one step to the next.
    unsafe { &mut *direct(frame.address()).cast::<Table>() }
}
