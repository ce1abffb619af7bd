//! Tasks as the restart manager and the console see them.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{ARGUMENTS_BYTES_MAX, MARKS_MAX, Name, PEERS_MAX};

/// Number of a role. A role is a place in the stack (`twinfs.1`); instances come and go in it.
pub type Role = u64;

/// The role of the restart manager, the only one that the kernel starts by itself.
pub const MANAGER: Role = 0;

/// Bytes of panic message or other last words that are kept of a dead instance.
pub const LAST_WORDS_BYTES: usize = 256;

bitflags::bitflags! {
    /// What a task may do beyond calling its peers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rights: u64 {
        /// Declare, spawn, kill and inspect roles, read the archive, switch the machine off; call
        /// every role there is.
        const MANAGE = 1;
        /// Read the kernel's log and be told of new records.
        const READ_LOG = 2;
        /// Read the table of tasks and the counters.
        const INSPECT = 4;
    }
}

/// What [`crate::system_call::SPAWN`] takes: everything an instance may touch.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct SpawnSpec {
    /// The program, a file of the archive.
    pub program: Name,
    /// [`Rights`] as bits.
    pub rights: u64,
    /// Most pages the task may hold: image, stack, heap, DMA and page tables.
    pub quota_pages: u64,
    /// The PCI function it drives ([`crate::DeviceInfo::address`]), or `u64::MAX` for none.
    pub device: u64,
    /// First and one past the last I/O port it may touch; equal for none.
    pub ports: [[u16; 2]; 2],
    /// ISA interrupts it receives, as bits 0 to 15; event ids are the line numbers.
    pub isa_interrupts: u64,
    /// How many of `peers` are in use.
    pub peer_count: u64,
    /// Roles it may call.
    pub peers: [Role; PEERS_MAX],
    /// Bytes of `arguments` in use.
    pub arguments_len: u64,
    /// Text for the task.
    pub arguments: [u8; ARGUMENTS_BYTES_MAX],
}

/// Why an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Cause {
    /// It has not.
    None = 0,
    /// It left by `EXIT`.
    Exit = 1,
    /// It reported a panic or a failed assertion.
    Panic = 2,
    /// A processor exception other than those below.
    Exception = 3,
    /// It touched memory it may not: not mapped, not its own, or not in this way.
    BadAccess = 4,
    /// It ran into the guard page below a stack.
    StackOverrun = 5,
    /// It called a role or touched a device that its description does not name.
    BadCall = 6,
    /// It held as much memory as its quota allows and asked for more.
    Quota = 7,
    /// The manager killed it: for silence, a missed deadline, or with its group.
    Killed = 8,
    /// A user killed it from the console: a trap at its program counter.
    Injected = 9,
}

impl Cause {
    /// The cause that a number stands for.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Exit,
            2 => Self::Panic,
            3 => Self::Exception,
            4 => Self::BadAccess,
            5 => Self::StackOverrun,
            6 => Self::BadCall,
            7 => Self::Quota,
            8 => Self::Killed,
            9 => Self::Injected,
            _ => Self::None,
        }
    }
}

impl core::fmt::Display for Cause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(match self {
            Self::None => "running",
            Self::Exit => "exit",
            Self::Panic => "panic",
            Self::Exception => "exception",
            Self::BadAccess => "bad access",
            Self::StackOverrun => "stack overrun",
            Self::BadCall => "disallowed call",
            Self::Quota => "quota",
            Self::Killed => "killed",
            Self::Injected => "injected kill",
        })
    }
}

/// What a role is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum TaskState {
    /// Declared, never spawned; or dead and to be spawned again. Calls to it wait.
    Absent = 0,
    /// Running, ready or preempted.
    Ready = 1,
    /// Waiting for events.
    Waiting = 2,
    /// Stopped for good. Calls to it fail with `PeerGone`.
    Stopped = 3,
}

/// One line of `ps`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct TaskInfo {
    /// The role's name.
    pub name: Name,
    /// The role's number.
    pub role: u64,
    /// Instances so far; restarts are one less.
    pub generation: u64,
    /// A [`TaskState`] as a number.
    pub state: u32,
    /// The [`Cause`] of the last death, as a number.
    pub last_cause: u32,
    /// Pages held now.
    pub pages: u64,
    /// Pages it may hold.
    pub quota_pages: u64,
    /// Calls submitted by all instances.
    pub calls: u64,
    /// Requests received by all instances.
    pub requests: u64,
    /// Processor time of all instances, nanoseconds.
    pub cpu_ns: u64,
    /// Times the processor was switched to it.
    pub switches: u64,
    /// Monotonic time at which it last entered `WAIT`, nanoseconds.
    pub last_wait_ns: u64,
    /// Events that wait for it.
    pub backlog: u64,
    /// The earliest time by which a request that it has not answered should have been, monotonic
    /// nanoseconds; `u64::MAX` if there is none.
    pub due_ns: u64,
    /// Calls of its own that others have not answered and that should be some time.
    pub waiting: u64,
    /// What all instances have counted with [`MARK`](crate::system_call::MARK).
    pub marks: [u32; MARKS_MAX],
}

impl TaskInfo {
    /// A blank to be filled in.
    pub const BLANK: Self = Self {
        name: Name::EMPTY,
        role: 0,
        generation: 0,
        state: 0,
        last_cause: 0,
        pages: 0,
        quota_pages: 0,
        calls: 0,
        requests: 0,
        cpu_ns: 0,
        switches: 0,
        last_wait_ns: 0,
        backlog: 0,
        due_ns: u64::MAX,
        waiting: 0,
        marks: [0; MARKS_MAX],
    };
}

/// The general registers of an instance at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Registers {
    /// `rax rbx rcx rdx rsi rdi rbp rsp r8 … r15`.
    pub general: [u64; 16],
    /// Program counter.
    pub rip: u64,
    /// Flags.
    pub rflags: u64,
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DeathReport {
    /// The role.
    pub role: u64,
    /// Which instance.
    pub generation: u64,
    /// A [`Cause`] as a number.
    pub cause: u32,
    /// Processor exception number, where there was one.
    pub vector: u32,
    /// Faulting address, where there was one; the exit code for `Exit`.
    pub address: u64,
    /// The processor's error code, of an exception that has one. Bit 0 of a page fault's says that
    /// there is a page, which the task may not use in this way (Intel SDM volume 3, section 4.7).
    pub error: u64,
    /// Registers at the end.
    pub registers: Registers,
    /// Monotonic time of death, nanoseconds.
    pub time_ns: u64,
    /// Bytes of `last_words` in use.
    pub last_words_len: u64,
    /// What it said last: its panic message.
    pub last_words: [u8; LAST_WORDS_BYTES],
}

/// What the kernel counted since boot; differences between two readings describe a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Counters {
    /// Calls submitted.
    pub calls: u64,
    /// Replies delivered.
    pub replies: u64,
    /// Address-space switches.
    pub switches: u64,
    /// System calls.
    pub system_calls: u64,
    /// Device and timer interrupts.
    pub interrupts: u64,
    /// Bytes that tasks copied through grants.
    pub bytes_copied: u64,
    /// Copies through grants.
    pub copies: u64,
    /// Pages pinned for DMA.
    pub pages_pinned: u64,
    /// Frames swapped under a task because a device still held them.
    pub frames_swapped: u64,
    /// Time with nothing to run, nanoseconds.
    pub idle_ns: u64,
    /// Frames free now.
    pub frames_free: u64,
    /// Frames in all.
    pub frames_total: u64,
}
