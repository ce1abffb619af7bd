//! A call: a small fixed message, the memory lent with it, and exactly one reply.
//!
//! A call lends at most two grants, for its own life only. The callee may read what was lent to send, and
//! write what was lent to receive. A segment is the caller's own memory, or a part
//! of a grant that the caller itself holds from a call it is serving (a sub-grant), so a page
//! goes from the cache to a disk driver without a copy in between.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes of payload in a message.
pub const MESSAGE_BYTES: usize = 120;

/// Segments in one grant. With 4 KiB pages a grant reaches 256 KiB without contiguous memory.
pub const SEGMENTS_MAX: usize = 64;

/// The bits of a call's number that tell apart all calls under way at a time; the others tell apart
/// those that came after each other.
pub const CALL_SLOT_MASK: u64 = 0x7ff;

/// The fixed message of a call or of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Message {
    /// Bytes of `bytes` in use, at most [`MESSAGE_BYTES`].
    pub len: u64,
    /// The payload; what is beyond `len` is zero.
    pub bytes: [u8; MESSAGE_BYTES],
}

impl Message {
    /// A message without payload.
    pub const EMPTY: Self = Self {
        len: 0,
        bytes: [0; MESSAGE_BYTES],
    };

    /// A message that carries `payload`, or nothing if it is longer than [`MESSAGE_BYTES`].
    #[must_use]
    pub fn new(payload: &[u8]) -> Option<Self> {
        let mut message = Self::EMPTY;
        message
            .bytes
            .get_mut(..payload.len())?
            .copy_from_slice(payload);
        message.len = payload.len() as u64;
        Some(message)
    }

    /// The payload. A length that a hostile sender forged is cut to what there is.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[..(self.len as usize).min(MESSAGE_BYTES)]
    }
}

/// Where the bytes of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Memory {
    /// In the caller's own address space, `address` being a virtual address.
    Own = 0,
    /// In the `Send` grant of the call `token` that the caller serves; `address` is an offset.
    LentSend = 1,
    /// In the `Receive` grant of the call `token` that the caller serves; `address` is an offset.
    LentReceive = 2,
}

/// One contiguous part of a grant. `memory` is a [`Memory`] as a number, which the kernel checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Segment {
    /// A [`Memory`] as a number.
    pub memory: u32,
    /// Zero.
    pub reserved: u32,
    /// The call whose grant this is a part of; zero for own memory.
    pub token: u64,
    /// Virtual address of own memory, or offset into the lent grant.
    pub address: u64,
    /// Length in bytes, at least one.
    pub len: u64,
}

/// A list of segments in the caller's memory, read by the kernel when the call is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Grant {
    /// Address of the first [`Segment`].
    pub segments: u64,
    /// How many segments, at most [`SEGMENTS_MAX`], of [`crate::GRANT_BYTES_MAX`] bytes together; zero
    /// lends nothing.
    pub count: u64,
}

impl Grant {
    /// Lends nothing.
    pub const NONE: Self = Self {
        segments: 0,
        count: 0,
    };
}

/// What [`crate::system_call::SUBMIT`] takes.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct CallDescriptor {
    /// The role that is called, one of the peers named in the task's start information.
    pub callee: u64,
    /// The message.
    pub message: Message,
    /// Memory that the callee may read.
    pub send: Grant,
    /// Memory that the callee may write.
    pub receive: Grant,
    /// How long the callee may take, nanoseconds, before the restart manager holds that against it;
    /// `u64::MAX` for ever. Nothing happens to the call itself.
    pub patience_ns: u64,
}

/// Which of a call's two grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Side {
    /// What the callee may read.
    Send = 0,
    /// What the callee may write. It may also read it, and lend it to be read: a store checks and a
    /// mirror passes on what a device has written there. So who lends memory to be written lends
    /// what is in it as well.
    Receive = 1,
}
