//! Drivers: what touches hardware. What can be tested without is in packages of its own
//! (`virtio`), behind small traits; here are the traits over the kernel's system calls.
//!
//! ```text
//!      volatile    loads and stores into registers and DMA memory: the only unsafe code
//!      dma         DMA memory and pins: `virtio::Platform`
//!      pci         the task's function: capabilities, register windows, MSI-X
//!      transport   virtio's registers over PCI: `virtio_drivers`' `Transport`
//!      block       the virtio-blk task: sets up, looks after interrupts and time
//! ```
#![no_std]

extern crate alloc;

pub mod block;
pub mod dma;
pub mod pci;
pub mod transport;
pub mod volatile;

/// Why a driver cannot begin. Reported once; then the task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// The stack description gave the task another device.
    WrongDevice {
        /// PCI vendor.
        vendor: u16,
        /// PCI device.
        device: u16,
    },
    /// A virtio structure is missing among the capabilities, or outside its register window.
    NoStructure(&'static str),
    /// The device has no message-signalled interrupts.
    NoMsix,
    /// The kernel refused.
    Refused(&'static str, abi::Error),
}

impl core::fmt::Display for SetupError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::WrongDevice { vendor, device } => {
                write!(
                    f,
                    "PCI device {vendor:04x}:{device:04x} is not of this driver's kind"
                )
            }
            Self::NoStructure(name) => {
                write!(
                    f,
                    "the device has no usable {name}; it may be older than virtio 1.0"
                )
            }
            Self::NoMsix => {
                f.write_str("the device has no MSI-X interrupts; use vectors=2 or more")
            }
            Self::Refused(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl core::error::Error for SetupError {}
