//! A disk's volatile cache: what was written and not flushed is lost when the power is.
//!
//! ```text
//!   held:   w1  w2  w3 │ w4  w5      reads see all of them, the newest first
//!           ───────────┘
//!           a flush, or too many held: the oldest go to the disk below
//!
//!   cut:    of what is held, a seeded part is on the medium: sector by sector, in any order;
//!           of a sector written twice, either version or none
//! ```
//!
//! From a cut on, nothing is answered: a machine without power does not tell its clients that their
//! requests failed, and none may draw conclusions.

use alloc::{collections::VecDeque, rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::pending,
};

use async_lock::Mutex;

use super::{
    cut::{Settled, leave},
    random::Random,
};
use crate::{
    Error, Result,
    block::{BlockDevice, Geometry, SECTOR_BYTES},
    buffer::{Sink, Source},
};

/// A write that is held.
pub(super) struct Held {
    pub sector: u64,
    pub data: Rc<[u8]>,
}

impl Held {
    fn sectors(&self) -> u64 {
        (self.data.len() / SECTOR_BYTES) as u64
    }

    fn overlaps(&self, sector: u64, sectors: u64) -> bool {
        self.sector < sector.saturating_add(sectors) && sector < self.sector + self.sectors()
    }
}

/// A disk with a volatile cache before it. See the module's description.
pub struct WriteCache<D> {
    device: D,
    sectors_max: u64,
    geometry: Cell<Option<Geometry>>,
    held: RefCell<VecDeque<Held>>,
    held_sectors: Cell<u64>,
    /// Who writes held data to the disk: they go in the order in which they came.
    draining: Mutex<()>,
    is_cut: Cell<bool>,
}

impl<D: BlockDevice> WriteCache<D> {
    /// A cache of at most so many sectors; with zero there is none, and requests pass as they are.
    pub fn new(device: D, sectors_max: u64) -> Self {
        Self {
            device,
            sectors_max,
            geometry: Cell::new(None),
            held: RefCell::default(),
            held_sectors: Cell::new(0),
            draining: Mutex::new(()),
            is_cut: Cell::new(false),
        }
    }

    /// What is below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Sectors that a cut would lose now; one that was written twice counts twice.
    pub fn unflushed(&self) -> u64 {
        self.held_sectors.get()
    }

    /// The power fails: from now on no request is answered, and none reaches the disk but by
    /// [`WriteCache::settle`].
    pub fn cut(&self) {
        self.is_cut.set(true);
    }

    /// What is on the medium after the cut: a part of what was held, as follows from the seed; all of
    /// it, in order, without one. Returns what became of it.
    ///
    /// [`Error::BadArgument`] before a cut. Errors of the disk.
    pub async fn settle(&self, seed: Option<u64>) -> Result<Settled> {
        if !self.is_cut.get() {
            return Err(Error::BadArgument);
        }
        let held = core::mem::take(&mut *self.held.borrow_mut());
        self.held_sectors.set(0);
        let (left, settled) = leave(&held, seed.map(Random::new).as_mut());
        for (sector, bytes) in &left {
            self.put(*sector, bytes).await?;
        }
        self.device.flush().await?;
        Ok(settled)
    }

    /// Writes a sector of what survived. Where the disk's sectors are larger than ours, the rest of
    /// it keeps what is there.
    async fn put(&self, sector: u64, bytes: &[u8]) -> Result<()> {
        let unit = self
            .geometry
            .get()
            .map_or(1, |it| it.alignment_sectors.max(1));
        if unit == 1 {
            return self.device.write(sector, Source::local(bytes)).await;
        }
        let first = sector / u64::from(unit) * u64::from(unit);
        let mut whole = alloc::vec![0; unit as usize * SECTOR_BYTES];
        self.device.read(first, Sink::local(&mut whole)).await?;
        let at = (sector - first) as usize * SECTOR_BYTES;
        whole[at..at + SECTOR_BYTES].copy_from_slice(bytes);
        self.device.write(first, Source::local(&whole)).await
    }

    /// Waits for ever once the power is cut.
    async fn powered(&self) {
        if self.is_cut.get() {
            pending().await
        }
    }

    /// Writes what is held to the disk, the oldest first, until at most `sectors` are held or
    /// `writes` were written.
    async fn drain(&self, sectors: u64, mut writes: usize) -> Result<()> {
        let _turn = self.draining.lock().await;
        while self.held_sectors.get() > sectors && writes > 0 {
            self.powered().await;
            let (sector, data) = {
                let held = self.held.borrow();
                let Some(oldest) = held.front() else { break };
                (oldest.sector, oldest.data.clone())
            };
            // It stays to be read until it can be read below.
            self.device.write(sector, Source::local(&data)).await?;
            self.powered().await;
            if let Some(oldest) = self.held.borrow_mut().pop_front() {
                let left = self.held_sectors.get() - oldest.sectors();
                self.held_sectors.set(left);
            }
            writes -= 1;
        }
        Ok(())
    }

    fn check(&self, sector: u64, bytes: usize) -> Result<()> {
        let geometry = self.geometry.get().ok_or(Error::Device)?;
        let unit = u64::from(geometry.alignment_sectors.max(1));
        let sectors = (bytes / SECTOR_BYTES) as u64;
        let fits = bytes > 0
            && bytes <= geometry.transfer_bytes_max as usize
            && bytes.is_multiple_of(SECTOR_BYTES)
            && sectors.is_multiple_of(unit)
            && sector.is_multiple_of(unit)
            && sector
                .checked_add(sectors)
                .is_some_and(|end| end <= geometry.sectors);
        if geometry.read_only {
            return Err(Error::ReadOnly);
        }
        if fits {
            Ok(())
        } else {
            Err(Error::BadArgument)
        }
    }

    /// Gets all that is held out of the way of what does not go through the cache.
    async fn drain_all(&self) -> Result<()> {
        let writes = self.held.borrow().len();
        self.drain(0, writes).await
    }
}

impl<D: BlockDevice> BlockDevice for WriteCache<D> {
    async fn attach(&self) -> Result<Geometry> {
        self.powered().await;
        let geometry = self.device.attach().await?;
        self.geometry.set(Some(geometry));
        Ok(geometry)
    }

    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        self.powered().await;
        let len = data.len();
        let sectors = (len / SECTOR_BYTES) as u64;
        // What is held now is newer than what the disk is about to give.
        let newer: Vec<(u64, Rc<[u8]>)> = {
            let held = self.held.borrow();
            let overlapping = held.iter().filter(|write| write.overlaps(sector, sectors));
            overlapping
                .map(|write| (write.sector, write.data.clone()))
                .collect()
        };
        self.device.read(sector, data.reborrow()).await?;
        self.powered().await;
        for (first, bytes) in newer {
            let end = first + (bytes.len() / SECTOR_BYTES) as u64;
            let (start, end) = (first.max(sector), end.min(sector + sectors));
            if start < end {
                let from = (start - first) as usize * SECTOR_BYTES;
                let part = &bytes[from..from + (end - start) as usize * SECTOR_BYTES];
                data.copy_from((start - sector) as usize * SECTOR_BYTES, part)?;
            }
        }
        Ok(())
    }

    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        self.powered().await;
        if self.sectors_max == 0 {
            self.device.write(sector, data).await?;
            self.powered().await;
            return Ok(());
        }
        self.check(sector, data.len())?;
        let data: Rc<[u8]> = data.to_vec()?.into();
        let write = Held { sector, data };
        self.held_sectors
            .set(self.held_sectors.get() + write.sectors());
        self.held.borrow_mut().push_back(write);
        let writes = self.held.borrow().len();
        self.drain(self.sectors_max, writes).await?;
        self.powered().await;
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        self.powered().await;
        self.drain_all().await?;
        self.device.flush().await?;
        self.powered().await;
        Ok(())
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.powered().await;
        self.drain_all().await?;
        self.device.discard(sector, sectors).await
    }

    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        self.powered().await;
        self.drain_all().await?;
        self.device.write_zeroes(sector, sectors).await
    }
}
