//! Records of a fixed size in surviving memory, each updated as a whole or not at all.
//!
//! ```text
//!   page      marker │ page number, of how many words │ record 0 │ record 1 │ …
//!   record    slot for even versions │ slot for odd versions
//!   slot      version, in use or free, length │ checksum of all the rest and of the place │ payload
//! ```
//!
//! A payload has up to `WORDS` words, and only as many as it has are stored and checksummed: those behind are
//! zero, whatever the slot held before.
//!
//! **Update.** The marker names the record; the slot that holds the older version is overwritten with the
//! next version; the marker is cleared. So a record whose newest slot is torn while the marker names it has
//! not been updated yet, and the other slot is the record. Two good slots hold versions that follow each
//! other, and the newer one counts.
//!
//! Anything else was written by mistake: a torn slot that no marker names, versions that do not follow
//! each other, a page that says it is another. Such a record is [`Found::Lost`], with what its other slot
//! holds as a hint of what it was about, never as its value: it may be older than the loss.
//!
//! Record 0 of page 0 is the table's own: how many pages it has. So a page that was cleared by mistake is
//! not taken for one that was never used.
//!
//! *Why two slots and not a log of updates?* A log must be cleaned while the instance may die. *Why
//! checksums beside the marker?* The marker tells what may be torn; only a checksum tells that something is.

use alloc::vec::Vec;

use super::{Memory, PAGE_WORDS, digest, word};

/// Which record: its page, and where in that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(u32);

/// What was found of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<const WORDS: usize> {
    /// It holds this.
    Held([u64; WORDS]),
    /// It was overwritten by mistake. What it may have held at some time, if that can be read.
    Lost(Option<[u64; WORDS]>),
}

/// A table as an earlier instance left it, read and not changed: should this instance die before it has
/// said what is lost, the next one finds the same.
pub struct Opened<M: Memory, const WORDS: usize> {
    /// Every record that is not free.
    pub records: Vec<(RecordId, Found<WORDS>)>,
    /// Pages that were there once and hold no records any more: all that were in them are lost.
    pub pages_lost: usize,
    /// Whether a marker was overwritten by mistake; nothing is lost by that.
    pub marker_lost: bool,
    table: Table<M, WORDS>,
    repairs: Vec<Repair>,
}

/// What is to be made good before a table is used.
enum Repair {
    /// An update that has not happened left a torn slot.
    Torn(RecordId),
    /// Nothing in the record is of any worth.
    Lost(RecordId),
    /// Nor in the page.
    Page(usize),
    /// The marker of the page is to be cleared.
    Marker(usize),
}

/// A table of records of `WORDS` words.
pub struct Table<M: Memory, const WORDS: usize> {
    memory: M,
    pages: Vec<M::Page>,
    /// The version of each record, kept here too: what is in the pages is not trusted.
    versions: Vec<u64>,
    free: Vec<RecordId>,
}

/// Words before the records of a page.
const HEADER_WORDS: usize = 2;
/// The word that names the record that is being updated.
const MARKER: usize = 0;
/// The word that says which page it is.
const IDENTITY: usize = 1;
/// Where in a slot its head is, its checksum, and its payload.
const HEAD: usize = 0;
const CHECKSUM: usize = 1;
const PAYLOAD: usize = 2;
/// Bits of a head below the version: how long the payload is and one more, or zero for a free record.
const LENGTH_BITS: u32 = 8;
/// The record that says how many pages there are.
const OWN: RecordId = RecordId(0);
/// What tells slots, page numbers and markers from each other and from anything else.
const SLOT_SEED: u64 = 0x7461_626c_6520_736c;
const PAGE_SEED: u64 = 0x7461_626c_6520_7067;
const MARKER_SEED: u64 = 0x7461_626c_6520_6d61;

/// A slot that holds what was written to it.
#[derive(Clone, Copy)]
struct Slot<const WORDS: usize> {
    version: u64,
    /// `None`: the record is free.
    payload: Option<[u64; WORDS]>,
}

impl<M: Memory, const WORDS: usize> Table<M, WORDS> {
    const SLOT_WORDS: usize = {
        assert!(WORDS > 0 && WORDS + 1 < 1 << LENGTH_BITS);
        PAYLOAD + WORDS
    };

    /// Records in a page. Of all of them the first one of the first page is the table's own.
    pub const RECORDS_A_PAGE: usize = (PAGE_WORDS - HEADER_WORDS) / (2 * Self::SLOT_WORDS);

    /// An empty table, with `page` as its first. What the page held is lost.
    pub fn new(memory: M, page: M::Page) -> Self {
        let mut table = Self {
            memory,
            pages: Vec::new(),
            versions: Vec::new(),
            free: Vec::new(),
        };
        let first = table.push(page);
        table.reset_page(first);
        table.free.retain(|&id| id != OWN);
        table.update(OWN, Some(&[1]));
        table
    }

    /// The table as an earlier instance left it. `page` gives its pages, by their numbers from zero on;
    /// any page in the place of one that cannot be found.
    ///
    /// `None`: the first page is no table's, or one that cannot be read; or there is no page. Then
    /// everything in it is lost.
    pub fn open(
        memory: M,
        mut page: impl FnMut(usize) -> Option<M::Page>,
    ) -> Option<Opened<M, WORDS>> {
        let first = page(0)?;
        if word(&first, IDENTITY) != Self::identity(0) {
            return None;
        }
        let mut opened = Opened {
            table: Self {
                memory,
                pages: Vec::new(),
                versions: Vec::new(),
                free: Vec::new(),
            },
            repairs: Vec::new(),
            records: Vec::new(),
            pages_lost: 0,
            marker_lost: false,
        };
        let own = opened.look_at(first)?;
        for index in 1..usize::try_from(own).ok()? {
            opened.look_at(page(index)?);
        }
        Some(opened)
    }

    /// How many pages it has.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Adds a page, whatever it holds.
    pub fn grow(&mut self, page: M::Page) {
        let index = self.push(page);
        self.reset_page(index);
        self.update(OWN, Some(&[self.pages.len() as u64]));
    }

    /// Finds a place for a record. It is free until it is set, and nobody else's until it is removed.
    /// `None` if the table needs another page first.
    pub fn reserve(&mut self) -> Option<RecordId> {
        self.free.pop()
    }

    /// Makes a record of up to `WORDS` words; `None` if the table needs another page first.
    pub fn insert(&mut self, payload: &[u64]) -> Option<RecordId> {
        let id = self.reserve()?;
        self.set(id, payload);
        Some(id)
    }

    /// Changes a record, to up to `WORDS` words.
    pub fn set(&mut self, id: RecordId, payload: &[u64]) {
        self.update(id, Some(payload));
    }

    /// Removes a record.
    pub fn remove(&mut self, id: RecordId) {
        self.update(id, None);
        self.free.push(id);
    }

    fn identity(page: usize) -> u64 {
        digest(PAGE_SEED, &[page as u64, WORDS as u64])
    }

    fn marker(place: usize) -> u64 {
        // Whatever is written by mistake names no record.
        let place = place as u64;
        (digest(MARKER_SEED, &[place]) << 16) | place
    }

    /// Page and place in the page.
    fn find(id: RecordId) -> (usize, usize) {
        let id = id.0 as usize;
        (id / Self::RECORDS_A_PAGE, id % Self::RECORDS_A_PAGE)
    }

    fn id(page: usize, place: usize) -> RecordId {
        RecordId((page * Self::RECORDS_A_PAGE + place) as u32)
    }

    /// Where the slot for a version begins.
    fn slot_start(place: usize, version: u64) -> usize {
        HEADER_WORDS + (2 * place + (version & 1) as usize) * Self::SLOT_WORDS
    }

    fn checksum(id: RecordId, head: u64, payload: &[u64]) -> u64 {
        digest(SLOT_SEED ^ (u64::from(id.0) << 32) ^ head, payload)
    }

    /// Stores a slot. A death in the middle leaves it torn.
    fn store_slot(&mut self, id: RecordId, version: u64, payload: Option<&[u64]>) {
        let (page, place) = Self::find(id);
        let start = Self::slot_start(place, version);
        let length = payload.map_or(0, |payload| payload.len() as u64 + 1);
        let payload = payload.unwrap_or(&[]);
        assert!(payload.len() <= WORDS, "a record has room for its words");
        let head = version << LENGTH_BITS | length;
        let page = &mut self.pages[page];
        self.memory.store(page, start + HEAD, head);
        let checksum = Self::checksum(id, head, payload);
        self.memory.store(page, start + CHECKSUM, checksum);
        for (at, &word) in payload.iter().enumerate() {
            self.memory.store(page, start + PAYLOAD + at, word);
        }
    }

    /// What a slot holds; `None` if it is torn.
    fn load_slot(&self, id: RecordId, parity: u64) -> Option<Slot<WORDS>> {
        let (page, place) = Self::find(id);
        let (page, start) = (&self.pages[page], Self::slot_start(place, parity));
        let head = word(page, start + HEAD);
        let version = head >> LENGTH_BITS;
        let length = (head & ((1 << LENGTH_BITS) - 1)) as usize;
        if version & 1 != parity || length > WORDS + 1 {
            return None;
        }
        let mut payload = [0; WORDS];
        let used = &mut payload[..length.saturating_sub(1)];
        for (at, place) in used.iter_mut().enumerate() {
            *place = word(page, start + PAYLOAD + at);
        }
        let is_whole = word(page, start + CHECKSUM) == Self::checksum(id, head, used);
        is_whole.then_some(Slot {
            version,
            payload: (length > 0).then_some(payload),
        })
    }

    fn mark(&mut self, id: RecordId, is_updated: bool) {
        let (page, place) = Self::find(id);
        let marker = if is_updated { Self::marker(place) } else { 0 };
        self.memory.store(&mut self.pages[page], MARKER, marker);
    }

    /// Gives a record its next version.
    fn update(&mut self, id: RecordId, payload: Option<&[u64]>) {
        let version = self.versions[id.0 as usize] + 1;
        self.versions[id.0 as usize] = version;
        self.mark(id, true);
        self.store_slot(id, version, payload);
        self.mark(id, false);
    }

    /// Makes a record free, whatever it holds. A death in the middle leaves it lost, or free.
    fn reset(&mut self, id: RecordId) {
        let (page, place) = Self::find(id);
        for parity in [0, 1] {
            let checksum = Self::slot_start(place, parity) + CHECKSUM;
            let wrong = !word(&self.pages[page], checksum);
            if self.load_slot(id, parity).is_some() {
                self.memory.store(&mut self.pages[page], checksum, wrong);
            }
        }
        self.mark(id, true);
        self.store_slot(id, 0, None);
        self.store_slot(id, 1, None);
        self.mark(id, false);
        self.versions[id.0 as usize] = 1;
        self.free.push(id);
    }

    /// Makes all records of a page free. The page is of no table until its number is in it, which is last.
    fn reset_page(&mut self, index: usize) {
        self.memory.store(&mut self.pages[index], IDENTITY, 0);
        for place in (0..Self::RECORDS_A_PAGE).rev() {
            self.reset(Self::id(index, place));
        }
        let identity = Self::identity(index);
        self.memory
            .store(&mut self.pages[index], IDENTITY, identity);
    }

    /// Adds a page; returns its number. It counts only once the table's own record says so.
    fn push(&mut self, page: M::Page) -> usize {
        self.pages.push(page);
        let records = self.pages.len() * Self::RECORDS_A_PAGE;
        self.versions.resize(records, 0);
        self.pages.len() - 1
    }
}

impl<M: Memory, const WORDS: usize> Opened<M, WORDS> {
    /// How many pages it has.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.table.pages()
    }

    /// The table, ready for use: records that are lost are free. Whoever calls this has said what is.
    #[must_use]
    pub fn accept(mut self) -> Table<M, WORDS> {
        let table = &mut self.table;
        // What a marker names comes first: making good another record of the page moves the marker.
        self.repairs
            .sort_by_key(|repair| !matches!(repair, Repair::Torn(_)));
        for repair in &self.repairs {
            match *repair {
                // The same once more, as a next version.
                Repair::Torn(id) => {
                    let held = |found: &&(RecordId, _)| found.0 == id;
                    let own = [table.pages.len() as u64];
                    let payload = match self.records.iter().find(held) {
                        Some((_, Found::Held(payload))) => Some(&payload[..]),
                        _ => (id == OWN).then_some(&own[..]),
                    };
                    table.update(id, payload);
                }
                Repair::Lost(id) => table.reset(id),
                Repair::Page(index) => table.reset_page(index),
                Repair::Marker(index) => table.memory.store(&mut table.pages[index], MARKER, 0),
            }
        }
        self.table
    }

    /// Reads the next page. Returns how many there are, if it is the first.
    fn look_at(&mut self, page: M::Page) -> Option<u64> {
        let marker = word(&page, MARKER);
        let is_ours = word(&page, IDENTITY) == Table::<M, WORDS>::identity(self.table.pages.len());
        let index = self.table.push(page);
        if !is_ours {
            self.pages_lost += 1;
            self.repairs.push(Repair::Page(index));
            return None;
        }
        let places = 0..Table::<M, WORDS>::RECORDS_A_PAGE;
        let is_named = |place: &usize| marker == Table::<M, WORDS>::marker(*place);
        let updated = places.clone().find(is_named);
        self.marker_lost |= marker != 0 && updated.is_none();
        let mut pages = None;
        for place in places {
            let id = Table::<M, WORDS>::id(index, place);
            match self.record(id, updated == Some(place)) {
                Some(Found::Held(payload)) if id == OWN => pages = Some(payload[0]),
                // Without it, what there is besides is not known.
                _ if id == OWN => return None,
                Some(found) => self.records.push((id, found)),
                None => self.table.free.push(id),
            }
        }
        if marker != 0 {
            self.repairs.push(Repair::Marker(index));
        }
        pages
    }

    /// What a record holds; `None` if it is free.
    fn record(&mut self, id: RecordId, is_updated: bool) -> Option<Found<WORDS>> {
        let slots = [0, 1].map(|parity| self.table.load_slot(id, parity));
        let held = match slots {
            [Some(even), Some(odd)] if even.version.abs_diff(odd.version) == 1 => {
                if even.version > odd.version {
                    even
                } else {
                    odd
                }
            }
            [Some(held), None] | [None, Some(held)] if is_updated => {
                self.repairs.push(Repair::Torn(id));
                held
            }
            [even, odd] => {
                self.repairs.push(Repair::Lost(id));
                let newer = even.into_iter().chain(odd).max_by_key(|slot| slot.version);
                return Some(Found::Lost(newer.and_then(|slot| slot.payload)));
            }
        };
        self.table.versions[id.0 as usize] = held.version;
        held.payload.map(Found::Held)
    }
}
