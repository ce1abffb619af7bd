//! The calls of [`FileService`], and those among them that go down at once.

use alloc::{rc::Rc, vec};

use super::{
    Cache, Inner,
    below::Needs,
    files::{File, Presence, State},
    page::{PageRef, alone, page_of, pages_in},
    pool::{Content, FrameId, Pool},
    write::FILE_BYTES_MAX,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::Sink,
    clock::Clock,
    file::{
        Attachment, AttributeChange, Attributes, FileNumber, FileService, Timestamp, Usage,
        VolumeFormat, Work, Write,
    },
    surviving::Memory,
};

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> FileService
    for Cache<L, C, M>
{
    async fn attach(&self) -> Result<Attachment> {
        self.0.attach().await
    }

    async fn format(&self, format: &VolumeFormat) -> Result<Attachment> {
        let (inner, format) = (Rc::clone(&self.0), *format);
        self.0
            .unfinished
            .run(async move { inner.format(&format).await })
            .await
    }

    async fn create(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        let inner = Rc::clone(&self.0);
        let attributes = Attributes {
            size: 0,
            blocks: 0,
            ..*attributes
        };
        self.0
            .unfinished
            .run(async move { inner.create(file, attributes).await })
            .await
    }

    async fn delete(&self, file: FileNumber) -> Result<()> {
        let inner = Rc::clone(&self.0);
        self.0
            .unfinished
            .run(async move { inner.delete(file).await })
            .await
    }

    async fn read(&self, file: FileNumber, offset: u64, data: Sink<'_>) -> Result<usize> {
        self.0.read(file, offset, data).await
    }

    async fn write(&self, write: Write<'_>) -> Result<usize> {
        self.0.write(write).await
    }

    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        let inner = Rc::clone(&self.0);
        self.0
            .unfinished
            .run(async move { inner.truncate(file, size, modified_ns).await })
            .await
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.0.getattr(file).await
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.0.setattr(file, change).await
    }

    async fn sync(&self) -> Result<Timestamp> {
        let inner = Rc::clone(&self.0);
        self.0
            .unfinished
            .run(async move { inner.sync().await })
            .await
    }

    async fn early_sync_wanted(&self) -> Result<()> {
        self.0.early_sync_wanted().await
    }

    async fn usage(&self) -> Result<Usage> {
        let usage = async |lower: &L| lower.usage().await;
        let mut usage = self.0.query(Needs::Nothing, usage).await?;
        usage.blocks_free = usage.blocks_free.saturating_sub(self.0.blocks_not_below());
        Ok(usage)
    }

    async fn work(&self) -> Result<Work> {
        let statistics = self.statistics();
        Ok(Work {
            hits: statistics.hits,
            misses: statistics.misses,
            bytes_copied: statistics.bytes_copied,
            calls_below: statistics.calls_below,
            reads_below: statistics.reads_below,
            writes_below: statistics.writes_below,
            checksums: statistics.checksums,
            bytes_checksummed: statistics.checksums * BLOCK_BYTES as u64,
            syncs: statistics.syncs,
            pages_copied: statistics.copies_on_write,
            log_pages_max: statistics.log_pages_max,
        })
    }

    async fn history(&self) -> Result<u64> {
        Ok(self.0.history.get())
    }

    async fn numbers(&self, first: FileNumber, mut bitmap: Sink<'_>) -> Result<usize> {
        let known = self
            .0
            .query(Needs::Nothing, async |lower: &L| {
                lower.numbers(first, bitmap.reborrow()).await
            })
            .await?;
        self.0.add_numbers(first, bitmap, known)
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// Adds to a bitmap of numbers, of which `known` bytes carry information, those of deleted files that the
    /// last checkpoint has, and of files that a crash has undone below. Returns how many bytes carry
    /// information then.
    fn add_numbers(&self, first: FileNumber, mut bitmap: Sink<'_>, known: usize) -> Result<usize> {
        let taken = self.log.borrow().numbers_from(first, bitmap.len() * 8);
        let Some(&last) = taken.last() else {
            return Ok(known);
        };
        let mut bits = vec![0; known.max(last / 8 + 1)];
        bitmap.copy_to(0, &mut bits[..known])?;
        for bit in taken {
            bits[bit / 8] |= 1 << (bit % 8);
        }
        bitmap.copy_from(0, &bits)?;
        Ok(bits.len())
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    async fn create(self: &Rc<Self>, number: FileNumber, attributes: Attributes) -> Result<()> {
        let _gate = self.gate.read().await;
        let file = self.files.borrow_mut().entry(number);
        self.admit(&file)?;
        let _alone = file.lock.write().await;
        if file.state.borrow().presence == Presence::Present {
            return Err(Error::Exists);
        }
        // What a file takes below may be the last there is: those that are owed theirs come first.
        let created = self
            .change(Needs::Outlines, async |lower: &L| {
                lower.create(number, &attributes).await
            })
            .await;
        match created {
            Ok(()) => {
                let mut state = file.state.borrow_mut();
                state.present(attributes);
                self.log.borrow_mut().created(&file);
                self.write_down(&mut self.pool.borrow_mut(), &file, &state);
                drop(state);
                self.note_pressure();
            }
            Err(_) => self.forget_unknown(&file),
        }
        created
    }

    async fn delete(self: &Rc<Self>, number: FileNumber) -> Result<()> {
        let _gate = self.gate.read().await;
        let file = self.files.borrow_mut().entry(number);
        self.admit(&file)?;
        let _alone = file.lock.write().await;
        if file.state.borrow().presence == Presence::Gone {
            return Err(Error::NotFound);
        }
        let deleted = self
            .change(Needs::Outline(number), async |lower: &L| {
                lower.delete(number).await
            })
            .await;
        match deleted {
            Ok(()) => {
                self.write_down_deleted(number);
                self.drop_file(&file);
                self.note_pressure();
            }
            Err(_) => self.forget_unknown(&file),
        }
        deleted
    }

    async fn truncate(
        self: &Rc<Self>,
        number: FileNumber,
        size: u64,
        modified_ns: u64,
    ) -> Result<()> {
        if size > FILE_BYTES_MAX {
            return Err(Error::TooBig);
        }
        let _gate = self.gate.read().await;
        let file = self.open(number).await?;
        self.admit(&file)?;
        let _alone = file.lock.write().await;
        let (now, below) = {
            let state = file.state.borrow();
            if state.presence != Presence::Present {
                return Err(Error::NotFound);
            }
            (state.now.size, state.below.size)
        };
        let spare = self.pool.borrow_mut().take()?;
        // What lies between was never sent down, and is cut off here alone.
        if !(below..=now).contains(&size) {
            let cut = self
                .change(Needs::Outline(number), async |lower: &L| {
                    lower.truncate(number, size, modified_ns).await
                })
                .await;
            if let Err(error) = cut {
                self.adopt_size(&file).await;
                return Err(error);
            }
            let mut state = file.state.borrow_mut();
            self.log.borrow_mut().resized(&file, state.below.size, size);
            state.below.size = size;
            state.below.modified_ns = modified_ns;
            state.below.changed_ns = modified_ns;
        }
        self.cut_pages(&file, size, spare, |state| {
            state.now.size = size;
            state.modified(modified_ns);
            if state.now.blocks < pages_in(now) {
                // Which part the holes were in is known below.
                state.blocks_unsure = true;
            }
            state.now.blocks = state.now.blocks.min(pages_in(size));
        });
        let state = file.state.borrow();
        if state.unclean() {
            self.mark_unclean(&file);
        } else {
            self.mark_clean(&file);
        }
        drop(state);
        self.room_made.notify();
        self.note_pressure();
        Ok(())
    }

    async fn getattr(self: &Rc<Self>, number: FileNumber) -> Result<Attributes> {
        let file = self.open(number).await?;
        let unsure = {
            let state = file.state.borrow();
            state.blocks_unsure && state.dirty.is_empty() && !state.writing_back
        };
        if unsure {
            let _shared = file.lock.read().await;
            let below = self
                .query(Needs::Outline(number), async |lower: &L| {
                    lower.getattr(number).await
                })
                .await?;
            let mut state = file.state.borrow_mut();
            if state.dirty.is_empty() && !state.writing_back {
                state.now.blocks = below.blocks;
                state.blocks_unsure = false;
            }
        }
        let state = file.state.borrow();
        if state.presence != Presence::Present {
            return Err(Error::NotFound);
        }
        Ok(state.now)
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// To be called when a truncation below has failed: it may have come part of the way. What it
    /// cut off is gone, here too. The caller holds the file's lock alone.
    pub(super) async fn adopt_size(self: &Rc<Self>, file: &Rc<File>) {
        let number = file.number;
        let spare = self.pool.borrow_mut().take();
        // As if it changed anything: what an instance found that has died since is of no use.
        let found = self
            .change(Needs::Outline(number), async |lower: &L| {
                lower.getattr(number).await
            })
            .await;
        let (spare, found) = match spare.and_then(|spare| Ok((spare, found?))) {
            Ok(both) => both,
            Err(error) => {
                ::log::warn!(
                    "cache: how far file {} was cut is not known: {error}",
                    number.0
                );
                return;
            }
        };
        let (now, below) = {
            let state = file.state.borrow();
            (state.now.size, state.below.size)
        };
        if found.size == below {
            return;
        }
        self.log.borrow_mut().resized(file, below, found.size);
        let left = if found.size < below.min(now) {
            found.size
        } else {
            now
        };
        self.cut_pages(file, left, spare, |state| {
            if found.size < below {
                state.now.size = now.min(found.size);
            }
            state.now.blocks = state.now.blocks.min(pages_in(state.now.size));
            state.blocks_unsure = true;
            state.below.size = found.size;
            state.below.modified_ns = found.modified_ns;
            state.below.changed_ns = found.changed_ns;
        });
        self.mark_unclean(file);
        self.room_made.notify();
    }
}

impl<L, C, M: Memory> Inner<L, C, M> {
    /// Lets go of all that is known of a file, unwritten data included. That it is gone was written down.
    pub(super) fn drop_file(&self, file: &Rc<File>) {
        self.files.borrow_mut().remove(file);
        self.mark_clean(file);
        let mut state = file.state.borrow_mut();
        let mut pool = self.pool.borrow_mut();
        for id in core::mem::take(&mut state.pages).into_values() {
            pool.remove(id);
        }
        state.dirty.clear();
        state.digest = 0;
        state.presence = Presence::Gone;
        drop((state, pool));
        self.write_back_failed.set(false);
        self.room_made.notify();
    }

    /// Makes a change to a file that leaves nothing of it beyond `size`. First it is written down; then the
    /// pages beyond are dropped, and the rest of the page that `size` is in is zeroed, by way of `spare`.
    fn cut_pages(
        &self,
        file: &Rc<File>,
        size: u64,
        spare: PageRef<M>,
        change: impl FnOnce(&mut State),
    ) {
        let mut state = file.state.borrow_mut();
        let mut pool = self.pool.borrow_mut();
        let beyond = pages_in(size);
        let dropped = state.pages.split_off(&beyond);
        state.dirty.split_off(&beyond);
        for &id in dropped.values() {
            state.digest = state.digest.wrapping_sub(pool.guard(id));
        }
        change(&mut state);
        self.write_down(&mut pool, file, &state);
        for id in dropped.into_values() {
            pool.remove(id);
        }
        let rest = (size % BLOCK_BYTES as u64) as usize;
        let held = state.pages.get(&page_of(size)).copied();
        drop((state, pool));
        let held = held.filter(|&id| rest > 0 && self.is_sound(file, page_of(size), id));
        let mut state = file.state.borrow_mut();
        let mut pool = self.pool.borrow_mut();
        if let Some(id) = held {
            self.zero_rest(&mut pool, file, &mut state, id, rest, spare);
        } else {
            pool.give_back(spare);
        }
    }

    /// Zeroes the page in the middle of which the file ends, from byte `rest` on. Should the cache die
    /// before this is written down, the next instance does it.
    pub(super) fn zero_rest(
        &self,
        pool: &mut Pool<M>,
        file: &Rc<File>,
        state: &mut State,
        id: FrameId,
        rest: usize,
        mut spare: PageRef<M>,
    ) {
        let algorithm = self.algorithm();
        let content = pool.amend(id);
        let is_zero = content.page[rest..].iter().all(|&byte| byte == 0);
        let (Ok(bytes), false) = (alone(&mut spare), content.is_lost || is_zero) else {
            return pool.give_back(spare);
        };
        bytes[..rest].copy_from_slice(&content.page[..rest]);
        bytes[rest..].fill(0);
        let old_guard = content.guard;
        let checksum = algorithm.of(&spare[..]);
        pool.checksums += 1;
        let guard = if old_guard == 0 {
            0
        } else {
            let index = page_of(state.now.size);
            (pool.ledger).describe(spare.number(), file.number, index, checksum)
        };
        let fresh = Content {
            page: spare,
            checksum: Some(checksum),
            is_lost: false,
            guard,
        };
        let old = core::mem::replace(pool.amend(id), fresh);
        if old_guard != 0 {
            state.digest = state.digest.wrapping_add(guard).wrapping_sub(old_guard);
            self.write_down(pool, file, state);
        }
        pool.discard(old);
    }
}
