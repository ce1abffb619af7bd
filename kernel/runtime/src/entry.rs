//! From the kernel to the program, and the end of it.

use core::{arch::global_asm, fmt::Write, panic::PanicInfo};

use crate::{executor, logger, system};

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
    logger::install();
    executor::run(program);
    system::exit(0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut text = heapless::String::<{ abi::LAST_WORDS_BYTES }>::new();
    // What does not fit is cut: the beginning says the most.
    let _ = match info.location() {
        Some(location) => {
            write!(
                text,
                "{} at {}:{}",
                info.message(),
                location.file(),
                location.line()
            )
        }
        None => write!(text, "{}", info.message()),
    };
    system::panic(&text)
}
