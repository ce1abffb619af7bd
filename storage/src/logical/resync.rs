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

use alloc::vec::Vec;

use super::{Logical, entry::Copy, tally::Tally, volume::Volume};
use crate::{
    BLOCK_BYTES, Error, Result,
    file::{FileNumber, FileStore},
};

/// Most ranges that a store can report: more than its log has records.
const RANGES_MAX: u64 = 1 << 16;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Blocks of a logical file that a store has reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    file: FileNumber,
    first: u64,
    end: u64,
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
        let mut blocks = 0;
        for span in merged(spans) {
            self.resynchronise_span(volume, span, &mut tally).await?;
            blocks += span.end - span.first;
        }
        let Tally {
            rewritten, lost, ..
        } = tally;
        log::info!(
            "resynchronised: {blocks} blocks that were being overwritten, {rewritten} copies \
             rewritten, {lost} blocks lost"
        );
        log::info!(
            target: crate::EVENT,
            r#"{{"event":"resync","blocks":{blocks},"rewritten":{rewritten},"bad":{lost}}}"#
        );
        let is_changed = rewritten > 0 || !volume.mapping.dirty().is_empty();
        match self.take_checkpoint_of(volume).await {
            // All is as it was, and a disk that takes no writes can still be read.
            Err(error) if !is_changed => {
                log::warn!("no checkpoint could be taken after resynchronisation: {error}");
                Ok(())
            }
            taken => taken.map(|_| ()),
        }
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

    /// A copy that refuses what another one has is struck off: it would say something else.
    async fn resynchronise_span(
        &self,
        volume: &Volume,
        span: Span,
        tally: &mut Tally,
    ) -> Result<()> {
        let file = span.file;
        let entry = self.entry(volume, file).await?;
        // Stores may have been taken out meanwhile.
        let mut copies = volume.at_work(&entry.copies);
        let mut blocks = span.first..span.end;
        while let Some((copy, error)) = self
            .equalise_blocks(volume, file, &mut copies, &mut blocks, tally)
            .await?
        {
            log::error!("file {}, block {}: {error} on a copy", file.0, blocks.start);
            self.strike_off(volume, file, copy).await?;
            copies.retain(|it| *it != copy);
        }
        tally.tell(file);
        Ok(())
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
