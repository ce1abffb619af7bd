//! Memory lent with calls: a list of pieces, each of which ends with every call that it came through.
//!
//! The bytes that a task lends are copied once, where they leave the task that owns them; whoever is lent a
//! part of them further down sees the same bytes. What was written into them goes back to the owner when
//! its call has ended, in whatever way.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use storage::{
    Error, Result,
    buffer::{Lent, Side, Sink, SinkSegment, Source, SourceSegment},
};

use super::calls::{Bytes, Calls};

/// A call, as far as lending is concerned, and the one it was lent on from.
struct Loan {
    ended: Cell<bool>,
    up: Option<Rc<Loan>>,
}

impl Loan {
    fn is_over(&self) -> bool {
        self.ended.get() || self.up.as_ref().is_some_and(|up| up.is_over())
    }
}

#[derive(Clone)]
struct Piece {
    bytes: Bytes,
    offset: usize,
    len: usize,
    loan: Rc<Loan>,
    /// The bytes are the caller's own.
    own: bool,
}

/// What is lent on one side of a call.
#[derive(Clone, Default)]
pub(super) struct Grant {
    pieces: Vec<Piece>,
    len: usize,
}

/// What is lent with a call.
#[derive(Default)]
pub(super) struct Grants {
    pub send: Grant,
    pub receive: Grant,
}

impl Grants {
    pub fn end(&self) {
        for piece in self.send.pieces.iter().chain(&self.receive.pieces) {
            piece.loan.ended.set(true);
        }
    }
}

impl Grant {
    /// The caller's memory to be read.
    pub fn of_source(source: &Source<'_>, calls: &Calls) -> Result<Self> {
        let mut grant = Self::default();
        for segment in source.segments() {
            match segment {
                SourceSegment::Local(bytes) => grant.push_own(bytes.to_vec()),
                SourceSegment::Lent(lent) => grant.push_lent(lent, calls)?,
            }
        }
        Ok(grant)
    }

    /// The caller's memory to be written.
    pub fn of_sink(sink: &mut Sink<'_>, calls: &Calls) -> Result<Self> {
        let mut grant = Self::default();
        for segment in sink.segments_mut() {
            match segment {
                SinkSegment::Local(bytes) => grant.push_own(bytes.to_vec()),
                SinkSegment::Lent(lent) => grant.push_lent(lent, calls)?,
            }
        }
        Ok(grant)
    }

    fn push_own(&mut self, bytes: Vec<u8>) {
        let len = bytes.len();
        self.len += len;
        self.pieces.push(Piece {
            bytes: Rc::new(RefCell::new(bytes)),
            offset: 0,
            len,
            loan: Rc::new(Loan {
                ended: Cell::new(false),
                up: None,
            }),
            own: true,
        });
    }

    fn push_lent(&mut self, lent: &Lent<'_>, calls: &Calls) -> Result<()> {
        let grants = calls.grants(lent.memory.token()).ok_or(Error::Protocol)?;
        let from = match lent.side {
            Side::Send => &grants.send,
            Side::Receive => &grants.receive,
        };
        from.each(lent.offset, lent.len, |piece, offset, len| {
            self.len += len;
            self.pieces.push(Piece {
                bytes: piece.bytes.clone(),
                offset: piece.offset + offset,
                len,
                loan: Rc::new(Loan {
                    ended: Cell::new(false),
                    up: Some(piece.loan.clone()),
                }),
                own: false,
            });
            Ok(())
        })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The pieces of a range: which, from where in it, how many bytes.
    fn each(
        &self,
        offset: usize,
        len: usize,
        mut each: impl FnMut(&Piece, usize, usize) -> Result<()>,
    ) -> Result<()> {
        let (mut skip, mut want) = (offset, len);
        for piece in &self.pieces {
            if want == 0 {
                break;
            }
            if skip >= piece.len {
                skip -= piece.len;
                continue;
            }
            let take = want.min(piece.len - skip);
            if piece.loan.is_over() {
                return Err(Error::Protocol);
            }
            each(piece, skip, take)?;
            skip = 0;
            want -= take;
        }
        if want == 0 {
            Ok(())
        } else {
            Err(Error::Protocol)
        }
    }

    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let mut done = 0;
        self.each(offset, into.len(), |piece, skip, take| {
            let from = piece.offset + skip;
            into[done..done + take].copy_from_slice(&piece.bytes.borrow()[from..from + take]);
            done += take;
            Ok(())
        })
    }

    pub fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        let mut done = 0;
        self.each(offset, from.len(), |piece, skip, take| {
            let to = piece.offset + skip;
            piece.bytes.borrow_mut()[to..to + take].copy_from_slice(&from[done..done + take]);
            done += take;
            Ok(())
        })
    }

    /// Puts what was written into the caller's own memory.
    pub fn give_back(&self, sink: &mut Sink<'_>) {
        let own = self.pieces.iter().filter(|piece| piece.own);
        let local = sink.segments_mut().iter_mut().filter_map(|it| match it {
            SinkSegment::Local(bytes) => Some(bytes),
            SinkSegment::Lent(_) => None,
        });
        for (piece, bytes) in own.zip(local) {
            bytes.copy_from_slice(&piece.bytes.borrow());
        }
    }
}
