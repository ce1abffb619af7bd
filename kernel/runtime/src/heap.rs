//! The heap: small blocks from lists of their size, large ones from a general allocator that grows by
//! pages from the kernel.
//!
//! An `async` task allocates and frees small blocks all the time; a general first-fit allocator gets
//! slow as its list of holes grows. So blocks up to 8 KiB come in powers of two, from chunks that
//! are never given back: getting or freeing one is a few instructions, and memory stays bounded by
//! the peak of each size.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use linked_list_allocator::Heap as General;

use crate::system;

const SMALLEST_SHIFT: u32 = 4;
const LARGEST_SHIFT: u32 = 13;
const CLASSES: usize = (LARGEST_SHIFT - SMALLEST_SHIFT + 1) as usize;
/// Classes up to 1 KiB are cut from the same chunks: what a task uses all the time is then in few
/// pages, each of which costs after every switch.
const SHARED_CLASSES: usize = 7;
const CHUNK_BYTES: usize = 64 << 10;
const GROW_PAGES: usize = 64;

/// A free block of a class: where the next one is.
struct Free {
    next: *mut Free,
}

struct State {
    free: [*mut Free; CLASSES],
    /// What is left of each class's chunk; the small classes share the first.
    chunk: [(usize, usize); CLASSES],
    general: General,
    grown: bool,
}

/// Where the heap begins and ends, for faults on request.
static START: AtomicU64 = AtomicU64::new(0);
static END: AtomicU64 = AtomicU64::new(0);

struct Heap(UnsafeCell<State>);

// SAFETY: a task has one thread, and nothing interrupts it within its own address space.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(State {
    free: [null_mut(); CLASSES],
    chunk: [(0, 0); CLASSES],
    general: General::empty(),
    grown: false,
}));

/// The class of blocks that serve a layout; none if it is too large for them.
fn class(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(1 << SMALLEST_SHIFT);
    let shift = size.next_power_of_two().trailing_zeros();
    (shift <= LARGEST_SHIFT).then_some((shift - SMALLEST_SHIFT) as usize)
}

impl State {
    fn allocate_general(&mut self, layout: Layout) -> *mut u8 {
        if let Ok(block) = self.general.allocate_first_fit(layout) {
            return block.as_ptr();
        }
        let pages = (layout.size() + layout.align()).div_ceil(abi::PAGE_BYTES) + 1;
        let pages = pages.max(GROW_PAGES);
        let Ok(start) = system::grow_heap(pages as u64) else {
            return null_mut();
        };
        let bytes = pages * abi::PAGE_BYTES;
        END.store(start + bytes as u64, Relaxed);
        // SAFETY: the kernel gave these pages for the heap, right behind those it gave before.
        unsafe {
            if self.grown {
                self.general.extend(bytes);
            } else {
                START.store(start, Relaxed);
                self.general.init(start as *mut u8, bytes);
                self.grown = true;
            }
        }
        self.general
            .allocate_first_fit(layout)
            .map_or(null_mut(), NonNull::as_ptr)
    }

    fn allocate_small(&mut self, class: usize) -> *mut u8 {
        let block = self.free[class];
        if !block.is_null() {
            // SAFETY: a block on the list is free memory of its class that holds a `Free`.
            self.free[class] = unsafe { (*block).next };
            return block.cast();
        }
        let size = 1 << (class as u32 + SMALLEST_SHIFT);
        let place = if class < SHARED_CLASSES { 0 } else { class };
        let (start, end) = self.chunk[place];
        let start = start.next_multiple_of(size);
        if start + size <= end {
            self.chunk[place].0 = start + size;
            return start as *mut u8;
        }
        // Aligned to the largest class, a chunk's blocks are aligned to their own size.
        let Ok(layout) = Layout::from_size_align(CHUNK_BYTES, 1 << LARGEST_SHIFT) else {
            return null_mut();
        };
        let chunk = self.allocate_general(layout) as usize;
        if chunk == 0 {
            return null_mut();
        }
        self.chunk[place] = (chunk + size, chunk + CHUNK_BYTES);
        chunk as *mut u8
    }
}

// SAFETY: blocks come from the general allocator or from chunks that do, disjoint, of at least the
// layout's size and alignment.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread, and nothing below calls back into the allocator.
        let state = unsafe { &mut *self.0.get() };
        match class(layout) {
            Some(class) => state.allocate_small(class),
            None => state.allocate_general(layout),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        let state = unsafe { &mut *self.0.get() };
        match class(layout) {
            Some(class) => {
                let block = block.cast::<Free>();
                // SAFETY: the block is free now, of its class's size, and aligned to it.
                unsafe {
                    block.write(Free {
                        next: state.free[class],
                    })
                };
                state.free[class] = block;
            }
            None => {
                if let Some(block) = NonNull::new(block) {
                    // SAFETY: the general allocator gave it with this layout.
                    unsafe { state.general.deallocate(block, layout) };
                }
            }
        }
    }
}

/// The addresses of the heap, its end excluded.
pub(crate) fn range() -> (u64, u64) {
    (START.load(Relaxed), END.load(Relaxed))
}

/// A class of small blocks of which there are free ones, if there is any.
fn free_class(state: &State) -> Option<usize> {
    (0..CLASSES).find(|&class| !state.free[class].is_null())
}

/// Overwrites the allocator's lists and blocks beside each other: a fault on request.
pub(crate) fn corrupt(random: &mut dyn FnMut() -> u64) {
    // SAFETY: one thread; it is interrupted, and that what it does to the heap goes wrong is the point.
    let state = unsafe { &mut *HEAP.0.get() };
    let (start, end) = range();
    if start + 256 > end {
        return;
    }
    let place = start + random() % (end - start - 256);
    for word in 0..16 {
        // SAFETY: within the heap's pages, which are mapped and writable.
        unsafe {
            ((place & !7) as *mut u64)
                .add(word)
                .write_volatile(random())
        };
    }
    if let Some(class) = free_class(state) {
        if random().is_multiple_of(2) {
            state.free[class] = random() as *mut Free;
        } else {
            // SAFETY: a block on the list is memory of the heap.
            unsafe { (*state.free[class]).next = random() as *mut Free };
        }
    }
}

/// Frees a block twice: a fault on request. Two who ask for memory get the same.
pub(crate) fn free_twice() {
    // SAFETY: as for `corrupt`.
    let state = unsafe { &mut *HEAP.0.get() };
    for class in 0..CLASSES {
        let block = state.free[class];
        if !block.is_null() {
            // SAFETY: a block on the list is memory of the heap.
            unsafe { (*block).next = block };
        }
    }
}

/// Writes to a block after it was freed: a fault on request.
pub(crate) fn write_freed(value: u64) {
    // SAFETY: as for `corrupt`.
    let state = unsafe { &mut *HEAP.0.get() };
    for class in 0..CLASSES {
        let block = state.free[class].cast::<u64>();
        if !block.is_null() {
            // SAFETY: a block on the list is memory of the heap.
            unsafe { block.write_volatile(value) };
        }
    }
}

/// Writes one byte past a block, into the one behind it: a fault on request.
pub(crate) fn write_past(value: u8) {
    // SAFETY: as for `corrupt`.
    let state = unsafe { &mut *HEAP.0.get() };
    let (_, end) = range();
    for class in 0..CLASSES {
        let block = state.free[class].cast::<u8>();
        let past = block.wrapping_add(1 << (class as u32 + SMALLEST_SHIFT));
        if !block.is_null() && (past as u64) < end {
            // SAFETY: within the heap's pages, which are mapped and writable.
            unsafe { past.write_volatile(value) };
        }
    }
}
