//! What is known of a loaded volume: its stores, its checkpoint, its mapping.

use core::cell::Cell;

use super::{
    choose::{Part, bit},
    entry::{COPIES_MAX, Copies, Copy},
    mapping::Mapping,
};
use crate::{
    Error, Result,
    checksum::Algorithm,
    file::{Attachment, Checkpoint, FileNumber, MAPPING_FILE, Timestamp},
    lock::RwLock,
};

/// The first number that naming may use: 0 is no file.
const FIRST_FILE: FileNumber = FileNumber(1);

pub(super) struct Volume {
    id: u128,
    pub algorithm: Algorithm,
    /// Stores in the volume, at work or not.
    stores: u32,
    /// Where each part of the volume is; `None` if it is not at work.
    slots: [Cell<Option<usize>>; COPIES_MAX],
    /// The last checkpoint that a store has taken or all have loaded.
    pub checkpoint: Cell<Timestamp>,
    pub mapping: Mapping,
    /// Shared by calls on files; alone is who makes copies of one equal that did not all take a change. One
    /// for all files, because that is rare and short.
    pub calls: RwLock,
    /// Counts reads, to spread them over the copies.
    turn: Cell<usize>,
}

impl Volume {
    /// The volume that `members`, at least one, make up.
    pub fn new(members: &[Part], checkpoint: Timestamp) -> Option<Self> {
        let info = members.first()?.info;
        let slots: [Cell<Option<usize>>; COPIES_MAX] = Default::default();
        for part in members {
            slots.get(part.info.index as usize)?.set(Some(part.slot));
        }
        Some(Self {
            id: info.volume,
            algorithm: info.algorithm,
            stores: info.stores,
            slots,
            checkpoint: Cell::new(checkpoint),
            mapping: Mapping::new(0),
            calls: RwLock::new(),
            turn: Cell::new(0),
        })
    }

    pub fn id(&self) -> u128 {
        self.id
    }

    /// The parts that are at work.
    pub fn present(&self) -> impl Iterator<Item = u8> {
        (0..COPIES_MAX as u8).filter(|&store| self.slot(store).is_some())
    }

    /// Where a part is; `None` if it is not at work.
    pub fn slot(&self, store: u8) -> Option<usize> {
        self.slots.get(usize::from(store)).and_then(Cell::get)
    }

    /// Whether all that took part in a checkpoint are at work.
    pub fn has_all_of(&self, checkpoint: Checkpoint) -> bool {
        checkpoint.present == self.set_present()
    }

    /// The parts that are at work, one bit each.
    fn set_present(&self) -> u32 {
        self.present()
            .fold(0, |set, store| set | bit(u32::from(store)))
    }

    /// The copies that are on stores at work.
    pub fn at_work(&self, copies: &[Copy]) -> Copies {
        copies
            .iter()
            .copied()
            .filter(|copy| self.slot(copy.store).is_some())
            .collect()
    }

    /// The copies of the mapping file.
    pub fn mapping_copies(&self) -> Copies {
        self.present()
            .map(|store| Copy {
                store,
                physical: MAPPING_FILE,
            })
            .collect()
    }

    /// Takes a store out: it failed, and the volume goes on without it. It is stale from the next
    /// checkpoint on.
    pub fn take_out(&self, store: u8, error: Error) {
        if let Some(slot) = self.slots.get(usize::from(store)).and_then(Cell::take) {
            let left = self.present().count();
            log::error!(
                "file store {slot} failed: {error}; the volume goes on without it, \
                 degraded, on {left} of {} stores",
                self.stores
            );
        }
    }

    /// The next checkpoint to take. [`Error::Corrupt`] if the disks say that it is the end of time.
    pub fn next_checkpoint(&self) -> Result<Checkpoint> {
        let timestamp = self.checkpoint.get().0.checked_add(1);
        let timestamp = Timestamp(timestamp.ok_or(Error::Corrupt)?);
        let present = self.set_present();
        Ok(Checkpoint { timestamp, present })
    }

    /// The copies in the order in which to try to read them: another one first each time.
    pub fn reading_order(&self, copies: &[Copy]) -> Copies {
        let mut order = self.at_work(copies);
        if order.len() > 1 {
            let turn = self.turn.get();
            self.turn.set(turn.wrapping_add(1));
            let first = turn % order.len();
            order.rotate_left(first);
        }
        order
    }

    pub fn attachment(&self) -> Attachment {
        Attachment {
            volume: self.id,
            checkpoint: self.checkpoint.get(),
            algorithm: self.algorithm,
            first_file: FIRST_FILE,
            stores: self.stores,
            stores_present: self.present().count() as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::StoreInfo;

    #[test]
    fn a_timestamp_that_no_checkpoint_can_follow_is_an_error() {
        let newest = Checkpoint {
            timestamp: Timestamp(u64::MAX),
            present: 1,
        };
        let info = StoreInfo {
            volume: 1,
            index: 0,
            stores: 1,
            algorithm: Algorithm::Xxh64,
            newest,
            previous: None,
            finished: true,
        };
        let volume = Volume::new(&[Part { slot: 0, info }], newest.timestamp).unwrap();
        assert_eq!(volume.next_checkpoint(), Err(Error::Corrupt));
        volume.checkpoint.set(Timestamp(u64::MAX - 1));
        assert_eq!(volume.next_checkpoint(), Ok(newest));
    }
}
