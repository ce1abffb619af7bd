//! Lending memory of every kind, twice, too much of it, and requests that there are not.

use alloc::boxed::Box;

use abi::{CallDescriptor, Error, Grant, Memory, Message, Segment, Side};
use guest_tests::Command;
use runtime::system;
use storage::transport::encode;

use crate::Probe;

const PAGE: u64 = abi::PAGE_BYTES as u64;

fn own(address: u64, len: u64) -> Segment {
    Segment {
        memory: Memory::Own as u32,
        reserved: 0,
        token: 0,
        address,
        len,
    }
}

/// Submits a call that stays under way, lending memory to be read and to be written.
fn submit(
    role: u64,
    command: Command,
    send: &[Segment],
    receive: &[Segment],
) -> Result<u64, Error> {
    let grant = |segments: &[Segment]| Grant {
        segments: segments.as_ptr() as u64,
        count: segments.len() as u64,
    };
    let message = encode(&command).unwrap_or_default();
    let descriptor = CallDescriptor {
        callee: role,
        message: Message::new(&message).unwrap_or(Message::EMPTY),
        send: grant(send),
        receive: grant(receive),
        patience_ns: u64::MAX,
    };
    // SAFETY: what these tests lend stays mapped as long as the task lives.
    unsafe { system::submit(&descriptor) }
}

fn write_role_memory(value: u64) -> Result<u64, Error> {
    let (address, _) = system::role_memory(1)?;
    // SAFETY: the first eight bytes of a page that the kernel gave this role.
    unsafe { (address as *mut u64).write_volatile(value) };
    Ok(address)
}

/// The first word of the memory that outlives the instance, and the kernel's word.
pub fn read_role_memory() -> (u64, i64) {
    match system::role_memory(1) {
        // SAFETY: as above.
        Ok((address, _)) => (unsafe { (address as *const u64).read_volatile() }, 0),
        Err(error) => (0, error as i64),
    }
}

impl Probe {
    pub(crate) fn lend_role_memory(&self, role: u64) -> Result<(), Error> {
        let page = own(write_role_memory(1)?, PAGE);
        self.raw.set(submit(role, Command::Pin, &[page], &[])?);
        Ok(())
    }

    pub(crate) fn take_back_role_memory(&self) -> Result<(), Error> {
        system::cancel(self.raw.get());
        write_role_memory(2).map(drop)
    }

    pub(crate) fn lend_twice(&self, role: u64) -> Result<(), Error> {
        let page: &'static mut [u8; 4096] = Box::leak(Box::new([0x5a; 4096]));
        let page = own(page.as_mut_ptr() as u64, PAGE);
        self.raw.set(submit(role, Command::Pin, &[page], &[])?);
        submit(role, Command::PinWritten, &[], &[page]).map(drop)
    }
}

/// Lends memory whose bus address this task's own device knows.
pub fn lend_dma_memory(role: u64) -> Result<u64, Error> {
    let (address, _) = system::dma_allocate(1)?;
    submit(role, Command::Hold, &[own(address, PAGE)], &[])
}

/// Lends the same memory so often that it is more than a grant may be.
pub fn lend_too_much(role: u64) -> Result<u64, Error> {
    const BYTES: usize = 4 << 20;
    let memory: &'static [u8] = alloc::vec![1; BYTES].leak();
    let segment = own(memory.as_ptr() as u64, BYTES as u64);
    submit(role, Command::Hold, &[segment; abi::SEGMENTS_MAX], &[])
}

/// Allocates more DMA memory than a probe's quota.
pub fn dma_past_quota() -> Result<(u64, u64), Error> {
    system::dma_allocate(900)?;
    system::dma_allocate(1024)
}

/// How many of three system calls on each of several forged requests the kernel refused as such.
pub fn forge_requests() -> u64 {
    let mut refused = 0;
    for forged in [0, 1, 0x800, 0xffff, 0x1_07ff, u64::MAX] {
        // There is nothing to say: it only must not take anything of anyone.
        system::unpin(forged);
        let mut pieces = [abi::DmaAddress { address: 0, len: 0 }; 1];
        let pinned = system::pin(forged, Side::Send, 0, 1, &mut pieces);
        refused += u64::from(pinned == Err(Error::NoSuchCall));
        let answered = system::reply(forged, &Message::EMPTY);
        refused += u64::from(answered == Err(Error::NoSuchCall));
        let read = system::copy_from(forged, Side::Send, 0, &mut [0]);
        refused += u64::from(read == Err(Error::NoSuchCall));
    }
    refused
}
