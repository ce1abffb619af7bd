//! What the window must hold.

use alloc::{vec, vec::Vec};

use storage::block::SECTOR_BYTES;

/// The sectors of the window, as far as they are known.
#[derive(Default)]
pub struct Model {
    /// Nothing is known of a sector that was discarded or never written.
    sectors: Vec<Option<[u8; SECTOR_BYTES]>>,
}

impl Model {
    /// A window of which nothing is known.
    pub fn new(sectors: u64) -> Self {
        Self {
            sectors: vec![None; sectors as usize],
        }
    }

    /// Sectors of the window.
    pub fn sectors(&self) -> u64 {
        self.sectors.len() as u64
    }

    /// Whole sectors were written.
    pub fn write(&mut self, sector: u64, bytes: &[u8]) {
        let (sectors, rest) = bytes.as_chunks::<SECTOR_BYTES>();
        assert!(rest.is_empty(), "whole sectors");
        for (place, bytes) in self.sectors[sector as usize..].iter_mut().zip(sectors) {
            *place = Some(*bytes);
        }
    }

    /// Sectors were zeroed.
    pub fn zero(&mut self, sector: u64, count: u64) {
        self.sectors[sector as usize..(sector + count) as usize].fill(Some([0; SECTOR_BYTES]));
    }

    /// Sectors hold anything from now.
    pub fn forget(&mut self, sector: u64, count: u64) {
        self.sectors[sector as usize..(sector + count) as usize].fill(None);
    }

    /// What a sector holds, if it is known.
    pub fn sector(&self, sector: u64) -> Option<&[u8; SECTOR_BYTES]> {
        self.sectors[sector as usize].as_ref()
    }

    /// The first sector that is known to hold something else than was read.
    pub fn differs(&self, sector: u64, bytes: &[u8]) -> Option<u64> {
        let (sectors, rest) = bytes.as_chunks::<SECTOR_BYTES>();
        assert!(rest.is_empty(), "whole sectors");
        (sector..)
            .zip(sectors)
            .find(|&(at, found)| self.sector(at).is_some_and(|known| known != found))
            .map(|(at, _)| at)
    }
}
