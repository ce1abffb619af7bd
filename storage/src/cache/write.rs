//! Writes: into pages, nothing else. Attributes are set here alike.
//!
//! A page that is written in part is read from below first, but only if there is anything of it
//! below that the write leaves standing.

use alloc::rc::Rc;

use super::{
    Inner,
    files::{File, Presence, State},
    page::{page_of, pages_in, start_of},
    pool::FrameId,
    room::{Room, blocks_of_page},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    clock::Clock,
    file::{AttributeChange, FileNumber, FileService, Write},
};

/// Bytes that a file may have: positions in it fit a signed 64-bit number, as applications want.
pub(super) const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// A part of a write that lies in one page.
#[derive(Clone, Copy)]
struct Piece {
    /// The page.
    page: u64,
    /// Where in the page.
    skip: usize,
    /// Where in the data.
    from: usize,
    /// Bytes.
    len: usize,
}

impl Piece {
    /// Whether nothing of a page of a file of `size` bytes is left standing.
    fn covers(&self, size: u64) -> bool {
        let end = start_of(self.page) + (self.skip + self.len) as u64;
        self.skip == 0 && (self.len == BLOCK_BYTES || end >= size)
    }
}

impl<L: FileService + 'static, C: Clock + 'static> Inner<L, C> {
    /// Writes; returns how many bytes were taken before anything came in the way.
    pub(super) async fn write(self: &Rc<Self>, write: Write<'_>) -> Result<usize> {
        let len = write.data.len();
        let end = write
            .offset
            .checked_add(len as u64)
            .filter(|&end| end <= FILE_BYTES_MAX);
        end.ok_or(Error::TooBig)?;
        let _gate = self.gate.read().await;
        let file = self.open(write.file).await?;
        self.admit(&file)?;
        let mut done = 0;
        let outcome = self.write_pieces(&file, &write, &mut done).await;
        self.count(|count| count.bytes_copied += done as u64);
        if self.pool.borrow().counts().dirty > self.config.dirty_start() {
            self.work.notify();
        }
        self.note_pressure();
        match outcome {
            Err(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    /// Writes page by page, and counts in `done` the bytes that were written.
    async fn write_pieces(
        self: &Rc<Self>,
        file: &Rc<File>,
        write: &Write<'_>,
        done: &mut usize,
    ) -> Result<()> {
        let len = write.data.len();
        while *done < len {
            let first = page_of(write.offset + *done as u64);
            let last = page_of(write.offset + len as u64 - 1);
            let count = (last + 1 - first).min(self.room_max() as u64);
            let mut room = self.room(count as usize).await?;
            self.check_space(file, first, count).await?;
            let _shared = file.lock.read().await;
            for page in first..first + count {
                let at = write.offset + *done as u64;
                let skip = (at - start_of(page)) as usize;
                let piece = Piece {
                    page,
                    skip,
                    from: *done,
                    len: (BLOCK_BYTES - skip).min(len - *done),
                };
                self.write_piece(file, piece, write, &mut room).await?;
                *done += piece.len;
            }
        }
        Ok(())
    }

    /// Writes into one page.
    async fn write_piece(
        self: &Rc<Self>,
        file: &Rc<File>,
        piece: Piece,
        write: &Write<'_>,
        room: &mut Room<'_>,
    ) -> Result<()> {
        loop {
            file.changed
                .until(|| !file.state.borrow().is_reading(piece.page))
                .await;
            {
                let mut state = file.state.borrow_mut();
                if state.presence != Presence::Present {
                    return Err(Error::NotFound);
                }
                if let Some(&id) = state.pages.get(&piece.page) {
                    return self.rewrite(file, &mut state, id, piece, write, room);
                }
                let stands = piece.page < pages_in(state.below.size)
                    && !piece.covers(state.now.size.max(state.below.size));
                if !stands {
                    return self.write_new(file, &mut state, piece, write, room);
                }
            }
            let mut pages = self.fetch(file, piece.page, 1).await?;
            self.count(|count| count.misses += 1);
            let mut state = file.state.borrow_mut();
            if state.presence != Presence::Present || state.pages.contains_key(&piece.page) {
                continue;
            }
            let Some(page) = pages.pop() else {
                return Err(Error::Protocol);
            };
            room.spend();
            let id = self.pool.borrow_mut().insert_dirty(file, piece.page, page);
            state.pages.insert(piece.page, id);
            self.spend_blocks(blocks_of_page(&state, piece.page));
            return self.fill(file, &mut state, id, piece, write);
        }
    }

    /// Writes into a page that is here.
    fn rewrite(
        &self,
        file: &Rc<File>,
        state: &mut State,
        id: FrameId,
        piece: Piece,
        write: &Write<'_>,
        room: &mut Room<'_>,
    ) -> Result<()> {
        {
            let mut pool = self.pool.borrow_mut();
            let (kept, fresh) = (pool.is_kept(id), pool.is_fresh_below(id));
            drop(pool);
            if kept {
                room.spend();
            }
            if fresh {
                self.spend_blocks(blocks_of_page(state, piece.page));
            }
        }
        self.fill(file, state, id, piece, write)
    }

    /// Writes a page of which nothing is here, and nothing below that matters.
    fn write_new(
        &self,
        file: &Rc<File>,
        state: &mut State,
        piece: Piece,
        write: &Write<'_>,
        room: &mut Room<'_>,
    ) -> Result<()> {
        let mut page = self.pool.borrow_mut().take();
        {
            let bytes = &mut Rc::get_mut(&mut page).ok_or(Error::NoMemory)?.0;
            bytes[..piece.skip].fill(0);
            bytes[piece.skip + piece.len..].fill(0);
            let copied = write
                .data
                .copy_to(piece.from, &mut bytes[piece.skip..][..piece.len]);
            if let Err(error) = copied {
                self.pool.borrow_mut().give_back(page);
                return Err(error);
            }
        }
        if piece.page >= pages_in(state.below.size) {
            state.now.blocks += 1;
        } else if state.now.blocks < pages_in(state.now.size) {
            state.blocks_unsure = true;
        }
        room.spend();
        let id = self.pool.borrow_mut().insert_dirty(file, piece.page, page);
        state.pages.insert(piece.page, id);
        self.spend_blocks(blocks_of_page(state, piece.page));
        self.wrote(file, state, piece, write);
        Ok(())
    }

    /// Copies the data of a piece into a page that is here.
    fn fill(
        &self,
        file: &Rc<File>,
        state: &mut State,
        id: FrameId,
        piece: Piece,
        write: &Write<'_>,
    ) -> Result<()> {
        let copied = {
            let mut pool = self.pool.borrow_mut();
            let bytes = &mut pool.write(id, piece.skip > 0)[piece.skip..piece.skip + piece.len];
            write.data.copy_to(piece.from, bytes)
        };
        // If the writer's memory went away halfway, the page has changed all the same. The file must
        // then have grown with it, as what lies behind a file's end is zero.
        self.wrote(file, state, piece, write);
        copied
    }

    /// A page has changed.
    fn wrote(&self, file: &Rc<File>, state: &mut State, piece: Piece, write: &Write<'_>) {
        if state.dirty.is_empty() {
            self.mark_unclean(file);
        }
        state.dirty.insert(piece.page);
        let end = start_of(piece.page) + (piece.skip + piece.len) as u64;
        state.now.size = state.now.size.max(end);
        state.modified(write.modified_ns);
    }

    /// Changes attributes.
    pub(super) async fn setattr(
        self: &Rc<Self>,
        number: FileNumber,
        change: &AttributeChange,
    ) -> Result<()> {
        let _gate = self.gate.read().await;
        let file = self.open(number).await?;
        self.admit(&file)?;
        let _shared = file.lock.read().await;
        let mut state = file.state.borrow_mut();
        if state.presence != Presence::Present {
            return Err(Error::NotFound);
        }
        change.apply(&mut state.now);
        if state.unclean() {
            self.mark_unclean(&file);
        }
        self.note_pressure();
        Ok(())
    }
}
