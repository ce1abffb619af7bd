//! The local APIC (Intel SDM volume 3, chapter 11): end of interrupt, the timer, and the address of
//! message-signalled interrupts.

use crate::memory::layout::KERNEL_REGISTERS;

const SPURIOUS: usize = 0xf0;
const END_OF_INTERRUPT: usize = 0xb0;
const TASK_PRIORITY: usize = 0x80;
const TIMER: usize = 0x320;
const LINT0: usize = 0x350;
const INITIAL_COUNT: usize = 0x380;
const CURRENT_COUNT: usize = 0x390;
const DIVIDE: usize = 0x3e0;
const IDENTITY: usize = 0x20;
const MASKED: u32 = 1 << 16;

/// Vector of the timer.
pub const TIMER_VECTOR: u64 = 0x20;
/// Vector of ISA interrupt 0; the other fifteen follow.
pub const ISA_VECTOR: u64 = 0x30;
/// First vector of message-signalled interrupts.
pub const MSI_VECTOR: u64 = 0x40;
/// How many there are of those.
pub const MSI_VECTORS: usize = 64;
/// Vector of interrupts that went away before they were taken.
pub const SPURIOUS_VECTOR: u64 = 0xff;

fn read(register: usize) -> u32 {
    // SAFETY: the page of the local APIC's registers is mapped here, uncached.
    unsafe { ((KERNEL_REGISTERS as usize + register) as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above; the registers written control interrupts of this processor only.
    unsafe { ((KERNEL_REGISTERS as usize + register) as *mut u32).write_volatile(value) };
}

/// Takes interrupts from the local APIC and none from the old controllers.
pub fn initialise() {
    use super::serial::port_write;
    // The two 8259s: everything masked.
    port_write(0x21, 0xff);
    port_write(0xa1, 0xff);
    write(TASK_PRIORITY, 0);
    write(LINT0, MASKED);
    write(DIVIDE, 0b0011);
    write(TIMER, MASKED | TIMER_VECTOR as u32);
    write(SPURIOUS, 0x100 | SPURIOUS_VECTOR as u32);
}

/// Says that an interrupt was taken.
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Starts counting down from the largest number with the timer's interrupt off, to calibrate.
pub fn start_counting() {
    write(TIMER, MASKED | TIMER_VECTOR as u32);
    write(INITIAL_COUNT, u32::MAX);
}

/// How far it has counted.
pub fn counted() -> u32 {
    u32::MAX - read(CURRENT_COUNT)
}

/// Raises the timer's interrupt after so many counts; zero stops the timer.
pub fn set_timer(counts: u32) {
    write(TIMER, TIMER_VECTOR as u32);
    write(INITIAL_COUNT, counts);
}

/// This processor's identity, as message-signalled interrupts address it.
pub fn identity() -> u32 {
    read(IDENTITY) >> 24
}
