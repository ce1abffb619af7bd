//! What the tests of the kernel tell a probe to do, and what it answers.
//!
//! `kernel-tests` takes the restart manager's place in the archive. It starts instances of `probe`,
//! has them misbehave, and checks that nobody else was harmed.
#![no_std]

use serde::{Deserialize, Serialize};

/// Something no task should do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Fault {
    /// Write to an address.
    Write(u64),
    /// Read from an address.
    Read(u64),
    /// Write to its own constants.
    WriteConstant,
    /// Write to its own code.
    WriteCode,
    /// Run what is in its heap.
    ExecuteHeap,
    /// Run what is on its stack.
    ExecuteStack,
    /// Jump to an address.
    Jump(u64),
    /// Recurse without end.
    StackOverrun,
    /// Loop without end.
    EndlessLoop,
    /// Allocate without end.
    AllocationBomb,
    /// Call a role that it may not call.
    Call(u64),
    /// Kill a role, which is the manager's right.
    Kill(u64),
    /// Have a role suffer a fault, which is the manager's right.
    Inject(u64),
    /// Write to an I/O port.
    Port(u16),
    /// Pin memory without having a device.
    PinWithoutDevice,
    /// Unpin without having a device.
    UnpinWithoutDevice,
    /// Ask for more memory that outlives the instance than the quota allows.
    RoleMemoryBomb,
    /// Switch interrupts off.
    DisableInterrupts,
    /// Divide by zero, by the processor's instruction.
    DivideByZero,
    /// A failed assertion.
    Panic,
    /// A panic whose words are at an address.
    PanicAt(u64),
    /// Leave.
    Exit(u64),
}

/// What a probe is to do.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Answer the sum of the bytes lent.
    Sum,
    /// Misbehave; there is no answer unless it goes wrong.
    Misbehave(Fault),
    /// Keep the request and do not answer.
    Hold,
    /// Answer, but remember the request.
    Remember,
    /// Answer what is held or remembered, whatever became of it; answers with the kernel's word.
    AnswerKept,
    /// Read a byte of what is held or remembered; answers with the kernel's word.
    ReadKept,
    /// Read from the memory lent with this request: the kernel's word.
    ReadLent {
        /// Where.
        offset: u64,
        /// How much.
        len: u64,
    },
    /// Write to the memory lent to be written.
    WriteLent {
        /// Where.
        offset: u64,
        /// How much.
        len: u64,
    },
    /// Have a role hold a call that lends own memory.
    Lend(u64),
    /// Give that call up; answers whether the memory is as it was.
    TakeBack,
    /// Pass what was lent with this request on to a role that holds it.
    PassOn(u64),
    /// Have so many pages of the memory that outlives the instance; answers how many there were.
    GrowRoleMemory(u64),
    /// Pass it on to a driver that pins it.
    PassOnPinned(u64),
    /// Fill all memory lent to be written with 0xaa.
    Fill,
    /// Fill it and leave, without an answer.
    FillAndExit,
    /// Submit calls to a role until the kernel refuses; answers how many, and the kernel's word.
    Flood(u64),
    /// Write a pattern to the memory that outlives the instance; answers whether it was there.
    RoleMemory,
    /// Answer what the first word of the memory that outlives the instance is.
    ReadRoleMemory,
    /// Write 1 to that word, and have a driver pin the page.
    LendRoleMemory(u64),
    /// Give that call up and write 2.
    TakeBackRoleMemory,
    /// Have a driver pin a page of the heap twice: to be read, and to be written.
    LendTwice(u64),
    /// Give the first of those calls up.
    TakeBackFirst,
    /// Lend a role memory allocated for the own device; answers with the kernel's word.
    LendDmaMemory(u64),
    /// Lend a role more than a grant may be; answers with the kernel's word.
    LendTooMuch(u64),
    /// Allocate more DMA memory than the quota allows; answers with the kernel's word.
    DmaPastQuota,
    /// Unpin, pin and answer requests that there are not; answers how many the kernel refused.
    ForgeRequests,
    /// Leave a number in a register that no system call saves.
    SetMmx(u64),
    /// Answer what is in that register.
    GetMmx,
    /// Divide by zero in the floating-point unit, with the exception due at its next instruction.
    SpoilFloats,
    /// Have the floating-point unit raise what is due.
    UseFloats,
    /// Pin what this request lends to be read, and hold it.
    Pin,
    /// Pin what this request lends to be written, and hold it.
    PinWritten,
    /// The bus address pinned.
    BusAddress,
    /// Release what is pinned.
    Unpin,
    /// Say that the device was reset.
    DeviceQuiesced,
    /// Allocate all DMA memory there is; answers 1 if a bus address was among it.
    AllocateAll(u64),
    /// Compute for a while; answers the result.
    Compute,
    /// Fill so many bytes of the heap; answers the address of the last page of them.
    Hoard(u64),
    /// Answers whether they are as they were left.
    Hoarded,
    /// Give the kernel pointers that are not the task's, in every place that takes one; answers how
    /// many were refused, or which system call accepted one and the kernel's word.
    BadPointers {
        /// A role that may be called.
        peer: u64,
        /// A port that may be written to.
        port: u64,
    },
}

/// What a probe answers: a number, and what the kernel said, as a system call returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// By command.
    pub value: u64,
    /// Zero, or the kernel's error.
    pub kernel: i64,
}

/// What [`Command::Compute`] must come to, whoever else runs.
#[must_use]
pub fn compute() -> u64 {
    let (mut state, mut sum) = (0x2545_f491_4f6c_dd1d_u64, 0.0_f64);
    for step in 0..3_000_000_u64 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        sum += (state >> 40) as f64 / (step + 1) as f64;
    }
    state ^ sum.to_bits()
}
