//! The system calls, by number.
//!
//! Every pointer is checked against the caller's address space; a bad one is
//! [`crate::Error::BadAddress`], never a fault of the kernel. Which of them a task may use depends
//! on its [`crate::Rights`]; using another is a death by [`crate::Cause::BadCall`].

/// `(code)` Ends the task.
pub const EXIT: u64 = 0;
/// `(text, len)` Ends the task with last words.
pub const PANIC: u64 = 1;
/// `(level, text, len)` Adds a record to the kernel's log; `level` as in the `log` crate, 1 to 5, or
/// zero for an event: a JSON object for programs, which the console passes on but does not show. What
/// is longer than [`crate::LOG_RECORD_BYTES_MAX`] is cut.
pub const LOG: u64 = 2;
/// `(pages)` Grows the heap by so many zeroed pages; returns the address of the first. Regions
/// follow each other without a gap. Past the quota: death by `Quota`.
pub const GROW_HEAP: u64 = 3;
/// `(*CallDescriptor)` Submits a call; returns its number, which its `Reply` event carries.
/// Never switches. `Full` past [`crate::CALLS_PER_TASK_MAX`] or [`crate::MAILBOX_MAX`].
pub const SUBMIT: u64 = 4;
/// `(call)` Gives a call up: no reply will come, its grants end now.
pub const CANCEL: u64 = 5;
/// `(*mut Event, max, deadline_ns)` Waits until there are events or the monotonic clock reaches
/// the deadline (`u64::MAX`: for ever); returns how many were written, at most `max`, which is at most
/// [`crate::EVENTS_MAX`]. Zero at the deadline, but also before it if what there was to tell is gone:
/// a call was given up, or another task heard of the log.
pub const WAIT: u64 = 6;
/// `(token, *Message)` Answers a request. Its grants end.
pub const REPLY: u64 = 7;
/// `(token, side, offset, *mut u8, len)` Copies out of a grant of a request, at most
/// [`crate::COPY_BYTES_MAX`] bytes. The callee may read both sides: see [`crate::Side::Receive`].
pub const COPY_FROM: u64 = 8;
/// `(token, offset, *u8, len)` Copies into the `Receive` grant of a request, at most
/// [`crate::COPY_BYTES_MAX`] bytes.
pub const COPY_TO: u64 = 9;
/// `(token, side, offset, len, *mut DmaAddress, max)` Pins a part of a grant for the caller's
/// device; returns the number of pieces. The pages stay pinned until `UNPIN`, whatever happens to
/// the call; if it ends before, its owner gets other frames. At most [`crate::PIN_BYTES_MAX`] bytes;
/// `NoRoom` past `max` pieces, [`crate::PINS_PER_DRIVER_MAX`] pages, or [`crate::PINS_MAX`] of all
/// drivers.
pub const PIN: u64 = 10;
/// `(token)` Releases everything pinned under this request; a driver's right, as `PIN`.
pub const UNPIN: u64 = 11;
/// `(pages, *mut u64)` Allocates zeroed, physically contiguous memory for the task's device, at most
/// [`crate::DMA_PAGES_MAX`] pages; returns its virtual address and writes its bus address. It outlives
/// the instance until `DEVICE_QUIESCED`. It cannot be lent.
pub const DMA_ALLOCATE: u64 = 12;
/// `()` The task has reset its device and seen the reset finish: what earlier instances had pinned
/// or allocated for DMA is freed, and the device may be given bus mastery.
pub const DEVICE_QUIESCED: u64 = 13;
/// `(offset, width)` Reads the device's PCI configuration space; width 1, 2 or 4.
pub const CONFIGURATION_READ: u64 = 14;
/// `(offset, width, value)` Writes it. Base address registers and bus mastery are the kernel's.
pub const CONFIGURATION_WRITE: u64 = 15;
/// `(bar, *mut u64)` Maps a memory BAR of the device; returns its address, writes its length.
pub const MAP_BAR: u64 = 16;
/// `(*mut MsiTarget)` Allocates an interrupt for the device; returns its number.
pub const ALLOCATE_INTERRUPT: u64 = 17;
/// `(interrupt)` Lets an ISA interrupt fire again after its event was handled.
pub const INTERRUPT_DONE: u64 = 18;
/// `(port)` Reads a byte from an I/O port.
pub const PORT_READ: u64 = 19;
/// `(port, *u8, len)` Writes bytes to an I/O port, one after the other; at most
/// [`crate::PORT_BYTES_MAX`].
pub const PORT_WRITE: u64 = 20;
/// `(pages, *mut u64)` Maps the first `pages` pages of the memory that outlives instances of this role,
/// allocating (zeroed) what there is not yet, at most [`crate::ROLE_PAGES_MAX`] pages in a call; returns
/// its address, writes how many of the pages were there before. Past the quota: death by `Quota`. With 0
/// pages it maps none and writes how many there are.
pub const ROLE_MEMORY: u64 = 21;
/// `(*mut u8, len)` Reads whole log records, each a line of text; returns the bytes written, at most
/// [`crate::LOG_READ_BYTES_MAX`].
pub const READ_LOG: u64 = 22;
/// `(*mut TaskInfo, max)` Writes the table of roles, at most [`crate::ROLES_MAX`]; returns how many.
pub const TASKS: u64 = 23;
/// `(*mut Counters)` Writes the counters.
pub const COUNTERS: u64 = 24;
/// `(*mut DeviceInfo, max)` Writes the table of PCI functions; returns how many.
pub const DEVICES: u64 = 25;
/// `(*Name)` Declares a role, or finds it; returns its number.
pub const DECLARE: u64 = 26;
/// `(role, *SpawnSpec)` Starts an instance in a role that is `Absent`; returns its generation.
/// `BadState` in a role that is alive or `Stopped`.
pub const SPAWN: u64 = 27;
/// `(role, cause)` Ends the instance of a role, by a trap at its program counter.
pub const KILL: u64 = 28;
/// `(role)` Stops a dead role for good: whoever called it or calls it gets `PeerGone`.
pub const STOP: u64 = 29;
/// `(role, *mut DeathReport)` How the last instance ended.
pub const DEATH_REPORT: u64 = 30;
/// `(*Name, offset, *mut u8, len)` Reads a file of the archive; returns the bytes read, at most
/// [`crate::ARCHIVE_READ_BYTES_MAX`].
pub const READ_ARCHIVE: u64 = 31;
/// `(how)` Zero switches the machine off, one resets it; a value above one ends QEMU with that
/// exit status through its debug-exit device.
pub const POWER: u64 = 32;
/// `(entry)` Says where the task goes on when a fault is injected into it.
pub const FAULT_ENTRY: u64 = 33;
/// `(role, fault, argument, seed, when)` Has the task of a role suffer a [`crate::Fault`]: at its next
/// return to ring 3 it goes on at its `FAULT_ENTRY`, with these four words and the program counter
/// where it was pushed on its stack, 128 bytes below what it uses: `fault argument seed when rip`, the
/// first at the top. Returning over them takes it back as if nothing had been. `BadState` if the role has
/// no instance, or one without such an entry.
pub const INJECT: u64 = 34;
/// `(which)` Counts one more of a thing that the role counts, of [`crate::MARKS_MAX`]. The table of roles
/// shows the counts, also of an instance that has died since.
pub const MARK: u64 = 35;
