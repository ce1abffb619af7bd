//! PCI configuration space by the two ports that every PC has (PCI Local Bus 3.0, section 3.2.2.3.2).

use abi::DeviceInfo;

use super::Bar;
use crate::cpu::serial::{port_read_32, port_write_32};

const ADDRESS_PORT: u16 = 0xcf8;
const DATA_PORT: u16 = 0xcfc;

/// The device answers at its memory base addresses.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// The device may reach memory by itself.
pub const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// The device does not use its interrupt line.
pub const COMMAND_INTERRUPT_DISABLE: u16 = 1 << 10;

/// Bridges behind bridges that are followed.
const DEPTH_MAX: usize = 8;

/// A function's place: bus, device, function, as [`DeviceInfo::address`] packs them.
#[derive(Clone, Copy)]
pub struct Address(u32);

impl Address {
    /// The host bridge.
    pub const HOST_BRIDGE: Self = Self(0);

    pub fn read(self, offset: u8) -> u32 {
        port_write_32(
            ADDRESS_PORT,
            1 << 31 | self.0 << 8 | u32::from(offset & 0xfc),
        );
        port_read_32(DATA_PORT)
    }

    pub fn write(self, offset: u8, value: u32) {
        port_write_32(
            ADDRESS_PORT,
            1 << 31 | self.0 << 8 | u32::from(offset & 0xfc),
        );
        port_write_32(DATA_PORT, value);
    }

    pub fn command(self) -> u16 {
        self.read(0x04) as u16
    }

    /// Writes the command register; the status register beside it ignores zeros.
    pub fn set_command(self, command: u16) {
        self.write(0x04, u32::from(command));
    }

    fn exists(self) -> bool {
        self.read(0x00) as u16 != 0xffff
    }

    fn header(self) -> u8 {
        (self.read(0x0c) >> 16) as u8
    }

    pub fn is_bridge(self) -> bool {
        self.header() & 0x7f == 1
    }

    pub fn info(self) -> DeviceInfo {
        let identity = self.read(0x00);
        DeviceInfo {
            address: self.0,
            vendor: identity as u16,
            device: (identity >> 16) as u16,
            class: self.read(0x08) >> 8,
            subsystem: self.read(0x2c) >> 16,
        }
    }

    /// Finds out where the memory windows are and how long, which needs the device to be deaf for a
    /// moment.
    pub fn bars(self) -> [Option<Bar>; 6] {
        let command = self.command();
        self.set_command(command & !(COMMAND_MEMORY | 1 | COMMAND_BUS_MASTER));
        let mut bars = [None; 6];
        let mut index = 0;
        while index < 6 {
            let offset = 0x10 + 4 * index as u8;
            let low = self.read(offset);
            let is_memory = low & 1 == 0;
            let is_wide = is_memory && low & 0b110 == 0b100 && index < 5;
            let high = if is_wide { self.read(offset + 4) } else { 0 };
            let mask = u64::from(self.size_mask(offset, low));
            let mask = if is_wide {
                mask | u64::from(self.size_mask(offset + 4, high)) << 32
            } else {
                mask | 0xffff_ffff_0000_0000
            };
            let len = (!(mask & !0xf)).wrapping_add(1);
            let address = u64::from(low & !0xf) | u64::from(high) << 32;
            if is_memory && len != 0 && address != 0 && mask as u32 != 0 {
                bars[index] = Some(Bar { address, len });
            }
            index += if is_wide { 2 } else { 1 };
        }
        self.set_command(command & !COMMAND_BUS_MASTER);
        bars
    }

    /// What a base address register reads back when all ones are written to it.
    fn size_mask(self, offset: u8, original: u32) -> u32 {
        self.write(offset, u32::MAX);
        let mask = self.read(offset);
        self.write(offset, original);
        mask
    }
}

/// Visits every function on a bus, and on the buses behind it.
pub fn visit_bus(bus: u8, depth: usize, visit: &mut impl FnMut(Address)) {
    if depth >= DEPTH_MAX {
        return;
    }
    for device in 0..32 {
        for function in 0..8 {
            let address = Address(u32::from(bus) << 8 | device << 3 | function);
            if !address.exists() {
                if function == 0 {
                    break;
                }
                continue;
            }
            visit(address);
            if address.is_bridge() {
                let secondary = (address.read(0x18) >> 8) as u8;
                if secondary > bus {
                    visit_bus(secondary, depth + 1, visit);
                }
            }
            let is_single = function == 0 && address.header() & 0x80 == 0;
            if is_single {
                break;
            }
        }
    }
}
