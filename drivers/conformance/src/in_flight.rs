//! Many requests at a time: apart from each other, and on top of each other.

use alloc::{format, vec::Vec};

use futures_util::future::join_all;
use storage::{
    block::{BlockDevice, SECTOR_BYTES},
    buffer::Source,
};

use crate::{Checked, Suite, buffer::Scatter};

/// Most blocks of a request in these checks.
const BLOCKS_MAX: u64 = 8;

impl<D: BlockDevice> Suite<'_, D> {
    /// Reads and writes of places of their own, all in flight: no data may go astray.
    pub async fn many_in_flight(&mut self) -> Checked {
        let alignment = u64::from(self.geometry.alignment_sectors);
        let blocks_in_window = self.model.sectors() / alignment;
        let lanes = (self.options.in_flight as u64).min(blocks_in_window / BLOCKS_MAX);
        for round in 0..self.options.rounds {
            let mut writes = Vec::new();
            let mut reads = Vec::new();
            for lane in 0..lanes {
                let sector = lane * BLOCKS_MAX * alignment;
                let blocks = 1 + self.random.below(BLOCKS_MAX);
                let shape = [(lane as usize % 9, blocks as usize * self.block_bytes())];
                let scatter = Scatter::pattern(&shape, &mut self.random);
                if (lane + u64::from(round)).is_multiple_of(2) {
                    writes.push((sector, scatter));
                } else {
                    reads.push((sector, scatter));
                }
            }
            let device = self.device;
            let (written, read) = futures_util::join!(
                join_all(
                    writes
                        .iter()
                        .map(|(sector, data)| device.write(*sector, data.source()))
                ),
                join_all(
                    reads
                        .iter_mut()
                        .map(|(sector, data)| device.read(*sector, data.sink()))
                ),
            );
            for result in written.iter().chain(&read) {
                self.expect("a request among many", result, &Ok(()))?;
            }
            for (sector, data) in &writes {
                self.check(data.is_unchanged(), "a write leaves its data")?;
                self.model.write(*sector, &data.bytes());
            }
            for (sector, data) in &reads {
                self.check(
                    data.guards_hold(),
                    "a read writes nothing beside its buffers",
                )?;
                let differs = self.model.differs(*sector, &data.bytes());
                self.check(
                    differs.is_none(),
                    &format!("a read among writes elsewhere: sector {differs:?} differs"),
                )?;
            }
        }
        self.compare_window().await
    }

    /// Writes on top of each other, and reads of the same place: afterwards every block is as one
    /// of the writers left it, and each read saw for every sector the old data or one of the new.
    pub async fn overlapping_in_flight(&mut self) -> Checked {
        let alignment = u64::from(self.geometry.alignment_sectors);
        let block = self.block_bytes();
        for _ in 0..self.options.rounds {
            let mut writes = Vec::new();
            let mut reads = Vec::new();
            for index in 0..self.options.in_flight.min(12) {
                let place = self.random.below(BLOCKS_MAX) * alignment;
                let blocks = 1 + self.random.below(BLOCKS_MAX);
                let shape = [(index % 7, blocks as usize * block)];
                let scatter = Scatter::pattern(&shape, &mut self.random);
                if index % 3 == 2 {
                    &mut reads
                } else {
                    &mut writes
                }
                .push((place, scatter));
            }
            let device = self.device;
            let (written, read, flushed) = futures_util::join!(
                join_all(
                    writes
                        .iter()
                        .map(|(sector, data)| device.write(*sector, data.source()))
                ),
                join_all(
                    reads
                        .iter_mut()
                        .map(|(sector, data)| device.read(*sector, data.sink()))
                ),
                device.flush(),
            );
            for result in written.iter().chain(&read).chain([&flushed]) {
                self.expect("a request among overlapping ones", result, &Ok(()))?;
            }
            for (sector, data) in &reads {
                self.check(
                    data.guards_hold(),
                    "a read writes nothing beside its buffers",
                )?;
                self.sectors_are_of(*sector, &data.bytes(), &writes, true)?;
            }
            let len = 2 * BLOCKS_MAX as usize * block;
            let mut after = Scatter::pattern(&[(0, len)], &mut self.random);
            let result = self.device.read(0, after.sink()).await;
            self.expect("read after overlapping writes", &result, &Ok(()))?;
            self.sectors_are_of(0, &after.bytes(), &writes, false)?;
            self.model.write(0, &after.bytes());
        }
        Ok(())
    }

    /// Checks that every sector read is as one of the writes that covers it has it, or as before
    /// (if the writes were still under way, or none covers it).
    fn sectors_are_of(
        &mut self,
        first: u64,
        found: &[u8],
        writes: &[(u64, Scatter)],
        or_before: bool,
    ) -> Checked {
        for (sector, found) in (first..).zip(found.chunks(SECTOR_BYTES)) {
            let candidates = writes.iter().filter_map(|(start, data)| {
                let at = sector.checked_sub(*start)? as usize * SECTOR_BYTES;
                (at < data.len()).then(|| sector_of(&data.source(), at))
            });
            let candidates: Vec<_> = candidates.collect();
            let before = self.model.sector(sector);
            let is_before = before.is_none_or(|before| before == found);
            let holds = candidates.iter().any(|data| data == found)
                || is_before && (or_before || candidates.is_empty());
            self.check(
                holds,
                &format!("sector {sector} is as none of its writers left it"),
            )?;
        }
        Ok(())
    }

    /// A flush, alone and among writes, fails nothing and loses nothing.
    pub async fn flushes(&mut self) -> Checked {
        let alignment = u64::from(self.geometry.alignment_sectors);
        let device = self.device;
        let result = device.flush().await;
        self.expect("a flush of nothing", &result, &Ok(()))?;
        for round in 0..self.options.rounds {
            let data = Scatter::pattern(&[(2, 3 * self.block_bytes())], &mut self.random);
            let sector = u64::from(round % 8) * alignment;
            let (written, flushed, again) = futures_util::join!(
                device.write(sector, data.source()),
                device.flush(),
                device.flush(),
            );
            for result in [written, flushed, again] {
                self.expect("flushes beside a write", &result, &Ok(()))?;
            }
            self.model.write(sector, &data.bytes());
            self.read(sector, &[(0, 3 * self.block_bytes())]).await?;
        }
        Ok(())
    }
}

fn sector_of(source: &Source<'_>, at: usize) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    source.copy_to(at, &mut bytes).expect("inside the data");
    bytes
}
