//! Reading what an earlier instance has left, and verifying it. Nothing is changed by that: whoever finds a
//! loss says so first, and only then accepts what is there.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    vec::Vec,
};

use super::{
    Ledger,
    map::{Holds, Map, TABLE_PAGE, is_reserved},
    record::{FileRecord, VolumeRecord, WORDS},
};
use crate::{
    cache::page::{Home, PageRef, pages_in},
    checksum::{Algorithm, Checksum},
    file::FileNumber,
    surviving::{Found, Memory, Opened, RecordId, Table},
};

/// What an earlier instance has left.
pub(in crate::cache) enum Left<M: Memory> {
    /// No volume was in use.
    Nothing,
    /// All that it had.
    Whole(Restored<M>),
    /// What cannot be relied on.
    Damaged {
        /// What is wrong.
        reason: &'static str,
        /// Files that have changed since the checkpoint.
        changed: Changed,
    },
}

/// Files that have changed since the checkpoint.
#[derive(Default)]
pub(in crate::cache) struct Changed {
    /// Those that are known.
    pub files: BTreeSet<FileNumber>,
    /// There are no others.
    pub are_all: bool,
}

/// What an earlier instance had.
pub(in crate::cache) struct Restored<M: Memory> {
    /// The volume.
    pub volume: VolumeRecord,
    /// Files that have changed since the checkpoint, each with its pages.
    pub files: Vec<(RecordId, FileRecord, Vec<RestoredPage<M>>)>,
}

/// A page of a file that is newer than the checkpoint.
pub(in crate::cache) struct RestoredPage<M: Memory> {
    /// Which of the file.
    pub index: u64,
    /// The page.
    pub page: PageRef<M>,
    /// Of what it should hold.
    pub checksum: Checksum,
    /// Of its entry.
    pub guard: u64,
    /// It holds something else.
    pub is_lost: bool,
}

/// An entry of the map.
#[derive(Clone, Copy)]
struct Entry {
    number: u32,
    index: u64,
    checksum: Checksum,
    guard: u64,
}

/// The memory while it is being read.
pub(in crate::cache) struct Reading<M: Memory> {
    memory: M,
    home: Rc<Home<M>>,
    map: Map<M>,
    opened: Option<Opened<M, WORDS>>,
    /// Where the record of the volume is.
    volume: Option<RecordId>,
    /// Records of earlier epochs.
    void: Vec<RecordId>,
    /// Pages that hold something.
    used: BTreeSet<u32>,
}

impl<M: Memory> Reading<M> {
    /// Reads all of it. The ledger will have `pages_max` pages for data at most.
    ///
    /// # Panics
    ///
    /// If somebody else uses the memory.
    pub fn new(memory: M, pages_max: usize) -> (Self, Left<M>) {
        let map = Map::open(memory.clone()).expect("nobody else uses the memory");
        let mut reading = Self {
            home: Home::new(memory.clone(), pages_max, is_reserved),
            map,
            memory,
            opened: None,
            volume: None,
            void: Vec::new(),
            used: BTreeSet::new(),
        };
        let left = reading.read();
        (reading, left)
    }

    fn read(&mut self) -> Left<M> {
        if self.memory.left() == 0 {
            return Left::Nothing;
        }
        let mut tables = BTreeMap::new();
        for number in self.numbers() {
            if let Some(Holds::Table(index)) = self.map.get(number, 0) {
                tables.insert(index as usize, number);
            }
        }
        tables.insert(0, TABLE_PAGE);
        let memory = &self.memory;
        let page = |index| memory.page(*tables.get(&index)? as usize);
        let Some(opened) = Table::open(memory.clone(), page) else {
            return Left::Damaged {
                reason: "its records are unreadable",
                changed: Changed::default(),
            };
        };
        // One that the table had not taken yet when a death came holds nothing.
        let taken = tables.range(..opened.pages());
        self.used.extend(taken.map(|(_, number)| number));
        let left = self
            .look_at(&opened)
            .unwrap_or_else(|reason| Left::Damaged {
                reason,
                changed: Changed::of(&opened),
            });
        self.opened = Some(opened);
        left
    }

    /// All pages but those of the map.
    fn numbers(&self) -> impl Iterator<Item = u32> + use<M> {
        (0..self.memory.left() as u32).filter(|&number| !is_reserved(number))
    }

    fn look_at(&mut self, opened: &Opened<M, WORDS>) -> Result<Left<M>, &'static str> {
        if opened.pages_lost > 0 {
            return Err("a page of records was overwritten");
        }
        if opened.marker_lost {
            ::log::warn!("cache: a marker in its memory was overwritten; nothing is lost by that");
        }
        let mut volume = None;
        for (id, found) in &opened.records {
            let Found::Held(words) = found else {
                return Err("a record was overwritten");
            };
            if let Some(record) = VolumeRecord::from_words(words)
                && volume.replace((*id, record)).is_some()
            {
                return Err("there are two records of the volume");
            }
        }
        let Some((id, volume)) = volume else {
            return Ok(Left::Nothing);
        };
        self.volume = Some(id);
        let mut files = BTreeMap::new();
        for (id, found) in &opened.records {
            let Found::Held(words) = found else { continue };
            match FileRecord::from_words(words) {
                Some((file, epoch)) if epoch == volume.epoch => {
                    if files.insert(file.number, (*id, file)).is_some() {
                        return Err("there are two records of a file");
                    }
                }
                Some(_) => self.void.push(*id),
                None if Some(*id) == self.volume => {}
                None => return Err("a record is of no known kind"),
            }
        }
        let mut entries: BTreeMap<FileNumber, Vec<Entry>> = BTreeMap::new();
        for number in self.numbers() {
            if let Some(Holds::Data {
                file,
                index,
                checksum,
                guard,
            }) = self.map.get(number, volume.epoch)
            {
                entries.entry(file).or_default().push(Entry {
                    number,
                    index,
                    checksum,
                    guard,
                });
            }
        }
        let algorithm = volume.attachment.algorithm;
        let mut restored = Vec::new();
        for (number, (id, file)) in files {
            let entries = entries.remove(&number).unwrap_or_default();
            let pages = self.pages_of(&file, entries, algorithm)?;
            restored.push((id, file, pages));
        }
        Ok(Left::Whole(Restored {
            volume,
            files: restored,
        }))
    }

    /// The pages of a file: those that its record counts. There may be one more, of a write that the death
    /// cut short, and any beyond the end, of a truncation.
    fn pages_of(
        &mut self,
        file: &FileRecord,
        mut entries: Vec<Entry>,
        algorithm: Algorithm,
    ) -> Result<Vec<RestoredPage<M>>, &'static str> {
        let pages = pages_in(file.now.map_or(0, |now| now.size));
        entries.retain(|entry| entry.index < pages);
        let sum = |entries: &[Entry]| {
            let guards = entries.iter().map(|entry| entry.guard);
            guards.fold(0, u64::wrapping_add)
        };
        let excess = sum(&entries).wrapping_sub(file.digest);
        if excess != 0 {
            entries.retain(|entry| entry.guard != excess);
        }
        entries.sort_unstable_by_key(|entry| entry.index);
        let twice = entries
            .windows(2)
            .any(|pair| pair[0].index == pair[1].index);
        if sum(&entries) != file.digest || twice {
            return Err("the map of its pages was overwritten");
        }
        let restore = |entry: Entry| {
            let page = self.home.page(entry.number)?;
            let is_lost = algorithm.of(&page[..]) != entry.checksum;
            self.used.insert(entry.number);
            Some(RestoredPage {
                index: entry.index,
                page,
                checksum: entry.checksum,
                guard: entry.guard,
                is_lost,
            })
        };
        let restored: Option<Vec<_>> = entries.into_iter().map(restore).collect();
        restored.ok_or("pages are missing")
    }

    /// The ledger with what is there. Pages and records that hold nothing of worth are free.
    pub fn accept(mut self, volume: &VolumeRecord) -> Ledger<M> {
        let Some(opened) = self.opened.take() else {
            return self.discard();
        };
        let mut table = opened.accept();
        for number in self.numbers() {
            if !self.used.contains(&number) {
                self.map.clear(number);
            }
        }
        for id in self.void {
            table.remove(id);
        }
        let left = self.memory.left() as u32;
        self.home.begin(left, |number| self.used.contains(&number));
        Ledger {
            memory: self.memory,
            home: self.home,
            map: self.map,
            table,
            volume: self.volume,
            epoch: volume.epoch,
            is_off: false,
            is_incomplete: false,
        }
    }

    /// The ledger with nothing in it, whatever is there. Every page has been let go of.
    ///
    /// # Panics
    ///
    /// If there is no memory for a single record.
    #[must_use]
    pub fn discard(mut self) -> Ledger<M> {
        // First of all the record of the volume goes: without it the rest counts for nothing.
        drop(self.opened.take());
        let first = self.memory.page(TABLE_PAGE as usize);
        let first = first.expect("there is memory for the ledger");
        let table = Table::new(self.memory.clone(), first);
        for number in self.numbers() {
            self.map.clear(number);
        }
        let left = self.memory.left().max(TABLE_PAGE as usize + 1) as u32;
        self.home.begin(left, |_| false);
        Ledger {
            memory: self.memory,
            home: self.home,
            map: self.map,
            table,
            volume: None,
            epoch: 0,
            is_off: false,
            is_incomplete: false,
        }
    }
}

impl Changed {
    /// As far as the records tell. Each that cannot be read may be one of a file.
    fn of<M: Memory>(opened: &Opened<M, WORDS>) -> Self {
        let held = opened.records.iter().filter_map(|(_, found)| match found {
            Found::Held(words) => VolumeRecord::from_words(words),
            Found::Lost(_) => None,
        });
        // Those of earlier epochs are in the checkpoint.
        let epochs: BTreeSet<u64> = held.map(|volume| volume.epoch).collect();
        let mut changed = Self {
            files: BTreeSet::new(),
            are_all: opened.pages_lost == 0 && !epochs.is_empty(),
        };
        for (_, found) in &opened.records {
            let (words, is_held) = match found {
                Found::Held(words) => (Some(words), true),
                Found::Lost(hint) => (hint.as_ref(), false),
            };
            let file = words.and_then(FileRecord::from_words);
            let is_known = file.is_some() || words.and_then(VolumeRecord::from_words).is_some();
            changed.are_all &= is_held && is_known;
            if let Some((file, epoch)) = file
                && (!is_held || epochs.is_empty() || epochs.contains(&epoch))
            {
                changed.files.insert(file.number);
            }
        }
        changed
    }
}
