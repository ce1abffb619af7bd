//! The registers of the simulated device, as a driver sees them.

use std::{cell::RefCell, rc::Rc};

use virtio_drivers::{
    Error, PhysAddr,
    transport::{DeviceStatus, DeviceType, InterruptStatus, Transport},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::device::Device;

/// The registers, as the driver sees them.
pub struct Registers(pub Rc<RefCell<Device>>);

impl Transport for Registers {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }
    fn read_device_features(&mut self) -> u64 {
        // Bits that no driver of ours knows, besides.
        self.0.borrow().features | 1 << 12 | 1 << 38
    }
    fn write_driver_features(&mut self, driver_features: u64) {
        let mut device = self.0.borrow_mut();
        assert_eq!(
            driver_features & !device.features,
            0,
            "a feature that was not offered"
        );
        device.accepted = driver_features;
    }
    fn max_queue_size(&mut self, queue: u16) -> u32 {
        if queue == 0 {
            self.0.borrow().queue_max
        } else {
            0
        }
    }
    fn notify(&mut self, queue: u16) {
        assert_eq!(queue, 0);
        let mut device = self.0.borrow_mut();
        assert!(device.status & 4 != 0, "a notification before DRIVER_OK");
        device.notified = true;
        device.notifications += 1;
    }
    fn get_status(&self) -> DeviceStatus {
        let mut device = self.0.borrow_mut();
        if device.looks_left > 0 && !device.hangs_in_reset {
            device.looks_left -= 1;
        }
        if device.looks_left > 0 {
            return DeviceStatus::DRIVER_OK;
        }
        DeviceStatus::from_bits_retain(device.status.into())
    }
    fn set_status(&mut self, status: DeviceStatus) {
        let mut device = self.0.borrow_mut();
        if status.is_empty() {
            device.status = 0;
            device.resets += 1;
            device.looks_left = device.reset_looks.max(u32::from(device.hangs_in_reset));
            device.queue = None;
            (device.available, device.used, device.notified) = (0, 0, false);
            device.waiting.clear();
            device.accepted = 0;
            return;
        }
        assert_eq!(
            device.looks_left, 0,
            "a status written while the reset is not finished"
        );
        let mut bits = status.bits() as u8;
        if device.refuses_features {
            bits &= !8;
        }
        device.status = bits;
    }
    fn set_guest_page_size(&mut self, _: u32) {}
    fn requires_legacy_layout(&self) -> bool {
        false
    }
    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        table: PhysAddr,
        avail: PhysAddr,
        used: PhysAddr,
    ) {
        let mut device = self.0.borrow_mut();
        assert!(queue == 0 && size.is_power_of_two() && size <= device.queue_max);
        assert!(device.status & 8 != 0, "a queue before FEATURES_OK");
        assert!(table.is_multiple_of(16) && avail.is_multiple_of(2) && used.is_multiple_of(4));
        if !device.refuses_queue {
            device.queue = Some([size.into(), table, avail, used]);
        }
    }
    fn queue_unset(&mut self, _: u16) {}
    fn queue_used(&mut self, _: u16) -> bool {
        self.0.borrow().queue.is_some()
    }
    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }
    fn read_config_generation(&self) -> u32 {
        0
    }
    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, Error> {
        let device = self.0.borrow();
        let sectors = device.disk.len() as u64 / 512;
        let word = match offset {
            0 => sectors as u32,
            4 => (sectors >> 32) as u32,
            8 => device.size_max,
            12 => device.seg_max,
            20 => device.block,
            36 | 48 => device.range_max,
            _ => panic!("configuration read at {offset}"),
        };
        T::read_from_bytes(&word.to_le_bytes()).map_err(|_| Error::InvalidParam)
    }
    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        _: usize,
        _: T,
    ) -> Result<(), Error> {
        Err(Error::Unsupported)
    }
}
