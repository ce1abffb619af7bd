//! What waits for a role: lists through the table of calls.

use super::Calls;

/// Calls in order, by their slots.
#[derive(Clone, Copy, Default)]
pub(super) struct Queue {
    pub(super) first: Option<u16>,
    last: Option<u16>,
    pub(super) len: usize,
}

/// What waits for a role, and how many calls of its own count as in flight.
#[derive(Clone, Copy, Default)]
pub(super) struct Mailbox {
    pub(super) requests: Queue,
    pub(super) cancelled: Queue,
    pub(super) replies: Queue,
    pub(super) in_flight: usize,
}

impl Calls {
    /// Puts a call at the end of one of a role's queues.
    pub(super) fn enqueue(
        &mut self,
        role: usize,
        queue: impl Fn(&mut Mailbox) -> &mut Queue,
        slot: u16,
    ) {
        self.slots[usize::from(slot)].next = None;
        let queue = queue(&mut self.mailboxes[role]);
        match queue.last.replace(slot) {
            None => queue.first = Some(slot),
            Some(last) => self.slots[usize::from(last)].next = Some(slot),
        }
        queue.len += 1;
    }

    /// Takes the first call of one of a role's queues.
    pub(super) fn dequeue(
        &mut self,
        role: usize,
        queue: impl Fn(&mut Mailbox) -> &mut Queue,
    ) -> Option<u16> {
        let queue = queue(&mut self.mailboxes[role]);
        let slot = queue.first?;
        queue.first = self.slots[usize::from(slot)].next.take();
        if queue.first.is_none() {
            queue.last = None;
        }
        queue.len -= 1;
        Some(slot)
    }

    /// Takes a call out of its caller's replies, wherever it is.
    pub(super) fn unlink_reply(&mut self, role: usize, slot: u16) {
        for _ in 0..self.mailboxes[role].replies.len {
            let Some(other) = self.dequeue(role, |mailbox| &mut mailbox.replies) else {
                break;
            };
            if other != slot {
                self.enqueue(role, |mailbox| &mut mailbox.replies, other);
            }
        }
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
}
