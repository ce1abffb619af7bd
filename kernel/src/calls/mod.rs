//! The table of calls: who called whom with what, what was lent with it, and how it ended.
//!
//! ```text
//!            submit                receive              reply
//!   free ───────────► queued ───────────────► served ───────────► ended ──► free
//!                       │  caller gives up      │  caller gives up   (delivered to the caller)
//!                       ▼                       ▼
//!                    dropped ──► free        orphan ──► free
//!                  (when dequeued)        (when replied, or its callee dies)
//! ```
//!
//! A call is in at most one queue at a time (its callee's requests, its callee's cancellations,
//! its caller's replies), so queues are links through the table and cannot overflow by themselves;
//! what bounds them is how many calls a task may have in flight and how long a mailbox may be.
//! Slots carry generations, so a number that outlived its call names nothing.
//!
//! Here is the table and the way of a call to its callee and back; how calls end otherwise is in
//! `ends`, what they lend in `grants`.

mod ends;
mod grants;
mod id;
mod queues;

use alloc::{boxed::Box, vec::Vec};

use abi::{CALLS_PER_TASK_MAX, Error, MAILBOX_MAX, Message, ROLES_MAX, Side};

use grants::GrantList;
use queues::Mailbox;

pub use grants::{Lent, Origin, Piece};
pub use id::CallId;

/// Calls there can be at a time, in all.
pub const CALLS_MAX: usize = abi::CALL_SLOT_MASK as usize + 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Queued,
    Dropped,
    Served,
    Orphan,
    /// An orphan that was answered before its callee was told that it is one.
    Forgotten,
    Ended,
}

struct Call {
    generation: u32,
    state: State,
    caller: usize,
    callee: usize,
    depth: u8,
    /// Counts among its caller's calls in flight: until its slot is free, unless the caller died.
    counted: bool,
    next: Option<u16>,
    status: i64,
    /// When it should have been answered, monotonic nanoseconds.
    due_ns: u64,
    /// Pages pinned through this call.
    pins: u32,
    message: Message,
    grants: [GrantList; 2],
}

/// A request as its callee sees it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What to reply to.
    pub id: CallId,
    /// Who calls.
    pub caller: usize,
    /// The message.
    pub message: &'a Message,
    /// Bytes lent to send.
    pub send_len: usize,
    /// Bytes lent to receive.
    pub receive_len: usize,
}

/// How a call of a task's ended.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// The call.
    pub id: CallId,
    /// Who was called.
    pub callee: usize,
    /// Zero, or the [`Error`] that ended it.
    pub status: i64,
    /// The reply.
    pub message: Message,
}

/// All calls and all mailboxes.
pub struct Calls {
    slots: Box<[Call]>,
    free: Vec<u16>,
    mailboxes: [Mailbox; ROLES_MAX],
}

impl Default for Calls {
    fn default() -> Self {
        Self::new()
    }
}

impl Calls {
    /// No calls.
    #[must_use]
    pub fn new() -> Self {
        let call = || Call {
            generation: 1,
            state: State::Free,
            caller: 0,
            callee: 0,
            depth: 0,
            counted: false,
            next: None,
            status: 0,
            due_ns: u64::MAX,
            pins: 0,
            message: Message::EMPTY,
            grants: Default::default(),
        };
        Self {
            slots: (0..CALLS_MAX).map(|_| call()).collect(),
            free: (0..CALLS_MAX as u16).rev().collect(),
            mailboxes: [Mailbox::default(); ROLES_MAX],
        }
    }

    /// Adds a call with what it lends. `send` and `receive` must have been checked against the
    /// caller's address space as far as they are its own memory.
    ///
    /// Errors: [`Error::Full`] (mailbox, or calls in flight), [`Error::NoRoom`] (table),
    /// [`Error::BadArgument`] (segments), [`Error::NoSuchCall`] (a parent that is not served here).
    pub fn submit(
        &mut self,
        caller: usize,
        callee: usize,
        message: &Message,
        send: &[Lent],
        receive: &[Lent],
    ) -> Result<CallId, Error> {
        if self.mailboxes[callee].requests.len >= MAILBOX_MAX
            || self.mailboxes[caller].in_flight >= CALLS_PER_TASK_MAX
        {
            return Err(Error::Full);
        }
        let (send_len, send_depth) = self.check(caller, Side::Send, send)?;
        let (receive_len, receive_depth) = self.check(caller, Side::Receive, receive)?;
        let slot = self.free.pop().ok_or(Error::NoRoom)?;
        let call = &mut self.slots[usize::from(slot)];
        call.state = State::Queued;
        call.counted = true;
        call.caller = caller;
        call.callee = callee;
        call.depth = send_depth.max(receive_depth);
        call.status = 0;
        call.due_ns = u64::MAX;
        call.pins = 0;
        call.message = *message;
        for (grant, segments, len) in [
            (Side::Send, send, send_len),
            (Side::Receive, receive, receive_len),
        ] {
            let grant = &mut call.grants[grant as usize];
            grant.segments.clear();
            grant.segments.extend_from_slice(segments);
            grant.len = len;
        }
        let id = CallId::new(usize::from(slot), call.generation);
        self.mailboxes[caller].in_flight += 1;
        self.enqueue(callee, |mailbox| &mut mailbox.requests, slot);
        Ok(id)
    }

    /// Notes when a call that was just submitted should be answered.
    pub fn set_due(&mut self, id: CallId, due_ns: u64) {
        if let Some(call) = self.slots.get_mut(id.slot()) {
            call.due_ns = due_ns;
        }
    }

    /// For every role, the earliest time by which a request that it has not answered should have been,
    /// and how many calls of its own that should be answered some time are not.
    #[must_use]
    pub fn due(&self) -> [(u64, u64); ROLES_MAX] {
        let mut due = [(u64::MAX, 0); ROLES_MAX];
        let waits = |call: &&Call| matches!(call.state, State::Queued | State::Served);
        for call in self.slots.iter().filter(waits) {
            if call.due_ns != u64::MAX {
                due[call.callee].0 = due[call.callee].0.min(call.due_ns);
                due[call.caller].1 += 1;
            }
        }
        due
    }

    fn get(&self, id: CallId) -> Option<&Call> {
        let call = self.slots.get(id.slot())?;
        (CallId::new(id.slot(), call.generation) == id).then_some(call)
    }

    /// The call `id`, if `callee` received it and its caller still wants it.
    fn served(&self, id: CallId, callee: usize) -> Result<&Call, Error> {
        self.get(id)
            .filter(|call| call.state == State::Served && call.callee == callee)
            .ok_or(Error::NoSuchCall)
    }

    /// Frees a slot; its number names nothing from now on.
    fn release(&mut self, slot: u16) {
        let call = &mut self.slots[usize::from(slot)];
        call.state = State::Free;
        call.generation = call.generation.wrapping_add(1).max(1);
        if core::mem::take(&mut call.counted) {
            self.mailboxes[call.caller].in_flight -= 1;
        }
        self.free.push(slot);
    }

    /// The next request for a role, which from now on serves it.
    pub fn next_request(&mut self, role: usize) -> Option<Request<'_>> {
        loop {
            let slot = self.dequeue(role, |mailbox| &mut mailbox.requests)?;
            if self.slots[usize::from(slot)].state == State::Dropped {
                self.release(slot);
                continue;
            }
            let call = &mut self.slots[usize::from(slot)];
            call.state = State::Served;
            return Some(Request {
                id: CallId::new(usize::from(slot), call.generation),
                caller: call.caller,
                message: &call.message,
                send_len: call.grants[Side::Send as usize].len,
                receive_len: call.grants[Side::Receive as usize].len,
            });
        }
    }

    /// The next reply for a role.
    pub fn next_reply(&mut self, role: usize) -> Option<Reply> {
        let slot = self.dequeue(role, |mailbox| &mut mailbox.replies)?;
        let call = &self.slots[usize::from(slot)];
        let reply = Reply {
            id: CallId::new(usize::from(slot), call.generation),
            callee: call.callee,
            status: call.status,
            message: call.message,
        };
        self.release(slot);
        Some(reply)
    }

    /// The next request of which a role is to be told that its caller gave it up.
    pub fn next_cancelled(&mut self, role: usize) -> Option<CallId> {
        loop {
            let slot = self.dequeue(role, |mailbox| &mut mailbox.cancelled)?;
            let call = &self.slots[usize::from(slot)];
            if call.state == State::Orphan {
                return Some(CallId::new(usize::from(slot), call.generation));
            }
            self.release(slot);
        }
    }
}

#[cfg(test)]
mod tests;
