//! What a fault makes of a write: which sectors the disk holds afterwards, and what is in them.
//!
//! One form for all of them: the write as a map from sectors to their bytes, from which faults take
//! sectors away (lost, torn), move them (misdirected) or change them (corrupt).

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::ops::Range;

use super::{
    random::Random,
    rule::Action,
    rules::{BLOCK_SECTORS, Hit},
};
use crate::block::{Geometry, SECTOR_BYTES};

/// A sector's bytes.
pub type Sector = Box<[u8; SECTOR_BYTES]>;

/// Sectors and what they will hold.
pub struct Outcome {
    sectors: BTreeMap<u64, Sector>,
}

impl Outcome {
    /// The write as it was meant.
    pub fn new(sector: u64, data: &[u8]) -> Self {
        let mut sectors = BTreeMap::new();
        for (at, bytes) in (sector..).zip(data.chunks_exact(SECTOR_BYTES)) {
            let mut copy = Box::new([0; SECTOR_BYTES]);
            copy.copy_from_slice(bytes);
            sectors.insert(at, copy);
        }
        Self { sectors }
    }

    /// What a fault makes of it.
    pub fn suffer(&mut self, hit: &mut Hit, geometry: &Geometry) {
        let unit = unit(geometry);
        for run in hit.runs.clone() {
            match hit.action {
                Action::Corrupt { bytes } => self.corrupt(run, bytes, &mut hit.random),
                Action::LostWrite => drop(self.take(run)),
                Action::TornWrite { sectors } => {
                    let len = run.end - run.start;
                    let kept = match sectors {
                        0 => 1 + hit.random.below(len.saturating_sub(1)),
                        sectors => sectors.into(),
                    };
                    let kept = (kept / unit * unit).min(len);
                    drop(self.take(run.start + kept..run.end));
                }
                Action::MisdirectedWrite { to } => {
                    let elsewhere = Elsewhere::of(&run, to, geometry);
                    if elsewhere.count() == 0 {
                        continue;
                    }
                    let target = elsewhere.pick(&mut hit.random);
                    for (at, bytes) in (target..).zip(self.take(run)) {
                        self.sectors.insert(at, bytes);
                    }
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, run: Range<u64>) -> Vec<Sector> {
        run.filter_map(|sector| self.sectors.remove(&sector))
            .collect()
    }

    fn corrupt(&mut self, run: Range<u64>, bytes: u16, random: &mut Random) {
        for (at, len) in blocks(run) {
            for _ in 0..bytes {
                let place = random.below(len * SECTOR_BYTES as u64);
                let sector = at + place / SECTOR_BYTES as u64;
                let flip = flip(random);
                if let Some(content) = self.sectors.get_mut(&sector) {
                    content[(place % SECTOR_BYTES as u64) as usize] ^= flip;
                }
            }
        }
    }

    /// What a sector will hold; none if it keeps what it has.
    pub fn sector(&self, sector: u64) -> Option<&[u8; SECTOR_BYTES]> {
        self.sectors.get(&sector).map(|bytes| &**bytes)
    }

    /// How many sectors.
    pub fn len(&self) -> usize {
        self.sectors.len()
    }

    /// All sectors.
    pub fn into_sectors(self) -> BTreeMap<u64, Sector> {
        self.sectors
    }

    /// The sectors as writes of at most so many bytes, each of consecutive ones.
    pub fn writes(&self, bytes_max: usize) -> Vec<(u64, Vec<u8>)> {
        let mut writes: Vec<(u64, Vec<u8>)> = Vec::new();
        for (&sector, bytes) in &self.sectors {
            let follows = |write: &&mut (u64, Vec<u8>)| {
                let end = write.0 + (write.1.len() / SECTOR_BYTES) as u64;
                end == sector && write.1.len() + SECTOR_BYTES <= bytes_max
            };
            match writes.last_mut().filter(follows) {
                Some(write) => write.1.extend_from_slice(&bytes[..]),
                None => writes.push((sector, bytes.to_vec())),
            }
        }
        writes
    }
}

/// Whether an action changes anything if these sectors are written. Where it does not, it has not struck.
pub fn strikes(action: Action, run: &Range<u64>, geometry: &Geometry) -> bool {
    let (len, unit) = (run.end.saturating_sub(run.start), unit(geometry));
    match action {
        Action::TornWrite { sectors: 0 } => len > 1,
        Action::TornWrite { sectors } => u64::from(sectors) / unit * unit < len,
        Action::MisdirectedWrite { to } => Elsewhere::of(run, to, geometry).count() > 0,
        _ => true,
    }
}

/// Sectors of which a write must have a multiple.
fn unit(geometry: &Geometry) -> u64 {
    geometry.alignment_sectors.max(1).into()
}

/// Where a run can go that goes astray: places that it fits into, and not its own.
struct Elsewhere {
    first: u64,
    unit: u64,
    places: u64,
    own: Option<u64>,
}

impl Elsewhere {
    fn of(run: &Range<u64>, to: Option<(u64, u64)>, geometry: &Geometry) -> Self {
        let unit = unit(geometry);
        let (first, last) = to.unwrap_or((0, u64::MAX));
        let first = first.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
        let end = last.saturating_add(1).min(geometry.sectors);
        let room = end.saturating_sub(first);
        let spare = room.checked_sub(run.end.saturating_sub(run.start));
        let places = spare.map_or(0, |spare| spare / unit + 1);
        let from_first = run.start.checked_sub(first);
        let own = from_first.filter(|it| it.is_multiple_of(unit) && it / unit < places);
        Self {
            first,
            unit,
            places,
            own: own.map(|it| it / unit),
        }
    }

    fn count(&self) -> u64 {
        self.places - u64::from(self.own.is_some())
    }

    fn pick(&self, random: &mut Random) -> u64 {
        let index = random.below(self.count());
        let index = index + u64::from(self.own.is_some_and(|own| index >= own));
        self.first + index * self.unit
    }
}

/// Changes bytes of what was read from `sector`, in each block of the runs.
pub fn corrupt_read(sector: u64, data: &mut [u8], hit: &mut Hit, bytes: u16) {
    for (at, len) in hit.runs.clone().into_iter().flat_map(blocks) {
        for _ in 0..bytes {
            let place = hit.random.below(len * SECTOR_BYTES as u64) as usize;
            let flip = flip(&mut hit.random);
            let start = (at - sector) as usize * SECTOR_BYTES;
            if let Some(byte) = data.get_mut(start + place) {
                *byte ^= flip;
            }
        }
    }
}

/// Bits to flip in a byte; never none.
fn flip(random: &mut Random) -> u8 {
    1 + random.below(255) as u8
}

/// The parts of a run that are in one block each: first sector, and how many.
fn blocks(run: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
    let mut at = run.start;
    core::iter::from_fn(move || {
        if at >= run.end {
            return None;
        }
        let first = at;
        at = ((first / BLOCK_SECTORS + 1) * BLOCK_SECTORS).min(run.end);
        Some((first, at - first))
    })
}
