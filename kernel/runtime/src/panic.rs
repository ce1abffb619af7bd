//! A broken invariant ends the task; its message becomes the task's last words.

use core::{fmt::Write, panic::PanicInfo};

use crate::system;

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
