//! To come.
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// To come.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    loop {}
}
struct None;
// SAFETY: never gives memory.
unsafe impl core::alloc::GlobalAlloc for None {
    unsafe fn alloc(&self, _: core::alloc::Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}
}
#[global_allocator]
static HEAP: None = None;
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
