//! What a task is told when it waits: requests, replies, interrupts, deaths.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Message;

/// What kind of event this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EventKind {
    /// A call to serve. `id` is the token to reply with, `role` the caller, `status` the caller's
    /// generation. An empty message is a ping, which the runtime answers with an empty one.
    Request = 0,
    /// A call of this task's has ended. `id` is what `SUBMIT` returned, `role` who was called; `status`
    /// is zero, or the [`crate::Error`] that ended it (`PeerDied`, `PeerGone`), then without a message.
    Reply = 1,
    /// The caller of the request `id` dropped it or died; its grants are gone. The reply, if still
    /// sent, goes nowhere.
    Cancelled = 2,
    /// Interrupt `id` of this task's devices or ports fired `status` times since it was last told.
    Interrupt = 3,
    /// To the restart manager: `role` died. `DEATH_REPORT` tells more.
    Death = 4,
    /// To the console: records wait in the kernel's log. Told once, however many there are, to the
    /// first task with [`crate::Rights::READ_LOG`] that waits, until there are others.
    Log = 5,
}

/// One event, as [`crate::system_call::WAIT`] writes it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Event {
    /// An [`EventKind`] as a number.
    pub kind: u32,
    /// The role it is from, where it is from one.
    pub role: u32,
    /// Token, call or interrupt number, by kind.
    pub id: u64,
    /// By kind; zero where nothing is said of it.
    pub status: i64,
    /// `Request`: bytes the callee may read.
    pub send_len: u64,
    /// `Request`: bytes the callee may write.
    pub receive_len: u64,
    /// The message of a request or of a reply.
    pub message: Message,
}

impl Event {
    /// A blank to be filled in.
    pub const BLANK: Self = Self {
        kind: 0,
        role: 0,
        id: 0,
        status: 0,
        send_len: 0,
        receive_len: 0,
        message: Message::EMPTY,
    };

    /// The kind, unless the number is none.
    #[must_use]
    pub fn kind(&self) -> Option<EventKind> {
        Some(match self.kind {
            0 => EventKind::Request,
            1 => EventKind::Reply,
            2 => EventKind::Cancelled,
            3 => EventKind::Interrupt,
            4 => EventKind::Death,
            5 => EventKind::Log,
            _ => return None,
        })
    }
}
