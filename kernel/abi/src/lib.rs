//! What the kernel and its tasks share: system calls, calls between tasks, grants, events, errors.
//!
//! A task enters the kernel with `syscall`: the number (see [`system_call`]) in `rax`, up to six
//! arguments in `rdi rsi rdx r10 r8 r9`, the result in `rax`. A result of zero or more is the
//! value; a negative one is an [`Error`]. Everything here is `repr(C)`, plain data, and the same
//! on both sides: it is the one definition of the boundary.
#![no_std]
#![forbid(unsafe_code)]

mod bounds;
mod call;
mod device;
mod error;
mod event;
mod fault;
mod start;
pub mod system_call;
mod task;
mod time;

pub use bounds::{
    ARCHIVE_READ_BYTES_MAX, CALLS_PER_TASK_MAX, COPY_BYTES_MAX, DMA_PAGES_MAX, EVENTS_MAX,
    FIRST_DEVICE_INTERRUPT, GRANT_BYTES_MAX, INTERRUPTS_MAX, LOG_READ_BYTES_MAX,
    LOG_RECORD_BYTES_MAX, MAILBOX_MAX, MARKS_MAX, PIECES_MAX, PIN_BYTES_MAX, PINS_MAX,
    PINS_PER_DRIVER_MAX, PORT_BYTES_MAX, ROLE_PAGES_MAX, ROLES_MAX,
};
pub use call::{
    CALL_SLOT_MASK, CallDescriptor, Grant, MESSAGE_BYTES, Memory, Message, SEGMENTS_MAX, Segment,
    Side,
};
pub use device::{DeviceInfo, DmaAddress, MsiTarget};
pub use error::Error;
pub use event::{Event, EventKind};
pub use fault::{Fault, Order, Region, When};
pub use start::{ARGUMENTS_BYTES_MAX, Name, PEERS_MAX, Peer, START_INFO_ADDRESS, Start, StartInfo};
pub use task::{
    Cause, Counters, DeathReport, LAST_WORDS_BYTES, MANAGER, Registers, Rights, Role, SpawnSpec,
    TaskInfo, TaskState,
};
pub use time::Scale;

/// Bytes in a page, the unit of mapping, quotas and DMA pins.
pub const PAGE_BYTES: usize = 4096;
