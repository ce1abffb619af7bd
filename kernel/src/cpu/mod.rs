//! The processor: descriptor tables, entries and exits, interrupt controllers, time, ports.

pub mod apic;
pub mod clock;
pub mod entry;
pub mod ioapic;
pub mod power;
pub mod serial;
mod tables;

pub use tables::{PerCpu, initialise, set_frame, stack_guards};

/// Physical pages of the interrupt controllers' registers, in the order in which the kernel maps
/// them: the local APIC's and the I/O APIC's, where the PC architecture has them.
pub const REGISTER_PAGES: [u64; 2] = [0xfee0_0000, 0xfec0_0000];
