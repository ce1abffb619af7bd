//! The page tables of the processor (Intel SDM volume 3, section 4.5).

use kernel_core::frames::Frame;

bitflags::bitflags! {
    /// What an entry of a page table says besides where.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u64 {
        /// There is something.
        const PRESENT = 1;
        /// It may be written.
        const WRITABLE = 2;
        /// Tasks may touch it.
        const USER = 4;
        /// Not through the processor's caches: device registers.
        const UNCACHED = 0b1_1000;
        /// A page of 2 MiB.
        const LARGE = 1 << 7;
        /// The same in every address space.
        const GLOBAL = 1 << 8;
        /// The frame is not ours to count: device registers.
        const DEVICE = 1 << 9;
        /// A device knows the frame's address: it stays where it is, and is not lent.
        const DMA = 1 << 10;
        /// It may not be executed.
        const NO_EXECUTE = 1 << 63;
    }
}

const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// An entry of a page table.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Entry(u64);

impl Entry {
    /// An entry that refers to nothing.
    pub const NONE: Self = Self(0);

    /// An entry that refers to a frame.
    pub fn new(frame: Frame, flags: Flags) -> Self {
        Self((frame.address() & ADDRESS) | flags.bits())
    }

    /// What it refers to.
    pub fn frame(self) -> Frame {
        Frame::containing(self.0 & ADDRESS)
    }

    /// What it says.
    pub fn flags(self) -> Flags {
        Flags::from_bits_truncate(self.0)
    }
}

/// A page table of any level.
#[repr(C, align(4096))]
pub struct Table(pub [Entry; 512]);

/// Which entry of a table of `level` (0 is the lowest) an address is under.
pub fn index(address: u64, level: usize) -> usize {
    ((address >> (12 + 9 * level)) & 511) as usize
}
