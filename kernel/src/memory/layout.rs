//! Where everything is in an address space.
//!
//! ```text
//! 0000_0040_0000                    stack, guard pages below
//! 0000_0048_0000                    image (text, rodata, data: pages of their own)
//! 0000_1000_0000                    heap
//! 2000_0000_0000                    DMA memory
//! 3000_0000_0000                    device registers
//! 4000_0000_0000                    memory that outlives the instance
//! 7000_0000_0000                    start information, one page
//! ─────────────── kernel, the same in every address space, not for tasks ───────────────
//! ffff_8000_0000_0000               all physical memory (direct map)
//! ffff_9000_0000_0000               kernel's device registers
//! ffff_ffff_8010_0000               kernel image
//! ```
//!
//! QEMU's software TLB is direct-mapped: pages that are equal modulo 1 MiB evict each other. Each
//! role's regions therefore begin at offsets of their own ([`stagger`]). After each switch it is empty,
//! and every page touched costs, those of page tables too: so stack, image and heap share the upper
//! tables, stack and image all of them.

use kernel_core::PAGE;

/// One past the highest address of a task.
pub const USER_END: u64 = 0x7fff_ffff_f000;
/// Where heaps begin.
pub const HEAP: u64 = 0x1000_0000;
/// Where DMA memory is mapped.
pub const DMA: u64 = 0x2000_0000_0000;
/// Where device registers are mapped.
pub const REGISTERS: u64 = 0x3000_0000_0000;
/// Where memory that outlives the instance is mapped, before staggering.
const ROLE_MEMORY: u64 = 0x4000_0000_0000;
/// Where the guard pages below stacks begin, before staggering.
pub const STACK: u64 = 0x40_0000;
/// Size of a stack.
pub const STACK_PAGES: u64 = 64;
/// Unmapped pages below the stack whose touch is a stack overrun.
pub const GUARD_PAGES: u64 = 16;

/// The stack, however staggered, ends below the image.
const _: () = assert!(
    STACK + (GUARD_PAGES + STACK_PAGES + STACK_STAGGER_PAGES) * PAGE
        <= kernel_core::image::IMAGE_START
);
/// Places for a stack.
const STACK_STAGGER_PAGES: u64 = 48;

/// Where physical memory is mapped.
pub const DIRECT: u64 = 0xffff_8000_0000_0000;
/// Where the kernel maps registers of interrupt controllers.
pub const KERNEL_REGISTERS: u64 = 0xffff_9000_0000_0000;
/// Distance between the kernel's virtual and physical addresses.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// Where a physical address is mapped.
pub fn direct(physical: u64) -> *mut u8 {
    (DIRECT + physical) as *mut u8
}

/// Where the memory that outlives a role's instances is mapped.
pub fn role_memory(role: usize) -> u64 {
    ROLE_MEMORY + stagger(role, 4)
}

/// The offset of a role's stack, different for neighbours.
pub fn stack_stagger(role: usize) -> u64 {
    (role as u64 * 5 % STACK_STAGGER_PAGES) * PAGE
}

/// The offset of a role's region, different for every role and kind of region.
pub fn stagger(role: usize, region: u64) -> u64 {
    ((role as u64 * 29 + region * 71) % 251) * PAGE
}
