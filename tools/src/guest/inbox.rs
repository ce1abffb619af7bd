//! What arrives from a guest, from whichever line, in one queue to wait on.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::events::Event;

/// Things that wait to be read. Beyond this the oldest go, which is told: a program that does not
/// listen must not stop the guest.
const QUEUE_MAX: usize = 100_000;

/// One arrival.
#[derive(Clone, Debug, PartialEq)]
pub enum Arrival {
    /// A line on COM2.
    Event(Event),
    /// The machine was reset.
    Reset {
        /// By what runs in it, and not by QMP.
        by_guest: bool,
    },
    /// The host could not write to an image for want of space. The image's name in QEMU's words,
    /// `disk0`.
    DiskFull(String),
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
    lost: u64,
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
                queue.lost += 1;
            }
            queue.arrivals.push_back(arrival);
        }
        self.changed.notify_all();
    }

    /// The next arrival, or nothing by `deadline`.
    pub fn next(&self, deadline: Instant) -> Option<Arrival> {
        let mut queue = self.lock();
        loop {
            if queue.lost > 0 {
                let lost = std::mem::take(&mut queue.lost);
                return Some(Arrival::Event(Event::lost(lost)));
            }
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(5)
    }

    const RESET: Arrival = Arrival::Reset { by_guest: true };

    #[test]
    fn what_came_before_the_end_is_read_before_the_end() {
        let inbox = Inbox::default();
        assert_eq!(inbox.next(soon()), None);
        inbox.push(RESET);
        inbox.push(Arrival::Closed);
        assert_eq!(inbox.next(soon()), Some(RESET));
        assert_eq!(inbox.next(soon()), Some(Arrival::Closed));
        assert_eq!(inbox.next(soon()), Some(Arrival::Closed));
    }

    #[test]
    fn a_queue_nobody_reads_stays_bounded_and_tells_what_is_lost() {
        let inbox = Inbox::default();
        for _ in 0..QUEUE_MAX + 3 {
            inbox.push(RESET);
        }
        assert_eq!(inbox.next(soon()), Some(Arrival::Event(Event::lost(3))));
        assert_eq!(inbox.lock().arrivals.len(), QUEUE_MAX);
        assert_eq!(inbox.next(soon()), Some(RESET));
    }
}
