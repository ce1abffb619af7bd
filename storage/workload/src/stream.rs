//! Bytes in order, from and to somewhere: what archives are read from and written to.

use alloc::{vec, vec::Vec};

use storage::{
    Error, Result,
    block::{BlockDevice, SECTOR_BYTES},
    buffer::{Sink, Source},
};

/// Bytes that come one after the other.
pub trait Read {
    /// Fills the beginning of `into`; returns how many bytes; zero at the end.
    fn read(&mut self, into: &mut [u8]) -> impl Future<Output = Result<usize>>;
}

/// Bytes that go one after the other.
pub trait Write {
    /// Writes all of `from`.
    fn write(&mut self, from: &[u8]) -> impl Future<Output = Result<()>>;
}

impl Read for &[u8] {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let len = into.len().min(self.len());
        let (head, rest) = self.split_at(len);
        into[..len].copy_from_slice(head);
        *self = rest;
        Ok(len)
    }
}

impl Write for Vec<u8> {
    async fn write(&mut self, from: &[u8]) -> Result<()> {
        self.extend_from_slice(from);
        Ok(())
    }
}

/// Bytes of one request to a device, if it takes as many.
const REQUEST_BYTES: usize = 128 << 10;

fn request_bytes(transfer_max: u32, alignment_sectors: u32) -> Result<usize> {
    let unit = alignment_sectors.max(1) as usize * SECTOR_BYTES;
    match REQUEST_BYTES.min(transfer_max as usize) / unit * unit {
        0 => Err(Error::Device),
        bytes => Ok(bytes),
    }
}

/// Reads a device from its first sector to its last.
pub struct DeviceReader<'a, D> {
    device: &'a D,
    sectors: u64,
    sector: u64,
    buffer: Vec<u8>,
    /// What of the buffer has not been read yet.
    unread: core::ops::Range<usize>,
}

impl<'a, D: BlockDevice> DeviceReader<'a, D> {
    /// Attaches to the device.
    pub async fn new(device: &'a D) -> Result<Self> {
        let geometry = device.attach().await?;
        let bytes = request_bytes(geometry.transfer_bytes_max, geometry.alignment_sectors)?;
        let sectors = geometry.sectors;
        Ok(Self {
            device,
            sectors,
            sector: 0,
            buffer: vec![0; bytes],
            unread: 0..0,
        })
    }

    /// Capacity of the device, bytes.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR_BYTES as u64)
    }
}

impl<D: BlockDevice> Read for DeviceReader<'_, D> {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.unread.is_empty() {
            let left = (self.sectors - self.sector).min((self.buffer.len() / SECTOR_BYTES) as u64);
            if left == 0 {
                return Ok(0);
            }
            let len = left as usize * SECTOR_BYTES;
            self.device
                .read(self.sector, Sink::local(&mut self.buffer[..len]))
                .await?;
            self.sector += left;
            self.unread = 0..len;
        }
        let len = into.len().min(self.unread.len());
        let start = self.unread.start;
        into[..len].copy_from_slice(&self.buffer[start..start + len]);
        self.unread.start += len;
        Ok(len)
    }
}

/// Writes a device from its first sector on.
pub struct DeviceWriter<'a, D> {
    device: &'a D,
    sectors: u64,
    sector: u64,
    buffer: Vec<u8>,
    request_bytes: usize,
    unit: usize,
}

impl<'a, D: BlockDevice> DeviceWriter<'a, D> {
    /// Attaches to the device. [`Error::ReadOnly`] if it cannot be written.
    pub async fn new(device: &'a D) -> Result<Self> {
        let geometry = device.attach().await?;
        if geometry.read_only {
            return Err(Error::ReadOnly);
        }
        let bytes = request_bytes(geometry.transfer_bytes_max, geometry.alignment_sectors)?;
        Ok(Self {
            device,
            sectors: geometry.sectors,
            sector: 0,
            buffer: Vec::with_capacity(bytes),
            request_bytes: bytes,
            unit: geometry.alignment_sectors.max(1) as usize * SECTOR_BYTES,
        })
    }

    async fn send(&mut self) -> Result<()> {
        let sectors = (self.buffer.len() / SECTOR_BYTES) as u64;
        if sectors > self.sectors - self.sector {
            return Err(Error::NoSpace);
        }
        self.device
            .write(self.sector, Source::local(&self.buffer))
            .await?;
        self.sector += sectors;
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left, filled up with zeros, and makes everything durable.
    pub async fn finish(mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.buffer
                .resize(self.buffer.len().next_multiple_of(self.unit), 0);
            self.send().await?;
        }
        self.device.flush().await
    }
}

impl<D: BlockDevice> Write for DeviceWriter<'_, D> {
    async fn write(&mut self, mut from: &[u8]) -> Result<()> {
        while !from.is_empty() {
            let room = self.request_bytes - self.buffer.len();
            let (head, rest) = from.split_at(room.min(from.len()));
            self.buffer.extend_from_slice(head);
            from = rest;
            if self.buffer.len() == self.request_bytes {
                self.send().await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;
    use crate::testing::MemoryDevice;

    #[test]
    fn what_is_written_to_a_device_is_read_back() {
        let data: Vec<u8> = (0..300_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let device = MemoryDevice::new(600 << 10);
        block_on(async {
            let mut writer = DeviceWriter::new(&device).await.expect("attach");
            for part in data.chunks(777) {
                writer.write(part).await.expect("write");
            }
            writer.finish().await.expect("finish");
            assert_eq!(device.flushes(), 1);
            let mut reader = DeviceReader::new(&device).await.expect("attach");
            let (mut read, mut part) = (Vec::new(), [0; 1000]);
            loop {
                match reader.read(&mut part).await.expect("read") {
                    0 => break,
                    len => read.extend_from_slice(&part[..len]),
                }
            }
            assert_eq!(read.len(), 600 << 10);
            assert!(read.starts_with(&data));
        });
    }

    #[test]
    fn a_device_that_is_too_small_is_an_error() {
        let device = MemoryDevice::new(4096);
        block_on(async {
            let mut writer = DeviceWriter::new(&device).await.expect("attach");
            writer.write(&[1; 5000]).await.expect("still in the buffer");
            assert_eq!(writer.finish().await, Err(Error::NoSpace));
        });
    }
}
