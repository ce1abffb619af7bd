//! The driver as a [`BlockDevice`]: checks requests, pins their data, cuts them into parts.

use alloc::{rc::Rc, vec::Vec};

use storage::{
    Error, Result,
    block::{BlockDevice, Geometry, SECTOR_BYTES},
    buffer::{Lent, Sink, SinkSegment, Source, SourceSegment},
};
use virtio_drivers::transport::Transport;

use crate::{
    DmaMemory, Driver, Limits, Platform,
    driver::{PENDING_MAX, Phase},
    transfer::{Completion, Operation, Part, Transfer},
};

/// Bytes copied at a time between the bounce buffer and where the data belong.
const STEP_BYTES: usize = 512;

/// A range of sectors must be there, whole blocks, and not empty.
fn check(geometry: &Geometry, sector: u64, sectors: u64, writes: bool) -> Result<()> {
    let alignment = u64::from(geometry.alignment_sectors);
    let fits = sector
        .checked_add(sectors)
        .is_some_and(|end| end <= geometry.sectors);
    let aligned = sector.is_multiple_of(alignment) && sectors.is_multiple_of(alignment);
    if sectors == 0 || !fits || !aligned {
        return Err(Error::BadArgument);
    }
    if writes && geometry.read_only {
        return Err(Error::ReadOnly);
    }
    Ok(())
}

fn check_data(geometry: &Geometry, sector: u64, len: usize, writes: bool) -> Result<()> {
    if !len.is_multiple_of(SECTOR_BYTES) || len > geometry.transfer_bytes_max as usize {
        return Err(Error::BadArgument);
    }
    check(geometry, sector, (len / SECTOR_BYTES) as u64, writes)
}

impl<T: Transport, P: Platform> BlockDevice for Driver<T, P> {
    async fn attach(&self) -> Result<Geometry> {
        let limits = self.limits().await?;
        self.ledger.drained().await;
        Ok(limits.geometry)
    }

    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        let limits = self.limits().await?;
        check_data(&limits.geometry, sector, data.len(), false)?;
        let lent: Option<Vec<Lent<'_>>> = (data.segments_mut().iter())
            .map(|segment| match segment {
                SinkSegment::Lent(lent) => Some(*lent),
                SinkSegment::Local(_) => None,
            })
            .collect();
        let (mut transfer, mut cuts) = self.pin(&limits, lent)?;
        if cuts.is_none() {
            transfer.bounce(self.bounce.borrow(&self.ledger.platform).await?, data.len());
            cuts = cut(&transfer, &limits);
        }
        let transfer = Rc::new(transfer);
        self.start(&transfer, Operation::Read, sector, cuts)?;
        Completion(transfer.clone()).await?;
        if let Some(memory) = transfer.bounced() {
            let mut bytes = [0; STEP_BYTES];
            for start in (0..data.len()).step_by(STEP_BYTES) {
                memory.read(start, &mut bytes);
                data.copy_from(start, &bytes)?;
            }
        }
        Ok(())
    }

    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        let limits = self.limits().await?;
        check_data(&limits.geometry, sector, data.len(), true)?;
        let lent: Option<Vec<Lent<'_>>> = (data.segments().iter())
            .map(|segment| match segment {
                SourceSegment::Lent(lent) => Some(*lent),
                SourceSegment::Local(_) => None,
            })
            .collect();
        let (mut transfer, mut cuts) = self.pin(&limits, lent)?;
        if cuts.is_none() {
            let borrowed = self.bounce.borrow(&self.ledger.platform).await?;
            let mut bytes = [0; STEP_BYTES];
            for start in (0..data.len()).step_by(STEP_BYTES) {
                data.copy_to(start, &mut bytes)?;
                borrowed.memory().write(start, &bytes);
            }
            transfer.bounce(borrowed, data.len());
            cuts = cut(&transfer, &limits);
        }
        let transfer = Rc::new(transfer);
        self.start(&transfer, Operation::Write, sector, cuts)?;
        Completion(transfer).await
    }

    async fn flush(&self) -> Result<()> {
        let limits = self.limits().await?;
        if !limits.geometry.flush {
            // Every write that has completed is on the medium (5.2.6.2).
            return Ok(());
        }
        let transfer = Rc::new(Transfer::new(&self.ledger));
        self.enqueue(&transfer, Operation::Flush, 0, 0, 0)?;
        Completion(transfer).await
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        let limits = self.limits().await?;
        self.ranges(
            &limits.geometry,
            Operation::Discard,
            limits.discard_sectors_max,
            sector,
            sectors,
        )
        .await
    }

    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        let limits = self.limits().await?;
        let sectors_max = limits.zeroes_sectors_max;
        self.ranges(
            &limits.geometry,
            Operation::WriteZeroes,
            sectors_max,
            sector,
            sectors,
        )
        .await
    }
}

/// A part's data: start and length, bytes.
type Cut = (usize, usize);

/// Cuts a transfer into parts that the device takes, or nothing if a block has too many pieces.
fn cut<P: Platform>(transfer: &Transfer<P>, limits: &Limits) -> Option<Vec<Cut>> {
    let pieces = transfer.pieces();
    let mut cuts = Vec::with_capacity(1);
    let mut start = 0;
    while start < pieces.bytes() {
        let len = pieces.fitting(
            start,
            usize::from(limits.segments_max),
            limits.segment_bytes_max,
            limits.block_bytes(),
        );
        if len == 0 {
            return None;
        }
        cuts.push((start, len));
        start += len;
    }
    Some(cuts)
}

impl<T: Transport, P: Platform> Driver<T, P> {
    /// Pins all segments of a request, if all are lent, and cuts it into parts. Where that cannot
    /// be done there are no cuts, and the data must go through the bounce buffer.
    fn pin(
        &self,
        limits: &Limits,
        lent: Option<Vec<Lent<'_>>>,
    ) -> Result<(Transfer<P>, Option<Vec<Cut>>)> {
        let mut transfer = Transfer::new(&self.ledger);
        let Some(lent) = lent else {
            return Ok((transfer, None));
        };
        for segment in &lent {
            transfer.pin(segment)?;
        }
        let cuts = cut(&transfer, limits);
        Ok((transfer, cuts))
    }

    fn start(
        &self,
        transfer: &Rc<Transfer<P>>,
        operation: Operation,
        sector: u64,
        cuts: Option<Vec<Cut>>,
    ) -> Result<()> {
        let cuts = cuts.ok_or(Error::Device)?;
        if self.inner.borrow().pending.len() + cuts.len() > PENDING_MAX {
            return Err(Error::PeerBusy);
        }
        for (start, len) in cuts {
            let sector = sector + (start / SECTOR_BYTES) as u64;
            self.enqueue(transfer, operation, sector, start, len as u32)?;
        }
        Ok(())
    }

    /// Has a part wait for its turn.
    fn enqueue(
        &self,
        transfer: &Rc<Transfer<P>>,
        operation: Operation,
        sector: u64,
        start: usize,
        count: u32,
    ) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        match inner.phase {
            Phase::Failed(_) => return Err(Error::Device),
            _ if inner.pending.len() >= PENDING_MAX => return Err(Error::PeerBusy),
            _ => {}
        }
        transfer.part_begins();
        let transfer = transfer.clone();
        inner.pending.push_back(Part {
            transfer,
            operation,
            sector,
            start,
            count,
            attempts: 0,
        });
        drop(inner);
        self.worker_wake();
        Ok(())
    }

    /// Does `operation` on a range, in steps of at most `sectors_max`, one after the other: devices
    /// take gigabytes at a time, so that a second step is rare.
    async fn ranges(
        &self,
        geometry: &Geometry,
        operation: Operation,
        sectors_max: u32,
        sector: u64,
        sectors: u64,
    ) -> Result<()> {
        check(geometry, sector, sectors, true)?;
        if sectors_max == 0 {
            return Err(Error::BadArgument);
        }
        let end = sector + sectors;
        let mut next = sector;
        while next < end {
            let count = u64::from(sectors_max).min(end - next) as u32;
            let transfer = Rc::new(Transfer::new(&self.ledger));
            self.enqueue(&transfer, operation, next, 0, count)?;
            Completion(transfer).await?;
            next += u64::from(count);
        }
        Ok(())
    }
}
