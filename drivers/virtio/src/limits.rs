//! What the device offers, and what of it was negotiated (virtio 1.2, 5.2.3 and 5.2.4).

use bitflags::bitflags;
use storage::block::{Geometry, SECTOR_BYTES};
use virtio_drivers::transport::Transport;

use crate::{Fault, TRANSFER_BYTES_MAX, slot::TABLE_MAX};

bitflags! {
    /// The feature bits that this driver understands; it accepts whichever of them are offered.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// `size_max` bounds a segment.
        const SIZE_MAX = 1 << 1;
        /// `seg_max` bounds the segments of a request.
        const SEG_MAX = 1 << 2;
        /// The device refuses writes.
        const RO = 1 << 5;
        /// `blk_size` is the device's block.
        const BLK_SIZE = 1 << 6;
        /// The device has a volatile cache, and flush empties it. A device that offers this and
        /// is not taken up on it must make every single write durable.
        const FLUSH = 1 << 9;
        /// Discard.
        const DISCARD = 1 << 13;
        /// Write-zeroes.
        const WRITE_ZEROES = 1 << 14;
        /// A chain may be one descriptor that refers to a table elsewhere.
        const INDIRECT_DESC = 1 << 28;
        /// Either side says at which index it wants to be told.
        const EVENT_IDX = 1 << 29;
        /// The device is none of the time before virtio 1.0.
        const VERSION_1 = 1 << 32;
    }
}

/// Offsets into the device's configuration (5.2.4).
mod offset {
    pub const CAPACITY: usize = 0;
    pub const SIZE_MAX: usize = 8;
    pub const SEG_MAX: usize = 12;
    pub const BLK_SIZE: usize = 20;
    pub const MAX_DISCARD_SECTORS: usize = 36;
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
}

/// Times a configuration that changes while it is read is read again.
const READS_MAX: u32 = 16;

/// What was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The accepted features.
    pub features: Features,
    /// What clients are told.
    pub geometry: Geometry,
    /// Descriptors of the queue.
    pub queue_size: u16,
    /// Requests that the device may have at a time.
    pub depth: u16,
    /// Most data segments in a request.
    pub segments_max: u16,
    /// Most bytes in a segment.
    pub segment_bytes_max: u32,
    /// Most sectors in one discard, a multiple of the block.
    pub discard_sectors_max: u32,
    /// Most sectors in one write-zeroes, a multiple of the block.
    pub zeroes_sectors_max: u32,
}

impl Limits {
    /// Reads the configuration of a device with which `features` were negotiated, for a queue of
    /// `queue_size` descriptors.
    pub fn read<T: Transport>(
        transport: &T,
        features: Features,
        queue_size: u16,
    ) -> Result<Self, Fault> {
        let field = |feature, at, otherwise| {
            if features.contains(feature) {
                word(transport, at)
            } else {
                Ok(otherwise)
            }
        };
        for _ in 0..READS_MAX {
            let generation = transport.read_config_generation();
            let raw = Raw {
                capacity: u64::from(word(transport, offset::CAPACITY)?)
                    | u64::from(word(transport, offset::CAPACITY + 4)?) << 32,
                size_max: field(Features::SIZE_MAX, offset::SIZE_MAX, u32::MAX)?,
                seg_max: field(Features::SEG_MAX, offset::SEG_MAX, u32::MAX)?,
                blk_size: field(Features::BLK_SIZE, offset::BLK_SIZE, SECTOR_BYTES as u32)?,
                discard: field(Features::DISCARD, offset::MAX_DISCARD_SECTORS, 0)?,
                zeroes: field(Features::WRITE_ZEROES, offset::MAX_WRITE_ZEROES_SECTORS, 0)?,
            };
            if transport.read_config_generation() == generation {
                return raw.limits(features, queue_size);
            }
        }
        Err(Fault::ConfigurationUnstable)
    }

    /// Bytes of the device's block.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.geometry.alignment_sectors as usize * SECTOR_BYTES
    }
}

/// The fields as read; those that were not negotiated have values that bound nothing.
struct Raw {
    capacity: u64,
    size_max: u32,
    seg_max: u32,
    blk_size: u32,
    discard: u32,
    zeroes: u32,
}

impl Raw {
    fn limits(&self, features: Features, queue_size: u16) -> Result<Limits, Fault> {
        if !self.blk_size.is_power_of_two() || !(512..=4096).contains(&self.blk_size) {
            return Err(Fault::BlockSize(self.blk_size));
        }
        let alignment_sectors = self.blk_size / SECTOR_BYTES as u32;
        // Header and status take a descriptor each, and no chain may be longer than the queue
        // (2.7.5.3.1). Without indirect tables the chains share the queue's own table.
        let indirect = features.contains(Features::INDIRECT_DESC);
        let chain_max = if indirect {
            queue_size
        } else {
            queue_size.min(DIRECT_CHAIN)
        };
        let segments_max = chain_max.min(TABLE_MAX).saturating_sub(2);
        let segments_max = segments_max.min(u16::try_from(self.seg_max).unwrap_or(u16::MAX));
        let depth = if indirect {
            queue_size
        } else {
            queue_size / (segments_max + 2)
        };
        let block_room = u64::from(segments_max) * u64::from(self.size_max);
        if block_room < u64::from(self.blk_size) {
            return Err(Fault::NoRoomForABlock);
        }
        let whole_blocks = |sectors: u32| sectors - sectors % alignment_sectors;
        let (discard, zeroes) = (whole_blocks(self.discard), whole_blocks(self.zeroes));
        let alignment = u64::from(alignment_sectors);
        Ok(Limits {
            features,
            geometry: Geometry {
                // What `u64` byte offsets cannot reach is not there for us.
                sectors: (self.capacity - self.capacity % alignment)
                    .min((u64::MAX / SECTOR_BYTES as u64) & !7),
                alignment_sectors,
                transfer_bytes_max: TRANSFER_BYTES_MAX as u32,
                read_only: features.contains(Features::RO),
                flush: features.contains(Features::FLUSH),
                discard: discard > 0,
                write_zeroes: zeroes > 0,
            },
            queue_size,
            depth,
            segments_max,
            segment_bytes_max: self.size_max,
            discard_sectors_max: discard,
            zeroes_sectors_max: zeroes,
        })
    }
}

/// Descriptors of a chain when the device takes no indirect tables: 16 for data.
pub const DIRECT_CHAIN: u16 = 18;

fn word<T: Transport>(transport: &T, at: usize) -> Result<u32, Fault> {
    transport
        .read_config_space(at)
        .map_err(|_| Fault::ConfigurationMissing)
}

impl core::fmt::Display for Limits {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let yes = |yes| if yes { "yes" } else { "no" };
        let geometry = &self.geometry;
        write!(
            f,
            "{} sectors ({} MiB), block {} bytes, read-only {}, flush {}, discard {}, \
             write-zeroes {}, indirect {}, event index {}, depth {}, {} segments of at most {} bytes",
            geometry.sectors,
            geometry.sectors / 2048,
            self.block_bytes(),
            yes(geometry.read_only),
            yes(geometry.flush),
            yes(geometry.discard),
            yes(geometry.write_zeroes),
            yes(self.features.contains(Features::INDIRECT_DESC)),
            yes(self.features.contains(Features::EVENT_IDX)),
            self.depth,
            self.segments_max,
            self.segment_bytes_max,
        )
    }
}
