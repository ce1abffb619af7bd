//! Making copies equal that may differ: after a change that not all took, and after a crash of the machine.
//!
//! ```text
//!   16 blocks of all copies ──▶ all the same: nothing to be done
//!                           ──▶ block by block: the first copy that can be read is the source;
//!                               its contents, in hand, go to those that differ or cannot be read
//! ```
//!
//! What a target says to it decides what becomes of the target, and never of the source: a store that fails
//! is taken out, a copy whose metadata are corrupt is struck off. A source that cannot be read is a target
//! of the next one. Only what a copy *refuses* (no space, no memory) is left to the caller.
//!
//! *Why compare, and not write?* To write everything would make blocks of holes, and take room that a full
//! store does not have. *Why not put it off to the next sync?* On a full volume that can be thousands of
//! files, and what is written meanwhile would have to be told from what must not be there.

use alloc::{vec, vec::Vec};
use core::ops::Range;

use super::{
    Logical,
    copies::{Blame, Outcomes, Refused, blame, checksums},
    entry::{Copies, Copy},
    tally::Tally,
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Result,
    buffer::{Sink, Source},
    file::{AttributeChange, Attributes, FileNumber, FileStore, Write},
};

/// Blocks compared at a time.
const COMPARED_AT_ONCE: u64 = 16;

const BLOCK: u64 = BLOCK_BYTES as u64;

impl<S: FileStore> Logical<S> {
    /// Takes a change of `range` (in bytes) back that one copy refused, and ends one that stopped half-way:
    /// the copies get the size, the attributes and the contents of the shortest, of equals of the one
    /// that refused. If that is refused, another one is tried as the one to go by.
    ///
    /// The caller has the file for himself. False if no way is left to make the copies equal.
    pub(super) async fn undo(
        &self,
        volume: &Volume,
        file: FileNumber,
        refused: Copy,
        range: Range<u64>,
    ) -> Result<bool> {
        let entry = self.entry(volume, file).await?;
        let mut copies = volume.at_work(&entry.copies);
        if copies.len() < 2 {
            return Ok(true);
        }
        copies.sort_by_key(|copy| *copy != refused);
        let mut sizes: Vec<(u64, Copy)> = self
            .on_all(volume, &copies, async |s, file| s.getattr(file).await)
            .await
            .into_iter()
            .filter_map(|(copy, attributes)| Some((attributes.ok()?.size, copy)))
            .collect();
        sizes.sort_by_key(|&(size, _)| size);
        for &(_, good) in &sizes {
            copies.sort_by_key(|copy| *copy != good);
            let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
            match self.equalise(volume, file, &mut copies, blocks).await? {
                None => return Ok(true),
                Some((copy, error)) => log::warn!(
                    "file {}: {error} on its copy on part {} of the volume, which is to become as another one",
                    file.0,
                    copy.store
                ),
            }
        }
        Ok(false)
    }

    /// Makes sizes, blocks and attributes those of the first copy.
    async fn equalise(
        &self,
        volume: &Volume,
        file: FileNumber,
        copies: &mut Copies,
        mut blocks: Range<u64>,
    ) -> Result<Refused> {
        let Some(&good) = copies.first() else {
            return Ok(None);
        };
        let getattr = async |s: &S, file| s.getattr(file).await;
        let attributes = match self.on_one(volume, good, getattr).await {
            Ok(attributes) => attributes,
            Err(error) => return Ok(Some((good, error))),
        };
        let Attributes {
            size, modified_ns, ..
        } = attributes;
        let others = others(copies);
        let outcomes = self
            .on_all(volume, &others, async |store, file| {
                if store.getattr(file).await?.size == size {
                    return Ok(());
                }
                store.truncate(file, size, modified_ns).await
            })
            .await;
        let refused = self.judge(volume, file, copies, outcomes).await?;
        if refused.is_some() {
            return Ok(refused);
        }
        blocks.end = blocks.end.min(size.div_ceil(BLOCK));
        let mut tally = Tally::default();
        let refused = self
            .equalise_blocks(volume, file, copies, &mut blocks, &mut tally)
            .await?;
        tally.tell(file);
        if refused.is_some() {
            return Ok(refused);
        }
        let change = AttributeChange::to(&attributes);
        let outcomes = self
            .on_all(volume, &self::others(copies), async |store, file| {
                store.setattr(file, &change).await
            })
            .await;
        self.judge(volume, file, copies, outcomes).await
    }

    /// Makes blocks of the copies equal that have the same size. `blocks` begins behind what is done, also
    /// if a copy refused; `copies` loses those that are not kept up.
    pub(super) async fn equalise_blocks(
        &self,
        volume: &Volume,
        file: FileNumber,
        copies: &mut Copies,
        blocks: &mut Range<u64>,
        tally: &mut Tally,
    ) -> Result<Refused> {
        while blocks.start < blocks.end {
            let end = blocks.end.min(blocks.start + COMPARED_AT_ONCE);
            let count = end - blocks.start;
            if self.are_equal(volume, copies, blocks.start, count).await {
                blocks.start = end;
            }
            while blocks.start < end {
                let refused = self
                    .equalise_block(volume, file, copies, blocks.start, tally)
                    .await?;
                if refused.is_some() {
                    return Ok(refused);
                }
                blocks.start += 1;
            }
        }
        Ok(None)
    }

    /// Whether all copies can be read here and are the same.
    async fn are_equal(&self, volume: &Volume, copies: &[Copy], first: u64, count: u64) -> bool {
        let mut one = None;
        for &copy in copies {
            let Ok(contents) = self.contents(volume, copy, first, count).await else {
                return false;
            };
            if let Some(one) = &one {
                if *one != contents {
                    return false;
                }
            } else {
                one = Some(contents);
            }
        }
        true
    }

    async fn equalise_block(
        &self,
        volume: &Volume,
        file: FileNumber,
        copies: &mut Copies,
        block: u64,
        tally: &mut Tally,
    ) -> Result<Refused> {
        let mut good = None;
        let (mut others, mut unreadable) = (Vec::new(), Vec::new());
        for &copy in copies.iter() {
            match (self.contents(volume, copy, block, 1).await, &good) {
                (Ok(contents), None) => good = Some(contents),
                (Ok(contents), Some(good)) if contents == *good => {}
                (Ok(_), _) => others.push(copy),
                (Err(_), _) => {
                    others.push(copy);
                    unreadable.push(copy);
                }
            }
        }
        let Some(good) = good else {
            tally.lose(file, block);
            return Ok(None);
        };
        if others.is_empty() {
            return Ok(None);
        }
        let checksums = checksums(volume, &good);
        let mut outcomes = self
            .on_all(volume, &others, async |store, file| {
                let Attributes {
                    size,
                    modified_ns,
                    changed_ns,
                    ..
                } = store.getattr(file).await?;
                let write = Write {
                    file,
                    offset: block * BLOCK,
                    data: Source::local(&good),
                    checksums: &checksums,
                    size,
                    modified_ns,
                };
                store.write(write).await?;
                if changed_ns == modified_ns {
                    return Ok(());
                }
                // A write sets both times alike, and nobody has changed the file.
                let change = AttributeChange {
                    changed_ns: Some(changed_ns),
                    ..AttributeChange::default()
                };
                store.setattr(file, &change).await
            })
            .await;
        tally.rewritten += outcomes.iter().filter(|(_, it)| it.is_ok()).count() as u64;
        // Where it cannot be read, it still is an error, for which there is another copy.
        outcomes.retain(|(copy, outcome)| match outcome {
            Err(error) => !(blame(*error) == Blame::Request && unreadable.contains(copy)),
            Ok(()) => true,
        });
        self.judge(volume, file, copies, outcomes).await
    }

    /// Draws the conclusions from what targets said; their source is none of them. Returns one that refused.
    async fn judge(
        &self,
        volume: &Volume,
        file: FileNumber,
        copies: &mut Copies,
        outcomes: Outcomes<()>,
    ) -> Result<Refused> {
        let mut refused = None;
        for (copy, outcome) in outcomes {
            let Err(error) = outcome else { continue };
            match blame(error) {
                Blame::Request => {
                    refused = Some((copy, error));
                    continue;
                }
                Blame::Copy => self.strike_off(volume, file, copy).await?,
                Blame::Store => volume.take_out(copy.store, error),
            }
            copies.retain(|it| *it != copy);
        }
        Ok(refused)
    }

    /// Blocks of one copy, zeros behind its end.
    async fn contents(
        &self,
        volume: &Volume,
        copy: Copy,
        first: u64,
        count: u64,
    ) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count as usize * BLOCK_BYTES];
        let read = self
            .on_one(volume, copy, async |store, file| {
                let data = Sink::local(&mut bytes);
                store.read(file, first * BLOCK, data).await
            })
            .await?;
        let len = bytes.len();
        bytes[read.min(len)..].fill(0);
        Ok(bytes)
    }
}

/// All but the first.
fn others(copies: &[Copy]) -> Vec<Copy> {
    copies.iter().skip(1).copied().collect()
}
