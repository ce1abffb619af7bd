//! Who runs next: the tasks that are ready, first come, first served.
//!
//! Not by priority: a task that waits for its batch gets it whole, and the longer the others ran, the
//! larger the batch. A role is in the queue at most once, so the queue cannot overflow.

use heapless::Deque;

use abi::ROLES_MAX;

use crate::RoleSet;

/// The ready tasks.
#[derive(Default)]
pub struct RunQueue {
    queue: Deque<u8, ROLES_MAX>,
    members: RoleSet,
}

impl RunQueue {
    /// Puts a role at the end, unless it is in the queue.
    pub fn push(&mut self, role: usize) {
        if self.members.0 & (1 << role) == 0 {
            self.members.insert(role);
            self.queue
                .push_back(role as u8)
                .expect("a role is queued at most once");
        }
    }

    /// Takes the first role.
    pub fn pop(&mut self) -> Option<usize> {
        let role = usize::from(self.queue.pop_front()?);
        self.members.0 &= !(1 << role);
        Some(role)
    }

    /// Takes a role out, wherever it is.
    pub fn remove(&mut self, role: usize) {
        for _ in 0..self.queue.len() {
            if let Some(other) = self.pop()
                && other != role
            {
                self.push(other);
            }
        }
    }

    /// Whether nobody is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_run_in_the_order_in_which_they_became_ready() {
        let mut queue = RunQueue::default();
        for role in [5, 1, 63, 1, 5] {
            queue.push(role);
        }
        queue.remove(1);
        assert_eq!(
            [queue.pop(), queue.pop(), queue.pop()],
            [Some(5), Some(63), None]
        );
        queue.push(1);
        assert_eq!(queue.pop(), Some(1));
        assert!(queue.is_empty());
    }
}
