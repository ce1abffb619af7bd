//! The data of a call: bytes that the callee may read ([`Source`]) or write ([`Sink`]).
//!
//! Either is a list of segments. A segment is local memory, or memory that another task lent and
//! that is only reached by copying ([`Lent`]). A layer that has nothing to do with the bytes passes
//! them down as they are, so that a page goes from the cache to the disk without a copy; a layer
//! that must look copies them to a place of its own.

use alloc::vec::Vec;

use crate::{Error, Result};

/// Which of a request's two grants lent memory is in; see the kernel's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the caller lets us read.
    Send,
    /// What the caller lets us write.
    Receive,
}

/// Memory lent by another task, for the life of one request.
pub trait LentMemory {
    /// Copies `into.len()` bytes at `offset` of the grant. Fails once the request has ended.
    fn copy_from(&self, side: Side, offset: usize, into: &mut [u8]) -> Result<()>;
    /// Copies `from` to `offset` of the receive grant. Fails once the request has ended.
    fn copy_to(&self, offset: usize, from: &[u8]) -> Result<()>;
    /// The number by which the kernel knows the request, to lend a part of it further.
    fn token(&self) -> u64;
}

/// A part of lent memory.
#[derive(Clone, Copy)]
pub struct Lent<'a> {
    /// The request it was lent with.
    pub memory: &'a dyn LentMemory,
    /// Which grant.
    pub side: Side,
    /// Offset into the grant, bytes.
    pub offset: usize,
    /// Length, bytes.
    pub len: usize,
}

/// A segment of a [`Source`].
#[derive(Clone, Copy)]
pub enum SourceSegment<'a> {
    /// In this address space.
    Local(&'a [u8]),
    /// In another.
    Lent(Lent<'a>),
}

/// A segment of a [`Sink`].
pub enum SinkSegment<'a> {
    /// In this address space.
    Local(&'a mut [u8]),
    /// In another.
    Lent(Lent<'a>),
}

impl SourceSegment<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Local(bytes) => bytes.len(),
            Self::Lent(lent) => lent.len,
        }
    }
}

impl SinkSegment<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Local(bytes) => bytes.len(),
            Self::Lent(lent) => lent.len,
        }
    }
}

impl<'a> Lent<'a> {
    fn part(self, start: usize, len: usize) -> Self {
        debug_assert!(start + len <= self.len);
        Self {
            offset: self.offset + start,
            len,
            ..self
        }
    }
}

/// Bytes that the callee may read while the call lasts.
#[derive(Clone, Default)]
pub struct Source<'a> {
    segments: Vec<SourceSegment<'a>>,
    len: usize,
}

impl<'a> Source<'a> {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// All of `bytes`.
    #[must_use]
    pub fn local(bytes: &'a [u8]) -> Self {
        let mut source = Self::default();
        source.push_local(bytes);
        source
    }

    /// All of `lent`.
    #[must_use]
    pub fn lent(lent: Lent<'a>) -> Self {
        let mut source = Self::default();
        source.push(SourceSegment::Lent(lent));
        source
    }

    /// Appends local bytes.
    pub fn push_local(&mut self, bytes: &'a [u8]) {
        self.push(SourceSegment::Local(bytes));
    }

    /// Appends a segment; empty ones vanish.
    pub fn push(&mut self, segment: SourceSegment<'a>) {
        if segment.len() > 0 {
            self.len += segment.len();
            self.segments.push(segment);
        }
    }

    /// Appends all of another source.
    pub fn append(&mut self, other: Source<'a>) {
        for segment in other.segments {
            self.push(segment);
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The segments, in order, none of them empty.
    #[must_use]
    pub fn segments(&self) -> &[SourceSegment<'a>] {
        &self.segments
    }

    /// `len` bytes from `start`; what lies beyond the end is cut off.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Source<'a> {
        let mut part = Source::default();
        let (mut skip, mut want) = (start, len);
        for segment in &self.segments {
            if want == 0 {
                break;
            }
            let available = segment.len();
            if skip >= available {
                skip -= available;
                continue;
            }
            let take = want.min(available - skip);
            part.push(match segment {
                SourceSegment::Local(bytes) => SourceSegment::Local(&bytes[skip..skip + take]),
                SourceSegment::Lent(lent) => SourceSegment::Lent(lent.part(skip, take)),
            });
            skip = 0;
            want -= take;
        }
        part
    }

    /// Copies `into.len()` bytes from `start`; [`Error::BadArgument`] if there are not as many.
    pub fn copy_to(&self, start: usize, into: &mut [u8]) -> Result<()> {
        if start
            .checked_add(into.len())
            .is_none_or(|end| end > self.len)
        {
            return Err(Error::BadArgument);
        }
        let mut done = 0;
        for segment in self.slice(start, into.len()).segments {
            let target = &mut into[done..done + segment.len()];
            done += target.len();
            match segment {
                SourceSegment::Local(bytes) => target.copy_from_slice(bytes),
                SourceSegment::Lent(lent) => {
                    lent.memory.copy_from(lent.side, lent.offset, target)?;
                }
            }
        }
        Ok(())
    }

    /// A copy of all the bytes.
    pub fn to_vec(&self) -> Result<Vec<u8>> {
        let mut bytes = alloc::vec![0; self.len];
        self.copy_to(0, &mut bytes)?;
        Ok(bytes)
    }
}

/// Bytes that the callee may write while the call lasts.
#[derive(Default)]
pub struct Sink<'a> {
    segments: Vec<SinkSegment<'a>>,
    len: usize,
}

impl<'a> Sink<'a> {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// All of `bytes`.
    #[must_use]
    pub fn local(bytes: &'a mut [u8]) -> Self {
        let mut sink = Self::default();
        sink.push(SinkSegment::Local(bytes));
        sink
    }

    /// All of `lent`.
    #[must_use]
    pub fn lent(lent: Lent<'a>) -> Self {
        let mut sink = Self::default();
        sink.push(SinkSegment::Lent(lent));
        sink
    }

    /// Appends a segment; empty ones vanish.
    pub fn push(&mut self, segment: SinkSegment<'a>) {
        if segment.len() > 0 {
            self.len += segment.len();
            self.segments.push(segment);
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The segments, in order, none of them empty.
    pub fn segments_mut(&mut self) -> &mut [SinkSegment<'a>] {
        &mut self.segments
    }

    /// How many segments.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The same bytes, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> Sink<'_> {
        let len = self.len;
        self.slice(0, len)
    }

    /// `len` bytes from `start`, borrowed; what lies beyond the end is cut off.
    pub fn slice(&mut self, start: usize, len: usize) -> Sink<'_> {
        let mut part = Sink::default();
        let (mut skip, mut want) = (start, len);
        for segment in &mut self.segments {
            if want == 0 {
                break;
            }
            let available = segment.len();
            if skip >= available {
                skip -= available;
                continue;
            }
            let take = want.min(available - skip);
            part.push(match segment {
                SinkSegment::Local(bytes) => SinkSegment::Local(&mut bytes[skip..skip + take]),
                SinkSegment::Lent(lent) => SinkSegment::Lent(lent.part(skip, take)),
            });
            skip = 0;
            want -= take;
        }
        part
    }

    /// Takes the first `len` bytes off into a sink of their own, so that parts of one sink can be
    /// filled at the same time.
    pub fn split_front(&mut self, len: usize) -> Sink<'a> {
        let mut front = Sink::default();
        let mut rest = Sink::default();
        let mut want = len.min(self.len);
        for segment in core::mem::take(&mut self.segments) {
            let take = want.min(segment.len());
            want -= take;
            match segment {
                SinkSegment::Local(bytes) => {
                    let (head, tail) = bytes.split_at_mut(take);
                    front.push(SinkSegment::Local(head));
                    rest.push(SinkSegment::Local(tail));
                }
                SinkSegment::Lent(lent) => {
                    front.push(SinkSegment::Lent(lent.part(0, take)));
                    rest.push(SinkSegment::Lent(lent.part(take, lent.len - take)));
                }
            }
        }
        *self = rest;
        front
    }

    /// Copies `from` to `start`; [`Error::BadArgument`] if it does not fit.
    pub fn copy_from(&mut self, start: usize, from: &[u8]) -> Result<()> {
        if start
            .checked_add(from.len())
            .is_none_or(|end| end > self.len)
        {
            return Err(Error::BadArgument);
        }
        let mut done = 0;
        for segment in self.slice(start, from.len()).segments_mut() {
            let origin = &from[done..done + segment.len()];
            done += origin.len();
            match segment {
                SinkSegment::Local(bytes) => bytes.copy_from_slice(origin),
                SinkSegment::Lent(lent) => lent.memory.copy_to(lent.offset, origin)?,
            }
        }
        Ok(())
    }

    /// Copies what was written at `start` back out, to verify it.
    pub fn copy_to(&self, start: usize, into: &mut [u8]) -> Result<()> {
        if start
            .checked_add(into.len())
            .is_none_or(|end| end > self.len)
        {
            return Err(Error::BadArgument);
        }
        let (mut skip, mut done) = (start, 0);
        for segment in &self.segments {
            if done == into.len() {
                break;
            }
            let available = segment.len();
            if skip >= available {
                skip -= available;
                continue;
            }
            let take = (available - skip).min(into.len() - done);
            let target = &mut into[done..done + take];
            match segment {
                SinkSegment::Local(bytes) => target.copy_from_slice(&bytes[skip..skip + take]),
                SinkSegment::Lent(lent) => {
                    lent.memory
                        .copy_from(lent.side, lent.offset + skip, target)?;
                }
            }
            skip = 0;
            done += take;
        }
        Ok(())
    }

    /// Writes `len` zeros at `start`.
    pub fn zero(&mut self, start: usize, len: usize) -> Result<()> {
        static ZEROS: [u8; crate::BLOCK_BYTES] = [0; crate::BLOCK_BYTES];
        let mut done = 0;
        while done < len {
            let step = (len - done).min(ZEROS.len());
            self.copy_from(start + done, &ZEROS[..step])?;
            done += step;
        }
        Ok(())
    }
}
