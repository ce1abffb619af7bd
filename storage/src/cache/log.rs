//! The roll-forward log: what has changed since the last checkpoint (paper, section VI-B).
//!
//! After a crash below, the next instance holds the last checkpoint, and the log says what is missing
//! there. It keeps, for each file, the *net* change, not the calls:
//!
//! ```text
//!   removed   the checkpoint's file of this number was deleted             ┐
//!   created   there is a file of this number that the checkpoint has not   ├ its outline
//!   cut       the checkpoint's file was cut, and `stands` is what is left  ┘
//!   (pages)   the file's pages that are newer than the checkpoint: in the cache, or kept when evicted
//!   (now)     the file's attributes: the cache knows them anyway
//! ```
//!
//! A byte of the file is thus: in such a page, the page's; else below `stands`, the checkpoint's; else
//! zero. Operations on different files commute, so no order between files is kept. The ledger has the
//! same, for the cache's own death ([`super::ledger`]).
//!
//! Pages and attributes are sent down again by write-back ([`super::writeback`]), outlines by
//! [`super::redo`]: the log knows of which files they are *owed*.
//!
//! A change is recorded in the same poll in which the call below returned success, and only then. A
//! call that died is in no record: its instance's memory is gone, and the checkpoint is older than
//! the call, so after the recovery it has not happened, and is issued again.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    vec::Vec,
};

use super::files::File;
use crate::{file::FileNumber, surviving::RecordId};

/// The net change of one file.
#[derive(Clone, Default)]
pub(super) struct Record {
    /// Where the ledger has it.
    pub id: Option<RecordId>,
    /// Bytes of the checkpoint's file that were never cut off.
    pub stands: u64,
    /// The checkpoint's file was deleted.
    pub removed: bool,
    /// The file is not the checkpoint's.
    pub created: bool,
    /// The checkpoint's file was longer than `stands`.
    pub cut: bool,
    /// The file as it is; `None` if it was deleted.
    pub file: Option<Rc<File>>,
}

impl Record {
    fn has_outline(&self) -> bool {
        self.removed || self.created || self.cut
    }
}

/// The log.
#[derive(Default)]
pub(super) struct Log {
    records: BTreeMap<FileNumber, Record>,
    /// Files whose outline below is the checkpoint's; of each, whether the checkpoint's file is deleted there
    /// already.
    owed: BTreeMap<FileNumber, bool>,
    /// Those whose outline is being drawn again just now.
    redoing: BTreeSet<FileNumber>,
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
        (record.created, record.stands) = (true, 0);
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

    /// The file below has become `to` bytes long, from `from`.
    pub fn resized(&mut self, file: &Rc<File>, from: u64, to: u64) {
        let record = self.record(file, from);
        if to < record.stands {
            (record.cut, record.stands) = (true, to);
        }
    }

    /// Which of the `count` numbers from `first` on must not be given to a new file, whatever is below: those
    /// of files that the checkpoint has and that were deleted, and those of files that it does not have.
    /// Counted from `first`, in order.
    pub fn numbers_from(&self, first: FileNumber, count: usize) -> Vec<usize> {
        let end = FileNumber(first.0.saturating_add(count as u64));
        let taken = self.records.range(first..end);
        taken
            .filter(|(_, record)| record.removed || record.created)
            .map(|(number, _)| (number.0 - first.0) as usize)
            .collect()
    }

    /// The layers below went back to the checkpoint: every outline is owed. Returns the files that there are,
    /// each with how many bytes of it are below once its outline is.
    pub fn go_back(&mut self) -> Vec<(Rc<File>, u64)> {
        let outlines = self
            .records
            .iter()
            .filter(|(_, record)| record.has_outline());
        self.owed = outlines.map(|(&number, _)| (number, false)).collect();
        let files = self.records.values();
        files
            .filter_map(|record| Some((Rc::clone(record.file.as_ref()?), record.stands)))
            .collect()
    }

    /// Whether the outline of any file is owed.
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Some of the files whose outline is owed.
    pub fn owed(&self, most: usize) -> Vec<FileNumber> {
        self.owed.keys().copied().take(most).collect()
    }

    /// Whether the outline of this file is owed.
    pub fn is_owed(&self, number: FileNumber) -> bool {
        self.owed.contains_key(&number)
    }

    /// Whether somebody is drawing the outline of this file.
    pub fn is_redoing(&self, number: FileNumber) -> bool {
        self.redoing.contains(&number)
    }

    /// Begins to draw the outline of a file, unless somebody does.
    pub fn begin_redo(&mut self, number: FileNumber) -> bool {
        self.redoing.insert(number)
    }

    /// The attempt has ended, well or not.
    pub fn end_redo(&mut self, number: FileNumber) {
        self.redoing.remove(&number);
    }

    /// What is owed of the outline of a file.
    pub fn outline_owed(&self, number: FileNumber) -> Option<Record> {
        let is_deleted = *self.owed.get(&number)?;
        let mut outline = self.records.get(&number)?.clone();
        outline.removed &= !is_deleted;
        Some(outline)
    }

    /// The checkpoint's file of this number is deleted below; a file created since is still owed.
    pub fn deleted_again(&mut self, number: FileNumber) {
        if let Some(is_deleted) = self.owed.get_mut(&number) {
            *is_deleted = true;
        }
    }

    /// The outline of this file is below.
    pub fn redone(&mut self, number: FileNumber) {
        self.owed.remove(&number);
    }

    /// Empties the log. The caller lets go of the files' logged pages.
    pub fn take(&mut self) -> impl Iterator<Item = Record> + use<> {
        self.owed.clear();
        core::mem::take(&mut self.records).into_values()
    }
}
