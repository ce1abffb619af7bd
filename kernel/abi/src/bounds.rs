//! How much of everything there may be. What goes beyond is refused as the system call's line says, and
//! nothing is done.

/// Roles there can be. A set of roles fits a word.
pub const ROLES_MAX: usize = 64;

/// Interrupts that a task can be told of: those of sixteen ISA lines, by line, then its device's own.
pub const INTERRUPTS_MAX: usize = 32;

/// Number of the first interrupt of a task's own device.
pub const FIRST_DEVICE_INTERRUPT: usize = 16;

/// Events that one [`WAIT`](crate::system_call::WAIT) returns.
pub const EVENTS_MAX: usize = 64;

/// Calls that a task can have in flight; one that was given up counts until its callee lets go of it.
pub const CALLS_PER_TASK_MAX: usize = 256;

/// Requests that can wait for a task.
pub const MAILBOX_MAX: usize = 256;

/// Bytes that one grant can lend.
pub const GRANT_BYTES_MAX: usize = 64 << 20;

/// Pieces that the memory behind a part of a grant may be in when it is copied or pinned. Honest ones
/// are in as many as a few pages have segments.
pub const PIECES_MAX: usize = 4096;

/// Bytes that one copy from or to a grant moves, so that no system call takes long.
pub const COPY_BYTES_MAX: usize = 1 << 20;

/// Bytes that one [`PIN`](crate::system_call::PIN) reaches.
pub const PIN_BYTES_MAX: u64 = 4 << 20;

/// Things that a task counts with [`MARK`](crate::system_call::MARK).
pub const MARKS_MAX: usize = 8;

/// Pages that one driver can have pinned at a time: more than its disk takes requests for.
pub const PINS_PER_DRIVER_MAX: usize = 8192;

/// Pages that can be pinned at a time, in all: what the kernel's heap has room for.
pub const PINS_MAX: usize = 4 * PINS_PER_DRIVER_MAX;

/// Pages of one piece of DMA memory.
pub const DMA_PAGES_MAX: u64 = 1024;

/// Bytes that one write to an I/O port takes.
pub const PORT_BYTES_MAX: usize = 4096;

/// Pages by which one call of [`ROLE_MEMORY`](crate::system_call::ROLE_MEMORY) lets the memory of a role
/// grow: 16 MiB.
pub const ROLE_PAGES_MAX: u64 = 4096;

/// Bytes of one record of the log; what is longer is cut.
pub const LOG_RECORD_BYTES_MAX: usize = 512;

/// Bytes that one [`READ_LOG`](crate::system_call::READ_LOG) returns.
pub const LOG_READ_BYTES_MAX: usize = 16 << 10;

/// Bytes that one [`READ_ARCHIVE`](crate::system_call::READ_ARCHIVE) returns.
pub const ARCHIVE_READ_BYTES_MAX: usize = 64 << 10;
