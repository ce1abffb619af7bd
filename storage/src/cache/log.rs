//! The roll-forward log: what was changed below since the last checkpoint (paper, section VI-B).
//!
//! After a crash below, the new instance holds the last checkpoint, and the log says what to do to
//! bring it back to where the old one was. It keeps, for each file, the *net* change, not the calls:
//!
//! ```text
//!   removed   the checkpoint's file of this number was deleted
//!   created   there is a file of this number that the checkpoint does not have
//!   cut       the smallest size the checkpoint's file was cut to
//!   (pages)   the file's pages marked `logged`: in the cache, or kept when they are evicted
//!   (below)   the file's attributes as they were below: the cache knows them anyway
//! ```
//!
//! A byte of the file below is thus: in a logged page, the page's; else below `cut`, the
//! checkpoint's; else zero. Operations on different files commute, so no order between files is
//! kept. Changes that have not been sent down are dirty in the cache still; a file of which nothing has been
//! sent down has a record all the same, because the ledger needs it ([`super::ledger`]).
//!
//! A change is recorded in the same poll in which the call below returned success, and only then. A
//! call that died is in no record: its instance's memory is gone, and the checkpoint is older than
//! the call, so after the replay it has not happened, and is issued again.

use alloc::{collections::BTreeMap, rc::Rc, vec::Vec};

use super::files::File;
use crate::{file::FileNumber, surviving::RecordId};

/// The net change of one file.
#[derive(Clone, Default)]
pub(super) struct Record {
    /// Anything of it has been sent down. If not, there is nothing to replay.
    pub sent: bool,
    /// Where the ledger has it.
    pub id: Option<RecordId>,
    /// Bytes of the checkpoint's file that stand, with those of the pages and zeros around.
    pub stands: u64,
    /// The checkpoint's file was deleted.
    pub removed: bool,
    /// The file is not the checkpoint's.
    pub created: bool,
    /// Bytes of the checkpoint's file that were never cut off.
    pub cut: Option<u64>,
    /// The file as it is; `None` if it was deleted.
    pub file: Option<Rc<File>>,
}

/// The log.
#[derive(Default)]
pub(super) struct Log {
    records: BTreeMap<FileNumber, Record>,
}

impl Log {
    /// Whether a file has changed.
    pub fn has(&self, number: FileNumber) -> bool {
        self.records.contains_key(&number)
    }

    /// How many files have changed.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The record of a file that exists; a new one if it has not changed yet. `below_size` is how long it
    /// is below.
    pub fn record(&mut self, file: &Rc<File>, below_size: u64) -> &mut Record {
        let record = self.records.entry(file.number).or_insert_with(|| Record {
            stands: below_size,
            ..Record::default()
        });
        record.file.get_or_insert_with(|| Rc::clone(file));
        record
    }

    /// What was found of a file that an earlier instance has changed.
    pub fn restore(&mut self, number: FileNumber, record: Record) {
        self.records.insert(number, record);
    }

    /// The file was created.
    pub fn created(&mut self, file: &Rc<File>) {
        let record = self.record(file, 0);
        (record.sent, record.created, record.stands) = (true, true, 0);
    }

    /// The file was deleted. Returns where the ledger has it, and whether it has to know it still.
    pub fn deleted(&mut self, number: FileNumber) -> (Option<RecordId>, bool) {
        let record = self.records.entry(number).or_default();
        let id = record.id;
        if record.created && !record.removed {
            // Made and deleted between two checkpoints: as if it had never been.
            self.records.remove(&number);
            return (id, false);
        }
        *record = Record {
            sent: true,
            removed: true,
            id,
            ..Record::default()
        };
        (id, true)
    }

    /// Notes where the ledger has a file that was deleted.
    pub fn written_down(&mut self, number: FileNumber, id: Option<RecordId>) {
        if let Some(record) = self.records.get_mut(&number) {
            record.id = id;
        }
    }

    /// The file was cut to `size`, from more than that.
    pub fn cut(&mut self, file: &Rc<File>, size: u64) {
        let record = self.record(file, size);
        if !record.created {
            record.cut = Some(record.cut.map_or(size, |cut| cut.min(size)));
            record.stands = record.stands.min(size);
        }
    }

    /// Pages, size or attributes of the file were sent down.
    pub fn touched(&mut self, file: &Rc<File>, below_size: u64) {
        self.record(file, below_size).sent = true;
    }

    /// Which of the `count` numbers from `first` on are of files that the checkpoint has and that were
    /// deleted, counted from `first`, in order.
    pub fn deleted_from(&self, first: FileNumber, count: usize) -> Vec<usize> {
        let end = FileNumber(first.0.saturating_add(count as u64));
        let deleted = self.records.range(first..end);
        deleted
            .filter(|(_, record)| record.removed)
            .map(|(number, _)| (number.0 - first.0) as usize)
            .collect()
    }

    /// All records as they are.
    pub fn snapshot(&self) -> impl Iterator<Item = (FileNumber, Record)> + use<> {
        self.records.clone().into_iter()
    }

    /// Empties the log. The caller lets go of the files' logged pages.
    pub fn take(&mut self) -> impl Iterator<Item = Record> + use<> {
        core::mem::take(&mut self.records).into_values()
    }
}
