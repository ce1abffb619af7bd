//! A disk in memory: sparse, counted, with a history from which any crash can be replayed.
//!
//! It is the fixture of the storage tests and a volatile disk for hosts. Contents are pages of
//! 4 KiB shared between copies, so that a snapshot costs one table and a 16 TiB disk nothing.
//!
//! A real disk has a volatile cache: of what was written after the last flush, any part may be on
//! the medium after a power failure. Once [`RamDisk::record`] was called, the disk remembers what
//! it held then and every write and flush since; [`History::crash`] makes the disk that a power
//! failure at any point would have left, with the unflushed sectors of the caller's choice.
//!
//! ```text
//!   contents at record()   write write FLUSH write write write
//!   ─────────────────────  ─────────────────┬───────────┬─────
//!                          all there        │ any subset│ crash
//! ```

use alloc::{boxed::Box, rc::Rc, vec, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    pin::Pin,
    task::{Context, Poll},
};

use hashbrown::HashMap;

use super::{BlockDevice, Geometry, SECTOR_BYTES};
use crate::{
    Error, Result,
    buffer::{Sink, Source},
};

const PAGE_BYTES: usize = 4096;
const SECTORS_PER_PAGE: u64 = (PAGE_BYTES / SECTOR_BYTES) as u64;

type Page = [u8; PAGE_BYTES];

/// What was asked of a disk, for counters, histories and faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A read of `sectors` from `sector`.
    Read {
        /// First sector.
        sector: u64,
        /// How many.
        sectors: u64,
    },
    /// A write (or write-zeroes) of `sectors` to `sector`.
    Write {
        /// First sector.
        sector: u64,
        /// How many.
        sectors: u64,
    },
    /// A flush.
    Flush,
}

/// What a disk has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Read requests.
    pub reads: u64,
    /// Write requests, write-zeroes among them.
    pub writes: u64,
    /// Flush requests.
    pub flushes: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Most requests that were in flight at once; above one only with a delay.
    pub in_flight_max: u64,
}

/// Sparse contents; cloning shares the pages.
#[derive(Clone, Default)]
struct Medium {
    pages: HashMap<u64, Rc<Page>>,
}

impl Medium {
    fn read(&self, sector: u64, into: &mut [u8]) {
        for (at, chunk) in (sector..).zip(into.chunks_mut(SECTOR_BYTES)) {
            let from = (at % SECTORS_PER_PAGE) as usize * SECTOR_BYTES;
            match self.pages.get(&(at / SECTORS_PER_PAGE)) {
                Some(page) => chunk.copy_from_slice(&page[from..from + chunk.len()]),
                None => chunk.fill(0),
            }
        }
    }

    fn write(&mut self, sector: u64, data: &[u8]) {
        for (at, chunk) in (sector..).zip(data.chunks(SECTOR_BYTES)) {
            let page = self
                .pages
                .entry(at / SECTORS_PER_PAGE)
                .or_insert_with(|| Rc::new([0; PAGE_BYTES]));
            let to = (at % SECTORS_PER_PAGE) as usize * SECTOR_BYTES;
            Rc::make_mut(page)[to..to + chunk.len()].copy_from_slice(chunk);
        }
    }
}

/// A write or a flush of a [`History`].
#[derive(Clone)]
pub enum Event {
    /// `data` was written to `sector`.
    Write {
        /// First sector.
        sector: u64,
        /// Whole sectors.
        data: Rc<[u8]>,
    },
    /// What had been written when it was asked for is on the medium.
    Flush {
        /// Events, from the first of the history on, that had ended by then.
        covers: usize,
    },
}

/// What a disk held when it was told to record, and everything that changed it since.
#[derive(Clone)]
pub struct History {
    geometry: Geometry,
    base: Medium,
    events: Vec<Event>,
}

impl History {
    /// The writes and flushes, in the order in which the disk took them.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many events, from the first on, are on the medium for certain when the disk had taken the first `taken`:
    /// those that a flush among these covers.
    #[must_use]
    pub fn flushed(&self, taken: usize) -> usize {
        let covers = |event: &Event| match event {
            Event::Flush { covers } => *covers,
            Event::Write { .. } => 0,
        };
        let taken = &self.events[..taken.min(self.events.len())];
        taken.iter().map(covers).max().unwrap_or(0)
    }

    /// The same as if the disk had promised this flush, counted from 0, and done nothing. Returns whether there
    /// is one.
    pub fn lose_flush(&mut self, flush: usize) -> bool {
        let flushes = self.events.iter_mut().filter_map(|event| match event {
            Event::Flush { covers } => Some(covers),
            Event::Write { .. } => None,
        });
        let lost = { flushes }.nth(flush).map(|covers| *covers = 0);
        lost.is_some()
    }

    /// The writes among the first `taken` events that no flush among these covers.
    pub fn unflushed(&self, taken: usize) -> impl Iterator<Item = usize> + '_ {
        let is_write = |&event: &usize| matches!(self.events[event], Event::Write { .. });
        (self.flushed(taken)..taken.min(self.events.len())).filter(is_write)
    }

    /// The disk after a power failure when it had taken the first `taken` events. What a flush among them
    /// covers is there. Of the rest, a sector is there if `survives(event, sector)` says so, whatever the
    /// order in which they were written.
    #[must_use]
    pub fn crash(&self, taken: usize, mut survives: impl FnMut(usize, u64) -> bool) -> RamDisk {
        let events = &self.events[..taken.min(self.events.len())];
        let durable = self.flushed(taken);
        let mut medium = self.base.clone();
        for (index, event) in events.iter().enumerate() {
            let Event::Write { sector, data } = event else {
                continue;
            };
            if index < durable {
                medium.write(*sector, data);
                continue;
            }
            for (at, bytes) in (*sector..).zip(data.chunks(SECTOR_BYTES)) {
                if survives(index, at) {
                    medium.write(at, bytes);
                }
            }
        }
        let disk = RamDisk::with_geometry(self.geometry);
        disk.medium.replace(medium);
        disk
    }
}

type Fault = Box<dyn FnMut(Operation) -> Result<()>>;

/// A disk in memory. See the module's description.
pub struct RamDisk {
    geometry: Geometry,
    medium: RefCell<Medium>,
    history: RefCell<Option<History>>,
    fault: RefCell<Option<Fault>>,
    counters: Cell<Counters>,
    in_flight: Cell<u64>,
    delay_polls: Cell<u32>,
}

impl RamDisk {
    /// A disk of zeros with `sectors` sectors of [`SECTOR_BYTES`] and everything a disk can do.
    #[must_use]
    pub fn new(sectors: u64) -> Self {
        Self::with_geometry(Geometry {
            sectors,
            alignment_sectors: 1,
            transfer_bytes_max: 1 << 20,
            read_only: false,
            flush: true,
            discard: true,
            write_zeroes: true,
        })
    }

    /// A disk of zeros with this geometry.
    #[must_use]
    pub fn with_geometry(geometry: Geometry) -> Self {
        Self {
            geometry,
            medium: RefCell::default(),
            history: RefCell::default(),
            fault: RefCell::default(),
            counters: Cell::default(),
            in_flight: Cell::default(),
            delay_polls: Cell::new(0),
        }
    }

    /// Another disk with the same contents. Counters, history, faults and delay start afresh.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let disk = Self::with_geometry(self.geometry);
        disk.medium.replace(self.medium.borrow().clone());
        disk
    }

    /// Makes every request wait to be polled so many times, so that requests overlap.
    pub fn delay(&self, polls: u32) {
        self.delay_polls.set(polls);
    }

    /// Asks `fault` before every request; what it answers other than `Ok` is the request's result,
    /// and the request does nothing.
    pub fn fault(&self, fault: impl FnMut(Operation) -> Result<()> + 'static) {
        self.fault.replace(Some(Box::new(fault)));
    }

    /// Ends what [`RamDisk::fault`] began.
    pub fn heal(&self) {
        self.fault.replace(None);
    }

    /// What the disk has done.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Begins a history: everything the disk holds now is on the medium.
    pub fn record(&self) {
        self.history.replace(Some(History {
            geometry: self.geometry,
            base: self.medium.borrow().clone(),
            events: Vec::new(),
        }));
    }

    /// The history since [`RamDisk::record`], which goes on; none if there is none.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        self.history.borrow().clone()
    }

    /// How many sectors it has.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.geometry.sectors
    }

    /// Whole sectors as they are, uncounted.
    #[must_use]
    pub fn peek(&self, sector: u64, bytes: usize) -> Vec<u8> {
        let mut into = vec![0; bytes];
        self.medium.borrow().read(sector, &mut into);
        into
    }

    /// Changes whole sectors behind everyone's back: not counted, not in the history.
    pub fn poke(&self, sector: u64, data: &[u8]) {
        self.medium.borrow_mut().write(sector, data);
    }

    /// Pages of 4 KiB that were ever written: the memory that the contents take.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.medium.borrow().pages.len()
    }

    fn check(&self, sector: u64, bytes: usize) -> Result<()> {
        let unit = SECTOR_BYTES * self.geometry.alignment_sectors as usize;
        let sectors = (bytes / SECTOR_BYTES) as u64;
        let fits = sector
            .checked_add(sectors)
            .is_some_and(|end| end <= self.geometry.sectors);
        let aligned = sector.is_multiple_of(self.geometry.alignment_sectors.into())
            && bytes.is_multiple_of(unit);
        if bytes == 0 || !aligned || !fits || bytes > self.geometry.transfer_bytes_max as usize {
            return Err(Error::BadArgument);
        }
        Ok(())
    }

    /// Waits as long as was asked for, counts the request and asks for a fault.
    async fn begin(&self, operation: Operation) -> Result<()> {
        let _flying = Flying::new(self);
        Delay(self.delay_polls.get()).await;
        let mut counters = self.counters.get();
        match operation {
            Operation::Read { sectors, .. } => {
                counters.reads += 1;
                counters.bytes_read += sectors * SECTOR_BYTES as u64;
            }
            Operation::Write { sectors, .. } => {
                counters.writes += 1;
                counters.bytes_written += sectors * SECTOR_BYTES as u64;
            }
            Operation::Flush => counters.flushes += 1,
        }
        self.counters.set(counters);
        match self.fault.borrow_mut().as_mut() {
            Some(fault) => fault(operation),
            None => Ok(()),
        }
    }

    async fn put(&self, sector: u64, data: Rc<[u8]>) -> Result<()> {
        if self.geometry.read_only {
            return Err(Error::ReadOnly);
        }
        let sectors = (data.len() / SECTOR_BYTES) as u64;
        self.begin(Operation::Write { sector, sectors }).await?;
        self.medium.borrow_mut().write(sector, &data);
        self.remember(Event::Write { sector, data });
        Ok(())
    }

    fn remember(&self, event: Event) {
        if let Some(history) = self.history.borrow_mut().as_mut() {
            history.events.push(event);
        }
    }
}

impl BlockDevice for RamDisk {
    async fn attach(&self) -> Result<Geometry> {
        Ok(self.geometry)
    }

    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        self.check(sector, data.len())?;
        let sectors = (data.len() / SECTOR_BYTES) as u64;
        self.begin(Operation::Read { sector, sectors }).await?;
        let bytes = self.peek(sector, data.len());
        data.copy_from(0, &bytes)
    }

    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        self.check(sector, data.len())?;
        self.put(sector, data.to_vec()?.into()).await
    }

    async fn flush(&self) -> Result<()> {
        let taken = |history: &Option<History>| history.as_ref().map_or(0, |it| it.events.len());
        let covers = taken(&self.history.borrow());
        self.begin(Operation::Flush).await?;
        self.remember(Event::Flush { covers });
        Ok(())
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.zero(sector, sectors, self.geometry.discard).await
    }

    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        self.zero(sector, sectors, self.geometry.write_zeroes).await
    }
}

impl RamDisk {
    async fn zero(&self, sector: u64, sectors: u64, offered: bool) -> Result<()> {
        let alignment = u64::from(self.geometry.alignment_sectors);
        let aligned = sector.is_multiple_of(alignment) && sectors.is_multiple_of(alignment);
        let fits = sectors > 0
            && sector
                .checked_add(sectors)
                .is_some_and(|end| end <= self.geometry.sectors);
        if self.geometry.read_only && fits && aligned {
            return Err(Error::ReadOnly);
        }
        if !fits || !aligned || !offered {
            return Err(Error::BadArgument);
        }
        let step = u64::from(self.geometry.transfer_bytes_max) / SECTOR_BYTES as u64;
        let (mut at, end) = (sector, sector + sectors);
        while at < end {
            let count = step.max(1).min(end - at);
            self.put(at, vec![0; count as usize * SECTOR_BYTES].into())
                .await?;
            at += count;
        }
        Ok(())
    }
}

/// Counts a request as in flight for as long as it lives.
struct Flying<'a>(&'a RamDisk);

impl<'a> Flying<'a> {
    fn new(disk: &'a RamDisk) -> Self {
        disk.in_flight.set(disk.in_flight.get() + 1);
        let mut counters = disk.counters.get();
        counters.in_flight_max = counters.in_flight_max.max(disk.in_flight.get());
        disk.counters.set(counters);
        Self(disk)
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
    }
}

/// Pending for so many polls.
struct Delay(u32);

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
