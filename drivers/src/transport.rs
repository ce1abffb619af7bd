//! Virtio's registers over PCI, modern devices only (virtio 1.2, 4.1.4).
//!
//! *Why not `virtio_drivers`' `PciTransport`?* It sizes base address registers by writing to them,
//! which is the kernel's; it sets no MSI-X vectors; its `Drop` spins until a device answers; and it
//! asks the device for the place to notify at every notification. The trait, its types and the
//! constants are the crate's.

use virtio_drivers::{
    Error, PhysAddr,
    transport::{
        DeviceStatus, DeviceType, InterruptStatus, Transport,
        pci::{
            VIRTIO_PCI_CAP_COMMON_CFG, VIRTIO_PCI_CAP_DEVICE_CFG, VIRTIO_PCI_CAP_NOTIFY_CFG,
            VIRTIO_VENDOR_ID,
            bus::{CapabilityInfo, PCI_CAP_ID_VNDR},
        },
    },
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::{SetupError, pci::Function, volatile::Volatile};

/// Offsets into the common configuration (4.1.4.3).
mod common {
    pub const DEVICE_FEATURE_SELECT: usize = 0;
    pub const DEVICE_FEATURE: usize = 4;
    pub const DRIVER_FEATURE_SELECT: usize = 8;
    pub const DRIVER_FEATURE: usize = 12;
    pub const CONFIG_VECTOR: usize = 16;
    pub const DEVICE_STATUS: usize = 20;
    pub const CONFIG_GENERATION: usize = 21;
    pub const QUEUE_SELECT: usize = 22;
    pub const QUEUE_SIZE: usize = 24;
    pub const QUEUE_VECTOR: usize = 26;
    pub const QUEUE_ENABLE: usize = 28;
    pub const QUEUE_NOTIFY_OFFSET: usize = 30;
    pub const QUEUE_TABLE: usize = 32;
    pub const QUEUE_DRIVER: usize = 40;
    pub const QUEUE_DEVICE: usize = 48;
    pub const BYTES: u32 = 56;
}

/// Shortest capability of virtio, and the one that says where to notify.
const CAPABILITY_BYTES: u8 = 16;
const NOTIFY_CAPABILITY_BYTES: u8 = 20;

/// PCI devices: block devices of virtio 1.0 and later, and those that also speak the older one.
const BLOCK: u16 = 0x1042;
const TRANSITIONAL_BLOCK: u16 = 0x1001;

/// Which MSI-X entry is raised for what.
#[derive(Clone, Copy, Debug)]
pub struct Vectors {
    /// The device's configuration or status changed.
    pub configuration: u16,
    /// The device handed back requests.
    pub queue: u16,
}

/// The registers of a virtio block device.
pub struct PciTransport {
    common: Volatile,
    device: Volatile,
    notify: Volatile,
    notify_multiplier: u32,
    vectors: Vectors,
    /// Where to notify the queue; none while the device has not taken it.
    notify_offset: Option<usize>,
}

/// Where a structure is: BAR, offset, length.
type Place = (u8, u32, u32);

fn find(function: &Function, kind: u8, bytes_min: u8) -> Option<(CapabilityInfo, Place)> {
    let capabilities = function.capabilities();
    let capability = capabilities.into_iter().find(|capability| {
        let (bytes, found) = (
            capability.private_header as u8,
            capability.private_header >> 8,
        );
        capability.id == PCI_CAP_ID_VNDR && found == u16::from(kind) && bytes >= bytes_min
    })?;
    // Capabilities start behind the header and a multiple of four, so none reaches beyond 255.
    let word = |offset| function.read(capability.offset.saturating_add(offset));
    let place = (word(4) as u8, word(8), word(12));
    Some((capability, place))
}

impl PciTransport {
    /// Finds the structures of the task's function and maps them. Touches no register yet.
    pub fn new(function: &mut Function, vectors: Vectors) -> Result<Self, SetupError> {
        let (vendor, device) = function.identity();
        if vendor != VIRTIO_VENDOR_ID || ![BLOCK, TRANSITIONAL_BLOCK].contains(&device) {
            return Err(SetupError::WrongDevice { vendor, device });
        }
        let mut map = |name, kind, bytes_min, len_min| {
            let found = find(function, kind, bytes_min);
            let (capability, (bar, offset, len)) = found.ok_or(SetupError::NoStructure(name))?;
            if len < len_min {
                return Err(SetupError::NoStructure(name));
            }
            Ok((capability, function.registers(name, bar, offset, len)?))
        };
        let (_, common) = map(
            "common configuration",
            VIRTIO_PCI_CAP_COMMON_CFG,
            CAPABILITY_BYTES,
            common::BYTES,
        )?;
        let (_, device) = map(
            "device configuration",
            VIRTIO_PCI_CAP_DEVICE_CFG,
            CAPABILITY_BYTES,
            8,
        )?;
        let (capability, notify) = map(
            "notification structure",
            VIRTIO_PCI_CAP_NOTIFY_CFG,
            NOTIFY_CAPABILITY_BYTES,
            2,
        )?;
        let notify_multiplier = function.read(capability.offset.saturating_add(16));
        Ok(Self {
            common,
            device,
            notify,
            notify_multiplier,
            vectors,
            notify_offset: None,
        })
    }

    /// Writes a vector and sees whether the device took it (4.1.5.1.2).
    fn set_vector(&self, register: usize, vector: u16) -> bool {
        self.common.store(register, vector);
        self.common.load::<u16>(register) == vector
    }

    fn store_address(&self, register: usize, address: u64) {
        self.common.store(register, address as u32);
        self.common.store(register + 4, (address >> 32) as u32);
    }
}

impl Transport for PciTransport {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn read_device_features(&mut self) -> u64 {
        let word = |select: u32| {
            self.common.store(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.load::<u32>(common::DEVICE_FEATURE))
        };
        word(0) | word(1) << 32
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        for (select, word) in [
            (0, driver_features as u32),
            (1, (driver_features >> 32) as u32),
        ] {
            self.common
                .store::<u32>(common::DRIVER_FEATURE_SELECT, select);
            self.common.store(common::DRIVER_FEATURE, word);
        }
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.common.store(common::QUEUE_SELECT, queue);
        self.common.load::<u16>(common::QUEUE_SIZE).into()
    }

    fn notify(&mut self, queue: u16) {
        if let Some(offset) = self.notify_offset {
            self.notify.store(offset, queue);
        }
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.common.load::<u8>(common::DEVICE_STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common
            .store(common::DEVICE_STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    /// Sets the queue up with its interrupt, and the interrupt of the configuration. Whether the
    /// device took all of it, [`Self::queue_used`] says.
    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.notify_offset = None;
        let configured = self.set_vector(common::CONFIG_VECTOR, self.vectors.configuration);
        self.common.store(common::QUEUE_SELECT, queue);
        self.common.store(common::QUEUE_SIZE, size as u16);
        let interrupts = self.set_vector(common::QUEUE_VECTOR, self.vectors.queue);
        self.store_address(common::QUEUE_TABLE, descriptors);
        self.store_address(common::QUEUE_DRIVER, driver_area);
        self.store_address(common::QUEUE_DEVICE, device_area);
        let index = self.common.load::<u16>(common::QUEUE_NOTIFY_OFFSET);
        let offset = u64::from(index) * u64::from(self.notify_multiplier);
        let offset = usize::try_from(offset).ok().filter(|offset| {
            offset.is_multiple_of(2)
                && offset
                    .checked_add(2)
                    .is_some_and(|end| end <= self.notify.len())
        });
        if configured && interrupts && offset.is_some() {
            self.common.store(common::QUEUE_ENABLE, 1_u16);
            self.notify_offset = offset;
        }
    }

    fn queue_unset(&mut self, _: u16) {
        // Only a reset takes a queue away from a device.
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.common.store(common::QUEUE_SELECT, queue);
        self.notify_offset.is_some() && self.common.load::<u16>(common::QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // With MSI-X there is nothing to acknowledge.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.common.load::<u8>(common::CONFIG_GENERATION).into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let field = self
            .device
            .part(offset, size_of::<T>())
            .ok_or(Error::ConfigSpaceTooSmall)?;
        let mut value = T::new_zeroed();
        // 4.1.3.1: a field is read by accesses of its own width, or by halves of 32 bits.
        match value.as_mut_bytes() {
            [byte] => *byte = field.load(0),
            bytes @ [_, _] => bytes.copy_from_slice(&field.load::<u16>(0).to_ne_bytes()),
            bytes if bytes.len().is_multiple_of(4) => {
                for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
                    word.copy_from_slice(&field.load::<u32>(4 * index).to_ne_bytes());
                }
            }
            _ => return Err(Error::InvalidParam),
        }
        Ok(value)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> Result<(), Error> {
        // A block device has nothing there that this driver would write.
        Err(Error::Unsupported)
    }
}
