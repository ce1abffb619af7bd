//! Which frames of physical memory are free, and how many hold each that is not.
//!
//! A frame is held by every mapping of it and by every DMA pin; it is free again when the last of
//! them lets go. Frames are found by next fit over a bitmap, so that freed memory is reused late
//! and a use after free shows.

use alloc::{vec, vec::Vec};

use crate::PAGE;

/// Number of a frame: its physical address divided by the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame(pub u64);

impl Frame {
    /// The physical address of its first byte.
    #[must_use]
    pub fn address(self) -> u64 {
        self.0 * PAGE
    }

    /// The frame that holds a physical address.
    #[must_use]
    pub fn containing(address: u64) -> Self {
        Self(address / PAGE)
    }
}

/// All frames below the end of memory.
pub struct Frames {
    /// A set bit is a free frame.
    free: Vec<u64>,
    /// Holders of a frame; frames that are not memory have `u16::MAX` for ever.
    holders: Vec<u16>,
    cursor: usize,
    free_count: usize,
    total: usize,
}

const RESERVED: u16 = u16::MAX;

impl Frames {
    /// Frames 0 to `count - 1`, none of them usable yet.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self {
            free: vec![0; count.div_ceil(64)],
            holders: vec![RESERVED; count],
            cursor: 0,
            free_count: 0,
            total: 0,
        }
    }

    /// Makes a reserved frame usable.
    pub fn add(&mut self, frame: Frame) {
        let index = frame.0 as usize;
        if self.holders.get(index) == Some(&RESERVED) {
            self.holders[index] = 0;
            self.free[index / 64] |= 1 << (index % 64);
            self.free_count += 1;
            self.total += 1;
        }
    }

    /// Frames free now.
    #[must_use]
    pub fn free_count(&self) -> usize {
        self.free_count
    }

    /// Frames that are usable memory.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// Takes a free frame; its first holder is the caller.
    pub fn allocate(&mut self) -> Option<Frame> {
        for step in 0..=self.free.len() {
            let word = (self.cursor + step) % self.free.len().max(1);
            let bits = *self.free.get(word)?;
            if bits != 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                self.cursor = word;
                self.take(index);
                return Some(Frame(index as u64));
            }
        }
        None
    }

    /// Takes `count` adjacent free frames; returns the first.
    pub fn allocate_contiguous(&mut self, count: usize) -> Option<Frame> {
        match count {
            0 => return None,
            1 => return self.allocate(),
            _ => {}
        }
        let mut run = 0;
        for index in 0..self.holders.len() {
            run = if self.holders[index] == 0 { run + 1 } else { 0 };
            if run == count {
                let first = index + 1 - count;
                (first..=index).for_each(|index| self.take(index));
                return Some(Frame(first as u64));
            }
        }
        None
    }

    fn take(&mut self, index: usize) {
        debug_assert_eq!(self.holders[index], 0);
        self.holders[index] = 1;
        self.free[index / 64] &= !(1 << (index % 64));
        self.free_count -= 1;
    }

    /// Adds a holder to a frame that has one. A frame that is not memory of ours stays as it is.
    pub fn hold(&mut self, frame: Frame) {
        match self.holders.get_mut(frame.0 as usize) {
            Some(&mut RESERVED) | None => {}
            Some(holders) => {
                assert!(*holders > 0, "held a free frame");
                *holders = holders
                    .checked_add(1)
                    .filter(|&n| n != RESERVED)
                    .expect("few holders");
            }
        }
    }

    /// Lets go of a frame; it is free when nobody holds it.
    pub fn release(&mut self, frame: Frame) {
        let index = frame.0 as usize;
        match self.holders.get_mut(index) {
            Some(&mut RESERVED) | None => {}
            Some(holders) => {
                *holders = holders.checked_sub(1).expect("released a free frame");
                if *holders == 0 {
                    self.free[index / 64] |= 1 << (index % 64);
                    self.free_count += 1;
                }
            }
        }
    }

    /// How many hold the frame; a frame that is not memory of ours has none.
    #[must_use]
    pub fn holders(&self, frame: Frame) -> u16 {
        match self.holders.get(frame.0 as usize) {
            Some(&RESERVED) | None => 0,
            Some(&holders) => holders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(count: usize) -> Frames {
        let mut frames = Frames::new(count);
        (0..count as u64).for_each(|frame| frames.add(Frame(frame)));
        frames
    }

    #[test]
    fn every_frame_is_given_once_and_then_no_more() {
        let mut frames = frames(130);
        let mut seen: Vec<_> = core::iter::from_fn(|| frames.allocate()).collect();
        seen.sort();
        assert_eq!(seen, (0..130).map(Frame).collect::<Vec<_>>());
        assert_eq!(frames.free_count(), 0);
        frames.release(Frame(77));
        assert_eq!(frames.allocate(), Some(Frame(77)));
    }

    #[test]
    fn a_pinned_frame_outlives_its_mapping() {
        let mut frames = frames(1);
        let frame = frames.allocate().unwrap();
        frames.hold(frame);
        frames.release(frame);
        assert_eq!(frames.allocate(), None, "the pin still holds it");
        frames.release(frame);
        assert_eq!(frames.allocate(), Some(frame));
    }

    #[test]
    fn contiguous_memory_skips_what_is_held_or_reserved() {
        let mut frames = Frames::new(16);
        [0, 1, 2, 4, 5, 6, 7, 8]
            .into_iter()
            .for_each(|frame| frames.add(Frame(frame)));
        assert_eq!(frames.allocate_contiguous(4), Some(Frame(4)));
        assert_eq!(frames.allocate_contiguous(4), None);
        assert_eq!(frames.allocate_contiguous(3), Some(Frame(0)));
        assert_eq!(frames.free_count(), 1);
        frames.release(Frame(3));
        assert_eq!(
            frames.holders(Frame(3)),
            0,
            "what is not memory is never given out"
        );
    }
}
