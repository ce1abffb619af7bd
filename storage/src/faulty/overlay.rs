//! What a disk that lies holds, where that differs from the truth.
//!
//! The disk below gets every write as it was meant and stays pristine, so that the truth can always be
//! compared; what faults made of it lies over it. Reads see the overlay. Whoever simulates keeps the
//! overlay with the disk: it is what a medium remembers, and outlives the stack above.

use core::cell::RefCell;

use hashbrown::HashMap;

use super::outcome::{Outcome, Sector};
use crate::{Error, Result, block::SECTOR_BYTES};

/// Most sectors of an overlay.
pub const OVERLAY_SECTORS_MAX: usize = 1 << 16;

/// Sectors whose content is not what was last written to them.
#[derive(Default)]
pub struct Overlay {
    sectors: RefCell<HashMap<u64, Sector>>,
}

impl Overlay {
    /// How many sectors are not what they should be.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sectors.borrow().len()
    }

    /// Whether the disk holds the truth.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lays over what was read from `sector` what the disk holds instead.
    pub fn apply(&self, sector: u64, data: &mut [u8]) {
        let sectors = self.sectors.borrow();
        if sectors.is_empty() {
            return;
        }
        for (at, bytes) in (sector..).zip(data.chunks_exact_mut(SECTOR_BYTES)) {
            if let Some(lie) = sectors.get(&at) {
                bytes.copy_from_slice(&lie[..]);
            }
        }
    }

    /// Sectors were written as they should be.
    pub fn clear(&self, sector: u64, count: u64) {
        let mut sectors = self.sectors.borrow_mut();
        if sectors.is_empty() {
            return;
        }
        if count > sectors.len() as u64 {
            sectors.retain(|&at, _| at < sector || at - sector >= count);
        } else {
            (sector..sector + count).for_each(|at| drop(sectors.remove(&at)));
        }
    }

    /// A write of `data` to `sector` had this outcome; `old` is what the disk held there until then.
    /// [`Error::NoMemory`], and nothing, past [`OVERLAY_SECTORS_MAX`].
    pub fn put(&self, sector: u64, data: &[u8], old: &[u8], outcome: Outcome) -> Result<()> {
        let mut sectors = self.sectors.borrow_mut();
        let changed = outcome.len() + data.len() / SECTOR_BYTES;
        if sectors.len() + changed > OVERLAY_SECTORS_MAX {
            return Err(Error::NoMemory);
        }
        let parts = data
            .chunks_exact(SECTOR_BYTES)
            .zip(old.chunks_exact(SECTOR_BYTES));
        for (at, (truth, old)) in (sector..).zip(parts) {
            let holds = outcome.sector(at).map_or(old, |bytes| &bytes[..]);
            if holds == truth {
                sectors.remove(&at);
            } else {
                let mut lie = Sector::new([0; SECTOR_BYTES]);
                lie.copy_from_slice(holds);
                sectors.insert(at, lie);
            }
        }
        let end = sector + (data.len() / SECTOR_BYTES) as u64;
        let elsewhere = outcome.into_sectors().into_iter();
        sectors.extend(elsewhere.filter(|(at, _)| !(sector..end).contains(at)));
        Ok(())
    }
}
