//! What a driver task is told of its device.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A PCI function, as found at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DeviceInfo {
    /// Bus (bits 15 to 8), device (7 to 3) and function (2 to 0).
    pub address: u32,
    /// PCI vendor.
    pub vendor: u16,
    /// PCI device.
    pub device: u16,
    /// Class (bits 23 to 16), subclass (15 to 8), programming interface (7 to 0).
    pub class: u32,
    /// Subsystem device, by which QEMU's machines tell transitional devices apart.
    pub subsystem: u32,
}

/// A piece of pinned memory as the device sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct DmaAddress {
    /// Bus address.
    pub address: u64,
    /// Length in bytes.
    pub len: u64,
}

/// What to program into an MSI-X table entry so that it raises one of the task's interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MsiTarget {
    /// Message address.
    pub address: u64,
    /// Message data.
    pub data: u32,
    /// The `id` its events will carry.
    pub interrupt: u32,
}
