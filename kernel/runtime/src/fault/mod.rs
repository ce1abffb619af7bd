//! Faults on request: what the restart manager has this task suffer, in its own code and state.
//!
//! The kernel takes the task to [`fault_entry`] as a signal would, at whatever instruction it was. The
//! entry saves every register, has the fault happen, and goes back, unless the fault is one that ends
//! the task. Nothing here allocates or borrows at that moment, for the interrupted code may be in the
//! middle of either; what needs that waits, as a *misbehaviour*, for the event loop to come round.
//!
//! ```text
//!   interrupted code's stack │ 128 bytes of red zone │ rip when seed argument order │ registers … │ fault's frames
//! ```

mod armed;
mod memory;
mod misbehaviour;

use core::arch::{asm, global_asm};

use abi::{Fault, Order, When};

use crate::system;

pub(crate) use misbehaviour::{
    Turn, deaf_to_interrupts, deaf_to_time, hoards, on_reply, on_request, turn,
};

global_asm!(
    ".global galago_fault_entry",
    "galago_fault_entry:",
    "pushfq",
    "cld",
    "push rax",
    "push rbx",
    "push rcx",
    "push rdx",
    "push rsi",
    "push rdi",
    "push rbp",
    "push r8",
    "push r9",
    "push r10",
    "push r11",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov rdi, [rsp + 128]",
    "mov rsi, [rsp + 136]",
    "mov rdx, [rsp + 144]",
    "mov rcx, [rsp + 152]",
    "mov rbp, rsp",
    "sub rsp, 512",
    "and rsp, -16",
    "fxsave64 [rsp]",
    "call galago_fault",
    "fxrstor64 [rsp]",
    "mov rsp, rbp",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop r11",
    "pop r10",
    "pop r9",
    "pop r8",
    "pop rbp",
    "pop rdi",
    "pop rsi",
    "pop rdx",
    "pop rcx",
    "pop rbx",
    "pop rax",
    "popfq",
    // Over the four words, back to the program counter, over the red zone; none of it changes a flag.
    "lea rsp, [rsp + 32]",
    "ret 128",
);

unsafe extern "C" {
    fn galago_fault_entry();
}

/// Tells the kernel where the task is to go on when a fault is injected.
pub(crate) fn install() {
    memory::note_stack();
    storage::point::on_hit(armed::on_point);
    let entry = galago_fault_entry as *const () as u64;
    if let Err(error) = system::fault_entry(entry) {
        log::warn!("faults cannot be injected here: {error}");
    }
}

#[unsafe(no_mangle)]
extern "C" fn galago_fault(order: u64, argument: u64, seed: u64, when: u64) {
    match Order::decode(order) {
        Some(Order::Suffer(fault)) => suffer(fault, argument, seed),
        Some(Order::Arm(fault, place, times)) => {
            armed::arm(place, fault, times, argument, seed, When::decode(when));
        }
        Some(Order::Disarm(place)) => armed::disarm(place),
        Some(Order::DisarmAll) => (0..abi::MARKS_MAX as u16).for_each(armed::disarm),
        None => {}
    }
}

/// Has the fault happen, here and now.
fn suffer(fault: Fault, argument: u64, seed: u64) {
    match fault {
        Fault::Kill => trap(),
        Fault::Panic => panic!("a broken invariant, on request"),
        Fault::StackOverrun => {
            overrun(1);
        }
        Fault::InfiniteLoop => loop {
            core::hint::spin_loop();
        },
        Fault::AllocBomb => bomb(),
        Fault::BadCall => system::bad_call(),
        Fault::Exit => system::exit(argument),
        Fault::DivideByZero => divide(),
        Fault::BadInstruction => bad_instruction(),
        Fault::SizeOverflow => {
            // 24 bytes an item, one item too many for 64 bits.
            let items = u64::MAX / 24 + 1;
            let bytes = items.wrapping_mul(24).wrapping_sub(argument.max(32));
            let _ = system::grow_heap(bytes / abi::PAGE_BYTES as u64);
        }
        Fault::WildWrite
        | Fault::HeapCorruption
        | Fault::BadJump
        | Fault::StaticOverrun
        | Fault::DoubleFree
        | Fault::UseAfterFree
        | Fault::OffByOne
        | Fault::NullPointer
        | Fault::WriteToCode
        | Fault::RunData
        | Fault::SmashedStack
        | Fault::BitFlip => memory::suffer(fault, argument, seed),
        other => misbehaviour::begin(other, seed),
    }
}

fn trap() {
    // SAFETY: the exception ends the task.
    unsafe { asm!("int3") }
}

fn bad_instruction() {
    // SAFETY: the exception ends the task.
    unsafe { asm!("ud2") }
}

fn divide() {
    // SAFETY: the exception ends the task.
    unsafe {
        asm!("div {zero}", zero = in(reg) 0u64, inout("rax") 1u64 => _, inout("rdx") 0u64 => _);
    }
}

/// Calls itself until the stack is over.
#[inline(never)]
#[allow(unconditional_recursion, reason = "that is the fault")]
fn overrun(depth: u64) -> u64 {
    let mut frame = [depth; 64];
    core::hint::black_box(&mut frame);
    1 + core::hint::black_box(overrun(frame[depth as usize % 64] + 1))
}

/// Takes memory until the quota ends the task.
fn bomb() {
    const PAGES: u64 = 256;
    while system::grow_heap(PAGES).is_ok() {}
    panic!("there is no more memory");
}
