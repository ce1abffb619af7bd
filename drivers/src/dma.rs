//! DMA memory and pins, by the kernel's system calls.

use core::cell::RefCell;

use abi::{DmaAddress, PAGE_BYTES};
use alloc::{vec, vec::Vec};
use runtime::device;
use storage::{Error, Result, buffer::Lent};
use virtio::{DmaMemory, OutOfMemory, PIECES_MAX, Piece, Pieces, Platform};

use crate::volatile::{Volatile, pointer};

/// Memory shared with the task's device. It is never given back: the kernel takes it when a later
/// instance has seen the device reset.
pub struct Dma {
    memory: Volatile,
    bus: u64,
}

impl DmaMemory for Dma {
    fn bus_address(&self) -> u64 {
        self.bus
    }
    fn len(&self) -> usize {
        self.memory.len()
    }
    fn load_u8(&self, offset: usize) -> u8 {
        self.memory.load(offset)
    }
    fn load_u16(&self, offset: usize) -> u16 {
        u16::from_le(self.memory.load(offset))
    }
    fn load_u32(&self, offset: usize) -> u32 {
        u32::from_le(self.memory.load(offset))
    }
    fn store_u8(&self, offset: usize, value: u8) {
        self.memory.store(offset, value);
    }
    fn store_u16(&self, offset: usize, value: u16) {
        self.memory.store(offset, value.to_le());
    }
    fn store_u32(&self, offset: usize, value: u32) {
        self.memory.store(offset, value.to_le());
    }
    fn store_u64(&self, offset: usize, value: u64) {
        self.memory.store(offset, value.to_le());
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        self.memory.read(offset, into);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.memory.write(offset, from);
    }
}

/// The kernel as the platform of a driver.
pub struct Kernel {
    /// Where the kernel writes the pieces of a pin.
    scratch: RefCell<Vec<DmaAddress>>,
}

impl Default for Kernel {
    fn default() -> Self {
        let scratch = RefCell::new(vec![DmaAddress { address: 0, len: 0 }; PIECES_MAX]);
        Self { scratch }
    }
}

impl Platform for Kernel {
    type Memory = Dma;

    fn allocate(&self, bytes: usize) -> core::result::Result<Dma, OutOfMemory> {
        let pages = bytes.div_ceil(PAGE_BYTES);
        let (address, bus) = device::dma_allocate(pages as u64).map_err(refused)?;
        let start = pointer(address).ok_or(OutOfMemory)?;
        // SAFETY: the kernel has just mapped so many pages there for this task and never unmaps
        // them; nothing of the task's own is there, so no reference points into them.
        let memory = unsafe { Volatile::new(start, pages * PAGE_BYTES) };
        Ok(Dma { memory, bus })
    }

    fn pin(&self, lent: &Lent<'_>, pieces: &mut Pieces) -> Result<()> {
        let mut found = self.scratch.borrow_mut();
        let count = device::pin(lent, &mut found).map_err(|error| match error {
            abi::Error::NoSuchCall => Error::PeerDied,
            abi::Error::NoRoom | abi::Error::NoMemory => Error::NoMemory,
            _ => Error::BadArgument,
        })?;
        for piece in &found[..count] {
            let len = u32::try_from(piece.len).map_err(|_| Error::BadArgument)?;
            if !pieces.push(Piece {
                address: piece.address,
                len,
            }) {
                return Err(Error::NoMemory);
            }
        }
        Ok(())
    }

    fn unpin(&self, token: u64) {
        device::unpin(token);
    }

    fn quiesced(&self) -> core::result::Result<(), OutOfMemory> {
        device::device_quiesced().map_err(refused)
    }
}

fn refused(error: abi::Error) -> OutOfMemory {
    log::error!("DMA memory: {error}");
    OutOfMemory
}
