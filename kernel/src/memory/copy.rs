//! Copies to, from and between tasks.
//!
//! The running task's memory is reached by its own addresses: its address space is loaded, and after a
//! switch every further page that is touched costs, those of page tables too. The one routine that
//! does so may fault; the fault then is its result. Other tasks' memory is reached through the
//! direct map, page by page, by their own tables.

use abi::{Error, PAGE_BYTES};
use kernel_core::PAGE;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{
    layout::{USER_END, direct},
    space::AddressSpace,
};

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

core::arch::global_asm!(include_str!("copy.s"), options(att_syntax));

unsafe extern "C" {
    fn copy_task_memory(to: *mut u8, from: *const u8, len: usize) -> u64;
}

/// Copies where one side is the running task's memory and may not be there.
///
/// # Safety
///
/// The other side is memory of the kernel's or of a task's frame that the caller may touch.
unsafe fn copy_running(to: *mut u8, from: *const u8, task: u64, len: usize) -> Result<(), Error> {
    if task
        .checked_add(len as u64)
        .is_none_or(|end| end > USER_END)
    {
        return Err(Error::BadAddress);
    }
    // SAFETY: the task's side is below the kernel, where a fault is caught; the caller's promise.
    let fault = unsafe { copy_task_memory(to, from, len) };
    if fault == 0 {
        Ok(())
    } else {
        Err(Error::BadAddress)
    }
}

/// Makes sure that the running task may write a range, page by page.
pub fn probe_running(address: u64, len: u64) -> Result<(), Error> {
    let end = address.checked_add(len).ok_or(Error::BadAddress)?;
    let mut at = address;
    while at < end {
        let mut byte = 0u8;
        // SAFETY: the kernel's side is `byte`.
        unsafe {
            copy_running(&raw mut byte, at as *const u8, at, 1)?;
            copy_running(at as *mut u8, &raw const byte, at, 1)?;
        }
        at = (at & !(PAGE - 1)) + PAGE;
    }
    Ok(())
}

/// A value of plain data, read from the running task.
pub fn read_running<T: Plain>(address: u64) -> Result<T, Error> {
    let mut value = T::new_zeroed();
    let into = value.as_mut_bytes().as_mut_ptr();
    // SAFETY: `into` is all bytes of `value`, each of which may have any value.
    unsafe { copy_running(into, address as *const u8, address, size_of::<T>())? };
    Ok(value)
}

/// Writes a value of plain data to the running task.
pub fn write_running<T: Plain>(address: u64, value: &T) -> Result<(), Error> {
    let from = value.as_bytes().as_ptr();
    // SAFETY: `from` is all bytes of `value`.
    unsafe { copy_running(address as *mut u8, from, address, size_of::<T>()) }
}

/// Copies `len` bytes of a task's memory to the running task's.
pub fn to_running(
    space: &AddressSpace,
    address: u64,
    running: u64,
    len: usize,
) -> Result<(), Error> {
    let (mut at, mut outcome) = (running, Ok(()));
    pages(space, address, len, false, |from, step| {
        // SAFETY: `from` is `step` bytes of a task's frame.
        let part = unsafe { copy_running(at as *mut u8, from, at, step) };
        outcome = outcome.and(part);
        at = at.wrapping_add(step as u64);
    })?;
    outcome
}

/// Copies `len` bytes of the running task's memory to a task's.
pub fn from_running(
    running: u64,
    space: &AddressSpace,
    address: u64,
    len: usize,
) -> Result<(), Error> {
    let (mut at, mut outcome) = (running, Ok(()));
    pages(space, address, len, true, |to, step| {
        // SAFETY: `to` is `step` bytes of a task's frame.
        let part = unsafe { copy_running(to, at as *const u8, at, step) };
        outcome = outcome.and(part);
        at = at.wrapping_add(step as u64);
    })?;
    outcome
}

/// A value of plain data, read from a task.
pub fn read_value<T: Plain>(space: &AddressSpace, address: u64) -> Result<T, Error> {
    let mut value = T::new_zeroed();
    read(space, address, value.as_mut_bytes())?;
    Ok(value)
}

/// Writes a value of plain data to a task.
pub fn write_value<T: Plain>(space: &AddressSpace, address: u64, value: &T) -> Result<(), Error> {
    write(space, address, value.as_bytes())
}

/// What may cross the border: any bytes are a value of it, and no byte of it is padding, so that
/// nothing else of the kernel's memory goes out with it. The compiler checks both.
pub trait Plain: FromBytes + IntoBytes + Immutable {}

impl<T: FromBytes + IntoBytes + Immutable> Plain for T {}

/// Writes a value where the kernel may, whether or not the task may.
pub fn initialise<T: Plain>(space: &AddressSpace, address: u64, value: &T) -> Result<(), Error> {
    let mut origin = value.as_bytes().as_ptr();
    pages(space, address, size_of::<T>(), false, |to, len| {
        // SAFETY: `to` is `len` bytes of a frame that the task does not run with yet, `origin` the
        // next `len` bytes of `value`.
        unsafe {
            to.copy_from_nonoverlapping(origin, len);
            origin = origin.add(len);
        }
    })
}
