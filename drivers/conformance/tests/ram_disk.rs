//! The suite over RAM disks: it passes on good ones, and finds each flaw of a bad one.

use std::cell::{Cell, RefCell};

use conformance::{Failure, Options};
use storage::{
    Error, Result,
    block::{BlockDevice, Geometry, SECTOR_BYTES, ram::RamDisk},
    buffer::{Sink, SinkSegment, Source},
};

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// A write beyond the end is cut instead of refused.
    CutsAtTheEnd,
    /// The sum of sector and length is computed modulo 2^64.
    RangeWraps,
    /// A request of no bytes succeeds.
    TakesNothing,
    /// A read that is refused has cleared the buffer before.
    ClearsBeforeRefusing,
    /// Lengths that are no multiple of the block are rounded down.
    RoundsDown,
    /// The tenth write is lost.
    LosesAWrite,
    /// The tenth write goes one block too far.
    Misdirects,
    /// Reads of more than one segment put the segments in the wrong order.
    SwapsSegments,
    /// The last sector of a request of 64 KiB or more is not written.
    DropsTheTail,
    /// Writes under way at the same time are mixed byte by byte.
    MixesOverlaps,
    /// Discard takes the block behind the range too.
    DiscardsTooMuch,
    /// Write-zeroes leaves the last sector.
    ZeroesTooLittle,
    /// Write-zeroes that is not offered succeeds and does nothing.
    PretendsToZero,
    /// A flush that finds nothing to do fails.
    FlushFails,
    /// The geometry differs from one attach to the next.
    ChangesGeometry,
    /// Writes to a read-only disk succeed.
    WritesReadOnly,
    /// Longer requests than the geometry allows are served.
    TakesLongRequests,
}

struct FlawedDisk {
    bytes: RefCell<Vec<u8>>,
    geometry: Geometry,
    flaw: Flaw,
    writes: Cell<u32>,
    attaches: Cell<u32>,
    writers: Cell<u32>,
}

impl FlawedDisk {
    fn new(sectors: u64, alignment_sectors: u32, flaw: Flaw) -> Self {
        let offered = flaw != Flaw::PretendsToZero;
        Self {
            bytes: RefCell::new(vec![0xa5; sectors as usize * SECTOR_BYTES]),
            geometry: Geometry {
                sectors,
                alignment_sectors,
                transfer_bytes_max: 128 * 1024,
                read_only: flaw == Flaw::WritesReadOnly,
                flush: true,
                discard: offered,
                write_zeroes: offered,
            },
            flaw,
            writes: Cell::new(0),
            attaches: Cell::new(0),
            writers: Cell::new(0),
        }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn range(&self, sector: u64, len: usize) -> Result<std::ops::Range<usize>> {
        let block = self.geometry.alignment_sectors as usize * SECTOR_BYTES;
        let mut len = if self.is(Flaw::RoundsDown) && len > block {
            len / block * block
        } else {
            len
        };
        let sectors = (len / SECTOR_BYTES) as u64;
        let end = if self.is(Flaw::RangeWraps) {
            sector.wrapping_add(sectors)
        } else {
            sector.checked_add(sectors).ok_or(Error::BadArgument)?
        };
        if self.is(Flaw::CutsAtTheEnd) && sector < self.geometry.sectors && len > 0 {
            len = len.min((self.geometry.sectors - sector) as usize * SECTOR_BYTES);
        } else if end > self.geometry.sectors {
            return Err(Error::BadArgument);
        }
        let too_long = len > self.geometry.transfer_bytes_max as usize;
        if !len.is_multiple_of(block)
            || !sector.is_multiple_of(self.geometry.alignment_sectors.into())
            || len == 0 && !self.is(Flaw::TakesNothing)
            || too_long && !self.is(Flaw::TakesLongRequests)
        {
            return Err(Error::BadArgument);
        }
        let start = sector as usize % self.geometry.sectors as usize * SECTOR_BYTES;
        Ok(start..(start + len).min(self.bytes.borrow().len()))
    }

    fn may_write(&self) -> Result<()> {
        if self.geometry.read_only && !self.is(Flaw::WritesReadOnly) {
            return Err(Error::ReadOnly);
        }
        Ok(())
    }

    /// Fills a range of any length; discard and write-zeroes have no bound on it.
    fn fill(&self, sector: u64, sectors: u64, byte: u8, offered: bool) -> Result<()> {
        let end = sector.checked_add(sectors).ok_or(Error::BadArgument)?;
        let alignment = u64::from(self.geometry.alignment_sectors);
        if sectors == 0
            || end > self.geometry.sectors
            || sector % alignment + sectors % alignment > 0
        {
            return Err(Error::BadArgument);
        }
        self.may_write()?;
        if self.is(Flaw::PretendsToZero) {
            return Ok(());
        }
        if !offered {
            return Err(Error::BadArgument);
        }
        let (mut start, mut end) = (sector as usize * SECTOR_BYTES, end as usize * SECTOR_BYTES);
        let mut bytes = self.bytes.borrow_mut();
        if self.is(Flaw::DiscardsTooMuch) && byte != 0 {
            end = (end + SECTOR_BYTES).min(bytes.len());
        }
        if self.is(Flaw::ZeroesTooLittle) && byte == 0 {
            end -= SECTOR_BYTES;
        }
        start = start.min(end);
        bytes[start..end].fill(byte);
        Ok(())
    }
}

impl BlockDevice for FlawedDisk {
    async fn attach(&self) -> Result<Geometry> {
        self.attaches.set(self.attaches.get() + 1);
        let mut geometry = self.geometry;
        if self.is(Flaw::ChangesGeometry) && self.attaches.get() > 1 {
            geometry.sectors -= u64::from(geometry.alignment_sectors);
        }
        Ok(geometry)
    }

    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        let range = self.range(sector, data.len());
        if range.is_err() && self.is(Flaw::ClearsBeforeRefusing) {
            let len = data.len();
            data.zero(0, len)?;
        }
        let range = range?;
        yield_once().await;
        let bytes = self.bytes.borrow();
        if self.is(Flaw::SwapsSegments) && data.segment_count() > 1 {
            let mut end = range.end;
            for segment in data.segments_mut() {
                if let SinkSegment::Local(into) = segment {
                    into.copy_from_slice(&bytes[end - into.len()..end]);
                    end -= into.len();
                }
            }
            return Ok(());
        }
        let len = data.len().min(range.len());
        data.copy_from(0, &bytes[range.start..range.start + len])
    }

    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        let mut range = self.range(sector, data.len())?;
        self.may_write()?;
        self.writers.set(self.writers.get() + 1);
        yield_once().await;
        let crowd = self.writers.get() > 1;
        self.writers.set(self.writers.get() - 1);
        self.writes.set(self.writes.get() + 1);
        let data = data.to_vec()?;
        let mut bytes = self.bytes.borrow_mut();
        if self.is(Flaw::LosesAWrite) && self.writes.get() == 10 {
            return Ok(());
        }
        if self.is(Flaw::Misdirects) && self.writes.get() == 10 {
            let block = self.geometry.alignment_sectors as usize * SECTOR_BYTES;
            range = (range.start + block)..(range.end + block).min(bytes.len());
        }
        if self.is(Flaw::DropsTheTail) && range.len() >= 64 * 1024 {
            range.end -= SECTOR_BYTES;
        }
        for (index, (place, byte)) in bytes[range].iter_mut().zip(data).enumerate() {
            if !(self.is(Flaw::MixesOverlaps) && crowd && index % 2 == 1) {
                *place = byte;
            }
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        if self.is(Flaw::FlushFails) && self.writes.get() > 100 {
            return Err(Error::Device);
        }
        Ok(())
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.fill(sector, sectors, 0x77, self.geometry.discard)
    }

    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        self.fill(sector, sectors, 0, self.geometry.write_zeroes)
    }
}

/// Lets other requests begin before this one goes on.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

fn run(disk: &impl BlockDevice, seed: u64) -> std::result::Result<u64, Failure> {
    let options = Options {
        seed,
        window_sectors: 1024,
        ..Options::default()
    };
    futures_executor::block_on(conformance::run(disk, &options))
}

#[test]
fn a_good_disk_passes() {
    for alignment in [1, 2, 8] {
        for sectors in [4096, 1024] {
            let passed = run(&FlawedDisk::new(sectors, alignment, Flaw::None), 7);
            let passed = passed.unwrap_or_else(|failure| {
                panic!("{sectors} sectors, alignment {alignment}: {failure}")
            });
            assert!(passed > 1000, "only {passed} checks");
        }
    }
}

#[test]
fn a_read_only_disk_passes_and_keeps_its_bytes() {
    let mut disk = FlawedDisk::new(4096, 1, Flaw::None);
    disk.geometry.read_only = true;
    run(&disk, 7).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(
        disk.bytes.borrow().iter().all(|&byte| byte == 0xa5),
        "the disk was written"
    );
}

#[test]
fn a_disk_without_discard_and_zeroes_passes() {
    let mut disk = FlawedDisk::new(4096, 1, Flaw::None);
    (disk.geometry.discard, disk.geometry.write_zeroes) = (false, false);
    run(&disk, 7).unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn the_ram_disk_of_the_storage_tests_passes() {
    for (alignment_sectors, read_only, offered, delay) in [
        (1, false, true, 0),
        (8, false, true, 3),
        (1, true, false, 1),
        (2, false, false, 2),
    ] {
        let disk = RamDisk::with_geometry(Geometry {
            sectors: 4096,
            alignment_sectors,
            transfer_bytes_max: 1 << 18,
            read_only,
            flush: true,
            discard: offered,
            write_zeroes: offered,
        });
        disk.delay(delay);
        run(&disk, 3).unwrap_or_else(|failure| panic!("alignment {alignment_sectors}: {failure}"));
    }
}

#[test]
fn every_flaw_is_found() {
    for (flaw, hint) in [
        (Flaw::CutsAtTheEnd, "across the end"),
        (Flaw::RangeWraps, "the last sector there can be"),
        (Flaw::TakesNothing, "nothing"),
        (Flaw::ClearsBeforeRefusing, "a refused read writes nothing"),
        (Flaw::RoundsDown, "one byte more than a block"),
        (Flaw::LosesAWrite, "differs"),
        (Flaw::Misdirects, "differs"),
        (Flaw::SwapsSegments, "differs"),
        (Flaw::DropsTheTail, "differs"),
        (Flaw::MixesOverlaps, "sector"),
        (Flaw::DiscardsTooMuch, "differs"),
        (Flaw::ZeroesTooLittle, "differs"),
        (Flaw::PretendsToZero, "not offered"),
        (Flaw::FlushFails, "found Err(Device)"),
        (Flaw::ChangesGeometry, "second attach"),
        (Flaw::WritesReadOnly, "read-only"),
        (Flaw::TakesLongRequests, "longer than allowed"),
    ] {
        let failure = run(&FlawedDisk::new(4096, 1, flaw), 7).expect_err(&format!("{flaw:?}"));
        assert!(
            failure.what.contains(hint),
            "{flaw:?} was found as: {failure}"
        );
    }
}
