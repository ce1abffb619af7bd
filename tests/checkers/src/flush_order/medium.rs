//! What is on a medium for certain, and what may be.

use std::{collections::HashMap, rc::Rc};

use crate::format::{BLOCK_BYTES, Block};

/// Bytes of a sector.
const SECTOR_BYTES: usize = 512;
const SECTORS: u64 = (BLOCK_BYTES / SECTOR_BYTES) as u64;

/// A disk with a volatile cache.
pub struct Medium {
    /// What was flushed; a block that is not here is zeros.
    flushed: HashMap<u64, Rc<Block>>,
    /// What was written to each block since, oldest first, each with the number of the write.
    unflushed: HashMap<u64, Vec<(usize, Rc<Block>)>>,
    /// Writes that have ended.
    writes: usize,
    zeros: Rc<Block>,
}

impl Default for Medium {
    fn default() -> Self {
        Self {
            flushed: HashMap::new(),
            unflushed: HashMap::new(),
            writes: 0,
            zeros: Rc::new([0; BLOCK_BYTES]),
        }
    }
}

impl Medium {
    /// What is there whatever happens, unless something is in [`Self::unflushed`].
    pub fn flushed(&self, place: u64) -> &Rc<Block> {
        self.flushed.get(&place).unwrap_or(&self.zeros)
    }

    /// What may be there instead.
    pub fn unflushed(&self, place: u64) -> impl DoubleEndedIterator<Item = &Rc<Block>> {
        let blocks = self.unflushed.get(&place).into_iter().flatten();
        blocks.map(|(_, block)| block)
    }

    /// What a reader finds.
    pub fn newest(&self, place: u64) -> &Rc<Block> {
        self.unflushed(place)
            .next_back()
            .unwrap_or_else(|| self.flushed(place))
    }

    /// Cuts a write into blocks, each with what it will hold.
    pub fn blocks(&self, sector: u64, data: &[u8]) -> Vec<(u64, Rc<Block>)> {
        let mut blocks = Vec::new();
        let (mut sector, mut data) = (sector, data);
        while !data.is_empty() {
            let (place, within) = (sector / SECTORS, (sector % SECTORS) as usize * SECTOR_BYTES);
            let (now, rest) = data.split_at(data.len().min(BLOCK_BYTES - within));
            let mut block = **self.newest(place);
            block[within..within + now.len()].copy_from_slice(now);
            blocks.push((place, Rc::new(block)));
            sector += (now.len() / SECTOR_BYTES) as u64;
            data = rest;
        }
        blocks
    }

    /// Takes a block of a write.
    pub fn write(&mut self, place: u64, block: Rc<Block>) {
        let blocks = self.unflushed.entry(place).or_default();
        blocks.push((self.writes, block));
    }

    /// All blocks of a write have been taken.
    pub fn end_write(&mut self) {
        self.writes += 1;
    }

    /// Every write but the last `late` ones is on the medium.
    pub fn flush(&mut self, late: usize) {
        let (covers, flushed) = (self.writes.saturating_sub(late), &mut self.flushed);
        self.unflushed.retain(|&place, blocks| {
            let covered = blocks.partition_point(|(write, _)| *write < covers);
            if let Some((_, block)) = blocks.drain(..covered).next_back() {
                flushed.insert(place, block);
            }
            !blocks.is_empty()
        });
    }
}
