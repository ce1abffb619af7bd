//! A request's data as the device sees it: pieces of memory by bus address.

use alloc::vec::Vec;

/// Most pieces of one request: with 64 segments of 4 KiB in all, each may touch two pages more.
pub const PIECES_MAX: usize = 256;

/// A contiguous piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bus address.
    pub address: u64,
    /// Length in bytes, at least one.
    pub len: u32,
}

/// The pieces of a request, in order.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    list: Vec<Piece>,
    bytes: usize,
}

impl Pieces {
    /// Appends a piece; one that continues the last is merged with it. `false` if there are
    /// [`PIECES_MAX`] already, or if the piece is empty or wraps.
    #[must_use]
    pub fn push(&mut self, piece: Piece) -> bool {
        if piece.len == 0 || piece.address.checked_add(u64::from(piece.len)).is_none() {
            return false;
        }
        if let Some(last) = self.list.last_mut()
            && last.address + u64::from(last.len) == piece.address
            && let Some(len) = last.len.checked_add(piece.len)
        {
            last.len = len;
        } else if self.list.len() < PIECES_MAX {
            self.list.push(piece);
        } else {
            return false;
        }
        self.bytes += piece.len as usize;
        true
    }

    /// Length of all pieces, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// `len` bytes from `start`, as pieces of at most `piece_max` bytes each.
    pub fn range(
        &self,
        start: usize,
        len: usize,
        piece_max: u32,
    ) -> impl Iterator<Item = Piece> + '_ {
        let (mut index, mut skip, mut want) = (0, start, len);
        core::iter::from_fn(move || {
            loop {
                let piece = self.list.get(index).filter(|_| want > 0)?;
                if skip >= piece.len as usize {
                    skip -= piece.len as usize;
                    index += 1;
                    continue;
                }
                let here = (piece.len as usize - skip)
                    .min(want)
                    .min(piece_max as usize);
                let part = Piece {
                    address: piece.address + skip as u64,
                    len: here as u32,
                };
                skip += here;
                want -= here;
                return Some(part);
            }
        })
    }

    /// How many bytes from `start` one request may carry: as much as `count_max` pieces of at most
    /// `piece_max` bytes hold, in whole blocks. Zero if not even one block fits.
    #[must_use]
    pub fn fitting(
        &self,
        start: usize,
        count_max: usize,
        piece_max: u32,
        block_bytes: usize,
    ) -> usize {
        let rest = self.bytes.saturating_sub(start);
        let fits: usize = self
            .range(start, rest, piece_max)
            .take(count_max)
            .map(|piece| piece.len as usize)
            .sum();
        fits - fits % block_bytes
    }
}
