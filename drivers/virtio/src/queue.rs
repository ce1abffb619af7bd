//! The split virtqueue (virtio 1.2, 2.7), in one piece of DMA memory.
//!
//! ```text
//!      0          descriptor table   size × { address: u64, len: u32, flags: u16, next: u16 }
//!      16 size    available ring     flags: u16, index: u16, size × head: u16, used_event: u16
//!      (to 4)     used ring          flags: u16, index: u16, size × { id: u32, len: u32 },
//!                                    avail_event: u16
//! ```
//!
//! The driver keeps its own copies of the indices it writes, and believes nothing that it reads
//! before it has checked it: the device may write anywhere in here.

use core::sync::atomic::{Ordering, fence};

use crate::{DmaMemory, Piece};

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: usize = 16;

/// The chain goes on at `next`.
const NEXT: u16 = 1;
/// The device writes the memory (else it reads it).
const WRITE: u16 = 2;
/// The memory holds a table of descriptors.
const INDIRECT: u16 = 4;
/// In the used ring: the device does not want to be notified.
const NO_NOTIFY: u16 = 1;

/// A chain that the device has handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// First descriptor of the chain, as the device says; not checked.
    pub head: u32,
    /// Bytes the device says it has written.
    pub len: u32,
}

/// The device handed back more than it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBroken;

/// One split virtqueue.
pub struct Queue<M> {
    memory: M,
    size: u16,
    event_index: bool,
    /// Chains put into the available ring so far, modulo 2^16.
    available: u16,
    /// The part of them that the device was told of.
    published: u16,
    /// Chains taken out of the used ring so far, modulo 2^16.
    used: u16,
}

impl<M: DmaMemory> Queue<M> {
    /// Bytes of memory that a queue of `size` descriptors takes.
    pub fn bytes(size: u16) -> usize {
        let size = usize::from(size);
        used_offset(size) + 6 + 8 * size
    }

    /// A queue of `size` descriptors (a power of two) in memory of at least [`Self::bytes`].
    pub fn new(memory: M, size: u16, event_index: bool) -> Self {
        assert!(size.is_power_of_two() && memory.len() >= Self::bytes(size));
        let mut queue = Self {
            memory,
            size,
            event_index,
            available: 0,
            published: 0,
            used: 0,
        };
        queue.clear();
        queue
    }

    /// Empties the queue. The device must have been reset: it remembers indices of its own.
    pub fn clear(&mut self) {
        (self.available, self.published, self.used) = (0, 0, 0);
        for offset in (0..Self::bytes(self.size)).step_by(2) {
            self.memory.store_u16(offset, 0);
        }
    }

    /// Bus addresses of the descriptor table, the available ring and the used ring.
    pub fn areas(&self) -> [u64; 3] {
        let base = self.memory.bus_address();
        let size = usize::from(self.size);
        [
            base,
            base + avail_offset(size) as u64,
            base + used_offset(size) as u64,
        ]
    }

    /// The memory with the descriptor table at its start.
    pub fn table(&self) -> &M {
        &self.memory
    }

    /// Puts a chain into the available ring. The device sees it after [`Self::publish`].
    pub fn push(&mut self, head: u16) {
        assert!(self.in_flight() < self.size, "more chains than descriptors");
        let slot = usize::from(self.available % self.size);
        self.memory
            .store_u16(avail_offset(usize::from(self.size)) + 4 + 2 * slot, head);
        self.available = self.available.wrapping_add(1);
    }

    /// Shows the device what was pushed; whether it wants to be notified of it.
    pub fn publish(&mut self) -> bool {
        if self.available == self.published {
            return false;
        }
        let before = self.published;
        // The device must see the chains before the index that covers them (2.7.13.3) …
        fence(Ordering::Release);
        self.memory
            .store_u16(avail_offset(usize::from(self.size)) + 2, self.available);
        self.published = self.available;
        // … and the index before we look whether it went to sleep (2.7.13.4).
        fence(Ordering::SeqCst);
        if self.event_index {
            // 2.7.10: notify if the index has passed avail_event since the last time.
            let event = self.memory.load_u16(self.avail_event_offset());
            self.available.wrapping_sub(event).wrapping_sub(1) < self.available.wrapping_sub(before)
        } else {
            self.memory.load_u16(used_offset(usize::from(self.size))) & NO_NOTIFY == 0
        }
    }

    /// Takes the next chain that the device handed back.
    pub fn pop(&mut self) -> Result<Option<Used>, RingBroken> {
        let base = used_offset(usize::from(self.size));
        let ready = self.memory.load_u16(base + 2).wrapping_sub(self.used);
        if ready == 0 {
            return Ok(None);
        }
        if ready > self.published.wrapping_sub(self.used) {
            return Err(RingBroken);
        }
        fence(Ordering::Acquire);
        let entry = base + 4 + 8 * usize::from(self.used % self.size);
        self.used = self.used.wrapping_add(1);
        Ok(Some(Used {
            head: self.memory.load_u32(entry),
            len: self.memory.load_u32(entry + 4),
        }))
    }

    /// Asks for an interrupt at the next chain handed back; whether one already waits, which
    /// would get no interrupt any more.
    pub fn arm(&mut self) -> bool {
        let size = usize::from(self.size);
        if self.event_index {
            self.memory
                .store_u16(avail_offset(size) + 4 + 2 * size, self.used);
        }
        fence(Ordering::SeqCst);
        self.memory.load_u16(used_offset(size) + 2) != self.used
    }

    /// Chains that the device holds.
    pub fn in_flight(&self) -> u16 {
        self.available.wrapping_sub(self.used)
    }

    fn avail_event_offset(&self) -> usize {
        let size = usize::from(self.size);
        used_offset(size) + 4 + 8 * size
    }
}

fn avail_offset(size: usize) -> usize {
    DESCRIPTOR_BYTES * size
}

fn used_offset(size: usize) -> usize {
    (avail_offset(size) + 6 + 2 * size).next_multiple_of(4)
}

/// Writes a chain of descriptors into a table in DMA memory, one after the other.
pub struct Chain<'a, M> {
    table: &'a M,
    /// Offset of the table's first descriptor in its memory.
    base: usize,
    /// Index of the next descriptor.
    index: u16,
}

impl<'a, M: DmaMemory> Chain<'a, M> {
    /// A chain that starts at descriptor `first` of the table at `base`.
    pub fn new(table: &'a M, base: usize, first: u16) -> Self {
        Self {
            table,
            base,
            index: first,
        }
    }

    /// Memory that the device reads (`write` false) or writes. Every chain ends with
    /// [`Self::last`], so there is a next one.
    pub fn push(&mut self, piece: Piece, write: bool) {
        self.put(piece, NEXT | if write { WRITE } else { 0 });
    }

    /// The last descriptor; returns how many descriptors up to here, the table's start included.
    pub fn last(mut self, piece: Piece, write: bool) -> u16 {
        self.put(piece, if write { WRITE } else { 0 });
        self.index
    }

    /// A chain of one, which refers to a table elsewhere (2.7.5.3).
    pub fn indirect(mut self, table: Piece) {
        self.put(table, INDIRECT);
    }

    fn put(&mut self, piece: Piece, flags: u16) {
        let at = self.base + DESCRIPTOR_BYTES * usize::from(self.index);
        self.index += 1;
        self.table.store_u64(at, piece.address);
        self.table.store_u32(at + 8, piece.len);
        self.table.store_u16(at + 12, flags);
        self.table
            .store_u16(at + 14, if flags & NEXT == 0 { 0 } else { self.index });
    }
}

#[cfg(test)]
mod tests;
