//! What the compiler expects of a program that has no operating system: functions that copy, fill
//! and compare memory, and the symbols of unwinding, which never happens here.
//!
//! Memory is moved by 64-bit registers: under QEMU's software emulation that is ten times as fast as
//! `rep movsb` and four times as fast as vector registers, which an interrupt would also have to
//! save. In assembly, because the compiler turns a loop that copies into a call of the copy function.
#![no_std]

core::arch::global_asm!(include_str!("functions.s"), options(att_syntax));

unsafe extern "C" {
    fn fill_page_with_zeros(page: *mut u8);
}

/// Fills a page of 4096 bytes with zeros.
///
/// # Safety
///
/// `page` points to a page, aligned to 8 bytes, that nobody else uses.
pub unsafe fn zero_page(page: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { fill_page_with_zeros(page) };
}

/// The compiler refers to it even where nothing unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above: the prebuilt `alloc` was made with unwinding in mind.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    unreachable!("nothing unwinds: panics abort")
}
