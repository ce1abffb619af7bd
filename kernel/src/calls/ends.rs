//! How calls end: answered, given up, failed, or with the instance at one of their ends.

use abi::{Error, Message};

use super::{CALLS_MAX, CallId, Calls, State};
use crate::RoleSet;

impl Calls {
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
}
