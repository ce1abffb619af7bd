//! Writes: into pages, nothing else. Attributes are set here alike.
//!
//! A page that is written in part is read from below first, but only if there is anything of it
//! below that the write leaves standing. Every write makes a fresh page: what the ledger describes does not
//! change, so that a death in the middle of a write finds the page as it was.

use alloc::{boxed::Box, rc::Rc};

use super::{
    Inner,
    files::{File, Presence, State},
    page::{PageRef, alone, page_of, pages_in, start_of},
    pool::{Content, FrameId, Pool},
    room::{Room, blocks_of_page},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    clock::Clock,
    file::{FileService, Write},
    surviving::Memory,
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

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Writes; returns how many bytes were taken before anything came in the way.
    pub(super) async fn write(self: &Rc<Self>, write: &Write<'_>) -> Result<usize> {
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
        let outcome = self.write_pieces(&file, write, &mut done).await;
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
            let mut room = match self.room(count as usize).await {
                Err(Error::NoSpace) if self.adds_nothing(file, first, count) => {
                    self.room_in_spite(count as usize)?
                }
                room => room?,
            };
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
        room: &mut Room<'_, M>,
    ) -> Result<()> {
        loop {
            file.changed
                .until(|| !file.state.borrow().is_reading(piece.page))
                .await;
            if let Some(id) = self.left_standing(file, piece)
                && !self.is_sound(file, piece.page, id)
            {
                continue;
            }
            {
                let mut state = file.state.borrow_mut();
                if state.presence != Presence::Present {
                    return Err(Error::NotFound);
                }
                if let Some(&id) = state.pages.get(&piece.page) {
                    return self.put(file, &mut state, Basis::Held(id), piece, write, room);
                }
                let stands = piece.page < pages_in(state.below.size)
                    && !piece.covers(state.now.size.max(state.below.size));
                if !stands {
                    return self.put(file, &mut state, Basis::Nothing, piece, write, room);
                }
            }
            let mut pages = Box::pin(self.fetch(file, piece.page, 1)).await?;
            self.count(|count| count.misses += 1);
            let mut state = file.state.borrow_mut();
            if state.presence != Presence::Present || state.pages.contains_key(&piece.page) {
                continue;
            }
            let Some(page) = pages.pop() else {
                return Err(Error::Protocol);
            };
            return self.put(file, &mut state, Basis::Fetched(page), piece, write, room);
        }
    }

    /// The page that is here, if the piece leaves a part of it standing: that part must be what it should be.
    fn left_standing(&self, file: &File, piece: Piece) -> Option<FrameId> {
        let state = file.state.borrow();
        let id = state.pages.get(&piece.page).copied()?;
        let covers = piece.covers(state.now.size.max(state.below.size));
        (!covers).then_some(id)
    }

    /// Fills a fresh page with what is to be in it, and puts that in the place of what is here. If the
    /// data cannot be had, nothing has changed.
    fn put(
        &self,
        file: &Rc<File>,
        state: &mut State,
        basis: Basis<M>,
        piece: Piece,
        write: &Write<'_>,
        room: &mut Room<'_, M>,
    ) -> Result<()> {
        let algorithm = self.algorithm();
        let held = match basis {
            Basis::Held(id) => Some(id),
            _ => None,
        };
        let is_new = matches!(basis, Basis::Nothing);
        let covers = piece.covers(state.now.size.max(state.below.size));
        let content = {
            let mut pool = self.pool.borrow_mut();
            let page = fill(&mut pool, basis, covers, piece, write)?;
            pool.checksums += 1;
            let checksum = algorithm.of(&page[..]);
            let guard = (pool.ledger).describe(page.number(), file.number, piece.page, checksum);
            Content {
                page,
                checksum: Some(checksum),
                is_lost: false,
                guard,
            }
        };
        let guard = content.guard;
        if is_new && piece.page >= pages_in(state.below.size) {
            state.now.blocks += 1;
        } else if is_new && state.now.blocks < pages_in(state.now.size) {
            state.blocks_unsure = true;
        }
        let (takes_room, takes_blocks) = match held {
            Some(id) => {
                let mut pool = self.pool.borrow_mut();
                (pool.is_kept(id), pool.is_fresh_below(id))
            }
            None => (true, true),
        };
        if takes_room {
            room.spend();
        }
        if takes_blocks {
            self.spend_blocks(blocks_of_page(state, piece.page));
        }
        let mut pool = self.pool.borrow_mut();
        let old = match held {
            Some(id) => Some(pool.write(id, content, piece.skip > 0)),
            None => {
                let id = pool.insert_dirty(file, piece.page, content);
                state.pages.insert(piece.page, id);
                None
            }
        };
        let old_guard = old.as_ref().map_or(0, |old| old.guard);
        state.digest = state.digest.wrapping_add(guard).wrapping_sub(old_guard);
        if state.dirty.is_empty() {
            self.mark_unclean(file);
        }
        state.dirty.insert(piece.page);
        let end = start_of(piece.page) + (piece.skip + piece.len) as u64;
        state.now.size = state.now.size.max(end);
        state.modified(write.modified_ns);
        self.write_down(&mut pool, file, state);
        // From here on the write has happened, whoever dies; and until here it has not.
        if let Some(old) = old {
            pool.discard(old);
        }
        Ok(())
    }
}

/// What a written page is made of, beside what is written.
enum Basis<M: Memory> {
    /// What the cache holds.
    Held(FrameId),
    /// What was read from below for this.
    Fetched(PageRef<M>),
    /// Zeros: there is nothing, or nothing that matters.
    Nothing,
}

/// A page with a piece of a write in it, held by nobody else. `covers`: nothing of the basis stands.
fn fill<M: Memory>(
    pool: &mut Pool<M>,
    basis: Basis<M>,
    covers: bool,
    piece: Piece,
    write: &Write<'_>,
) -> Result<PageRef<M>> {
    let (mut page, zeroes) = match basis {
        Basis::Fetched(page) => (page, false),
        Basis::Held(id) if !covers => {
            let mut page = pool.take()?;
            let copied = match pool.copy(id) {
                Ok(from) => alone(&mut page).map(|bytes| bytes.copy_from_slice(&from[..])),
                Err(error) => Err(error),
            };
            if let Err(error) = copied {
                pool.give_back(page);
                return Err(error);
            }
            (page, false)
        }
        Basis::Held(_) | Basis::Nothing => (pool.take()?, true),
    };
    let bytes = alone(&mut page)?;
    if zeroes {
        bytes[..piece.skip].fill(0);
        bytes[piece.skip + piece.len..].fill(0);
    }
    let part = &mut bytes[piece.skip..piece.skip + piece.len];
    match write.data.copy_to(piece.from, part) {
        Ok(()) => Ok(page),
        Err(error) => {
            pool.give_back(page);
            Err(error)
        }
    }
}
