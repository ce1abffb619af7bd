//! The rules, in memory that outlives the filter: a rule may end the group that the filter is part of,
//! and must go on counting where it was.

use alloc::vec::Vec;

use super::rules::{Armed, RULES_MAX};
use crate::surviving::{Found, Memory, RecordId, Table, WORD_BYTES};

/// Words of a record: how long the rule is, encoded, and the rule.
const WORDS: usize = 18;
const BYTES: usize = (WORDS - 1) * WORD_BYTES;

/// Pages that hold [`RULES_MAX`] rules.
pub const PAGES: usize = (RULES_MAX + 1).div_ceil(Table::<NoMemory, WORDS>::RECORDS_A_PAGE);

/// Rules and where each is kept.
pub struct Kept<M: Memory> {
    table: Table<M, WORDS>,
    rules: Vec<(RecordId, Armed)>,
}

impl<M: Memory> Kept<M> {
    /// The rules that an instance before has left, and how many more there were that cannot be read any
    /// more. `None` if there is no memory.
    pub fn open(memory: M) -> Option<(Self, usize)> {
        let left = memory.left();
        let mut lost = 0;
        let mut kept = Vec::new();
        let opened = Table::open(memory.clone(), |index| {
            (index < left).then(|| memory.page(index)).flatten()
        });
        let table = match opened {
            Some(opened) => {
                lost += opened.pages_lost;
                for (id, found) in &opened.records {
                    match found {
                        Found::Held(words) => kept.push((*id, decode(words))),
                        Found::Lost(_) => lost += 1,
                    }
                }
                opened.accept()
            }
            None => {
                lost += usize::from(left > 0);
                Table::new(memory.clone(), memory.page(0)?)
            }
        };
        let mut this = Self {
            table,
            rules: Vec::new(),
        };
        while this.table.pages() < PAGES {
            this.table.grow(memory.page(this.table.pages())?);
        }
        for (id, rule) in kept {
            match rule {
                Some(rule) => this.rules.push((id, rule)),
                None => {
                    lost += 1;
                    this.table.remove(id);
                }
            }
        }
        this.rules.sort_by_key(|(_, rule)| rule.number);
        Some((this, lost))
    }

    /// The rules as they were kept last.
    pub fn rules(&self) -> Vec<Armed> {
        self.rules.iter().map(|&(_, rule)| rule).collect()
    }

    /// Keeps these rules; only what has changed is written.
    pub fn keep(&mut self, rules: &[Armed]) {
        let gone = |(id, old): &(RecordId, Armed)| {
            let goes = !rules.iter().any(|rule| rule.number == old.number);
            goes.then_some(*id)
        };
        let removed: Vec<RecordId> = self.rules.iter().filter_map(gone).collect();
        self.rules.retain(|(id, _)| !removed.contains(id));
        removed.into_iter().for_each(|id| self.table.remove(id));
        for rule in rules {
            let Some(words) = encode(rule) else { continue };
            match self.rules.iter_mut().find(|it| it.1.number == rule.number) {
                Some((_, old)) if old == rule => {}
                Some((id, old)) => {
                    *old = *rule;
                    self.table.set(*id, &words);
                }
                None => {
                    if let Some(id) = self.table.insert(&words) {
                        self.rules.push((id, *rule));
                    }
                }
            }
        }
    }
}

fn encode(rule: &Armed) -> Option<[u64; WORDS]> {
    let mut bytes = [0; BYTES];
    let len = postcard::to_slice(rule, &mut bytes).ok()?.len();
    let mut words = [0; WORDS];
    words[0] = len as u64;
    for (word, bytes) in words[1..].iter_mut().zip(bytes.chunks_exact(WORD_BYTES)) {
        *word = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

fn decode(words: &[u64; WORDS]) -> Option<Armed> {
    let mut bytes = [0; BYTES];
    for (bytes, word) in bytes.chunks_exact_mut(WORD_BYTES).zip(&words[1..]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let len = usize::try_from(words[0]).ok()?;
    postcard::from_bytes(bytes.get(..len)?).ok()
}

/// Stands in for a memory where only the size of records matters.
#[derive(Clone)]
struct NoMemory;

impl Memory for NoMemory {
    type Page = crate::surviving::HeapPage;

    fn left(&self) -> usize {
        0
    }
    fn page(&self, _: usize) -> Option<Self::Page> {
        None
    }
}
