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
        // SAFETY: the kernel gave these pages for the heap, right behind those it gave before.
        unsafe {
            if self.grown {
                self.general.extend(bytes);
            } else {
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
