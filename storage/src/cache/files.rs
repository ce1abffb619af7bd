//! The files the cache knows: their attributes here and below, their pages, their locks.
//!
//! A file stays known while anything holds it: a page, the roll-forward log, unwritten changes, a
//! call under way. The rest, of which only attributes are known, is bounded by the table.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    vec::Vec,
};
use core::{cell::RefCell, ops::Range};

use async_lock::Mutex;
use hashbrown::HashMap;

use super::{pool::FrameId, readahead::ReadAhead};
use crate::{
    file::{AttributeChange, Attributes, FileNumber},
    lock::RwLock,
    waiting::Signal,
};

/// How many forgotten files one newcomer may look for.
const FORGET_STEPS_MAX: usize = 16;

/// Whether there is such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nobody has asked below yet.
    Unknown,
    /// There is.
    Present,
    /// It was deleted while calls held it.
    Gone,
}

/// A file.
pub(super) struct File {
    /// Its number.
    pub number: FileNumber,
    /// Shared by reads, writes and write-back; alone for create, truncate and delete.
    pub lock: RwLock,
    /// Held while its attributes are asked for below.
    pub loading: Mutex<()>,
    /// A read from below or a write-back of this file ended.
    pub changed: Signal,
    /// The rest.
    pub state: RefCell<State>,
}

/// What changes about a file.
pub(super) struct State {
    /// Whether there is such a file.
    pub presence: Presence,
    /// The attributes as callers see them.
    pub now: Attributes,
    /// The attributes as they are below.
    pub below: Attributes,
    /// A crash has undone there what was known of them, but for the size.
    pub below_unsure: bool,
    /// A write below has failed: the file may be shorter there than is known.
    pub size_unsure: bool,
    /// A truncation below has failed, and how far it came is not known.
    pub cut_unsure: bool,
    /// Cached pages and pages that the log keeps.
    pub pages: BTreeMap<u64, FrameId>,
    /// The sum of the guards of `pages`, as the ledger has it.
    pub digest: u64,
    /// Those of `pages` that are newer than below.
    pub dirty: BTreeSet<u64>,
    /// Pages being read from below just now.
    pub reading: Vec<Range<u64>>,
    /// Whether a write-back of this file is under way; there is one at a time.
    pub writing_back: bool,
    /// What the next reads will want.
    pub ahead: ReadAhead,
    /// `now.blocks` may miss blocks that filled holes.
    pub blocks_unsure: bool,
}

impl File {
    fn new(number: FileNumber) -> Self {
        Self {
            number,
            lock: RwLock::new(),
            loading: Mutex::new(()),
            changed: Signal::default(),
            state: RefCell::new(State {
                presence: Presence::Unknown,
                now: Attributes::default(),
                below: Attributes::default(),
                below_unsure: false,
                size_unsure: false,
                cut_unsure: false,
                pages: BTreeMap::new(),
                digest: 0,
                dirty: BTreeSet::new(),
                reading: Vec::new(),
                writing_back: false,
                ahead: ReadAhead::default(),
                blocks_unsure: false,
            }),
        }
    }
}

impl State {
    /// The file is there, and below has exactly these attributes.
    pub fn present(&mut self, attributes: Attributes) {
        self.presence = Presence::Present;
        self.now = attributes;
        self.below = attributes;
        self.below_unsure = false;
        self.size_unsure = false;
    }

    /// Whether attributes other than the size differ from those below, or may.
    pub fn attributes_differ(&self) -> bool {
        self.below_unsure || AttributeChange::to(&self.now) != AttributeChange::to(&self.below)
    }

    /// Whether anything is newer here than below.
    pub fn unclean(&self) -> bool {
        !self.dirty.is_empty() || self.now.size != self.below.size || self.attributes_differ()
    }

    /// Whether a page is being read from below.
    pub fn is_reading(&self, page: u64) -> bool {
        self.reading.iter().any(|range| range.contains(&page))
    }

    /// A write or truncation with this time took place.
    pub fn modified(&mut self, modified_ns: u64) {
        self.now.modified_ns = modified_ns;
        self.now.changed_ns = modified_ns;
    }
}

/// The table of files by number.
pub(super) struct Files {
    table: HashMap<FileNumber, Rc<File>>,
    /// In order of arrival; may name some that have left.
    order: VecDeque<FileNumber>,
    max: usize,
}

impl Files {
    /// A table that keeps about `max` files of which only attributes are known.
    pub fn new(max: usize) -> Self {
        Self {
            table: HashMap::new(),
            order: VecDeque::new(),
            max,
        }
    }

    /// How many files are known.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// The file of this number, known before or not.
    pub fn entry(&mut self, number: FileNumber) -> Rc<File> {
        if let Some(file) = self.table.get(&number) {
            return Rc::clone(file);
        }
        self.make_room();
        let file = Rc::new(File::new(number));
        self.table.insert(number, Rc::clone(&file));
        self.order.push_back(number);
        file
    }

    fn make_room(&mut self) {
        for _ in 0..FORGET_STEPS_MAX {
            if self.table.len() < self.max && self.order.len() < 2 * self.max {
                return;
            }
            let Some(number) = self.order.pop_front() else {
                return;
            };
            match self.table.get(&number) {
                None => {}
                Some(file) if Rc::strong_count(file) == 1 => {
                    self.table.remove(&number);
                }
                Some(_) => self.order.push_back(number),
            }
        }
    }

    /// All files, which are then known no more.
    pub fn take(&mut self) -> Vec<Rc<File>> {
        self.order.clear();
        core::mem::take(&mut self.table).into_values().collect()
    }

    /// The file was deleted, or turned out not to exist: its number is free for another.
    pub fn remove(&mut self, file: &Rc<File>) {
        if self
            .table
            .get(&file.number)
            .is_some_and(|known| Rc::ptr_eq(known, file))
        {
            self.table.remove(&file.number);
        }
    }
}
