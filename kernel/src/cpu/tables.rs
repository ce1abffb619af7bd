//! Descriptor tables (Intel SDM volume 3, chapters 3, 6 and 7), made once for the processor.

use alloc::boxed::Box;
use core::cell::UnsafeCell;

use x86_64::{
    VirtAddr,
    instructions::{segmentation, tables},
    registers::{
        control::{Cr4, Cr4Flags},
        model_specific::{KernelGsBase, LStar, Msr, SFMask},
        rflags::RFlags,
    },
    structures::{DescriptorTablePointer, gdt::SegmentSelector, tss::TaskStateSegment},
};

use super::entry::{self, Context};

/// Kernel code segment.
pub const KERNEL_CODE: u16 = 0x08;
/// Tasks' data segment, with privilege level 3.
pub const USER_DATA: u16 = 0x18 | 3;
/// Tasks' code segment, with privilege level 3.
pub const USER_CODE: u16 = 0x20 | 3;
const TASK_STATE: u16 = 0x28;

/// Interrupt stack of the processor exceptions after which no other stack can be trusted.
const LAST_RESORT_STACK: u8 = 1;
const STACK_BYTES: usize = 64 << 10;

/// What the entry code finds through `gs`. `entry.s` knows the offsets.
#[repr(C)]
pub struct PerCpu {
    /// Where a system call leaves the task's stack pointer for a moment.
    scratch: u64,
    /// One past the end of the frame in which the running task's registers are saved.
    frame_end: u64,
    /// Top of the kernel's stack.
    kernel_stack: u64,
    task_state: *mut TaskStateSegment,
}

#[repr(C, align(16))]
struct InterruptGate {
    offset_low: u16,
    selector: u16,
    stack: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

/// A stack of the kernel's, above a page that is not mapped.
#[repr(C, align(4096))]
struct Stack {
    guard: [u8; abi::PAGE_BYTES],
    bytes: UnsafeCell<[u8; STACK_BYTES]>,
}

// SAFETY: only the processor touches it, through the stack pointer.
unsafe impl Sync for Stack {}

impl Stack {
    const fn new() -> Self {
        Self {
            guard: [0; abi::PAGE_BYTES],
            bytes: UnsafeCell::new([0; STACK_BYTES]),
        }
    }

    fn top(&self) -> u64 {
        self.bytes.get() as u64 + STACK_BYTES as u64
    }
}

static KERNEL_STACK: Stack = Stack::new();
static LAST_STACK: Stack = Stack::new();

/// The pages of the kernel's image that are not to be mapped: below each stack one, so that an overrun
/// is a double fault and harms nothing.
pub fn stack_guards() -> [u64; 2] {
    [&KERNEL_STACK, &LAST_STACK].map(|stack| core::ptr::from_ref(&stack.guard) as u64)
}

/// Loads the tables and opens the gates. Returns what the entry code needs to know of tasks.
pub fn initialise() -> &'static mut PerCpu {
    let task_state: &'static mut TaskStateSegment = Box::leak(Box::new(TaskStateSegment::new()));
    task_state.interrupt_stack_table[usize::from(LAST_RESORT_STACK) - 1] =
        VirtAddr::new(LAST_STACK.top());
    let base = core::ptr::from_ref(task_state) as u64;
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    let gdt: &'static [u64; 7] = Box::leak(Box::new([
        0,
        0x0020_9a00_0000_0000,
        0x0000_9200_0000_0000,
        0x0000_f200_0000_0000,
        0x0020_fa00_0000_0000,
        limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56,
        base >> 32,
    ]));
    let gates: &'static [InterruptGate; 256] =
        Box::leak(Box::new(core::array::from_fn(|vector| {
            let offset = entry::gate(vector);
            let stack = if matches!(vector, 2 | 8 | 18) {
                LAST_RESORT_STACK
            } else {
                0
            };
            InterruptGate {
                offset_low: offset as u16,
                selector: KERNEL_CODE,
                stack,
                kind: 0x8e,
                offset_middle: (offset >> 16) as u16,
                offset_high: (offset >> 32) as u32,
                reserved: 0,
            }
        })));
    let per_cpu: &'static mut PerCpu = Box::leak(Box::new(PerCpu {
        scratch: 0,
        frame_end: 0,
        kernel_stack: KERNEL_STACK.top(),
        task_state: core::ptr::from_mut(task_state),
    }));
    let pointer = |base: u64, bytes: usize| DescriptorTablePointer {
        base: VirtAddr::new(base),
        limit: bytes as u16 - 1,
    };
    // SAFETY: the tables are complete and live for ever; the selectors are theirs; the gates lead to
    // entry code that keeps to the calling convention; `gs` belongs to the kernel in ring 0.
    unsafe {
        tables::lgdt(&pointer(gdt.as_ptr() as u64, size_of_val(gdt)));
        <segmentation::CS as segmentation::Segment>::set_reg(SegmentSelector(KERNEL_CODE));
        <segmentation::SS as segmentation::Segment>::set_reg(SegmentSelector(0x10));
        tables::load_tss(SegmentSelector(TASK_STATE));
        tables::lidt(&pointer(gates.as_ptr() as u64, size_of_val(gates)));
        // STAR: kernel segments from 0x08, tasks' from 0x10 (data at +8, code at +16).
        Msr::new(0xc000_0081).write(0x0013_0008_0000_0000);
        LStar::write(VirtAddr::new(entry::system_call_gate()));
        SFMask::write(
            RFlags::INTERRUPT_FLAG
                | RFlags::DIRECTION_FLAG
                | RFlags::TRAP_FLAG
                | RFlags::ALIGNMENT_CHECK
                | RFlags::NESTED_TASK,
        );
        Cr4::update(|flags| flags.insert(Cr4Flags::PAGE_GLOBAL));
        Msr::new(0xc000_0101).write(core::ptr::from_ref(per_cpu) as u64);
        KernelGsBase::write(VirtAddr::zero());
    }
    per_cpu
}

/// Makes `context` the place where the next entry from a task saves its registers.
pub fn set_frame(per_cpu: &mut PerCpu, context: &Context) {
    let end = context.frame_end();
    per_cpu.frame_end = end;
    // SAFETY: the processor reads the task state only when it enters the kernel.
    unsafe { (*per_cpu.task_state).privilege_stack_table[0] = VirtAddr::new(end) };
}
