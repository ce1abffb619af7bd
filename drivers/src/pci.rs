//! The PCI function that the task drives: its capabilities, register windows and interrupts.
//!
//! The kernel owns base addresses and bus mastery. So windows are mapped by their number, and
//! `virtio_drivers`' transport, which measures base address registers by writing to them, cannot be
//! used; its walk over the capabilities can.

use abi::MsiTarget;
use alloc::vec::Vec;
use runtime::device;
use virtio_drivers::transport::pci::bus::{
    CapabilityInfo, ConfigurationAccess, DeviceFunction, PciRoot,
};

use crate::{
    SetupError,
    volatile::{Volatile, pointer},
};

/// Capabilities in 192 bytes of at least four each: a longer list is a loop.
const CAPABILITIES_MAX: usize = 48;

/// The kernel knows which function is meant; whoever asks by this address means the task's.
const OWN: DeviceFunction = DeviceFunction {
    bus: 0,
    device: 0,
    function: 0,
};

/// Configuration space of the task's function.
struct Configuration;

impl ConfigurationAccess for Configuration {
    fn read_word(&self, _: DeviceFunction, register_offset: u8) -> u32 {
        // What does not answer reads as ones on PCI.
        device::configuration_read(register_offset.into(), 4).unwrap_or(u32::MAX)
    }

    fn write_word(&mut self, _: DeviceFunction, register_offset: u8, data: u32) {
        if let Err(error) = device::configuration_write(register_offset.into(), 4, data) {
            log::error!("PCI configuration {register_offset:#04x}: {error}");
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// The task's function.
pub struct Function {
    root: PciRoot<Configuration>,
    windows: Vec<(u8, Volatile)>,
}

impl Default for Function {
    fn default() -> Self {
        Self {
            root: PciRoot::new(Configuration),
            windows: Vec::new(),
        }
    }
}

impl Function {
    /// PCI vendor and device.
    #[must_use]
    pub fn identity(&self) -> (u16, u16) {
        let word = self.read(0);
        (word as u16, (word >> 16) as u16)
    }

    /// A word of the configuration space.
    #[must_use]
    pub fn read(&self, offset: u8) -> u32 {
        Configuration.read_word(OWN, offset & !3)
    }

    /// The capabilities, in the order of the device.
    #[must_use]
    pub fn capabilities(&self) -> Vec<CapabilityInfo> {
        self.root.capabilities(OWN).take(CAPABILITIES_MAX).collect()
    }

    /// A part of a register window, which is mapped when it is first asked for.
    pub fn registers(
        &mut self,
        name: &'static str,
        bar: u8,
        offset: u32,
        len: u32,
    ) -> Result<Volatile, SetupError> {
        let index = match self.windows.iter().position(|(number, _)| *number == bar) {
            Some(index) => index,
            None => {
                let refused = |error| SetupError::Refused("register window", error);
                let (address, len) = device::map_bar(bar.into()).map_err(refused)?;
                let start = pointer(address).ok_or(SetupError::NoStructure(name))?;
                // SAFETY: the kernel has just mapped the window there for this task and never
                // unmaps it; nothing of the task's own is there.
                self.windows
                    .push((bar, unsafe { Volatile::new(start, len as usize) }));
                self.windows.len() - 1
            }
        };
        let part = self.windows[index].1.part(offset as usize, len as usize);
        part.filter(|_| offset.is_multiple_of(4))
            .ok_or(SetupError::NoStructure(name))
    }
}

/// Message-signalled interrupts (PCI Local Bus 3.0, 6.8.2).
///
/// ```text
///   capability   +0 id 0x11, next   +2 control: size - 1, masked, enabled   +4 table: offset, BAR
///   table entry  +0 address low   +4 address high   +8 data   +12 bit 0: masked
/// ```
pub struct Msix {
    capability: u8,
    entries: u16,
    table: Volatile,
}

const MSIX: u8 = 0x11;
const ENTRY_BYTES: usize = 16;
const CONTROL_MASKED: u32 = 1 << 14;
const CONTROL_ENABLED: u32 = 1 << 15;

impl Msix {
    /// Finds the table, and silences all entries: an earlier instance may have left them on.
    pub fn new(function: &mut Function) -> Result<Self, SetupError> {
        let capabilities = function.capabilities();
        let found = capabilities.iter().find(|capability| capability.id == MSIX);
        let capability = found.ok_or(SetupError::NoMsix)?;
        let entries = (capability.private_header & 0x7ff) + 1;
        let place = function.read(capability.offset + 4);
        let len = u32::from(entries) * ENTRY_BYTES as u32;
        let table = function.registers("MSI-X table", (place & 7) as u8, place & !7, len)?;
        let msix = Self {
            capability: capability.offset,
            entries,
            table,
        };
        msix.control(CONTROL_ENABLED | CONTROL_MASKED)?;
        for entry in 0..usize::from(entries) {
            msix.table.store(entry * ENTRY_BYTES + 12, 1_u32);
        }
        Ok(msix)
    }

    /// How many interrupts the device can tell apart.
    #[must_use]
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Directs an entry at an interrupt of the task.
    pub fn direct(&self, entry: u16, target: &MsiTarget) {
        assert!(entry < self.entries, "no such entry");
        let at = usize::from(entry) * ENTRY_BYTES;
        self.table.store(at, target.address as u32);
        self.table.store(at + 4, (target.address >> 32) as u32);
        self.table.store(at + 8, target.data);
        self.table.store(at + 12, 0_u32);
    }

    /// Lets the entries that were directed interrupt.
    pub fn enable(&self) -> Result<(), SetupError> {
        self.control(CONTROL_ENABLED)
    }

    fn control(&self, bits: u32) -> Result<(), SetupError> {
        let refused = |error| SetupError::Refused("MSI-X control", error);
        device::configuration_write(u64::from(self.capability) + 2, 2, bits).map_err(refused)
    }
}
