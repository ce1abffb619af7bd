//! A page, and how it is shared.
//!
//! Pages lie in memory that outlives the instance. A page is handed down as a segment of a write while
//! the cache goes on: so it is counted ([`PageRef`]). What the ledger describes never changes: a writer
//! fills a fresh page and puts that in the place of the old one, so whatever is on its way down stays
//! stable, and a death in the middle of a write leaves the old page as it was.

use alloc::{rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    ops::{Deref, DerefMut},
};

use crate::{BLOCK_BYTES, Error, Result, surviving::Memory};

/// Where pages come from, and where they go back to.
pub(super) struct Home<M> {
    memory: M,
    free: RefCell<Vec<u32>>,
    /// The first page that has never been given out.
    next: Cell<u32>,
    /// Pages given out, and how many may be.
    used: Cell<usize>,
    used_max: usize,
    /// Whether a page of this number is kept back for other purposes.
    is_reserved: fn(u32) -> bool,
}

impl<M: Memory> Home<M> {
    /// Gives out at most `used_max` pages at a time.
    pub fn new(memory: M, used_max: usize, is_reserved: fn(u32) -> bool) -> Rc<Self> {
        Rc::new(Self {
            memory,
            free: RefCell::default(),
            next: Cell::new(0),
            used: Cell::new(0),
            used_max,
            is_reserved,
        })
    }

    /// The number of a page that nobody has, as long as there are any.
    pub fn number(&self) -> u32 {
        if let Some(number) = self.free.borrow_mut().pop() {
            return number;
        }
        let mut number = self.next.get();
        while (self.is_reserved)(number) {
            number += 1;
        }
        self.next.set(number + 1);
        number
    }

    /// A page for whatever content; its present one is of no meaning. `None`: there are no more.
    pub fn take(self: &Rc<Self>) -> Option<PageRef<M>> {
        if self.used.get() >= self.used_max {
            return None;
        }
        let number = self.number();
        let page = self.page(number);
        if page.is_none() {
            self.free.borrow_mut().push(number);
        }
        page
    }

    /// The page of this number, which an earlier instance has left.
    pub fn page(self: &Rc<Self>, number: u32) -> Option<PageRef<M>> {
        let bytes = self.memory.page(number as usize)?;
        self.used.set(self.used.get() + 1);
        Some(Rc::new(Page {
            bytes,
            number,
            home: self.clone(),
        }))
    }

    /// Of the pages below `left` nobody has any but those that `is_used` says.
    pub fn begin(&self, left: u32, is_used: impl Fn(u32) -> bool) {
        self.next.set(left);
        let free = (0..left).filter(|&number| !(self.is_reserved)(number) && !is_used(number));
        *self.free.borrow_mut() = free.rev().collect();
    }
}

/// A page in memory that outlives the instance.
pub(super) struct Page<M: Memory> {
    bytes: M::Page,
    number: u32,
    home: Rc<Home<M>>,
}

/// A page that may be on its way down while the cache holds it.
pub(super) type PageRef<M> = Rc<Page<M>>;

impl<M: Memory> Page<M> {
    /// Its number in that memory.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl<M: Memory> Deref for Page<M> {
    type Target = [u8; BLOCK_BYTES];

    fn deref(&self) -> &Self::Target {
        &self.bytes
    }
}

impl<M: Memory> DerefMut for Page<M> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.bytes
    }
}

impl<M: Memory> Drop for Page<M> {
    fn drop(&mut self) {
        self.home.used.set(self.home.used.get() - 1);
        self.home.free.borrow_mut().push(self.number);
    }
}

/// The bytes of a page that nobody else holds.
pub(super) fn alone<M: Memory>(page: &mut PageRef<M>) -> Result<&mut [u8; BLOCK_BYTES]> {
    Rc::get_mut(page)
        .map(|page| &mut **page)
        .ok_or(Error::NoMemory)
}

/// The page that byte `offset` of a file is in.
pub(super) fn page_of(offset: u64) -> u64 {
    offset / BLOCK_BYTES as u64
}

/// How many pages the first `size` bytes of a file are.
pub(super) fn pages_in(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES as u64)
}

/// The byte of a file at which a page begins.
pub(super) fn start_of(page: u64) -> u64 {
    page * BLOCK_BYTES as u64
}
