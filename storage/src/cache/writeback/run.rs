//! Runs: pages of a file that follow each other, for one call below.

use alloc::vec::Vec;

use super::super::{
    RUN_PAGES_MAX,
    page::{PageRef, page_of, start_of},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::Source,
    checksum::Checksum,
    file::{FileNumber, Write},
    surviving::Memory,
};

/// Pages that follow each other, held stable, with their checksums.
pub(in crate::cache) struct Run<M: Memory> {
    pub offset: u64,
    pub pages: Vec<PageRef<M>>,
    checksums: Vec<Checksum>,
}

impl<M: Memory> Run<M> {
    /// The page behind the last.
    pub fn end(&self) -> u64 {
        page_of(self.offset) + self.pages.len() as u64
    }

    /// Checks the answer to that call: below, a write is made whole or not at all.
    pub fn is_whole(&self, taken: usize) -> Result<()> {
        if taken == self.pages.len() * BLOCK_BYTES {
            Ok(())
        } else {
            Err(Error::Protocol)
        }
    }

    /// The call that writes it.
    pub fn write(&self, file: FileNumber, size: u64, modified_ns: u64) -> Write<'_> {
        let mut data = Source::empty();
        for page in &self.pages {
            data.push_local(&page[..]);
        }
        Write {
            file,
            offset: self.offset,
            data,
            checksums: &self.checksums,
            size,
            modified_ns,
        }
    }
}

/// Adds a page to the last run, or begins another.
pub(in crate::cache) fn add_to<M: Memory>(
    runs: &mut Vec<Run<M>>,
    index: u64,
    page: PageRef<M>,
    checksum: Checksum,
) {
    match runs.last_mut() {
        Some(run) if run.end() == index && run.pages.len() < RUN_PAGES_MAX => {
            run.pages.push(page);
            run.checksums.push(checksum);
        }
        _ => runs.push(Run {
            offset: start_of(index),
            pages: [page].into(),
            checksums: [checksum].into(),
        }),
    }
}

/// Ascending page numbers as runs: first page, count.
pub(in crate::cache) fn runs(indices: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for index in indices {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == index && *count < RUN_PAGES_MAX as u64 => {
                *count += 1;
            }
            _ => runs.push((index, 1)),
        }
    }
    runs
}

const _: () = assert!(RUN_PAGES_MAX * BLOCK_BYTES <= 1 << 20);
