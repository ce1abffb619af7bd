//! Buffers of any shape, with guard bytes round every segment.

use alloc::{vec, vec::Vec};

use storage::buffer::{Sink, Source};

use crate::Random;

/// Guard bytes before (besides the offset) and after each segment.
const GUARD_BYTES: usize = 32;

/// Shapes never have more segments: a grant of the kernel has no room for more.
pub const SEGMENTS_MAX: usize = 60;

struct Segment {
    memory: Vec<u8>,
    /// The same as `memory` was filled with at first.
    filled: Vec<u8>,
    start: usize,
    len: usize,
}

/// A list of segments, each in memory of its own.
pub struct Scatter(Vec<Segment>);

impl Scatter {
    /// Segments of this shape, (offset of the first byte beyond the guard, length) each, all of it
    /// filled with a pattern.
    pub fn pattern(shape: &[(usize, usize)], random: &mut Random) -> Self {
        let segment = |&(offset, len): &(usize, usize)| {
            let start = GUARD_BYTES + offset;
            let mut memory = vec![0; start + len + GUARD_BYTES];
            for chunk in memory.chunks_mut(8) {
                let bytes = random.next().to_le_bytes();
                chunk.copy_from_slice(&bytes[..chunk.len()]);
            }
            Segment {
                filled: memory.clone(),
                memory,
                start,
                len,
            }
        };
        assert!(shape.len() <= SEGMENTS_MAX, "too many segments in a shape");
        Self(shape.iter().map(segment).collect())
    }

    /// Bytes in all segments.
    pub fn len(&self) -> usize {
        self.0.iter().map(|segment| segment.len).sum()
    }

    /// The segments, to be read.
    pub fn source(&self) -> Source<'_> {
        let mut source = Source::empty();
        for segment in &self.0 {
            source.push_local(&segment.memory[segment.start..segment.start + segment.len]);
        }
        source
    }

    /// The segments, to be written.
    pub fn sink(&mut self) -> Sink<'_> {
        let mut sink = Sink::empty();
        for segment in &mut self.0 {
            let bytes = &mut segment.memory[segment.start..segment.start + segment.len];
            sink.push(storage::buffer::SinkSegment::Local(bytes));
        }
        sink
    }

    /// What the segments hold now, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        let parts = self.0.iter();
        parts
            .flat_map(|part| &part.memory[part.start..part.start + part.len])
            .copied()
            .collect()
    }

    /// Whether no byte beside the segments has changed.
    pub fn guards_hold(&self) -> bool {
        self.0.iter().all(|part| {
            let end = part.start + part.len;
            part.memory[..part.start] == part.filled[..part.start]
                && part.memory[end..] == part.filled[end..]
        })
    }

    /// Whether no byte at all has changed.
    pub fn is_unchanged(&self) -> bool {
        self.0.iter().all(|part| part.memory == part.filled)
    }
}
