//! What calls lend: checked when it is lent, and looked up, through all calls that passed it on, when it
//! is used.

use alloc::vec::Vec;

use abi::{Error, GRANT_BYTES_MAX, PIECES_MAX, SEGMENTS_MAX, Side};

use super::{CallId, Calls, State};
use crate::pins::{CHAIN_MAX, Chain};

/// Where a segment's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the caller's address space.
    Own {
        /// Virtual address.
        address: u64,
    },
    /// In a grant of a call that the caller serves.
    Part {
        /// That call.
        parent: CallId,
        /// Which of its grants.
        side: Side,
        /// Bytes into it.
        offset: usize,
    },
}

/// A contiguous part of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent {
    /// Where it is.
    pub origin: Origin,
    /// Its length in bytes.
    pub len: usize,
}

/// A contiguous piece of a task's memory, what a grant comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whose memory.
    pub owner: usize,
    /// Virtual address in the owner's address space.
    pub address: u64,
    /// Length in bytes.
    pub len: usize,
}

/// What one side of a call lends.
#[derive(Default)]
pub(super) struct GrantList {
    pub(super) segments: Vec<Lent>,
    pub(super) len: usize,
}

impl Calls {
    /// Length of a list of segments and depth of the call that lends them.
    pub(super) fn check(
        &self,
        caller: usize,
        side: Side,
        list: &[Lent],
    ) -> Result<(usize, u8), Error> {
        if list.len() > SEGMENTS_MAX {
            return Err(Error::BadArgument);
        }
        let (mut total, mut depth) = (0usize, 1u8);
        for lent in list {
            if lent.len == 0 {
                return Err(Error::BadArgument);
            }
            total = total.checked_add(lent.len).ok_or(Error::BadArgument)?;
            let Origin::Part {
                parent,
                side: from,
                offset,
            } = lent.origin
            else {
                continue;
            };
            let parent = self.served(parent, caller)?;
            let end = offset.checked_add(lent.len).ok_or(Error::BadArgument)?;
            let writes_what_is_read_only = side == Side::Receive && from == Side::Send;
            if end > parent.grants[from as usize].len || writes_what_is_read_only {
                return Err(Error::BadAddress);
            }
            depth = depth.max(parent.depth + 1);
        }
        if total > GRANT_BYTES_MAX || usize::from(depth) > CHAIN_MAX {
            return Err(Error::BadArgument);
        }
        Ok((total, depth))
    }

    /// Finds the memory behind `len` bytes at `offset` of a grant of a request that `role` serves,
    /// in order, and adds to `chain` the calls it was reached through.
    ///
    /// Errors: [`Error::NoSuchCall`] if the request or one that it was passed on from has ended,
    /// [`Error::BadAddress`] if the grant is not as long, [`Error::BadArgument`] if the memory is in
    /// more than [`PIECES_MAX`] pieces.
    pub fn resolve(
        &self,
        role: usize,
        id: CallId,
        side: Side,
        range: (usize, usize),
        visit: &mut impl FnMut(Piece, &Chain) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut pieces = 0;
        let mut bounded = |piece, chain: &Chain| {
            pieces += 1;
            if pieces > PIECES_MAX {
                return Err(Error::BadArgument);
            }
            visit(piece, chain)
        };
        self.resolve_through(role, id, side, range, &mut Chain::new(), &mut bounded)
    }

    fn resolve_through(
        &self,
        role: usize,
        id: CallId,
        side: Side,
        (offset, len): (usize, usize),
        chain: &mut Chain,
        visit: &mut impl FnMut(Piece, &Chain) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let call = self.served(id, role)?;
        let grant = &call.grants[side as usize];
        if offset.checked_add(len).is_none_or(|end| end > grant.len) {
            return Err(Error::BadAddress);
        }
        chain.push(id).map_err(|_| Error::BadArgument)?;
        let (mut skip, mut want) = (offset, len);
        for lent in &grant.segments {
            if want == 0 {
                break;
            }
            if skip >= lent.len {
                skip -= lent.len;
                continue;
            }
            let take = want.min(lent.len - skip);
            match lent.origin {
                Origin::Own { address } => {
                    let address = address + skip as u64;
                    visit(
                        Piece {
                            owner: call.caller,
                            address,
                            len: take,
                        },
                        chain,
                    )?;
                }
                Origin::Part {
                    parent,
                    side,
                    offset,
                } => {
                    let range = (offset + skip, take);
                    self.resolve_through(call.caller, parent, side, range, chain, visit)?;
                }
            }
            skip = 0;
            want -= take;
        }
        chain.pop();
        Ok(())
    }

    /// Counts a page as pinned through the calls of a chain.
    pub fn count_pin(&mut self, chain: &Chain) {
        for id in chain {
            self.slots[id.slot()].pins += 1;
        }
    }

    /// Counts it as pinned no more, where those calls still are.
    pub fn uncount_pin(&mut self, chain: &Chain) {
        for &id in chain {
            if self.get(id).is_some() {
                self.slots[id.slot()].pins -= 1;
            }
        }
    }

    /// Whether pages are pinned through a call, which must be taken care of before it ends.
    #[must_use]
    pub fn has_pins(&self, id: CallId) -> bool {
        self.get(id).is_some_and(|call| call.pins > 0)
    }

    /// Whether a call is `role`'s own, and not ended.
    #[must_use]
    pub fn is_callers(&self, id: CallId, role: usize) -> bool {
        self.get(id).is_some_and(|call| {
            call.caller == role && matches!(call.state, State::Queued | State::Served)
        })
    }

    /// Whether a call is one that `role` serves.
    #[must_use]
    pub fn is_callees(&self, id: CallId, role: usize) -> bool {
        self.get(id).is_some_and(|call| call.callee == role)
    }

    /// The calls with pinned pages that a role takes part in.
    pub fn pinned_calls_of(&self, role: usize) -> impl Iterator<Item = CallId> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(move |(_, call)| call.pins > 0 && (call.caller == role || call.callee == role))
            .map(|(slot, call)| CallId::new(slot, call.generation))
    }
}
