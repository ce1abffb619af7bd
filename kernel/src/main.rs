//! The Galago unikernel's image.
//!
//! Small and free of policy: it boots, keeps tasks apart, carries calls between them, lends memory and
//! delivers interrupts. Everything else, drivers and the restart manager included, is a task.
//! `docs/kernel.md` says how.
#![no_std]
#![no_main]

extern crate alloc;
#[cfg(not(guest))]
extern crate std;

mod boot;
mod cpu;
mod device;
mod kernel;
mod log;
mod memory;
mod system_call;
mod task;

/// A broken invariant of the kernel's own. Nothing that a task does leads here.
#[cfg(guest)]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::fmt::Write;
    const PANIC_STATUS: u64 = 0x7f;
    x86_64::instructions::interrupts::disable();
    // What led to it comes first.
    log::write_rest();
    // Where the port takes nothing, there is nobody to tell.
    let _ = writeln!(cpu::serial::Serial, "kernel panic: {info}");
    cpu::power::leave(PANIC_STATUS)
}
