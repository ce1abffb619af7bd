//! Devices: PCI functions, found once at boot. The kernel keeps what would let one driver reach
//! beyond its device: base addresses and bus mastery.

pub mod firmware;
mod pci;

use alloc::vec::Vec;

use abi::{DeviceInfo, Error};
use kernel_core::PAGE;

use pci::{Address, COMMAND_BUS_MASTER, COMMAND_MEMORY};

/// Functions that are looked at.
const DEVICES_MAX: usize = 64;
/// Largest register window that is mapped.
const BAR_BYTES_MAX: u64 = 64 << 20;

/// A window of a device's registers.
#[derive(Clone, Copy)]
pub struct Bar {
    /// Physical address.
    pub address: u64,
    /// Length in bytes.
    pub len: u64,
}

struct Device {
    info: DeviceInfo,
    address: Address,
    bars: [Option<Bar>; 6],
}

/// All PCI functions.
pub struct Devices {
    devices: Vec<Device>,
}

impl Devices {
    /// Looks at every function behind the host bridge.
    pub fn enumerate() -> Self {
        let mut devices = Vec::new();
        pci::visit_bus(0, 0, &mut |address| {
            if devices.len() < DEVICES_MAX {
                let info = address.info();
                let is_bridge = address.is_bridge();
                let bars = if is_bridge { [None; 6] } else { address.bars() };
                devices.push(Device {
                    info,
                    address,
                    bars,
                });
            }
        });
        Self { devices }
    }

    /// What there is.
    pub fn infos(&self) -> impl Iterator<Item = DeviceInfo> + '_ {
        self.devices.iter().map(|device| device.info)
    }

    /// The device at a PCI address.
    pub fn find(&self, address: u32) -> Option<usize> {
        self.devices
            .iter()
            .position(|device| device.info.address == address)
    }

    /// A memory window of a device.
    pub fn bar(&self, device: usize, bar: u64) -> Result<Bar, Error> {
        self.devices[device]
            .bars
            .get(bar as usize)
            .copied()
            .flatten()
            .filter(|bar| bar.len <= BAR_BYTES_MAX)
            .filter(|bar| bar.address.is_multiple_of(PAGE) && bar.len.is_multiple_of(PAGE))
            .ok_or(Error::NotFound)
    }

    /// Lets the device reach memory by itself, or not.
    pub fn set_bus_mastery(&self, device: usize, allowed: bool) {
        let address = self.devices[device].address;
        let command = address.command() & !COMMAND_BUS_MASTER;
        address.set_command(command | if allowed { COMMAND_BUS_MASTER } else { 0 });
    }

    /// Lets the device's registers be reached.
    pub fn enable_memory(&self, device: usize) {
        let address = self.devices[device].address;
        address.set_command(address.command() | COMMAND_MEMORY);
    }

    /// Reads configuration space.
    pub fn read(&self, device: usize, offset: u64, width: u64) -> Result<u64, Error> {
        let offset = checked(offset, width)?;
        let word = self.devices[device].address.read(offset & !3);
        let mask = u32::MAX >> (32 - 8 * width);
        Ok(u64::from(word >> (8 * (offset & 3)) & mask))
    }

    /// Writes configuration space behind the header, where capabilities are. In the header, which
    /// is the kernel's, only the command register is accepted, and of it only the interrupt bit.
    pub fn write(&self, device: usize, offset: u64, width: u64, value: u64) -> Result<(), Error> {
        const HEADER_BYTES: u8 = 0x40;
        let offset = checked(offset, width)?;
        let address = self.devices[device].address;
        if offset < HEADER_BYTES {
            if offset != 4 {
                return Err(Error::BadArgument);
            }
            let kept = address.command() & !pci::COMMAND_INTERRUPT_DISABLE;
            address.set_command(kept | value as u16 & pci::COMMAND_INTERRUPT_DISABLE);
            return Ok(());
        }
        let shift = 8 * (offset & 3);
        let mask = (u32::MAX >> (32 - 8 * width)) << shift;
        let word = address.read(offset & !3);
        address.write(offset & !3, word & !mask | (value as u32) << shift & mask);
        Ok(())
    }
}

fn checked(offset: u64, width: u64) -> Result<u8, Error> {
    let fits = matches!(width, 1 | 2 | 4) && offset.is_multiple_of(width) && offset < 256;
    if fits {
        Ok(offset as u8)
    } else {
        Err(Error::BadArgument)
    }
}
