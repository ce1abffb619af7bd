//! One request as the device reads it (virtio 1.2, 5.2.6), in DMA memory of its own.
//!
//! ```text
//!      0     header: type u32, zero u32, sector u64           the device reads it
//!      16    range: sector u64, sectors u32, flags u32        for discard and write-zeroes
//!      32    status: u8                                       the device writes it
//!      48    table: 125 descriptors                           header, data …, status
//! ```
//!
//! A request takes one descriptor of the queue (number = slot) that refers to the slot's table; if
//! the device knows no such tables, the chain lies in the slot's own part of the queue's table. Two
//! slots share a page.

use alloc::vec::Vec;

use crate::{
    DmaMemory, OutOfMemory, Piece, Platform,
    limits::{Features, Limits},
    queue::{Chain, DESCRIPTOR_BYTES, Queue},
    transfer::{Operation, Part},
};

const SLOT_BYTES: usize = 2048;
const PAGE_BYTES: usize = 4096;
const SLOTS_PER_PAGE: usize = PAGE_BYTES / SLOT_BYTES;
const RANGE: usize = 16;
const STATUS: usize = 32;
const TABLE: usize = 48;

/// Descriptors in a slot's table.
pub const TABLE_MAX: u16 = ((SLOT_BYTES - TABLE) / DESCRIPTOR_BYTES) as u16;

/// No status of the specification: what is there until the device writes.
const STATUS_NONE: u8 = 0xff;

/// What the device made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// The device says that it does not know such requests; it will not learn.
    Unsupported,
    /// The device never wrote a status: it may not even have begun, and still do it.
    Unanswered,
    /// It failed: `status` is what the device says, `len` what it says it wrote.
    Failed {
        /// 1 for an I/O error; others are not in the specification.
        status: u8,
        /// Bytes written.
        len: u32,
    },
}

/// The DMA memory of all slots.
pub struct Slots<M> {
    pages: Vec<M>,
    indirect: bool,
    /// Descriptors of the queue that a slot has.
    stride: u16,
}

impl<M: DmaMemory> Slots<M> {
    /// Memory for as many slots as `limits` says.
    pub fn new<P: Platform<Memory = M>>(
        platform: &P,
        limits: &Limits,
    ) -> Result<Self, OutOfMemory> {
        let indirect = limits.features.contains(Features::INDIRECT_DESC);
        let pages = usize::from(limits.depth).div_ceil(SLOTS_PER_PAGE);
        Ok(Self {
            pages: (0..pages)
                .map(|_| platform.allocate(PAGE_BYTES))
                .collect::<Result<_, _>>()?,
            indirect,
            stride: if indirect { 1 } else { limits.segments_max + 2 },
        })
    }

    fn place(&self, slot: u16) -> (&M, usize) {
        let slot = usize::from(slot);
        (
            &self.pages[slot / SLOTS_PER_PAGE],
            slot % SLOTS_PER_PAGE * SLOT_BYTES,
        )
    }

    /// The slot whose chain starts at descriptor `head`, if there is such a slot.
    pub fn of_head(&self, head: u32) -> Option<u16> {
        let stride = u32::from(self.stride);
        u16::try_from(head / stride)
            .ok()
            .filter(|_| head.is_multiple_of(stride))
    }

    /// Writes the request into its slot and pushes it.
    pub fn submit(
        &self,
        slot: u16,
        part: &Part<impl Platform>,
        queue: &mut Queue<M>,
        limits: &Limits,
    ) {
        let (memory, base) = self.place(slot);
        let bus = memory.bus_address() + base as u64;
        let operation = part.operation;
        // 5.2.6: the sector of a flush is zero, and so it is of requests with a range.
        let sector = if operation.has_data() { part.sector } else { 0 };
        memory.store_u32(base, operation.number());
        memory.store_u32(base + 4, 0);
        memory.store_u64(base + 8, sector);
        memory.store_u8(base + STATUS, STATUS_NONE);
        let head = slot * self.stride;
        let mut chain = if self.indirect {
            Chain::new(memory, base + TABLE, 0)
        } else {
            Chain::new(queue.table(), 0, head)
        };
        chain.push(
            Piece {
                address: bus,
                len: 16,
            },
            false,
        );
        match operation {
            Operation::Read | Operation::Write => {
                for piece in part.pieces(limits.segment_bytes_max) {
                    chain.push(piece, operation == Operation::Read);
                }
            }
            Operation::Discard | Operation::WriteZeroes => {
                memory.store_u64(base + RANGE, part.sector);
                memory.store_u32(base + RANGE + 8, part.count);
                memory.store_u32(base + RANGE + 12, 0);
                chain.push(
                    Piece {
                        address: bus + RANGE as u64,
                        len: 16,
                    },
                    false,
                );
            }
            Operation::Flush => {}
        }
        let used = chain.last(
            Piece {
                address: bus + STATUS as u64,
                len: 1,
            },
            true,
        );
        if self.indirect {
            let len = u32::from(used) * DESCRIPTOR_BYTES as u32;
            let table = Piece {
                address: bus + TABLE as u64,
                len,
            };
            Chain::new(queue.table(), 0, head).indirect(table);
        }
        queue.push(head);
    }

    /// What became of the request of a slot, `len` being the bytes that the device says it wrote.
    ///
    /// A read must have written all its data and the status: the device promises nothing about
    /// bytes beyond what it says it wrote (2.7.8.2). Of other requests only the status is written;
    /// devices that say zero there exist, and the status tells enough, as it was none before.
    pub fn outcome(&self, slot: u16, part: &Part<impl Platform>, len: u32) -> Outcome {
        let (memory, base) = self.place(slot);
        let status = memory.load_u8(base + STATUS);
        let expected = match part.operation {
            Operation::Read => len == part.count + 1,
            _ => len <= 1,
        };
        match status {
            0 if expected => Outcome::Done,
            2 => Outcome::Unsupported,
            STATUS_NONE => Outcome::Unanswered,
            _ => Outcome::Failed { status, len },
        }
    }
}
