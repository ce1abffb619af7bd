//! Data: straight through to the layer below, one call for one call.
//!
//! A write is alone with its file; reads share it. So a read sees a write whole or not at all, and
//! writes that append never land on one another. Only when memory or room runs out in the middle of
//! a write is it made in parts, with a checkpoint between, or ends short as POSIX has it.

use super::{
    FILE_BYTES_MAX, Naming,
    asked::Asked,
    chores::Aim,
    descriptors::{DescriptorState, OpenFile},
    inode::Inode,
    journal::{Effect, Intent},
    stat_of,
    volume::Volume,
};
use crate::{
    Error, Result,
    buffer::{Sink, Source},
    clock::Clock,
    file::{Attributes, FileService, Write},
    transport::{Message, answer},
    vfs::{OpenFlags, SeekFrom, Stat},
};

/// Where a write goes.
#[derive(Clone, Copy)]
enum Place {
    /// There.
    At(u64),
    /// To the end of the file.
    End,
    /// To the end of the file, if that is where it was: the rest of an append.
    EndAt(u64),
}

impl Place {
    /// Where the rest goes of a write that was made up to `end`.
    fn after(self, end: u64) -> Self {
        match self {
            Self::At(_) => Self::At(end),
            Self::End | Self::EndAt(_) => Self::EndAt(end),
        }
    }
}

/// Where an append stands.
enum Moment<'a> {
    /// A part is about to be written.
    Before {
        /// Bytes written before it.
        done: usize,
        /// What the file is like.
        file: &'a Attributes,
    },
    /// No part is under way, and this is not the end: more follows, or what stopped it is told.
    Between {
        /// Bytes written.
        done: usize,
        /// Where they end in the file.
        end: u64,
    },
}

/// What was written.
struct Written {
    /// Bytes.
    bytes: usize,
    /// Where it ended in the file.
    end: u64,
}

/// Writes what lies in one block, which is taken whole or not at all.
pub async fn write_block<F: FileService>(below: &F, write: Write<'_>) -> Result<()> {
    let len = write.data.len();
    match below.write(write).await? {
        taken if taken == len => Ok(()),
        _ => Err(Error::Protocol),
    }
}

impl<F: FileService, C: Clock> Naming<F, C> {
    pub(super) async fn read(&self, file: &OpenFile, offset: u64, data: Sink<'_>) -> Result<usize> {
        if !file.flags.get().contains(OpenFlags::READ) {
            return Err(Error::BadDescriptor);
        }
        if file.is_directory.get() {
            return Err(Error::IsADirectory);
        }
        self.read_at(&file.inode, offset, data).await
    }

    /// Reads where the descriptor is. The caller has its turn.
    pub(super) async fn read_on(&self, file: &OpenFile, data: Sink<'_>) -> Result<usize> {
        let offset = file.position.get();
        let count = self.read(file, offset, data).await?;
        file.position.set(offset + count as u64);
        Ok(count)
    }

    async fn read_at(&self, inode: &Inode, offset: u64, data: Sink<'_>) -> Result<usize> {
        if offset > FILE_BYTES_MAX {
            return Err(Error::BadArgument);
        }
        let wanted = data.len();
        if wanted == 0 {
            return Ok(0);
        }
        let _shared = inode.lock.read().await;
        let count = self.below.read(inode.number, offset, data).await?;
        if count > wanted {
            Err(Error::Protocol)
        } else {
            Ok(count)
        }
    }

    pub(super) async fn write(
        &self,
        volume: &Volume,
        file: &OpenFile,
        offset: u64,
        data: Source<'_>,
    ) -> Result<usize> {
        if !file.flags.get().contains(OpenFlags::WRITE) {
            return Err(Error::BadDescriptor);
        }
        let written = self
            .write_at(volume, &file.inode, Place::At(offset), data, |_| {})
            .await?;
        Ok(written.bytes)
    }

    /// Writes where the descriptor is, or appends. The caller has its turn.
    ///
    /// What is written where the descriptor is comes out the same if it is written once more. Of an
    /// append that was under way when naming died, a successor cuts off what came of it.
    pub(super) async fn write_on(
        &self,
        volume: &Volume,
        file: &OpenFile,
        data: Source<'_>,
        asked: &Asked<'_>,
    ) -> Result<usize> {
        let flags = file.flags.get();
        if !flags.contains(OpenFlags::WRITE) {
            return Err(Error::BadDescriptor);
        }
        let appends = flags.contains(OpenFlags::APPEND);
        let place = match appends {
            true => Place::End,
            false => Place::At(file.position.get()),
        };
        let note = |moment: Moment<'_>| {
            if !appends {
                return;
            }
            let (done, end, intent) = match moment {
                Moment::Before { done, file: before } => {
                    let intent = Intent::Append {
                        file: file.inode.number,
                        size: before.size,
                        modified_ns: before.modified_ns,
                        changed_ns: before.changed_ns,
                    };
                    (done, before.size, intent)
                }
                Moment::Between { done, end } => (done, end, Intent::Answered),
            };
            if done == 0 {
                match intent {
                    Intent::Answered => asked.withdraw(),
                    intent => asked.intend(intent, Message::new(), Effect::None),
                }
                return;
            }
            // Of an append in parts, what was made before stays: a write that ends short.
            let state = file.state().map(|state| DescriptorState {
                position: end,
                ..state
            });
            let effect = state.map_or(Effect::None, Effect::Set);
            asked.intend(intent, answer(Ok(done)), effect);
        };
        let written = self
            .write_at(volume, &file.inode, place, data, note)
            .await?;
        file.position.set(written.end);
        Ok(written.bytes)
    }

    /// Writes as much as there is memory and room for. What was taken when either ran out stays, and
    /// the rest follows after a checkpoint; not in an append if another has come in between.
    ///
    /// Tells `note` before each part of an append, and after one that is not the last, or that failed.
    async fn write_at(
        &self,
        volume: &Volume,
        inode: &Inode,
        place: Place,
        data: Source<'_>,
        note: impl Fn(Moment<'_>),
    ) -> Result<Written> {
        let mut place = place;
        let mut done = Written { bytes: 0, end: 0 };
        loop {
            let rest = async || {
                let rest = data.slice(done.bytes, data.len() - done.bytes);
                self.write_some(volume, inode, (place, done.bytes), rest, &note)
                    .await
            };
            match self.with_room(volume, Aim::Add, rest).await {
                Err(error) if done.bytes == 0 => return Err(error),
                Err(_) => return Ok(done),
                Ok(written) => {
                    done.bytes += written.bytes;
                    done.end = written.end;
                    if done.bytes == data.len() || written.bytes == 0 {
                        return Ok(done);
                    }
                    place = place.after(done.end);
                }
            }
        }
    }

    /// Writes what the layer below takes at once. Nothing to write changes nothing.
    async fn write_some(
        &self,
        volume: &Volume,
        inode: &Inode,
        (place, done): (Place, usize),
        data: Source<'_>,
        note: &impl Fn(Moment<'_>),
    ) -> Result<Written> {
        if matches!(place, Place::At(offset) if offset > FILE_BYTES_MAX) {
            return Err(Error::BadArgument);
        }
        let _change = self.change(volume).await?;
        let _alone = inode.lock.write().await;
        let (offset, before) = match place {
            Place::At(offset) => (offset, None),
            Place::End | Place::EndAt(_) => {
                let before = inode.attributes(&self.below).await?;
                if let Place::EndAt(end) = place
                    && before.size != end
                {
                    return Ok(Written { bytes: 0, end });
                }
                (before.size, Some(before))
            }
        };
        let len = data.len();
        if len == 0 {
            return Ok(Written {
                bytes: 0,
                end: offset,
            });
        }
        let end = offset
            .checked_add(len as u64)
            .filter(|&end| end <= FILE_BYTES_MAX);
        let end = end.ok_or(Error::TooBig)?;
        let now = self.now_ns();
        let mut doubt = inode.doubt();
        if let Some(file) = &before {
            note(Moment::Before { done, file });
        }
        let write = Write {
            file: inode.number,
            offset,
            data,
            checksums: &[],
            size: end,
            modified_ns: now,
        };
        let result = match self.below.write(write).await {
            Ok(bytes) if bytes == 0 || bytes > len => Err(Error::Protocol),
            result => result,
        };
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => {
                doubt = inode.doubt();
                let grown = match &before {
                    Some(_) => self.grown(inode, offset).await.min(len),
                    None => 0,
                };
                if grown == 0 {
                    if before.is_some() {
                        // While the file is locked: whoever appends next is not to be cut off.
                        note(Moment::Between { done, end: offset });
                    }
                    return Err(error);
                }
                grown
            }
        };
        let end = offset + bytes as u64;
        inode.data_changed(volume.checkpoints(), now, |size| size.max(end));
        if bytes == len {
            doubt.settle();
        } else if before.is_some() {
            let done = done + bytes;
            note(Moment::Between { done, end });
        }
        Ok(Written { bytes, end })
    }

    /// How much of an append was made that has failed: by an instance of the cache that died over it, if
    /// what the next one was asked was too much for it. The caller has the file alone.
    async fn grown(&self, inode: &Inode, size: u64) -> usize {
        let now = inode.attributes(&self.below).await;
        let grown = now.map_or(0, |now| now.size.saturating_sub(size));
        usize::try_from(grown).unwrap_or(usize::MAX)
    }

    pub(super) async fn truncate(
        &self,
        volume: &Volume,
        file: &OpenFile,
        size: u64,
        asked: &Asked<'_>,
    ) -> Result<()> {
        if !file.flags.get().contains(OpenFlags::WRITE) {
            return Err(Error::BadArgument);
        }
        if size > FILE_BYTES_MAX {
            return Err(Error::TooBig);
        }
        let _change = self.change(volume).await?;
        let note = |modified_ns| {
            let intent = Intent::Truncate {
                file: file.inode.number,
                size,
                modified_ns,
            };
            asked.intend(intent, answer(Ok(())), Effect::None);
        };
        let cut = self.truncate_inode(volume, &file.inode, size, note).await;
        cut.inspect_err(|_| asked.withdraw())
    }

    /// Sets the length of a file; the caller has begun a change. Tells `note` the time of change before
    /// that is done.
    pub(super) async fn truncate_inode(
        &self,
        volume: &Volume,
        inode: &Inode,
        size: u64,
        note: impl FnOnce(u64),
    ) -> Result<()> {
        let _alone = inode.lock.write().await;
        let now = self.now_ns();
        note(now);
        let doubt = inode.doubt();
        self.below.truncate(inode.number, size, now).await?;
        inode.data_changed(volume.checkpoints(), now, |_| size);
        volume.full.set(false);
        doubt.settle();
        Ok(())
    }

    /// Moves the descriptor. The caller has its turn.
    pub(super) async fn seek(&self, file: &OpenFile, to: SeekFrom) -> Result<u64> {
        let offset = file.position.get();
        let target = match to {
            SeekFrom::Start(start) => Some(start),
            // Positions in a directory mean nothing to arithmetic.
            _ if file.is_directory.get() => None,
            SeekFrom::Current(by) => offset.checked_add_signed(by),
            SeekFrom::End(by) => file
                .inode
                .attributes(&self.below)
                .await?
                .size
                .checked_add_signed(by),
        };
        let target = target.filter(|&target| target <= FILE_BYTES_MAX);
        let target = target.ok_or(Error::BadArgument)?;
        file.position.set(target);
        Ok(target)
    }

    pub(super) async fn fstat(&self, volume: &Volume, file: &OpenFile) -> Result<Stat> {
        let inode = &file.inode;
        let attributes = inode
            .attributes_with_blocks(&self.below, volume.checkpoints())
            .await?;
        Ok(stat_of(inode.number.0, &attributes))
    }
}
