//! Making copies equal again after a crash of the machine (paper, section V-D).
//!
//! ```text
//!   each store ──▶ ranges of physical files that were overwritten in place since the checkpoint
//!                    │ the logical file is an attribute; the mapping must name the copy, too
//!                    ▼
//!   all copies of each block ──▶ those with a checksum error do not count
//!                            ──▶ the first that does is written to all that differ
//!                            ──▶ none: the block is lost, and reads as an error until it is written
//! ```
//!
//! Each store has verified its own blocks against its records, so a torn copy never overwrites a good
//! one, and a copy that no disk was told to write never passes for one. Of two good copies, the
//! older may win: which of two overwrites that nobody synced survives is not promised.
//!
//! When all is equal a checkpoint is taken. From then on the stores go back to equal copies, and a
//! caller that remembers what it wrote since need not have them compared again.

use alloc::{vec, vec::Vec};

use super::{
    Logical,
    copies::EQUALISE_BYTES,
    entry::{Copies, Copy},
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::Sink,
    file::{FileNumber, FileStore},
};

/// Most ranges that a store can report: more than its log has records.
const RANGES_MAX: u64 = 1 << 16;
/// Lost blocks that are named one by one in the log.
const LOST_NAMED_MAX: u64 = 16;
/// Lost blocks that are told to programs, so many at a time.
const LOST_TOLD_MAX: u64 = 4096;
const LOST_TOLD_AT_ONCE: usize = 16;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Blocks of a logical file that a store has reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    file: FileNumber,
    first: u64,
    end: u64,
}

/// What was done.
#[derive(Default)]
struct Tally {
    blocks: u64,
    rewritten: u64,
    lost: u64,
    /// Lost blocks of a file that have not been told.
    untold: Vec<u64>,
}

impl Tally {
    fn lose(&mut self, file: FileNumber, block: u64) {
        self.lost += 1;
        if self.lost <= LOST_NAMED_MAX {
            log::error!(
                "file {}, block {block}: no copy is whole; it reads as an error until it is \
                 written",
                file.0
            );
        }
        if self.lost <= LOST_TOLD_MAX {
            self.untold.push(block);
        }
        if self.untold.len() == LOST_TOLD_AT_ONCE {
            self.tell(file);
        }
    }

    /// Whoever knows names tells them; see the console's `lost`.
    fn tell(&mut self, file: FileNumber) {
        if !self.untold.is_empty() {
            let (file, blocks) = (file.0, core::mem::take(&mut self.untold));
            log::info!(
                target: crate::EVENT,
                r#"{{"event":"bad-blocks","file":{file},"blocks":{blocks:?}}}"#
            );
        }
    }
}

impl<S: FileStore> Logical<S> {
    /// Compares what the stores report, and takes a checkpoint if they reported anything.
    pub(super) async fn resynchronise(&self, volume: &Volume) -> Result<()> {
        let mut spans = Vec::new();
        for store in volume.present().collect::<Vec<_>>() {
            match self.reported(volume, store, &mut spans).await {
                Err(error) if volume.present().count() > 1 => volume.take_out(store, error),
                result => result?,
            }
        }
        if spans.is_empty() {
            return Ok(());
        }
        let mut tally = Tally::default();
        for span in merged(spans) {
            self.resynchronise_span(volume, span, &mut tally).await?;
        }
        let Tally {
            blocks,
            rewritten,
            lost,
            ..
        } = tally;
        log::info!(
            "resynchronised: {blocks} blocks that were being overwritten, {rewritten} copies \
             rewritten, {lost} blocks lost"
        );
        log::info!(
            target: crate::EVENT,
            r#"{{"event":"resync","blocks":{blocks},"rewritten":{rewritten},"bad":{lost}}}"#
        );
        if let Err(error) = self.take_checkpoint_of(volume).await {
            log::warn!("no checkpoint could be taken after resynchronisation: {error}");
        }
        Ok(())
    }

    /// Adds what a store reports.
    async fn reported(&self, volume: &Volume, store: u8, spans: &mut Vec<Span>) -> Result<()> {
        let slot = volume.slot(store).ok_or(Error::Device)?;
        let mut skip = 0;
        let mut last = None;
        while skip < RANGES_MAX {
            let ranges = self
                .stores
                .call(slot, async |store| store.resync_ranges(skip).await)
                .await?;
            if ranges.is_empty() {
                return Ok(());
            }
            skip += ranges.len() as u64;
            for range in ranges {
                let copy = Copy {
                    store,
                    physical: range.file,
                };
                let owner = match last {
                    Some((file, owner)) if file == range.file => owner,
                    _ => self.owner(volume, copy).await?,
                };
                last = Some((range.file, owner));
                if let Some(file) = owner {
                    spans.push(Span {
                        file,
                        first: range.offset / BLOCK,
                        end: range.offset.saturating_add(range.len).div_ceil(BLOCK),
                    });
                }
            }
        }
        Err(Error::Protocol)
    }

    /// The logical file that this is a copy of, if both it and the mapping say so.
    async fn owner(&self, volume: &Volume, copy: Copy) -> Result<Option<FileNumber>> {
        let attributes = self
            .on_one(volume, copy, async |s, file| s.getattr(file).await)
            .await;
        let file = match attributes {
            Ok(attributes) => attributes.logical,
            Err(Error::Corrupt | Error::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let entry = match self.find_entry(volume, file).await {
            Ok(entry) => entry,
            Err(Error::Corrupt) => None,
            Err(error) => return Err(error),
        };
        Ok(entry.and_then(|entry| entry.copies.contains(&copy).then_some(file)))
    }

    async fn resynchronise_span(
        &self,
        volume: &Volume,
        span: Span,
        tally: &mut Tally,
    ) -> Result<()> {
        let most = (EQUALISE_BYTES / BLOCK_BYTES) as u64;
        let mut first = span.first;
        while first < span.end {
            let count = most.min(span.end - first);
            // Stores and copies may have been taken out meanwhile.
            let entry = self.entry(volume, span.file).await?;
            let copies = volume.at_work(&entry.copies);
            if !self.are_equal(volume, &copies, first, count).await {
                for block in first..first + count {
                    self.resynchronise_block(volume, span.file, &copies, block, tally)
                        .await?;
                }
            }
            tally.blocks += count;
            first += count;
        }
        tally.tell(span.file);
        Ok(())
    }

    /// Whether all copies can be read here and are the same.
    async fn are_equal(&self, volume: &Volume, copies: &Copies, first: u64, count: u64) -> bool {
        let mut one = None;
        for &copy in copies {
            let Ok(content) = self.contents(volume, copy, first, count).await else {
                return false;
            };
            if *one.get_or_insert_with(|| content.clone()) != content {
                return false;
            }
        }
        true
    }

    async fn resynchronise_block(
        &self,
        volume: &Volume,
        file: FileNumber,
        copies: &Copies,
        block: u64,
        tally: &mut Tally,
    ) -> Result<()> {
        let mut good = None;
        let mut others = Copies::new();
        for &copy in copies {
            let content = self.contents(volume, copy, block, 1).await;
            let differs = match (&good, content) {
                (None, Ok(content)) => {
                    good = Some((copy, content));
                    false
                }
                (Some((_, good)), Ok(content)) => *good != content,
                (_, Err(_)) => true,
            };
            if differs && others.push(copy).is_err() {
                return Err(Error::Corrupt);
            }
        }
        let Some((good, _)) = good else {
            tally.lose(file, block);
            return Ok(());
        };
        if others.is_empty() {
            return Ok(());
        }
        tally.rewritten += others.len() as u64;
        let range = block * BLOCK..(block + 1) * BLOCK;
        if let Err(error) = self.equalise(volume, good, &others, range).await {
            log::error!("file {}, block {block}: {error} on a copy", file.0);
            for copy in others {
                self.strike_off(volume, file, copy).await?;
            }
        }
        Ok(())
    }

    /// Blocks of one copy, zeros behind its end.
    async fn contents(
        &self,
        volume: &Volume,
        copy: Copy,
        first: u64,
        count: u64,
    ) -> Result<Vec<u8>> {
        let slot = volume.slot(copy.store).ok_or(Error::Device)?;
        let mut bytes = vec![0; count as usize * BLOCK_BYTES];
        let read = self
            .stores
            .call(slot, async |store| {
                store
                    .read(copy.physical, first * BLOCK, Sink::local(&mut bytes))
                    .await
            })
            .await?;
        let len = bytes.len();
        bytes[read.min(len)..].fill(0);
        Ok(bytes)
    }
}

/// The spans in order, each block in one of them.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            Some(last) if last.file == span.file && span.first <= last.end => {
                last.end = last.end.max(span.end);
            }
            _ => merged.push(span),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_in_one_span_however_often_it_was_reported() {
        let span = |file, first, end| Span {
            file: FileNumber(file),
            first,
            end,
        };
        let spans = [
            (2, 0, 1),
            (1, 4, 6),
            (1, 0, 4),
            (1, 1, 2),
            (1, 8, 9),
            (2, 0, 1),
        ];
        let found = merged(
            spans
                .map(|(file, first, end)| span(file, first, end))
                .into(),
        );
        assert_eq!(found, [span(1, 0, 6), span(1, 8, 9), span(2, 0, 1)]);
    }
}
