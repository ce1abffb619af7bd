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

use alloc::{boxed::Box, vec::Vec};

use abi::{Error, Message, SEGMENTS_MAX, Side};

use crate::{
    ROLES_MAX, RoleSet,
    pins::{CHAIN_MAX, Chain},
};

/// Calls there can be at a time, in all.
pub const CALLS_MAX: usize = abi::CALL_SLOT_MASK as usize + 1;

/// Calls that a task can have in flight.
pub const CALLS_PER_TASK_MAX: usize = 256;

/// Requests that can wait for a task.
pub const MAILBOX_MAX: usize = 256;

/// Bytes that one grant can lend.
pub const GRANT_BYTES_MAX: usize = 64 << 20;

/// Pieces that the memory behind one part of a grant may be in, so that nothing that looks at each of
/// them takes long. Honest ones are in as many as a few pages have segments.
pub const PIECES_MAX: usize = 4096;

/// Number of a call: the caller's handle and the callee's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(u64);

impl CallId {
    /// The call in a slot's `generation`th use.
    #[must_use]
    pub fn new(slot: usize, generation: u32) -> Self {
        Self((u64::from(generation) << 16) | slot as u64)
    }

    /// From a number that a task gave.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// As a number for a task.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The slot: one that there is, whatever the number; one that was forged fails on the rest.
    #[must_use]
    pub fn slot(self) -> usize {
        (self.0 & abi::CALL_SLOT_MASK) as usize
    }
}

/// Where a segment's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the caller's address space.
    Own {
        /// Virtual address.
        address: u64,
    },
    /// In a grant of a call that the caller serves.
    Part {
        /// That call.
        parent: CallId,
        /// Which of its grants.
        side: Side,
        /// Bytes into it.
        offset: usize,
    },
}

/// A contiguous part of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lent {
    /// Where it is.
    pub origin: Origin,
    /// Its length in bytes.
    pub len: usize,
}

/// A contiguous piece of a task's memory, what a grant comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Whose memory.
    pub owner: usize,
    /// Virtual address in the owner's address space.
    pub address: u64,
    /// Length in bytes.
    pub len: usize,
}

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

#[derive(Default)]
struct GrantList {
    segments: Vec<Lent>,
    len: usize,
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
    /// Pages pinned through this call.
    pins: u32,
    message: Message,
    grants: [GrantList; 2],
}

#[derive(Clone, Copy, Default)]
struct Queue {
    first: Option<u16>,
    last: Option<u16>,
    len: usize,
}

#[derive(Clone, Copy, Default)]
struct Mailbox {
    requests: Queue,
    cancelled: Queue,
    replies: Queue,
    in_flight: usize,
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

    /// Length of a list of segments and depth of the call that lends them.
    fn check(&self, caller: usize, side: Side, list: &[Lent]) -> Result<(usize, u8), Error> {
        if list.len() > SEGMENTS_MAX {
            return Err(Error::BadArgument);
        }
        let (mut total, mut depth) = (0usize, 1u8);
        for lent in list {
            if lent.len == 0 {
                return Err(Error::BadArgument);
            }
            total = total.checked_add(lent.len).ok_or(Error::BadArgument)?;
            let Origin::Part {
                parent,
                side: from,
                offset,
            } = lent.origin
            else {
                continue;
            };
            let parent = self.served(parent, caller)?;
            let end = offset.checked_add(lent.len).ok_or(Error::BadArgument)?;
            let writes_what_is_read_only = side == Side::Receive && from == Side::Send;
            if end > parent.grants[from as usize].len || writes_what_is_read_only {
                return Err(Error::BadAddress);
            }
            depth = depth.max(parent.depth + 1);
        }
        if total > GRANT_BYTES_MAX || usize::from(depth) > CHAIN_MAX {
            return Err(Error::BadArgument);
        }
        Ok((total, depth))
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

    fn enqueue(&mut self, role: usize, queue: impl Fn(&mut Mailbox) -> &mut Queue, slot: u16) {
        self.slots[usize::from(slot)].next = None;
        let queue = queue(&mut self.mailboxes[role]);
        match queue.last.replace(slot) {
            None => queue.first = Some(slot),
            Some(last) => self.slots[usize::from(last)].next = Some(slot),
        }
        queue.len += 1;
    }

    fn dequeue(&mut self, role: usize, queue: impl Fn(&mut Mailbox) -> &mut Queue) -> Option<u16> {
        let queue = queue(&mut self.mailboxes[role]);
        let slot = queue.first?;
        queue.first = self.slots[usize::from(slot)].next.take();
        if queue.first.is_none() {
            queue.last = None;
        }
        queue.len -= 1;
        Some(slot)
    }

    fn release(&mut self, slot: u16) {
        let call = &mut self.slots[usize::from(slot)];
        call.state = State::Free;
        call.generation = call.generation.wrapping_add(1).max(1);
        if core::mem::take(&mut call.counted) {
            self.mailboxes[call.caller].in_flight -= 1;
        }
        self.free.push(slot);
    }

    /// Ends a call for its caller, who will be told at its next wait.
    fn end(&mut self, slot: u16, status: i64, message: Message) -> usize {
        let call = &mut self.slots[usize::from(slot)];
        call.state = State::Ended;
        call.status = status;
        call.message = message;
        let caller = call.caller;
        self.enqueue(caller, |mailbox| &mut mailbox.replies, slot);
        caller
    }

    /// Whether anything waits for a role.
    #[must_use]
    pub fn has_events(&self, role: usize) -> bool {
        let mailbox = &self.mailboxes[role];
        mailbox.requests.len + mailbox.cancelled.len + mailbox.replies.len > 0
    }

    /// How much waits for a role.
    #[must_use]
    pub fn backlog(&self, role: usize) -> usize {
        let mailbox = &self.mailboxes[role];
        mailbox.requests.len + mailbox.cancelled.len + mailbox.replies.len
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

    /// Answers a request; returns the caller to wake. A late answer to a caller that gave up is
    /// [`Error::NoSuchCall`] and goes nowhere.
    pub fn reply(&mut self, role: usize, id: CallId, message: Message) -> Result<usize, Error> {
        let call = self
            .get(id)
            .filter(|call| call.callee == role)
            .ok_or(Error::NoSuchCall)?;
        match call.state {
            State::Served => Ok(self.end(id.slot() as u16, 0, message)),
            State::Orphan => {
                self.bury(id.slot() as u16);
                Err(Error::NoSuchCall)
            }
            _ => Err(Error::NoSuchCall),
        }
    }

    /// Frees an orphan, at once or, if its callee has not been told yet, when it is.
    fn bury(&mut self, slot: u16) {
        let callee = self.slots[usize::from(slot)].callee;
        let mut cursor = self.mailboxes[callee].cancelled.first;
        while let Some(waiting) = cursor {
            if waiting == slot {
                self.slots[usize::from(slot)].state = State::Forgotten;
                return;
            }
            cursor = self.slots[usize::from(waiting)].next;
        }
        self.release(slot);
    }

    /// Gives a call up; returns the callee to tell, if it had received it.
    pub fn cancel(&mut self, role: usize, id: CallId) -> Result<Option<usize>, Error> {
        let call = self
            .get(id)
            .filter(|call| call.caller == role)
            .ok_or(Error::NoSuchCall)?;
        match call.state {
            State::Queued => {
                self.slots[id.slot()].state = State::Dropped;
                Ok(None)
            }
            State::Served => Ok(Some(self.orphan(id.slot() as u16))),
            // Its reply is on the way; it is swallowed here.
            State::Ended => {
                self.unlink_reply(role, id.slot() as u16);
                self.release(id.slot() as u16);
                Ok(None)
            }
            _ => Err(Error::NoSuchCall),
        }
    }

    /// Ends a call that its callee still serves with `error`, because what was lent with it is not
    /// where the callee's device works any more. Returns the caller to wake.
    pub fn fail(&mut self, id: CallId, error: Error) -> Option<usize> {
        let call = self.get(id).filter(|call| call.state == State::Served)?;
        debug_assert_eq!(call.pins, 0, "its pins were detached");
        Some(self.end(id.slot() as u16, error as i64, Message::EMPTY))
    }

    fn orphan(&mut self, slot: u16) -> usize {
        let call = &mut self.slots[usize::from(slot)];
        call.state = State::Orphan;
        let callee = call.callee;
        self.enqueue(callee, |mailbox| &mut mailbox.cancelled, slot);
        callee
    }

    fn unlink_reply(&mut self, role: usize, slot: u16) {
        for _ in 0..self.mailboxes[role].replies.len {
            let Some(other) = self.dequeue(role, |mailbox| &mut mailbox.replies) else {
                break;
            };
            if other != slot {
                self.enqueue(role, |mailbox| &mut mailbox.replies, other);
            }
        }
    }

    /// Ends everything that a role took part in, because its instance died: what it was asked ends
    /// with `PeerDied`, what it asked is given up. Returns the roles to wake.
    pub fn role_died(&mut self, role: usize) -> RoleSet {
        let mut wake = self.fail_requests(role, Error::PeerDied);
        while let Some(slot) = self.dequeue(role, |mailbox| &mut mailbox.cancelled) {
            self.release(slot);
        }
        while let Some(slot) = self.dequeue(role, |mailbox| &mut mailbox.replies) {
            self.release(slot);
        }
        for slot in 0..CALLS_MAX as u16 {
            let call = &mut self.slots[usize::from(slot)];
            if call.caller == role {
                call.counted = false;
            }
            match call.state {
                State::Queued if call.caller == role => call.state = State::Dropped,
                State::Served if call.callee == role && call.caller == role => self.release(slot),
                State::Served if call.callee == role => {
                    wake.insert(self.end(slot, Error::PeerDied as i64, Message::EMPTY));
                }
                State::Served if call.caller == role => wake.insert(self.orphan(slot)),
                State::Orphan if call.callee == role => self.release(slot),
                _ => {}
            }
        }
        self.mailboxes[role].in_flight = 0;
        wake
    }

    /// Ends every request that waits for a role with `error`. Returns the roles to wake.
    pub fn fail_requests(&mut self, role: usize, error: Error) -> RoleSet {
        let mut wake = RoleSet::default();
        while let Some(slot) = self.dequeue(role, |mailbox| &mut mailbox.requests) {
            let call = &self.slots[usize::from(slot)];
            if call.state == State::Queued && call.caller != role {
                wake.insert(self.end(slot, error as i64, Message::EMPTY));
            } else {
                self.release(slot);
            }
        }
        wake
    }

    /// Finds the memory behind `len` bytes at `offset` of a grant of a request that `role` serves,
    /// in order, and adds to `chain` the calls it was reached through.
    ///
    /// Errors: [`Error::NoSuchCall`] if the request or one that it was passed on from has ended,
    /// [`Error::BadAddress`] if the grant is not as long, [`Error::BadArgument`] if the memory is in
    /// more than [`PIECES_MAX`] pieces.
    pub fn resolve(
        &self,
        role: usize,
        id: CallId,
        side: Side,
        range: (usize, usize),
        visit: &mut impl FnMut(Piece, &Chain) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut pieces = 0;
        let mut bounded = |piece, chain: &Chain| {
            pieces += 1;
            if pieces > PIECES_MAX {
                return Err(Error::BadArgument);
            }
            visit(piece, chain)
        };
        self.resolve_through(role, id, side, range, &mut Chain::new(), &mut bounded)
    }

    fn resolve_through(
        &self,
        role: usize,
        id: CallId,
        side: Side,
        (offset, len): (usize, usize),
        chain: &mut Chain,
        visit: &mut impl FnMut(Piece, &Chain) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let call = self.served(id, role)?;
        let grant = &call.grants[side as usize];
        if offset.checked_add(len).is_none_or(|end| end > grant.len) {
            return Err(Error::BadAddress);
        }
        chain.push(id).map_err(|_| Error::BadArgument)?;
        let (mut skip, mut want) = (offset, len);
        for lent in &grant.segments {
            if want == 0 {
                break;
            }
            if skip >= lent.len {
                skip -= lent.len;
                continue;
            }
            let take = want.min(lent.len - skip);
            match lent.origin {
                Origin::Own { address } => {
                    let address = address + skip as u64;
                    visit(
                        Piece {
                            owner: call.caller,
                            address,
                            len: take,
                        },
                        chain,
                    )?;
                }
                Origin::Part {
                    parent,
                    side,
                    offset,
                } => {
                    let range = (offset + skip, take);
                    self.resolve_through(call.caller, parent, side, range, chain, visit)?;
                }
            }
            skip = 0;
            want -= take;
        }
        chain.pop();
        Ok(())
    }

    /// Counts a page as pinned through the calls of a chain.
    pub fn count_pin(&mut self, chain: &Chain) {
        for id in chain {
            self.slots[id.slot()].pins += 1;
        }
    }

    /// Counts it as pinned no more, where those calls still are.
    pub fn uncount_pin(&mut self, chain: &Chain) {
        for &id in chain {
            if self.get(id).is_some() {
                self.slots[id.slot()].pins -= 1;
            }
        }
    }

    /// Whether pages are pinned through a call, which must be taken care of before it ends.
    #[must_use]
    pub fn has_pins(&self, id: CallId) -> bool {
        self.get(id).is_some_and(|call| call.pins > 0)
    }

    /// Whether a call is `role`'s own, and not ended.
    #[must_use]
    pub fn is_callers(&self, id: CallId, role: usize) -> bool {
        self.get(id).is_some_and(|call| {
            call.caller == role && matches!(call.state, State::Queued | State::Served)
        })
    }

    /// Whether a call is one that `role` serves.
    #[must_use]
    pub fn is_callees(&self, id: CallId, role: usize) -> bool {
        self.get(id).is_some_and(|call| call.callee == role)
    }

    /// The calls with pinned pages that a role takes part in.
    pub fn pinned_calls_of(&self, role: usize) -> impl Iterator<Item = CallId> + '_ {
        self.slots
            .iter()
            .enumerate()
            .filter(move |(_, call)| call.pins > 0 && (call.caller == role || call.callee == role))
            .map(|(slot, call)| CallId::new(slot, call.generation))
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
