//! The system calls, one function each. With the heap, the entry and wakers, the only unsafe code
//! that a task runs on.

use core::arch::asm;

use abi::{
    CallDescriptor, Counters, DeathReport, DeviceInfo, DmaAddress, Error, Event, Message,
    MsiTarget, Name, SpawnSpec, TaskInfo, system_call as number,
};

/// What a system call returns.
pub type Result<T> = core::result::Result<T, Error>;

/// Enters the kernel with numbers as they are. Programs use the functions below; this is for those
/// that test what the kernel refuses.
///
/// # Safety
///
/// Pointers among the arguments are valid for what the system call does with them, or for nothing at
/// all: the kernel refuses those.
pub unsafe fn call(number: u64, arguments: [u64; 6]) -> Result<u64> {
    let result: i64;
    // SAFETY: the kernel changes rax, rcx, r11 and the vector registers, and memory only as the
    // caller promised.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            lateout("xmm0") _, lateout("xmm1") _, lateout("xmm2") _, lateout("xmm3") _,
            lateout("xmm4") _, lateout("xmm5") _, lateout("xmm6") _, lateout("xmm7") _,
            lateout("xmm8") _, lateout("xmm9") _, lateout("xmm10") _, lateout("xmm11") _,
            lateout("xmm12") _, lateout("xmm13") _, lateout("xmm14") _, lateout("xmm15") _,
            options(nostack),
        );
    }
    if result >= 0 {
        return Ok(result as u64);
    }
    Err(Error::from_result(result).unwrap_or(Error::BadArgument))
}

/// A system call whose arguments are numbers.
fn plain(number: u64, arguments: [u64; 6]) -> Result<u64> {
    // SAFETY: the kernel checks every number; none of these calls touches the task's memory.
    unsafe { call(number, arguments) }
}

/// A system call that reads one piece of the task's memory.
fn reading<T: ?Sized>(number: u64, arguments: [u64; 6], _memory: &T) -> Result<u64> {
    // SAFETY: the address and the length among the arguments are those of `_memory`.
    unsafe { call(number, arguments) }
}

/// A system call that writes one piece of the task's memory, with any bytes.
fn writing<T: ?Sized>(number: u64, arguments: [u64; 6], _memory: &mut T) -> Result<u64> {
    // SAFETY: the address and the length among the arguments are those of `_memory`, which is
    // made of integers (all users of this function are below).
    unsafe { call(number, arguments) }
}

fn at<T: ?Sized>(memory: &T) -> u64 {
    core::ptr::from_ref(memory).cast::<u8>() as u64
}

/// Ends the task.
pub fn exit(code: u64) -> ! {
    let _ = plain(number::EXIT, [code, 0, 0, 0, 0, 0]);
    unreachable!("the kernel ended this task")
}

/// Ends the task with last words.
pub fn panic(text: &str) -> ! {
    let _ = reading(
        number::PANIC,
        [at(text), text.len() as u64, 0, 0, 0, 0],
        text,
    );
    loop {
        core::hint::spin_loop();
    }
}

/// Adds a record to the kernel's log: `level` 1 (error) to 5 (trace), 0 for an event in JSON.
pub fn log(level: u64, text: &str) {
    let _ = reading(
        number::LOG,
        [level, at(text), text.len() as u64, 0, 0, 0],
        text,
    );
}

/// The processor's time-stamp counter.
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: the instruction reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Grows the heap; returns the address of the first new page.
pub fn grow_heap(pages: u64) -> Result<u64> {
    plain(number::GROW_HEAP, [pages, 0, 0, 0, 0, 0])
}

/// Submits a call.
///
/// # Safety
///
/// What the descriptor lends stays valid, and what it lends to be written is not otherwise used,
/// until the call's reply event or [`cancel`].
pub unsafe fn submit(descriptor: &CallDescriptor) -> Result<u64> {
    // SAFETY: the caller's promise.
    unsafe { call(number::SUBMIT, [at(descriptor), 0, 0, 0, 0, 0]) }
}

/// Gives a call up; its grants end before this returns.
pub fn cancel(call: u64) {
    let _ = plain(number::CANCEL, [call, 0, 0, 0, 0, 0]);
}

/// Waits for events until a time; returns how many came.
pub fn wait(events: &mut [Event], deadline_ns: u64) -> usize {
    let arguments = [at(events), events.len() as u64, deadline_ns, 0, 0, 0];
    writing(number::WAIT, arguments, events).unwrap_or(0) as usize
}

/// Answers a request.
pub fn reply(token: u64, message: &Message) -> Result<()> {
    reading(number::REPLY, [token, at(message), 0, 0, 0, 0], message).map(drop)
}

/// Copies out of a grant of a request, at most [`abi::COPY_BYTES_MAX`] bytes.
pub fn copy_from(token: u64, side: abi::Side, offset: u64, into: &mut [u8]) -> Result<()> {
    let arguments = [token, side as u64, offset, at(into), into.len() as u64, 0];
    writing(number::COPY_FROM, arguments, into).map(drop)
}

/// Copies into the receive grant of a request, at most [`abi::COPY_BYTES_MAX`] bytes.
pub fn copy_to(token: u64, offset: u64, from: &[u8]) -> Result<()> {
    reading(
        number::COPY_TO,
        [token, offset, at(from), from.len() as u64, 0, 0],
        from,
    )
    .map(drop)
}

/// Pins a part of a grant for the task's device; returns how many pieces it is in.
pub fn pin(
    token: u64,
    side: abi::Side,
    offset: u64,
    len: u64,
    into: &mut [DmaAddress],
) -> Result<usize> {
    let arguments = [token, side as u64, offset, len, at(into), into.len() as u64];
    writing(number::PIN, arguments, into).map(|count| count as usize)
}

/// Releases everything pinned for a request.
pub fn unpin(token: u64) {
    let _ = plain(number::UNPIN, [token, 0, 0, 0, 0, 0]);
}

/// Allocates DMA memory; returns its address, and its bus address.
pub fn dma_allocate(pages: u64) -> Result<(u64, u64)> {
    let mut bus = 0u64;
    let arguments = [pages, core::ptr::from_mut(&mut bus) as u64, 0, 0, 0, 0];
    let address = writing(number::DMA_ALLOCATE, arguments, &mut bus)?;
    Ok((address, bus))
}

/// Says that the device was reset, and the reset seen to finish.
pub fn device_quiesced() -> Result<()> {
    plain(number::DEVICE_QUIESCED, [0; 6]).map(drop)
}

/// Reads the device's configuration space.
pub fn configuration_read(offset: u64, width: u64) -> Result<u32> {
    plain(number::CONFIGURATION_READ, [offset, width, 0, 0, 0, 0]).map(|value| value as u32)
}

/// Writes the device's configuration space.
pub fn configuration_write(offset: u64, width: u64, value: u32) -> Result<()> {
    plain(
        number::CONFIGURATION_WRITE,
        [offset, width, u64::from(value), 0, 0, 0],
    )
    .map(drop)
}

/// Maps a memory window of the device; returns its address and length.
pub fn map_bar(bar: u64) -> Result<(u64, u64)> {
    let mut len = 0u64;
    let arguments = [bar, core::ptr::from_mut(&mut len) as u64, 0, 0, 0, 0];
    let address = writing(number::MAP_BAR, arguments, &mut len)?;
    Ok((address, len))
}

/// Allocates an interrupt for the device.
pub fn allocate_interrupt() -> Result<MsiTarget> {
    let mut target = MsiTarget {
        address: 0,
        data: 0,
        interrupt: 0,
    };
    let arguments = [core::ptr::from_mut(&mut target) as u64, 0, 0, 0, 0, 0];
    writing(number::ALLOCATE_INTERRUPT, arguments, &mut target)?;
    Ok(target)
}

/// Lets an ISA interrupt fire again.
pub fn interrupt_done(line: u64) {
    let _ = plain(number::INTERRUPT_DONE, [line, 0, 0, 0, 0, 0]);
}

/// Reads a byte from an I/O port.
pub fn port_read(port: u16) -> u8 {
    plain(number::PORT_READ, [u64::from(port), 0, 0, 0, 0, 0]).unwrap_or(0) as u8
}

/// Writes bytes to an I/O port, one after the other; at most [`abi::PORT_BYTES_MAX`].
pub fn port_write(port: u16, bytes: &[u8]) -> Result<()> {
    let arguments = [u64::from(port), at(bytes), bytes.len() as u64, 0, 0, 0];
    reading(number::PORT_WRITE, arguments, bytes).map(drop)
}

/// Maps the first pages of the memory that outlives instances; returns its address, and how many of
/// them existed. Of no pages: how many there are.
pub fn role_memory(pages: u64) -> Result<(u64, u64)> {
    let mut existed = 0u64;
    let arguments = [pages, core::ptr::from_mut(&mut existed) as u64, 0, 0, 0, 0];
    let address = writing(number::ROLE_MEMORY, arguments, &mut existed)?;
    Ok((address, existed))
}

/// Reads whole log records; returns how many bytes.
pub fn read_log(into: &mut [u8]) -> Result<usize> {
    let arguments = [at(into), into.len() as u64, 0, 0, 0, 0];
    writing(number::READ_LOG, arguments, into).map(|used| used as usize)
}

/// Reads the table of roles; returns how many there are of those that fit.
pub fn tasks(into: &mut [TaskInfo]) -> Result<usize> {
    let arguments = [at(into), into.len() as u64, 0, 0, 0, 0];
    writing(number::TASKS, arguments, into).map(|count| count as usize)
}

/// Reads the counters.
pub fn counters() -> Result<Counters> {
    let mut counters = Counters::default();
    let arguments = [core::ptr::from_mut(&mut counters) as u64, 0, 0, 0, 0, 0];
    writing(number::COUNTERS, arguments, &mut counters)?;
    Ok(counters)
}

/// Reads the table of PCI functions.
pub fn devices(into: &mut [DeviceInfo]) -> Result<usize> {
    let arguments = [at(into), into.len() as u64, 0, 0, 0, 0];
    writing(number::DEVICES, arguments, into).map(|count| count as usize)
}

/// Declares a role, or finds it.
pub fn declare(name: &Name) -> Result<u64> {
    reading(number::DECLARE, [at(name), 0, 0, 0, 0, 0], name)
}

/// Starts an instance; returns its generation.
pub fn spawn(role: u64, spec: &SpawnSpec) -> Result<u64> {
    reading(number::SPAWN, [role, at(spec), 0, 0, 0, 0], spec)
}

/// Ends an instance.
pub fn kill(role: u64, cause: abi::Cause) -> Result<()> {
    plain(number::KILL, [role, cause as u64, 0, 0, 0, 0]).map(drop)
}

/// Stops a dead role for good.
pub fn stop(role: u64) -> Result<()> {
    plain(number::STOP, [role, 0, 0, 0, 0, 0]).map(drop)
}

/// How the last instance of a role ended.
pub fn death_report(role: u64) -> Result<DeathReport> {
    let mut report = DeathReport {
        role: 0,
        generation: 0,
        cause: 0,
        vector: 0,
        address: 0,
        error: 0,
        registers: abi::Registers::default(),
        time_ns: 0,
        last_words_len: 0,
        last_words: [0; abi::LAST_WORDS_BYTES],
    };
    let arguments = [role, core::ptr::from_mut(&mut report) as u64, 0, 0, 0, 0];
    writing(number::DEATH_REPORT, arguments, &mut report)?;
    Ok(report)
}

/// Reads a file of the archive; returns how many bytes.
pub fn read_archive(name: &Name, offset: u64, into: &mut [u8]) -> Result<usize> {
    let arguments = [at(name), offset, at(into), into.len() as u64, 0, 0];
    writing(number::READ_ARCHIVE, arguments, into).map(|used| used as usize)
}

/// Says where the task goes on when a fault is injected into it.
pub(crate) fn fault_entry(entry: u64) -> Result<()> {
    plain(number::FAULT_ENTRY, [entry, 0, 0, 0, 0, 0]).map(drop)
}

/// Has the task of a role suffer a fault.
pub fn inject(
    role: u64,
    order: abi::Order,
    argument: u64,
    seed: u64,
    when: abi::When,
) -> Result<()> {
    let arguments = [role, order.encode(), argument, seed, when.encode(), 0];
    plain(number::INJECT, arguments).map(drop)
}

/// Counts one more of the thing of this number, for others to see.
pub(crate) fn mark(which: usize) -> Result<()> {
    plain(number::MARK, [which as u64, 0, 0, 0, 0, 0]).map(drop)
}

/// A system call that the task has no right to, whoever it is: the manager may not read the log, and
/// nobody else may end others.
pub(crate) fn bad_call() {
    let _ = plain(number::READ_LOG, [0; 6]);
    let _ = plain(number::KILL, [0; 6]);
}

/// Switches the machine off (0), resets it (1), or ends QEMU with a status.
pub fn power(how: u64) -> Result<()> {
    plain(number::POWER, [how, 0, 0, 0, 0, 0]).map(drop)
}
