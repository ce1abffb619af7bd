//! After a crash: what the log says of the blocks that were overwritten in place since the checkpoint
//! (paper, sections V-C and V-D).
//!
//! ```text
//!   log ──▶ records, by block ──▶ read the block ──▶ its checksum is that of
//!              a version that can be there  ──▶  the pointer gets it
//!              none                         ──▶  the pointer gets the newest: reads are Corrupt
//! ```
//!
//! A version can be there unless a record of the block says that it is obsolete. The pointers change
//! in memory and become durable with the next checkpoint; until then the log stays and new records go
//! behind it, so that another crash finds the same and more.
//!
//! The file has the size of the checkpoint. Of a version that was written when the file was longer, what
//! lies beyond is cleared, or it would turn up when the file grows: where it is, announced in the log
//! like any overwrite, and so without room. Only if the log is full it goes to another place, and if there
//! is none either, the block is an error. No checkpoint is refused for that.
//!
//! The log is untrusted, as everything on a disk: records of no file, of no block or of a protected
//! file are passed over, and whatever a record says, a read returns what it verified.

use alloc::{vec, vec::Vec};

use futures_util::future::join_all;

use super::{
    TwinFs,
    file_tree::Found,
    io::{self, READS_MAX},
    layout::LOG_BLOCKS,
    pointer::Pointer,
    record::{self, Record},
    volume::{Step, Volume},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    block::BlockDevice,
    buffer::Sink,
    checksum::{Algorithm, Checksum},
    file::{Attributes, FileNumber, ResyncRange},
};

/// Blocks that are read and compared at a time.
const BLOCKS_AT_ONCE: usize = 64;
/// The log ends where so many blocks in a row are none of it. It has no gaps but for damaged blocks.
const GAP_MAX: u64 = 64;
/// Lost blocks that are named one by one.
const LOST_NAMED_MAX: u64 = 16;

/// All that the log says of one block: its records, by version, at least one.
#[derive(Clone, Copy)]
struct Claim<'a>(&'a [Record]);

impl Claim<'_> {
    fn file(&self) -> FileNumber {
        FileNumber(self.0[0].file.into())
    }

    fn block(&self) -> u64 {
        self.0[0].block.into()
    }

    fn newest(&self) -> Record {
        self.0[self.0.len() - 1]
    }

    /// The newest version that can be on the medium and has this checksum.
    fn version_of(&self, found: Checksum, in_checkpoint: Checksum) -> Option<u32> {
        let oldest = self.0.iter().map(|record| record.oldest).max().unwrap_or(0);
        self.0
            .iter()
            .rev()
            .find(|record| record.version >= oldest && record.checksum == found)
            .map(|record| record.version)
            .or_else(|| (oldest == 0 && found == in_checkpoint).then_some(0))
    }
}

/// A block that the log and the checkpoint both know.
struct Claimed<'a> {
    claim: Claim<'a>,
    pointer: Pointer,
    attributes: Attributes,
}

impl Claimed<'_> {
    /// The newest version that these contents can be.
    fn version(&self, algorithm: Algorithm, content: &[u8]) -> Option<u32> {
        let in_checkpoint = self.pointer.checksum;
        self.claim.version_of(algorithm.of(content), in_checkpoint)
    }
}

/// How many blocks were found in which state.
#[derive(Default)]
struct Tally {
    newer: u64,
    unchanged: u64,
    lost: u64,
    passed_over: u64,
}

impl<D: BlockDevice, C> TwinFs<D, C> {
    /// Goes through the log of the loaded checkpoint. The caller has the order for itself.
    pub(super) async fn resynchronise(&self) -> Result<()> {
        let (mut records, blocks) = self.read_log().await?;
        if records.is_empty() {
            return Ok(());
        }
        records.sort_unstable_by_key(|record| (record.key(), record.version));
        let claims: Vec<Claim<'_>> = records
            .chunk_by(|a, b| a.key() == b.key())
            .map(Claim)
            .collect();
        let mut tally = Tally::default();
        for claims in claims.chunks(BLOCKS_AT_ONCE) {
            self.examine(claims, &mut tally).await?;
        }
        let Tally {
            newer,
            unchanged,
            lost,
            passed_over,
        } = tally;
        log::info!(
            "{} checksum records: {newer} blocks newer than the checkpoint, {unchanged} as in it, \
             {lost} lost, {passed_over} passed over",
            records.len()
        );
        log::info!(
            target: crate::EVENT,
            r#"{{"event":"records","records":{},"blocks":{blocks},"newer":{newer},"lost":{lost}}}"#,
            records.len()
        );
        Ok(())
    }

    /// The records in the log, in no order, and the blocks that it takes; it goes on behind them.
    async fn read_log(&self) -> Result<(Vec<Record>, u64)> {
        let (algorithm, base) = self.with(|volume| Ok((volume.root.algorithm, volume.base)))?;
        let step = self.request_blocks.get();
        let mut records = Vec::new();
        let mut data = vec![0; step as usize * BLOCK_BYTES];
        let (mut position, mut used) = (0, 0);
        while position < LOG_BLOCKS.min(used + GAP_MAX) {
            let count = step.min(LOG_BLOCKS - position) as usize;
            let part = &mut data[..count * BLOCK_BYTES];
            let mut found = vec![false; count];
            // Where none is found there may be one all the same.
            for _ in 0..READS_MAX {
                let readable = self.read_what_can_be(record::place(position), part).await?;
                let (blocks, _) = part.as_chunks::<BLOCK_BYTES>();
                for (index, (block, readable)) in blocks.iter().zip(readable).enumerate() {
                    let position = position + index as u64;
                    if !found[index]
                        && readable
                        && let Some(these) = record::decode(algorithm, base, position, block)
                    {
                        found[index] = true;
                        used = used.max(position + 1);
                        // No store writes others.
                        records.extend(these.filter(|record| record.oldest < record.version));
                    }
                }
                if found.iter().all(|&found| found) {
                    break;
                }
            }
            position += count as u64;
        }
        self.with(|volume| {
            volume.overwrites.go_on_after(used);
            Ok(())
        })?;
        Ok((records, used))
    }

    /// Reads consecutive blocks; which of them could be read.
    async fn read_what_can_be(&self, place: u64, data: &mut [u8]) -> Result<Vec<bool>> {
        let blocks = data.len() / BLOCK_BYTES;
        match self.disk.read(place, Sink::local(data)).await {
            Ok(()) => return Ok(vec![true; blocks]),
            Err(Error::Device) => {}
            Err(error) => return Err(error),
        }
        let mut readable = Vec::with_capacity(blocks);
        for (place, block) in (place..).zip(data.chunks_exact_mut(BLOCK_BYTES)) {
            readable.push(match self.disk.read(place, Sink::local(block)).await {
                Ok(()) => true,
                Err(Error::Device) => false,
                Err(error) => return Err(error),
            });
        }
        Ok(readable)
    }

    /// Reads the blocks of some claims and decides about each.
    async fn examine(&self, claims: &[Claim<'_>], tally: &mut Tally) -> Result<()> {
        let mut known = Vec::with_capacity(claims.len());
        for &claim in claims {
            let found = self.run(|volume| volume.claimed(claim)).await;
            match found {
                Ok(Some((pointer, attributes))) => known.push(Claimed {
                    claim,
                    pointer,
                    attributes,
                }),
                // What cannot be found by the file's own tree cannot be read by it either.
                Ok(None) | Err(Error::Corrupt | Error::NotFound | Error::TooBig) => {
                    tally.passed_over += 1;
                }
                // Another time it may be found, and then the log must still be there.
                Err(error) => {
                    let (file, block) = (claim.file().0, claim.block());
                    log::error!(
                        "file {file}, block {block}: was being overwritten, and where it is cannot be read: \
                         {error}; nothing is loaded"
                    );
                    return Err(error);
                }
            }
        }
        known.sort_unstable_by_key(|known| known.pointer.block);
        let mut data = vec![0; known.len() * BLOCK_BYTES];
        let places: Vec<u64> = known.iter().map(|known| known.pointer.block).collect();
        let mut rest = &mut data[..];
        let mut reads = Vec::new();
        for (place, _, len) in io::runs(&places, self.request_blocks.get()) {
            let (part, behind) = rest.split_at_mut(len * BLOCK_BYTES);
            rest = behind;
            reads.push(self.read_what_can_be(place, part));
        }
        let mut readable = Vec::with_capacity(known.len());
        for read in join_all(reads).await {
            readable.extend(read?);
        }
        let mut all: Vec<_> = known
            .into_iter()
            .zip(data.chunks_exact_mut(BLOCK_BYTES))
            .zip(readable)
            .collect();
        all.sort_unstable_by_key(|((known, _), _)| (known.claim.file(), known.claim.block()));
        let algorithm = self.with(|volume| Ok(volume.root.algorithm))?;
        let mut longer = Vec::new();
        for ((known, block), mut readable) in all {
            // One that is as nobody wrote it is looked at again before it is lost.
            let mut version = known.version(algorithm, block).filter(|_| readable);
            if version.is_none() {
                let place = known.pointer.block;
                let matches = |block: &[u8]| {
                    version = known.version(algorithm, block);
                    version.is_some()
                };
                readable = match self.disk.read_sound(place, block, matches).await {
                    Ok(_) => true,
                    Err(Error::Device) => false,
                    Err(error) => return Err(error),
                };
            }
            let content = readable.then_some(&*block);
            if self.decide(&known, content, version, tally).await? {
                longer.push(known);
            }
        }
        // Together: what they announce shares a block of the log and a flush.
        let cleared = longer.iter().map(|known| self.clear_behind_end(known));
        for lost in join_all(cleared).await {
            if lost? {
                tally.newer = tally.newer.saturating_sub(1);
                tally.lost += 1;
            }
        }
        Ok(())
    }

    /// Clears what a block has behind the end of its file. True if that could not be done, and the block is lost.
    async fn clear_behind_end(&self, known: &Claimed<'_>) -> Result<bool> {
        let (file, attributes) = (known.claim.file(), &known.attributes);
        let (size, modified_ns) = (attributes.size, attributes.modified_ns);
        let cleared = self.clear_tail(file, size, modified_ns).await;
        // No room, or none that a damaged bitmap tells of.
        let lost = matches!(cleared, Err(Error::NoSpace | Error::Corrupt));
        if lost {
            let block = known.claim.block();
            log::error!(
                "file {} (logical {}), block {block}: there is no room to clear what it has behind the end of \
                 the file, and it is lost",
                file.0,
                attributes.logical.0
            );
            self.run(|volume| volume.spoil(file, block)).await?;
        } else {
            cleared?;
            self.run(|volume| volume.set_changed(file, attributes.changed_ns))
                .await?;
        }
        Ok(lost)
    }

    /// Decides what a block contains; `content` is `None` if it cannot be read, `version` if it is none that
    /// there can be. Whether it has something behind the end of the file.
    async fn decide(
        &self,
        known: &Claimed<'_>,
        content: Option<&[u8]>,
        version: Option<u32>,
        tally: &mut Tally,
    ) -> Result<bool> {
        let Claimed {
            claim,
            pointer,
            attributes,
        } = known;
        let (file, block) = (claim.file(), claim.block());
        let algorithm = self.with(|volume| Ok(volume.root.algorithm))?;
        let newest = claim.newest();
        // A block that matches nothing must not pass for what the checkpoint had there.
        let checksum = match (version, content) {
            (Some(0), _) => pointer.checksum,
            (Some(_), Some(content)) => algorithm.of(content),
            _ => newest.checksum,
        };
        if checksum != pointer.checksum {
            self.make_room().await?;
            self.run(|volume| volume.set_checksum(file, block, checksum))
                .await?;
        }
        self.with(|volume| {
            let there = version.unwrap_or(newest.version);
            volume.overwrites.found(newest.key(), there, newest.version);
            volume.report(file, block);
            Ok(())
        })?;
        match version {
            Some(0) => tally.unchanged += 1,
            Some(_) => tally.newer += 1,
            None => {
                tally.lost += 1;
                if tally.lost <= LOST_NAMED_MAX {
                    log::error!(
                        "file {} (logical {}), block {block}: was being overwritten, and matches no \
                         recorded checksum",
                        file.0,
                        attributes.logical.0
                    );
                }
            }
        }
        let used = (attributes.size - block * BLOCK_BYTES as u64).min(BLOCK_BYTES as u64) as usize;
        let longer = content.is_some_and(|content| content[used..].iter().any(|&byte| byte != 0));
        Ok(version.is_some() && longer)
    }
}

impl Volume {
    /// The pointer of a block that the log claims was overwritten, and its file's attributes; `None` if
    /// it cannot have been.
    fn claimed(&mut self, claim: Claim<'_>) -> Step<Option<(Pointer, Attributes)>> {
        let (slot, offset, attributes) = self.inode(claim.file())?;
        let beyond = claim.block() * BLOCK_BYTES as u64 >= attributes.size;
        if attributes.class.protected || beyond {
            return Ok(None);
        }
        let Found::Pointers(found) = self.find_pointers((slot, offset), claim.block(), 1)? else {
            return Ok(None);
        };
        let pointer = self.data_pointer(found.slot, found.offset, false)?;
        Ok((!pointer.is_null()).then_some((pointer, attributes)))
    }

    /// Makes a block that does not match its checksum match none that it could ever have.
    pub fn spoil(&mut self, file: FileNumber, block: u64) -> Step<()> {
        let (slot, offset, _) = self.inode(file)?;
        let Found::Pointers(found) = self.find_pointers((slot, offset), block, 1)? else {
            return Err(Error::Corrupt.into());
        };
        let pointer = Pointer::at(&*self.cache.node(found.slot).content, found.offset)?;
        // Beyond any checksum of 32 bits, and away from that of 64.
        let checksum = Checksum(pointer.checksum.0.wrapping_add(1 << 32));
        self.set_checksum(file, block, checksum)
    }

    /// Changes what a block, which is there, must contain.
    fn set_checksum(&mut self, file: FileNumber, block: u64, checksum: Checksum) -> Step<()> {
        let (slot, offset, _) = self.inode(file)?;
        let Found::Pointers(found) = self.find_pointers((slot, offset), block, 1)? else {
            return Err(Error::Corrupt.into());
        };
        let content = self.modify(found.slot);
        // Read after `modify`, which clears the bits of an earlier time.
        let pointer = Pointer::at(content, found.offset)?;
        let pointer = Pointer {
            checksum,
            ..pointer
        };
        pointer.put(content, found.offset);
        Ok(())
    }

    fn set_changed(&mut self, file: FileNumber, changed_ns: u64) -> Step<()> {
        let (slot, offset, mut attributes) = self.inode(file)?;
        attributes.changed_ns = changed_ns;
        self.set_inode(slot, offset, &attributes);
        Ok(())
    }

    /// Adds a block, in order, to what may differ between stores.
    fn report(&mut self, file: FileNumber, block: u64) {
        let (offset, len) = (block * BLOCK_BYTES as u64, BLOCK_BYTES as u64);
        match self.resync_ranges.last_mut() {
            Some(last) if last.file == file && last.offset + last.len == offset => last.len += len,
            _ => self.resync_ranges.push(ResyncRange { file, offset, len }),
        }
    }
}
