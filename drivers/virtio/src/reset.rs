//! Bringing the device up, at the start and after trouble (virtio 1.2, 3.1.1 and 2.4).

use storage::Error;
use virtio_drivers::transport::{DeviceStatus, Transport};

use crate::{
    DEPTH_MAX, Features, Limits, OutOfMemory, Platform,
    driver::{Inner, Phase, Rings},
    queue::Queue,
    slot::Slots,
};

/// The only queue of a block device without multiqueue.
pub const QUEUE: u16 = 0;

/// Most descriptors of a queue whose chains lie in its own table.
const DIRECT_QUEUE_MAX: u32 = 1024;

/// Why the device cannot be used. There is nothing left to try: the task reports it and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not finish its reset; it may still write to memory.
    ResetUnfinished,
    /// It does not offer `VIRTIO_F_VERSION_1`.
    NotModern,
    /// It did not accept a subset of the features it offered itself.
    FeaturesRefused,
    /// It has no queue, or one too short for a request.
    NoQueue,
    /// It did not enable the queue, or the queue's interrupt.
    QueueRefused,
    /// Its configuration is missing or too short.
    ConfigurationMissing,
    /// Its configuration changed at every look.
    ConfigurationUnstable,
    /// Its block is no power of two from 512 to 4096 bytes.
    BlockSize(u32),
    /// Its bounds on segments leave no room for one block in a request.
    NoRoomForABlock,
    /// After a reset it is another device: size, block or features changed.
    Changed,
    /// There is no memory for its queue, or the kernel refused.
    OutOfMemory,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let text = match self {
            Self::ResetUnfinished => "the device does not finish its reset; restart the machine",
            Self::NotModern => "the device is older than virtio 1.0; use disable-legacy=on",
            Self::FeaturesRefused => "the device refuses features that it offered",
            Self::NoQueue => "the device has no request queue, or one too short",
            Self::QueueRefused => "the device did not enable its queue or the queue's interrupt",
            Self::ConfigurationMissing => "the device's configuration is missing or too short",
            Self::ConfigurationUnstable => "the device's configuration changes all the time",
            Self::BlockSize(bytes) => {
                return write!(
                    f,
                    "blocks of {bytes} bytes; 512, 1024, 2048 or 4096 are supported"
                );
            }
            Self::NoRoomForABlock => "the device's bounds on segments leave no room for a block",
            Self::Changed => "the device's size or features changed while it was in use",
            Self::OutOfMemory => "no memory for the device's queue",
        };
        f.write_str(text)
    }
}

impl From<OutOfMemory> for Fault {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl<T: Transport, P: Platform> Inner<T, P> {
    /// Resets the device. Until the reset is seen to finish it may still touch memory.
    pub fn begin_reset(&mut self, now_ns: u64) {
        self.transport.set_status(DeviceStatus::empty());
        let deadline_ns = now_ns.saturating_add(self.options.reset_ns);
        self.phase = Phase::Resetting { deadline_ns };
    }

    /// Whether the device has finished its reset: its status reads as zero (4.1.4.3.2).
    pub fn reset_finished(&self) -> bool {
        self.transport.get_status() == DeviceStatus::empty()
    }

    /// Brings a device up that has just finished its reset.
    pub fn initialise(&mut self, platform: &P) -> Result<(), Fault> {
        if self.rings.is_none() {
            platform.quiesced()?;
        }
        let mut status = DeviceStatus::ACKNOWLEDGE;
        self.transport.set_status(status);
        status |= DeviceStatus::DRIVER;
        self.transport.set_status(status);

        let features = Features::from_bits_truncate(self.transport.read_device_features());
        if !features.contains(Features::VERSION_1) {
            return Err(Fault::NotModern);
        }
        self.transport.write_driver_features(features.bits());
        status |= DeviceStatus::FEATURES_OK;
        self.transport.set_status(status);
        if !self
            .transport
            .get_status()
            .contains(DeviceStatus::FEATURES_OK)
        {
            return Err(Fault::FeaturesRefused);
        }

        let indirect = features.contains(Features::INDIRECT_DESC);
        let size_max = if indirect {
            u32::from(DEPTH_MAX)
        } else {
            DIRECT_QUEUE_MAX
        };
        let size = self.transport.max_queue_size(QUEUE).min(size_max) as u16;
        // Header, data and status: a shorter queue cannot hold a request.
        let size = size.checked_ilog2().map_or(0, |log| 1 << log);
        if size < 4 {
            return Err(Fault::NoQueue);
        }
        let limits = Limits::read(&self.transport, features, size)?;
        match &mut self.rings {
            Some(rings) if rings.limits != limits => return Err(Fault::Changed),
            Some(rings) => rings.queue.clear(),
            None => {
                log::info!("virtio-blk: {limits}");
                let memory = platform.allocate(Queue::<P::Memory>::bytes(size))?;
                let event_index = features.contains(Features::EVENT_IDX);
                self.rings = Some(Rings {
                    queue: Queue::new(memory, size, event_index),
                    slots: Slots::new(platform, &limits)?,
                    limits,
                });
                self.free = (0..limits.depth).rev().collect();
                self.in_flight
                    .resize_with(usize::from(limits.depth), || None);
            }
        }
        let rings = self.rings.as_ref().ok_or(Fault::OutOfMemory)?;
        let [descriptors, available, used] = rings.queue.areas();
        self.transport
            .queue_set(QUEUE, size.into(), descriptors, available, used);
        if !self.transport.queue_used(QUEUE) {
            return Err(Fault::QueueRefused);
        }
        status |= DeviceStatus::DRIVER_OK;
        self.transport.set_status(status);
        self.phase = Phase::Running;
        self.take_back();
        Ok(())
    }

    /// After a reset: what the device had is given to it again, unless it had its chances.
    fn take_back(&mut self) {
        for slot in 0..self.in_flight.len() {
            let Some(in_flight) = self.in_flight[slot].take() else {
                continue;
            };
            self.free.push(slot as u16);
            self.again(in_flight.part);
        }
    }

    /// The device is given up.
    pub fn fail(&mut self, fault: Fault) {
        log::error!("virtio-blk: {fault}");
        self.phase = Phase::Failed(fault);
        for part in self.pending.drain(..) {
            part.transfer.part_ends(Err(Error::Device));
        }
        // A device that has not finished its reset may still write into what it was given, so those
        // requests never end here: the kernel keeps their pages until a reset has been seen.
        if fault != Fault::ResetUnfinished {
            for in_flight in self.in_flight.iter_mut().filter_map(Option::take) {
                in_flight.part.transfer.part_ends(Err(Error::Device));
            }
        }
    }
}
