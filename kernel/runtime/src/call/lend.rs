//! Turning sources and sinks into the segments that the kernel lends.

use abi::{Error, Grant, Memory, SEGMENTS_MAX, Segment};
use storage::buffer::{Lent, Side, Sink, SinkSegment, Source, SourceSegment};

/// Segments of one grant. Adjacent ones become one.
pub struct Segments(heapless::Vec<Segment, SEGMENTS_MAX>);

/// Whether both lists fit a grant each, however little their segments adjoin.
pub fn fits(send: &Source<'_>, receive: &mut Sink<'_>) -> bool {
    if send.segments().len() <= SEGMENTS_MAX && receive.segment_count() <= SEGMENTS_MAX {
        return true;
    }
    let (mut read, mut written) = (Segments::new(), Segments::new());
    read.add_source(send).is_ok() && written.add_sink(receive).is_ok()
}

impl Segments {
    /// None. Inlined, because the list is large and would be moved.
    #[inline(always)]
    pub fn new() -> Self {
        Self(heapless::Vec::new())
    }

    /// The list as the kernel takes it, valid as long as `self` stays where it is.
    pub fn grant(&self) -> Grant {
        Grant {
            segments: self.0.as_ptr() as u64,
            count: self.0.len() as u64,
        }
    }

    fn add(&mut self, segment: Segment) -> Result<(), Error> {
        if let Some(last) = self.0.last_mut()
            && (last.memory, last.token) == (segment.memory, segment.token)
            && last.address + last.len == segment.address
        {
            last.len += segment.len;
            return Ok(());
        }
        self.0.push(segment).map_err(|_| Error::BadArgument)
    }

    fn add_own(&mut self, address: u64, len: usize) -> Result<(), Error> {
        let memory = Memory::Own as u32;
        self.add(Segment {
            memory,
            reserved: 0,
            token: 0,
            address,
            len: len as u64,
        })
    }

    fn add_lent(&mut self, lent: &Lent<'_>) -> Result<(), Error> {
        let memory = match lent.side {
            Side::Send => Memory::LentSend,
            Side::Receive => Memory::LentReceive,
        } as u32;
        let (token, address) = (lent.memory.token(), lent.offset as u64);
        self.add(Segment {
            memory,
            reserved: 0,
            token,
            address,
            len: lent.len as u64,
        })
    }

    /// Adds what is to be read.
    pub fn add_source(&mut self, source: &Source<'_>) -> Result<(), Error> {
        source
            .segments()
            .iter()
            .try_for_each(|segment| match segment {
                SourceSegment::Local(bytes) => self.add_own(bytes.as_ptr() as u64, bytes.len()),
                SourceSegment::Lent(lent) => self.add_lent(lent),
            })
    }

    /// Adds what is to be written.
    pub fn add_sink(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        sink.segments_mut()
            .iter_mut()
            .try_for_each(|segment| match segment {
                SinkSegment::Local(bytes) => self.add_own(bytes.as_mut_ptr() as u64, bytes.len()),
                SinkSegment::Lent(lent) => self.add_lent(lent),
            })
    }
}
