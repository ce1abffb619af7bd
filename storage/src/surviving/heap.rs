//! Memory of a process: it outlives the instances of layers within the process, as tests, the
//! simulation and everything else on a host want it.

use alloc::{boxed::Box, collections::BTreeMap, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, OnceCell, RefCell},
    ops::{Deref, DerefMut},
};

use super::{Memory, WORD_BYTES};
use crate::BLOCK_BYTES;

type Bytes = Box<[u8; BLOCK_BYTES]>;

/// What is called before each store, with the number of stores so far. It ends the instance by
/// unwinding, if it is to die just there.
type Hook = Box<dyn FnMut(u64)>;

/// Where in a page, and what.
type WildWrite = (usize, Vec<u8>);

struct Store {
    /// `None` while somebody holds the page.
    pages: RefCell<Vec<Option<Bytes>>>,
    pages_max: Cell<usize>,
    stores: Cell<u64>,
    /// Counts instances; the stores of those before the last one count for nothing.
    instance: Cell<u64>,
    hook: RefCell<Option<Hook>>,
    /// What was written to pages that somebody holds, and that they have not seen yet.
    wild: RefCell<BTreeMap<usize, Vec<WildWrite>>>,
}

impl Store {
    /// Lets the holder of a page see what was written to it by mistake.
    fn strike(&self, index: usize, bytes: &mut [u8; BLOCK_BYTES]) {
        for (offset, written) in self.wild.borrow_mut().remove(&index).unwrap_or_default() {
            bytes[offset..offset + written.len()].copy_from_slice(&written);
        }
    }

    fn is_struck(&self, index: usize) -> bool {
        let wild = self.wild.borrow();
        !wild.is_empty() && wild.contains_key(&index)
    }
}

/// Memory of this process, as one instance sees it.
#[derive(Clone)]
pub struct Heap {
    store: Rc<Store>,
    instance: u64,
    left: usize,
}

impl Heap {
    /// Memory that grows to `pages_max` pages.
    #[must_use]
    pub fn new(pages_max: usize) -> Self {
        Self {
            store: Rc::new(Store {
                pages: RefCell::default(),
                pages_max: Cell::new(pages_max),
                stores: Cell::new(0),
                instance: Cell::new(0),
                hook: RefCell::new(None),
                wild: RefCell::default(),
            }),
            instance: 0,
            left: 0,
        }
    }

    /// The instance that had the memory has died: this is how the next one sees it. Every page that the
    /// dead one held must have been let go of.
    #[must_use]
    pub fn next_instance(&self) -> Self {
        let instance = self.store.instance.get() + 1;
        self.store.instance.set(instance);
        self.store.hook.take();
        Self {
            store: self.store.clone(),
            instance,
            left: self.store.pages.borrow().len(),
        }
    }

    /// From now on nothing is stored for this instance: it is dead, though its destructors still run. What was called
    /// before each store goes.
    pub fn end_instance(&self) {
        self.store.instance.set(self.store.instance.get() + 1);
        self.store.hook.take();
    }

    /// From now on there are no more pages than there have been.
    pub fn stop_growing(&self) {
        self.store.pages_max.set(self.len());
    }

    /// How many words were stored, by all instances.
    #[must_use]
    pub fn stores(&self) -> u64 {
        self.store.stores.get()
    }

    /// Calls `hook` before each store, with the number of stores so far.
    pub fn before_each_store(&self, hook: impl FnMut(u64) + 'static) {
        *self.store.hook.borrow_mut() = Some(Box::new(hook));
    }

    /// How many pages there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.pages.borrow().len()
    }

    /// Whether there is no page yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes where nobody should, whether somebody holds the page or not. Whether there is such a page.
    pub fn write_wild(&self, page: usize, offset: usize, bytes: &[u8]) -> bool {
        let mut pages = self.store.pages.borrow_mut();
        if offset + bytes.len() > BLOCK_BYTES || page >= pages.len() {
            return false;
        }
        match &mut pages[page] {
            Some(page) => page[offset..offset + bytes.len()].copy_from_slice(bytes),
            None => {
                let mut wild = self.store.wild.borrow_mut();
                let writes = wild.entry(page).or_default();
                writes.push((offset, bytes.into()));
            }
        }
        true
    }

    /// A copy of all pages.
    ///
    /// # Panics
    ///
    /// If somebody holds a page.
    #[must_use]
    pub fn contents(&self) -> Vec<[u8; BLOCK_BYTES]> {
        let pages = self.store.pages.borrow();
        let copy = |page: &Option<Bytes>| **page.as_ref().expect("nobody holds a page");
        pages.iter().map(copy).collect()
    }

    /// Other memory with this content, left by an instance that has died.
    #[must_use]
    pub fn with_contents(contents: &[[u8; BLOCK_BYTES]], pages_max: usize) -> Self {
        let memory = Self::new(pages_max);
        *memory.store.pages.borrow_mut() =
            contents.iter().map(|page| Some(Box::new(*page))).collect();
        memory.next_instance()
    }
}

impl Memory for Heap {
    type Page = HeapPage;

    fn left(&self) -> usize {
        self.left
    }

    fn page(&self, index: usize) -> Option<HeapPage> {
        if index >= self.store.pages_max.get() {
            return None;
        }
        let mut pages = self.store.pages.borrow_mut();
        while pages.len() <= index {
            pages.push(Some(Box::new([0; BLOCK_BYTES])));
        }
        let bytes = pages[index].take()?;
        Some(HeapPage {
            bytes: Some(bytes),
            struck: OnceCell::new(),
            index,
            store: self.store.clone(),
        })
    }

    fn store(&self, page: &mut HeapPage, word: usize, value: u64) {
        if self.store.instance.get() != self.instance {
            return;
        }
        // Taken out while it runs, as it may unwind.
        if let Some(mut hook) = self.store.hook.take() {
            hook(self.store.stores.get());
            if self.store.instance.get() == self.instance {
                *self.store.hook.borrow_mut() = Some(hook);
            }
        }
        self.store.stores.set(self.store.stores.get() + 1);
        page[word * WORD_BYTES..][..WORD_BYTES].copy_from_slice(&value.to_le_bytes());
    }
}

/// A page of [`Heap`]; let go of, its content is there for the next.
pub struct HeapPage {
    bytes: Option<Bytes>,
    /// The content, once something was written to it by mistake.
    struck: OnceCell<Bytes>,
    index: usize,
    store: Rc<Store>,
}

impl HeapPage {
    fn bytes(&self) -> &Bytes {
        self.bytes.as_ref().expect("held until it is let go of")
    }

    /// Makes what was written by mistake a part of the content.
    fn settle(&mut self) {
        if self.struck.get().is_none() && !self.store.is_struck(self.index) {
            return;
        }
        let mut bytes = match self.struck.take() {
            Some(struck) => struck,
            None => self.bytes().clone(),
        };
        self.store.strike(self.index, &mut bytes);
        self.bytes = Some(bytes);
    }
}

impl Deref for HeapPage {
    type Target = [u8; BLOCK_BYTES];

    fn deref(&self) -> &Self::Target {
        if self.struck.get().is_none() && !self.store.is_struck(self.index) {
            return self.bytes();
        }
        self.struck.get_or_init(|| {
            let mut bytes = self.bytes().clone();
            self.store.strike(self.index, &mut bytes);
            bytes
        })
    }
}

impl DerefMut for HeapPage {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.settle();
        self.bytes.as_mut().expect("held until it is let go of")
    }
}

impl Drop for HeapPage {
    fn drop(&mut self) {
        self.settle();
        let bytes = self.bytes.take();
        self.store.pages.borrow_mut()[self.index] = bytes;
    }
}
