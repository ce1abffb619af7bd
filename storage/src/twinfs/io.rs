//! Blocks to and from the device: contiguous blocks in one request, many requests in flight.

use alloc::vec::Vec;

use futures_util::stream::{self, StreamExt};

use crate::{
    BLOCK_BYTES, Error, Result,
    block::{BlockDevice, Geometry, SECTOR_BYTES},
    buffer::{Sink, Source},
};

/// Sectors in a block.
const SECTORS_PER_BLOCK: u64 = (BLOCK_BYTES / SECTOR_BYTES) as u64;
/// Most blocks in one request: a call lends at most 64 segments, and each block may be one.
const REQUEST_BLOCKS_MAX: u64 = 64;
/// Most requests of one call in flight: with full requests, 8 MiB.
const IN_FLIGHT_MAX: usize = 32;

/// Times that a block which is not what it should be is read before that is believed: a disk, a bus or a
/// memory may be wrong once.
pub const READS_MAX: u32 = 3;

/// The device, in blocks.
pub struct Disk<D> {
    device: D,
}

/// The first sector of a block.
fn sector(block: u64) -> u64 {
    block * SECTORS_PER_BLOCK
}

/// Most blocks that one request to a device may have.
pub fn request_blocks(geometry: &Geometry) -> u64 {
    (u64::from(geometry.transfer_bytes_max) / BLOCK_BYTES as u64).min(REQUEST_BLOCKS_MAX)
}

/// Blocks of a device.
pub fn device_blocks(geometry: &Geometry) -> u64 {
    geometry.sectors / SECTORS_PER_BLOCK
}

impl<D: BlockDevice> Disk<D> {
    /// Uses `device`.
    pub fn new(device: D) -> Self {
        Self { device }
    }

    /// Begins the use of the device. [`Error::Device`] if it cannot carry blocks.
    pub async fn attach(&self) -> Result<Geometry> {
        let geometry = self.device.attach().await?;
        let fits = request_blocks(&geometry) > 0
            && u64::from(geometry.alignment_sectors) <= SECTORS_PER_BLOCK;
        if fits {
            Ok(geometry)
        } else {
            Err(Error::Device)
        }
    }

    /// Reads consecutive blocks.
    pub async fn read(&self, block: u64, data: Sink<'_>) -> Result<()> {
        self.device.read(sector(block), data).await
    }

    /// Reads consecutive blocks until they are `sound`, at most [`READS_MAX`] times. Whether they are.
    pub async fn read_sound(
        &self,
        block: u64,
        data: &mut [u8],
        mut sound: impl FnMut(&[u8]) -> bool,
    ) -> Result<bool> {
        for _ in 0..READS_MAX {
            self.read(block, Sink::local(data)).await?;
            if sound(data) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes consecutive blocks, in one request.
    pub async fn write(&self, block: u64, data: Source<'_>) -> Result<()> {
        self.device.write(sector(block), data).await
    }

    /// Writes runs of blocks, each at most one request long, many at a time. Returns when none is in
    /// flight any more, with the first error.
    pub async fn write_runs(&self, runs: Vec<(u64, Source<'_>)>) -> Result<()> {
        let mut runs = runs;
        match runs.pop() {
            None => return Ok(()),
            Some((block, data)) if runs.is_empty() => return self.write(block, data).await,
            Some(last) => runs.push(last),
        }
        let writes = runs
            .into_iter()
            .map(|(block, data)| self.write(block, data));
        all(writes).await
    }

    /// Makes everything written durable.
    pub async fn flush(&self) -> Result<()> {
        self.device.flush().await
    }
}

/// Runs the futures, at most [`IN_FLIGHT_MAX`] at a time, to the end whatever fails; the first error.
pub async fn all(futures: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    let mut results = core::pin::pin!(stream::iter(futures).buffer_unordered(IN_FLIGHT_MAX));
    let mut first = Ok(());
    while let Some(result) = results.next().await {
        if first.is_ok() {
            first = result;
        }
    }
    first
}

/// Joins blocks, sorted by place, into runs of at most `most`; (first block, index, length).
pub fn runs(places: &[u64], most: u64) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let first = *places.get(at)?;
        let index = at;
        at += 1;
        while ((at - index) as u64) < most && places.get(at) == Some(&(first + (at - index) as u64))
        {
            at += 1;
        }
        Some((first, index, at - index))
    })
}
