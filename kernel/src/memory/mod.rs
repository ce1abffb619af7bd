//! Memory: the kernel's own address space, its heap, and those of tasks.

pub mod copy;
pub mod layout;
pub mod space;
mod tables;

use kernel_core::{
    PAGE,
    frames::{Frame, Frames},
};
use linked_list_allocator::LockedHeap;

use crate::boot::{Machine, Range};
use layout::{DIRECT, KERNEL_BASE, direct};
use tables::{Entry, Flags, Table};

pub use tables::Flags as PageFlags;

#[global_allocator]
static HEAP: LockedHeap = LockedHeap::empty();

/// Bytes of the kernel's heap: its tables, all of bounded size, but for what [`Frames`] keeps of each
/// frame.
const HEAP_BYTES: u64 = 24 << 20;
/// Bytes that [`Frames`] keeps of a frame, at most.
const BYTES_A_FRAME: u64 = 3;

const LARGE_PAGE: u64 = 2 << 20;

unsafe extern "C" {
    static image_text_start: u8;
    static image_rodata_start: u8;
    static image_data_start: u8;
    static image_end: u8;
}

fn address_of(symbol: &'static u8) -> u64 {
    core::ptr::from_ref(symbol) as u64
}

/// The kernel's page tables, whose upper half every address space shares.
#[derive(Clone, Copy)]
pub struct KernelSpace {
    /// The top table.
    pub root: Frame,
}

/// Hands out memory before there is an allocator: from the end of the largest range downwards.
struct Early {
    range: Range,
}

impl Early {
    fn take(&mut self, bytes: u64) -> u64 {
        self.range.end = (self.range.end - bytes) & !(PAGE - 1);
        assert!(self.range.end >= self.range.start, "memory too small");
        self.range.end
    }

    fn table(&mut self) -> &'static mut Table {
        let address = self.take(PAGE);
        // SAFETY: taken from free memory, which boot code has mapped, and nobody else has it.
        unsafe {
            direct(address).write_bytes(0, PAGE as usize);
            &mut *direct(address).cast::<Table>()
        }
    }
}

/// Sets up the heap, the frames and the kernel's own page tables.
pub fn initialise(machine: &Machine) -> Result<(Frames, KernelSpace), &'static str> {
    // SAFETY: symbols that the linker script defines; only their addresses are taken.
    let (text, rodata, data, end) = unsafe {
        (
            address_of(&image_text_start),
            address_of(&image_rodata_start),
            address_of(&image_data_start),
            address_of(&image_end),
        )
    };
    let below_4g = |range: &Range| Range {
        start: range.start,
        end: range.end.min(4 << 30),
    };
    let kernel_end = end - KERNEL_BASE;
    let occupied = [
        Range {
            start: 0,
            end: kernel_end,
        },
        machine.archive,
    ];
    let mut largest = Range { start: 0, end: 0 };
    for range in machine.memory.iter().map(below_4g) {
        let start = (range.start.max(kernel_end) + PAGE - 1) & !(PAGE - 1);
        // The archive lies near one end of its range: what is left is on either side of it.
        let parts = [
            Range {
                start,
                end: range.end.min(machine.archive.start),
            },
            Range {
                start: start.max(machine.archive.end),
                end: range.end,
            },
        ];
        for part in parts {
            if part.end.saturating_sub(part.start) > largest.end - largest.start {
                largest = Range {
                    start: (part.start + PAGE - 1) & !(PAGE - 1),
                    end: part.end,
                };
            }
        }
    }
    let memory_end = machine
        .memory
        .iter()
        .map(|range| range.end)
        .max()
        .unwrap_or(0);
    let heap_bytes = HEAP_BYTES + memory_end / PAGE * BYTES_A_FRAME;
    if largest.end - largest.start < heap_bytes + (16 << 20) {
        return Err("memory too small: give QEMU at least -m 128");
    }
    let mut early = Early { range: largest };
    let heap = early.take(heap_bytes);
    // SAFETY: this memory is free, mapped and given to nobody else.
    unsafe { HEAP.lock().init(direct(heap), heap_bytes as usize) };

    let root = early.table();
    map_direct(&mut early, root, memory_end);
    let no_write = Flags::PRESENT | Flags::GLOBAL;
    for (start, end, flags) in [
        (text, rodata, no_write),
        (rodata, data, no_write | Flags::NO_EXECUTE),
        (data, end, no_write | Flags::NO_EXECUTE | Flags::WRITABLE),
    ] {
        let pages = (start..end).step_by(PAGE as usize);
        for page in pages.filter(|page| !crate::cpu::stack_guards().contains(page)) {
            map_early(&mut early, root, page, page - KERNEL_BASE, flags);
        }
    }
    for (index, physical) in crate::cpu::REGISTER_PAGES.into_iter().enumerate() {
        let page = layout::KERNEL_REGISTERS + index as u64 * PAGE;
        let flags = no_write | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::UNCACHED;
        map_early(&mut early, root, page, physical, flags);
    }
    let root = Frame::containing(core::ptr::from_mut(root) as u64 - DIRECT);
    let space = KernelSpace { root };
    space.load();

    let mut frames = Frames::new(Frame::containing(memory_end).0 as usize);
    let taken = Range {
        start: early.range.end,
        end: largest.end,
    };
    for range in &machine.memory {
        for page in
            (range.start.next_multiple_of(PAGE)..range.end & !(PAGE - 1)).step_by(PAGE as usize)
        {
            let overlaps = |other: &Range| page + PAGE > other.start && page < other.end;
            if page >= 1 << 20 && !occupied.iter().any(overlaps) && !overlaps(&taken) {
                frames.add(Frame::containing(page));
            }
        }
    }
    Ok((frames, space))
}

/// Maps all physical memory, by large pages.
fn map_direct(early: &mut Early, root: &mut Table, memory_end: u64) {
    let flags = Flags::PRESENT | Flags::WRITABLE | Flags::NO_EXECUTE | Flags::GLOBAL | Flags::LARGE;
    for physical in (0..memory_end).step_by(LARGE_PAGE as usize) {
        let address = DIRECT + physical;
        let table = descend_early(early, root, address, 3);
        let table = descend_early(early, table, address, 2);
        table.0[tables::index(address, 1)] = Entry::new(Frame::containing(physical), flags);
    }
}

fn map_early(early: &mut Early, root: &mut Table, address: u64, physical: u64, flags: Flags) {
    let mut table = root;
    for level in [3, 2, 1] {
        table = descend_early(early, table, address, level);
    }
    table.0[tables::index(address, 0)] = Entry::new(Frame::containing(physical), flags);
}

fn descend_early<'a>(
    early: &mut Early,
    table: &'a mut Table,
    address: u64,
    level: usize,
) -> &'a mut Table {
    let entry = &mut table.0[tables::index(address, level)];
    if !entry.flags().contains(Flags::PRESENT) {
        let below = core::ptr::from_mut(early.table()) as u64 - DIRECT;
        *entry = Entry::new(Frame::containing(below), Flags::PRESENT | Flags::WRITABLE);
    }
    // SAFETY: the entry refers to a table that was made above, and `table` is borrowed for it.
    unsafe { &mut *direct(entry.frame().address()).cast::<Table>() }
}

impl KernelSpace {
    /// Makes this the address space of the processor.
    pub fn load(&self) {
        load(self.root);
    }
}

/// Makes the tables below `root` the address space of the processor.
pub fn load(root: Frame) {
    use x86_64::{PhysAddr, registers::control::Cr3, structures::paging::PhysFrame};
    let (_, flags) = Cr3::read();
    let frame = PhysFrame::containing_address(PhysAddr::new(root.address()));
    // SAFETY: every address space maps the kernel in the same way.
    unsafe { Cr3::write(frame, flags) };
}

/// Copies a frame to another, whatever a device does to the first at the same time.
pub fn copy_frame(from: Frame, to: Frame) {
    assert!(from != to, "a frame is copied to another");
    // SAFETY: two distinct frames, covered by the direct map; the caller holds both, and `to` alone. If
    // a device writes to `from` meanwhile, any of its states will do.
    unsafe {
        direct(to.address()).copy_from_nonoverlapping(direct(from.address()), abi::PAGE_BYTES);
    }
}

/// Fills a frame with zeros.
pub fn zero(frame: Frame) {
    // SAFETY: the direct map covers every frame; the caller holds this one alone.
    unsafe { compiler_support::zero_page(direct(frame.address())) };
}
