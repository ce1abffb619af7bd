//! What the driver stands on, besides registers: memory shared with the device, and pins.

use storage::{Result, buffer::Lent};

use crate::Pieces;

/// Memory that both the driver and the device reach.
///
/// The device may change any byte at any time, so there are no references into it: every access is
/// one volatile load or store, little-endian as virtio defines. Offsets are the driver's own
/// arithmetic: one outside the memory, or not aligned to the access, is a broken invariant and
/// panics.
pub trait DmaMemory {
    /// Address by which the device knows the first byte.
    fn bus_address(&self) -> u64;
    /// Length in bytes.
    fn len(&self) -> usize;
    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Loads a byte.
    fn load_u8(&self, offset: usize) -> u8;
    /// Loads 16 bits at once.
    fn load_u16(&self, offset: usize) -> u16;
    /// Loads 32 bits at once.
    fn load_u32(&self, offset: usize) -> u32;
    /// Stores a byte.
    fn store_u8(&self, offset: usize, value: u8);
    /// Stores 16 bits at once.
    fn store_u16(&self, offset: usize, value: u16);
    /// Stores 32 bits at once.
    fn store_u32(&self, offset: usize, value: u32);
    /// Stores 64 bits at once.
    fn store_u64(&self, offset: usize, value: u64);
    /// Copies out.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies in.
    fn write(&self, offset: usize, from: &[u8]);
}

/// There is no DMA memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// DMA memory and pins.
pub trait Platform {
    /// Memory shared with the device.
    type Memory: DmaMemory;

    /// At least `bytes` of zeroed memory, contiguous for the device, page-aligned.
    fn allocate(&self, bytes: usize) -> core::result::Result<Self::Memory, OutOfMemory>;

    /// Pins lent memory for the device and appends where it is. Fails if the request it was lent
    /// with has ended, or if a bound on pins or pieces is reached.
    fn pin(&self, lent: &Lent<'_>, pieces: &mut Pieces) -> Result<()>;

    /// Releases everything pinned of the request `token`.
    fn unpin(&self, token: u64);

    /// The device was reset and the reset was seen to finish, for the first time of this instance:
    /// what earlier instances shared with it may be used again, and it may reach memory from now.
    fn quiesced(&self) -> core::result::Result<(), OutOfMemory>;
}
