//! Experiments that are to be done, for several threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often one experiment may be spoilt before it is left.
const SPOILT_MAX: u32 = 3;

/// Experiments that nobody has begun, and those that the host has spoilt.
pub struct Queue {
    numbers: Mutex<VecDeque<u64>>,
    /// How often each was spoilt.
    spoilt: Mutex<BTreeMap<u64, u32>>,
    stop: AtomicBool,
}

impl Queue {
    /// Of these.
    pub fn new(numbers: Vec<u64>) -> Self {
        Self {
            numbers: Mutex::new(numbers.into()),
            spoilt: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// The next, unless the campaign is to stop.
    pub fn next(&self) -> Option<u64> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        lock(&self.numbers).pop_front()
    }

    /// Has an experiment that the host has spoilt done again, at the end, unless it always is.
    pub fn put_back(&self, number: u64) {
        let mut spoilt = lock(&self.spoilt);
        let times = spoilt.entry(number).or_default();
        *times += 1;
        if *times < SPOILT_MAX {
            lock(&self.numbers).push_back(number);
        }
    }

    /// Has nobody begin another.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How many nobody has begun.
    pub fn left(&self) -> usize {
        lock(&self.numbers).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_spoils_is_done_again_and_not_for_ever() {
        let queue = Queue::new([1, 2].into());
        assert_eq!(queue.next(), Some(1));
        queue.put_back(1);
        assert_eq!((queue.next(), queue.next()), (Some(2), Some(1)));
        queue.put_back(1);
        assert_eq!(queue.left(), 1);
        assert_eq!(queue.next(), Some(1));
        queue.put_back(1);
        assert_eq!(queue.next(), None);
        queue.put_back(2);
        queue.stop();
        assert_eq!((queue.next(), queue.left()), (None, 1));
    }
}
