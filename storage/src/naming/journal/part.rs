//! A part of the surviving memory with a table in it that grows page by page.

use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;

use crate::surviving::{Found, Memory, Opened, RecordId, Table};

/// A table of records, whatever memory it is in.
pub trait Records {
    /// Finds a place for a record, which is free until it is set; `None` if there is no memory for it.
    fn reserve(&mut self) -> Option<RecordId>;
    /// Changes a record.
    fn set(&mut self, id: RecordId, words: &[u64]);
    /// Removes a record.
    fn remove(&mut self, id: RecordId);

    /// Makes a record; `None` if there is no memory for it.
    fn insert(&mut self, words: &[u64]) -> Option<RecordId> {
        let id = self.reserve()?;
        self.set(id, words);
        Some(id)
    }
}

struct Part<M: Memory, const WORDS: usize> {
    memory: M,
    pages: Range<usize>,
    table: Table<M, WORDS>,
}

impl<M: Memory, const WORDS: usize> Records for Part<M, WORDS> {
    fn reserve(&mut self) -> Option<RecordId> {
        if let Some(id) = self.table.reserve() {
            return Some(id);
        }
        let next = self.pages.start + self.table.pages();
        if next >= self.pages.end {
            return None;
        }
        self.table.grow(self.memory.page(next)?);
        self.table.reserve()
    }

    fn set(&mut self, id: RecordId, words: &[u64]) {
        self.table.set(id, words);
    }

    fn remove(&mut self, id: RecordId) {
        self.table.remove(id);
    }
}

/// What an earlier instance left in a part.
pub struct Left<M: Memory, const WORDS: usize> {
    memory: M,
    pages: Range<usize>,
    opened: Option<Opened<M, WORDS>>,
    /// The records that can be read.
    pub records: Vec<(RecordId, [u64; WORDS])>,
    /// How many cannot, at least, with what some of them may have held at some time.
    pub lost: usize,
    /// The latter.
    pub hints: Vec<[u64; WORDS]>,
}

impl<M: Memory + 'static, const WORDS: usize> Left<M, WORDS> {
    /// Reads a part of memory that has `there` pages. Nothing is changed.
    pub fn read(memory: M, there: usize, pages: Range<usize>) -> Self {
        let mut opened = (there > pages.start)
            .then(|| {
                Table::open(memory.clone(), |page| {
                    memory.page((pages.start + page).min(pages.end - 1))
                })
            })
            .flatten();
        let mut left = Self {
            lost: usize::from(there > pages.start && opened.is_none()),
            memory,
            pages,
            records: Vec::new(),
            hints: Vec::new(),
            opened: None,
        };
        if let Some(opened) = &mut opened {
            left.lost += opened.pages_lost;
            for (id, found) in &opened.records {
                match found {
                    Found::Held(record) => left.records.push((*id, *record)),
                    Found::Lost(hint) => {
                        left.lost += 1;
                        left.hints.extend(hint);
                    }
                }
            }
        }
        left.opened = opened;
        left
    }

    /// The table for use: what is lost is free. A new one if there was none; nothing if there is no memory.
    pub fn accept(self) -> Option<Box<dyn Records>> {
        let table = match self.opened {
            Some(opened) => opened.accept(),
            None => Table::new(self.memory.clone(), self.memory.page(self.pages.start)?),
        };
        Some(Box::new(Part {
            memory: self.memory,
            pages: self.pages,
            table,
        }))
    }
}
