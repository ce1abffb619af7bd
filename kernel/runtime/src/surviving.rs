//! The memory that the kernel keeps for the role, as layers use it: `storage::surviving::Memory`.

use alloc::{rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use abi::{PAGE_BYTES, ROLE_PAGES_MAX};
use storage::surviving::Memory;

use crate::system;

/// Pages by which the memory grows, so that most new pages cost no system call.
const GROWTH_PAGES: usize = 64;

struct State {
    address: u64,
    left: usize,
    /// Pages that are mapped.
    mapped: Cell<usize>,
    /// No more than so many pages are ever asked for: past its quota the task would die.
    pages_max: usize,
    /// Which pages somebody holds.
    held: RefCell<Vec<bool>>,
}

/// The role's memory. A task makes one, at its start; clones are the same.
#[derive(Clone)]
pub struct RoleMemory(Rc<State>);

impl RoleMemory {
    /// The memory as earlier instances left it, to grow to `pages_max` pages. What they left is mapped at
    /// once.
    ///
    /// Errors: those of [`system::role_memory`]; [`abi::Error::BadState`] for a second one.
    pub fn open(pages_max: usize) -> system::Result<Self> {
        static IS_OPEN: crate::local::Local<bool> = crate::local::Local::new(false);
        if core::mem::replace(&mut *IS_OPEN.borrow(), true) {
            return Err(abi::Error::BadState);
        }
        let (address, left) = system::role_memory(0)?;
        if left > 0 {
            system::role_memory(left)?;
        }
        let left = left as usize;
        Ok(Self(Rc::new(State {
            address,
            left,
            mapped: Cell::new(left),
            pages_max: pages_max.max(left),
            held: RefCell::default(),
        })))
    }

    /// Maps pages up to this one and some more.
    fn grow(&self, index: usize) -> Option<()> {
        let State {
            mapped, pages_max, ..
        } = &*self.0;
        while mapped.get() <= index {
            let step = (index + 1 - mapped.get()).clamp(GROWTH_PAGES, ROLE_PAGES_MAX as usize);
            let pages = (mapped.get() + step).min(*pages_max);
            system::role_memory(pages as u64).ok()?;
            mapped.set(pages);
        }
        Some(())
    }
}

impl Memory for RoleMemory {
    type Page = RolePage;

    fn left(&self) -> usize {
        self.0.left
    }

    fn page(&self, index: usize) -> Option<RolePage> {
        if index >= self.0.pages_max {
            return None;
        }
        self.grow(index)?;
        let mut held = self.0.held.borrow_mut();
        if held.len() <= index {
            held.resize(index + 1, false);
        }
        if core::mem::replace(&mut held[index], true) {
            return None;
        }
        let address = self.0.address + (index * PAGE_BYTES) as u64;
        Some(RolePage {
            bytes: NonNull::new(address as *mut [u8; PAGE_BYTES])?,
            index,
            state: self.0.clone(),
        })
    }
}

/// A page of [`RoleMemory`].
pub struct RolePage {
    bytes: NonNull<[u8; PAGE_BYTES]>,
    index: usize,
    state: Rc<State>,
}

impl Deref for RolePage {
    type Target = [u8; PAGE_BYTES];

    fn deref(&self) -> &Self::Target {
        // SAFETY: the page is mapped for as long as the task lives, and no other handle has it.
        unsafe { self.bytes.as_ref() }
    }
}

impl DerefMut for RolePage {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: as above, and this handle is borrowed alone.
        unsafe { self.bytes.as_mut() }
    }
}

impl Drop for RolePage {
    fn drop(&mut self) {
        self.state.held.borrow_mut()[self.index] = false;
    }
}
