//! The filter of faulty disks, and the model of a disk's volatile cache.

mod kept;
mod persistence;
mod rules;
mod write_cache;

use std::{cell::RefCell, rc::Rc};

use futures_executor::block_on;
use storage::{
    Result,
    block::{BlockDevice, SECTOR_BYTES, ram::RamDisk},
    buffer::{Sink, Source},
    faulty::{Faulty, Overlay, Persistence, Timer},
};

/// A timer that notes what it was asked for.
#[derive(Clone, Default)]
pub(crate) struct Slept(Rc<RefCell<Vec<u32>>>);

impl Timer for Slept {
    async fn sleep_ms(&self, ms: u32) {
        self.0.borrow_mut().push(ms);
    }
}

pub(crate) type Disk = Rc<RamDisk>;

/// A filter over a disk of so many sectors, each holding its own number.
pub(crate) fn faulty(sectors: u64, persistence: Persistence) -> (Disk, Faulty<Disk, Slept>, Slept) {
    let disk = Rc::new(RamDisk::new(sectors));
    for sector in 0..sectors {
        disk.poke(sector, &numbered(sector, 0));
    }
    let slept = Slept::default();
    let filter = Faulty::new(disk.clone(), slept.clone(), persistence);
    block_on(filter.attach()).unwrap();
    (disk, filter, slept)
}

/// Both ways of keeping the outcome of a fault.
pub(crate) fn both() -> [Persistence; 2] {
    [
        Persistence::Written,
        Persistence::Overlay(Rc::new(Overlay::default())),
    ]
}

/// A sector's content: its number and a version, all over.
pub(crate) fn numbered(sector: u64, version: u64) -> Vec<u8> {
    let word = (sector << 16 | version).to_le_bytes();
    word.repeat(SECTOR_BYTES / word.len())
}

pub(crate) fn run_of(sector: u64, count: u64, version: u64) -> Vec<u8> {
    (sector..sector + count)
        .flat_map(|sector| numbered(sector, version))
        .collect()
}

pub(crate) fn write(device: &impl BlockDevice, sector: u64, data: &[u8]) -> Result<()> {
    block_on(device.write(sector, Source::local(data)))
}

pub(crate) fn read(device: &impl BlockDevice, sector: u64, count: u64) -> Result<Vec<u8>> {
    let mut data = vec![0; count as usize * SECTOR_BYTES];
    block_on(device.read(sector, Sink::local(&mut data)))?;
    Ok(data)
}
