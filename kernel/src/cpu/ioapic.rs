//! The I/O APIC (82093AA data sheet): ISA interrupts, edge-triggered, each masked from when it fires
//! until its driver has handled it, so that no device can keep the processor busy.

use super::{REGISTER_PAGES, apic};
use crate::memory::layout::KERNEL_REGISTERS;

const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const REDIRECTION: u32 = 0x10;
const MASKED: u32 = 1 << 16;

/// ISA interrupts there are.
pub const LINES: usize = 16;

const _: () = assert!(REGISTER_PAGES[1] == 0xfec0_0000);

fn write(register: u32, value: u32) {
    let base = KERNEL_REGISTERS as usize + abi::PAGE_BYTES;
    // SAFETY: the page of the I/O APIC's registers is mapped here, uncached; select, then write.
    unsafe {
        ((base + SELECT) as *mut u32).write_volatile(register);
        ((base + WINDOW) as *mut u32).write_volatile(value);
    }
}

/// Masks all interrupts.
pub fn initialise() {
    for line in 0..LINES {
        set(line, false);
    }
}

/// Lets an ISA interrupt through to this processor, or not.
pub fn set(line: usize, enabled: bool) {
    let register = REDIRECTION + 2 * line as u32;
    write(register + 1, apic::identity() << 24);
    let vector = apic::ISA_VECTOR as u32 + line as u32;
    write(register, vector | if enabled { 0 } else { MASKED });
}
