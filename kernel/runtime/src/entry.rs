//! From the kernel to the program.

use core::arch::global_asm;

use crate::{executor, fault, logger, system, time};

// The kernel leaves the stack as after a call: eight bytes off a multiple of 16.
global_asm!(
    ".global _start",
    "_start:",
    "push 0",
    "call galago_main",
    "ud2"
);

/// Runs the program's future to its end, and the task with it.
pub fn __run(program: impl Future<Output = ()> + 'static) -> ! {
    time::install();
    logger::install();
    fault::install();
    executor::run(program);
    system::exit(0)
}
