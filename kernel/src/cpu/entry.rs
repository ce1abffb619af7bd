//! Where a task's registers are while it does not run, and how it comes and goes.

use super::tables::{USER_CODE, USER_DATA};

core::arch::global_asm!(include_str!("entry.s"), options(att_syntax));

unsafe extern "C" {
    static interrupt_gates: u8;
    fn system_call_entry();
    fn return_from_interrupt(frame: *const Frame) -> !;
    fn return_from_system_call(frame: *const Frame) -> !;
    fn idle() -> !;
}

/// Interrupts on; the one bit of the flags that is always set.
const INITIAL_FLAGS: u64 = 0x202;

/// The vector that stands for a system call.
const SYSTEM_CALL: u64 = 256;

/// A task's general registers, as the entry code pushes them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Frame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rbp: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rbx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Floating-point and vector registers as `fxsave64` stores them (Intel SDM volume 1, section 10.5).
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct VectorState([u8; 512]);

/// All zero, FCW and MXCSR as after a reset: all exceptions masked.
static BLANK: VectorState = {
    let mut bytes = [0; 512];
    [bytes[0], bytes[1]] = 0x037fu16.to_le_bytes();
    [bytes[24], bytes[25], bytes[26], bytes[27]] = 0x1f80u32.to_le_bytes();
    VectorState(bytes)
};

/// All registers of a task that is not running.
#[repr(C, align(16))]
pub struct Context {
    vector_state: VectorState,
    pub frame: Frame,
}

impl Context {
    /// A task that will start at `entry`.
    pub fn new(entry: u64, stack: u64) -> Self {
        Self {
            vector_state: BLANK,
            frame: Frame {
                r15: 0,
                r14: 0,
                r13: 0,
                r12: 0,
                r11: 0,
                r10: 0,
                r9: 0,
                r8: 0,
                rbp: 0,
                rdi: 0,
                rsi: 0,
                rdx: 0,
                rcx: 0,
                rbx: 0,
                rax: 0,
                vector: 0,
                error: 0,
                rip: entry,
                cs: u64::from(USER_CODE),
                rflags: INITIAL_FLAGS,
                rsp: stack,
                ss: u64::from(USER_DATA),
            },
        }
    }

    /// One past the frame, where entries begin to push.
    pub fn frame_end(&self) -> u64 {
        core::ptr::from_ref(&self.frame) as u64 + size_of::<Frame>() as u64
    }

    /// Continues the task.
    ///
    /// # Safety
    ///
    /// The task's address space is loaded, entries save into this context, and the kernel holds
    /// nothing any more.
    pub unsafe fn resume(context: *const Self) -> ! {
        // SAFETY: the caller's promise; the frame was pushed by the entry code or made by `new`.
        unsafe {
            let frame = &raw const (*context).frame;
            if (*frame).vector == SYSTEM_CALL {
                return_from_system_call(frame)
            } else {
                return_from_interrupt(frame)
            }
        }
    }
}

/// Clears the floating-point and vector registers, so that no task finds in them what the last one
/// left: a system call saves none, and its way back clears only those that compilers use.
pub fn forget_registers() {
    // SAFETY: the image is a whole one, aligned; the kernel keeps nothing in these registers.
    unsafe {
        core::arch::asm!(
            "fxrstor64 [{}]", in(reg) &BLANK,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(readonly, nostack),
        );
    }
}

/// Waits for an interrupt.
///
/// # Safety
///
/// The kernel holds nothing any more: the interrupt begins on a fresh stack.
pub unsafe fn wait_for_interrupt() -> ! {
    // SAFETY: the caller's promise.
    unsafe { idle() }
}

/// The address of a vector's gate.
pub fn gate(vector: usize) -> u64 {
    // SAFETY: the symbol is defined by the entry code; only its address is taken.
    (&raw const interrupt_gates) as u64 + vector as u64 * 16
}

/// The address of the gate of system calls.
pub fn system_call_gate() -> u64 {
    system_call_entry as *const () as u64
}
