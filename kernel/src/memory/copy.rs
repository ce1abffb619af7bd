//! Copies to, from and between tasks, through the direct map: page by page, by the address spaces'
//! own tables, so that no address a task gives can fault in the kernel.

use abi::{Error, PAGE_BYTES};

use super::{layout::direct, space::AddressSpace};

/// Splits a range at page boundaries and gives each part's direct-mapped address and length.
fn pages(
    space: &AddressSpace,
    address: u64,
    len: usize,
    write: bool,
    mut visit: impl FnMut(*mut u8, usize),
) -> Result<(), Error> {
    let mut done = 0;
    while done < len {
        let at = address.checked_add(done as u64).ok_or(Error::BadAddress)?;
        let within = at as usize % PAGE_BYTES;
        let step = (PAGE_BYTES - within).min(len - done);
        let frame = space
            .frame_at(at - within as u64, write)
            .ok_or(Error::BadAddress)?;
        visit(direct(frame.address() + within as u64), step);
        done += step;
    }
    Ok(())
}

/// Reads a task's memory.
pub fn read(space: &AddressSpace, address: u64, into: &mut [u8]) -> Result<(), Error> {
    let mut target = into.as_mut_ptr();
    pages(space, address, into.len(), false, |from, len| {
        // SAFETY: `from` is `len` bytes of a task's frame, `target` the next `len` bytes of `into`.
        unsafe {
            target.copy_from_nonoverlapping(from, len);
            target = target.add(len);
        }
    })
}

/// Writes a task's memory.
pub fn write(space: &AddressSpace, address: u64, from: &[u8]) -> Result<(), Error> {
    let mut origin = from.as_ptr();
    pages(space, address, from.len(), true, |to, len| {
        // SAFETY: `to` is `len` bytes of a task's frame, `origin` the next `len` bytes of `from`.
        unsafe {
            to.copy_from_nonoverlapping(origin, len);
            origin = origin.add(len);
        }
    })
}

/// A range of a task's memory.
#[derive(Clone, Copy)]
pub struct TaskRange<'a> {
    /// The address space it is in.
    pub space: &'a AddressSpace,
    /// Its first byte.
    pub address: u64,
}

/// Copies `len` bytes from one task's memory to another's.
pub fn between(from: TaskRange<'_>, to: TaskRange<'_>, len: usize) -> Result<(), Error> {
    let mut done = 0u64;
    pages(from.space, from.address, len, false, |origin, part| {
        let mut origin = origin;
        let at = to.address.wrapping_add(done);
        // An error below is found again by the check that follows, which visits the same pages.
        let _ = pages(to.space, at, part, true, |target, step| {
            // SAFETY: both are `step` bytes of tasks' frames; they may be the same frame if a task
            // lends to itself through another, hence `copy`.
            unsafe {
                target.copy_from(origin, step);
                origin = origin.add(step);
            }
        });
        done += part as u64;
    })?;
    pages(to.space, to.address, len, true, |_, _| {})
}

/// A value of plain data, read from a task.
pub fn read_value<T: Plain>(space: &AddressSpace, address: u64) -> Result<T, Error> {
    let mut value = T::BLANK;
    // SAFETY: `T` is plain data (see `Plain`): any bytes are a value of it.
    let bytes = unsafe {
        core::slice::from_raw_parts_mut(
            core::ptr::from_mut(&mut value).cast::<u8>(),
            size_of::<T>(),
        )
    };
    read(space, address, bytes)?;
    Ok(value)
}

/// Writes a value of plain data to a task.
pub fn write_value<T: Plain>(space: &AddressSpace, address: u64, value: &T) -> Result<(), Error> {
    // SAFETY: `T` is plain data without padding (see `Plain`): its bytes are all initialised.
    let bytes = unsafe {
        core::slice::from_raw_parts(core::ptr::from_ref(value).cast::<u8>(), size_of::<T>())
    };
    write(space, address, bytes)
}

/// Data that any bytes are a valid value of, without padding.
///
/// # Safety
///
/// The type is `repr(C)`, made of integers and arrays of them, and has no padding.
pub unsafe trait Plain: Copy {
    /// A value to read into.
    const BLANK: Self;
}

macro_rules! plain {
    ($($type:ty = $blank:expr;)+) => {
        $(
            // SAFETY: `repr(C)`, integers only; the sizes of the fields add up, as the assertion
            // beside the list in `abi`'s consumers checks at compile time for those with mixed ones.
            unsafe impl Plain for $type {
                const BLANK: Self = $blank;
            }
        )+
    };
}

plain! {
    u64 = 0;
    abi::Name = abi::Name::EMPTY;
    abi::Message = abi::Message::EMPTY;
    abi::Grant = abi::Grant::NONE;
    abi::CallDescriptor = abi::CallDescriptor {
        callee: 0,
        message: abi::Message::EMPTY,
        send: abi::Grant::NONE,
        receive: abi::Grant::NONE,
    };
    abi::Segment = abi::Segment { memory: 0, reserved: 0, token: 0, address: 0, len: 0 };
    abi::Event = abi::Event::BLANK;
    abi::DmaAddress = abi::DmaAddress { address: 0, len: 0 };
    abi::MsiTarget = abi::MsiTarget { address: 0, data: 0, interrupt: 0 };
    abi::TaskInfo = abi::TaskInfo::BLANK;
    abi::DeviceInfo = abi::DeviceInfo { address: 0, vendor: 0, device: 0, class: 0, subsystem: 0 };
    abi::Counters = abi::Counters {
        calls: 0,
        replies: 0,
        switches: 0,
        system_calls: 0,
        interrupts: 0,
        bytes_copied: 0,
        copies: 0,
        pages_pinned: 0,
        frames_swapped: 0,
        idle_ns: 0,
        frames_free: 0,
        frames_total: 0,
    };
    abi::DeathReport = abi::DeathReport {
        role: 0,
        generation: 0,
        cause: 0,
        vector: 0,
        address: 0,
        registers: abi::Registers { general: [0; 16], rip: 0, rflags: 0 },
        time_ns: 0,
        last_words_len: 0,
        last_words: [0; abi::LAST_WORDS_BYTES],
    };
    abi::SpawnSpec = abi::SpawnSpec {
        program: abi::Name::EMPTY,
        rights: 0,
        quota_pages: 0,
        device: u64::MAX,
        ports: [[0; 2]; 2],
        isa_interrupts: 0,
        peer_count: 0,
        peers: [0; abi::PEERS_MAX],
        arguments_len: 0,
        arguments: [0; abi::ARGUMENTS_BYTES_MAX],
    };
    abi::StartInfo = abi::StartInfo {
        name: abi::Name::EMPTY,
        role: 0,
        generation: 0,
        start: 0,
        peer_count: 0,
        peers: [abi::Peer::NONE; abi::PEERS_MAX],
        arguments_len: 0,
        arguments: [0; abi::ARGUMENTS_BYTES_MAX],
    };
}

/// Writes a value where the kernel may, whether or not the task may.
pub fn initialise<T: Plain>(space: &AddressSpace, address: u64, value: &T) -> Result<(), Error> {
    let mut origin = core::ptr::from_ref(value).cast::<u8>();
    pages(space, address, size_of::<T>(), false, |to, len| {
        // SAFETY: `to` is `len` bytes of a frame that the task does not run with yet, `origin` the
        // next `len` bytes of `value`.
        unsafe {
            to.copy_from_nonoverlapping(origin, len);
            origin = origin.add(len);
        }
    })
}
