//! What arrives from a guest, from whichever line, in one queue to wait on.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::events::Event;

/// Things that wait to be read. Beyond this the oldest go: a program that does not listen must not
/// stop the guest.
const QUEUE_MAX: usize = 100_000;

/// One arrival.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// A line on COM2.
    Event(Event),
    /// The guest reset the machine.
    Reset,
    /// COM2 closed: QEMU has ended.
    Closed,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Inbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    arrivals: VecDeque<Arrival>,
    closed: bool,
    dropped: u64,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an arrival; after [`Arrival::Closed`] nothing more comes.
    pub fn push(&self, arrival: Arrival) {
        let mut queue = self.lock();
        if arrival == Arrival::Closed {
            queue.closed = true;
        } else {
            if queue.arrivals.len() == QUEUE_MAX {
                queue.arrivals.pop_front();
                queue.dropped += 1;
            }
            queue.arrivals.push_back(arrival);
        }
        self.changed.notify_all();
    }

    /// The next arrival, or nothing by `deadline`.
    pub fn next(&self, deadline: Instant) -> Option<Arrival> {
        let mut queue = self.lock();
        loop {
            if let Some(arrival) = queue.arrivals.pop_front() {
                return Some(arrival);
            }
            if queue.closed {
                return Some(Arrival::Closed);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            queue = self
                .changed
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Forgets what has arrived so far.
    pub fn clear(&self) {
        self.lock().arrivals.clear();
    }

    /// Arrivals lost because nobody read them.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(5)
    }

    #[test]
    fn what_came_before_the_end_is_read_before_the_end() {
        let inbox = Inbox::default();
        assert_eq!(inbox.next(soon()), None);
        inbox.push(Arrival::Reset);
        inbox.push(Arrival::Closed);
        assert_eq!(inbox.next(soon()), Some(Arrival::Reset));
        assert_eq!(inbox.next(soon()), Some(Arrival::Closed));
        assert_eq!(inbox.next(soon()), Some(Arrival::Closed));
    }

    #[test]
    fn a_queue_nobody_reads_stays_bounded() {
        let inbox = Inbox::default();
        for _ in 0..QUEUE_MAX + 3 {
            inbox.push(Arrival::Reset);
        }
        assert_eq!(inbox.dropped(), 3);
    }
}
