//! What a disk took, and when a sync returned.

use std::rc::Rc;

use storage::block::{
    SECTOR_BYTES,
    ram::{self, History, RamDisk},
};

use crate::format::{BLOCK_BYTES, Block};

/// Sectors in a block.
const SECTORS: u64 = (BLOCK_BYTES / SECTOR_BYTES) as u64;

/// Something that happened to a disk.
#[derive(Clone, Debug)]
pub enum Event {
    /// `data` was written to `sector`.
    Write {
        /// First sector of 512 bytes.
        sector: u64,
        /// Whole sectors.
        data: Rc<[u8]>,
    },
    /// What was written before is on the medium.
    Flush {
        /// But for so many writes, the last ones: they had not ended when it was asked for.
        late: usize,
    },
    /// A sync returned that made this checkpoint.
    Synced(u64),
}

/// What a simulated disk took. `synced` says which checkpoint was made when it had taken so many events.
#[must_use]
pub fn of_disk(history: &History, synced: &[(usize, u64)]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut marks = synced.iter().peekable();
    for (taken, event) in history.events().iter().enumerate() {
        while let Some((_, checkpoint)) = marks.next_if(|mark| mark.0 <= taken) {
            events.push(Event::Synced(*checkpoint));
        }
        events.push(match event {
            ram::Event::Write { sector, data } => Event::Write {
                sector: *sector,
                data: data.clone(),
            },
            ram::Event::Flush { covers } => {
                let since = &history.events()[*covers..taken];
                let is_write = |event: &&ram::Event| matches!(event, ram::Event::Write { .. });
                let late = since.iter().filter(is_write).count();
                Event::Flush { late }
            }
        });
    }
    events.extend(marks.map(|mark| Event::Synced(mark.1)));
    events
}

/// The blocks of a simulated disk of `blocks` that are not zeros.
#[must_use]
pub fn blocks_of(disk: &RamDisk, blocks: u64) -> Vec<(u64, Rc<Block>)> {
    let block = |place: u64| -> Option<(u64, Rc<Block>)> {
        let bytes = disk.peek(place * SECTORS, BLOCK_BYTES);
        let block: Block = bytes.try_into().ok()?;
        block
            .iter()
            .any(|&byte| byte != 0)
            .then(|| (place, Rc::new(block)))
    };
    (0..blocks).filter_map(block).collect()
}
