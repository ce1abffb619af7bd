//! Block calls: what disk drivers and block filters implement, and file stores stand on.

pub mod ram;
mod wire;

use serde::{Deserialize, Serialize};

use crate::{
    Result,
    buffer::{Sink, Source},
};

pub use wire::{Client, serve};

/// Bytes in a sector, the unit of addresses in block calls, whatever the device's own sector is.
pub const SECTOR_BYTES: usize = 512;

/// What a device is and can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// Capacity in sectors of [`SECTOR_BYTES`].
    pub sectors: u64,
    /// Sectors to which every address and length must be a multiple; a power of two, 1 to 8.
    pub alignment_sectors: u32,
    /// Most bytes in one request.
    pub transfer_bytes_max: u32,
    /// Writes are refused.
    pub read_only: bool,
    /// The device has a volatile cache, and flush was negotiated.
    pub flush: bool,
    /// Discard was negotiated.
    pub discard: bool,
    /// Write-zeroes was negotiated.
    pub write_zeroes: bool,
}

/// A device of sectors. Requests may overlap in time and complete in any order.
///
/// Errors of every call: [`crate::Error::BadArgument`] (unaligned, beyond the end, too long, empty),
/// [`crate::Error::ReadOnly`], [`crate::Error::Device`] (after the retries).
pub trait BlockDevice {
    /// Begins a client's use of the device. When it returns, no request of an earlier instance of
    /// the client is still on its way to the medium.
    fn attach(&self) -> impl Future<Output = Result<Geometry>>;
    /// Reads `data.len()` bytes from `sector`.
    fn read(&self, sector: u64, data: Sink<'_>) -> impl Future<Output = Result<()>>;
    /// Writes `data` to `sector`. It is on the medium after the next flush that begins later.
    fn write(&self, sector: u64, data: Source<'_>) -> impl Future<Output = Result<()>>;
    /// Makes every write that had completed durable.
    fn flush(&self) -> impl Future<Output = Result<()>>;
    /// Says that the sectors are of no more use; reading them gives anything. Any number of sectors;
    /// [`crate::Error::BadArgument`] if the geometry does not offer it.
    fn discard(&self, sector: u64, sectors: u64) -> impl Future<Output = Result<()>>;
    /// Makes the sectors read as zeros. Any number of sectors; [`crate::Error::BadArgument`] if the
    /// geometry does not offer it.
    fn write_zeroes(&self, sector: u64, sectors: u64) -> impl Future<Output = Result<()>>;
}

impl<D: BlockDevice> BlockDevice for alloc::rc::Rc<D> {
    async fn attach(&self) -> Result<Geometry> {
        (**self).attach().await
    }
    async fn read(&self, sector: u64, data: Sink<'_>) -> Result<()> {
        (**self).read(sector, data).await
    }
    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        (**self).write(sector, data).await
    }
    async fn flush(&self) -> Result<()> {
        (**self).flush().await
    }
    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        (**self).discard(sector, sectors).await
    }
    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        (**self).write_zeroes(sector, sectors).await
    }
}
