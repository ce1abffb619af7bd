//! Faults that wait: for a request, for a named point, for chance.
//!
//! Each is in a place of its own, and counted by the mark of that place just before it happens, so the
//! manager knows of it even if nothing is left that could tell.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use abi::{Fault, MARKS_MAX, Order, When};
use storage::{faulty::Random, point};

use super::{misbehaviour, suffer};
use crate::system;

struct Place {
    /// Zero in an empty place.
    fault: AtomicU32,
    /// How often it will yet happen.
    times: AtomicU32,
    argument: AtomicU64,
    seed: AtomicU64,
    when: AtomicU64,
    /// Requests since it was armed or happened last, or in all.
    requests: AtomicU32,
}

static PLACES: [Place; MARKS_MAX] = [const {
    Place {
        fault: AtomicU32::new(0),
        times: AtomicU32::new(0),
        argument: AtomicU64::new(0),
        seed: AtomicU64::new(0),
        when: AtomicU64::new(0),
        requests: AtomicU32::new(0),
    }
}; MARKS_MAX];

/// Has a fault wait for its time. One that is to happen now does, and leaves nothing.
pub fn arm(place: u16, fault: Fault, times: u32, argument: u64, seed: u64, when: When) {
    let Some(it) = PLACES.get(usize::from(place)) else {
        return;
    };
    it.times.store(times, Relaxed);
    it.argument.store(argument, Relaxed);
    it.seed.store(seed, Relaxed);
    it.when.store(when.encode(), Relaxed);
    it.requests.store(0, Relaxed);
    it.fault.store(fault as u32, Relaxed);
    match when {
        When::Now => it.happen(place.into()),
        When::Requests(_) | When::OneIn(_) => misbehaviour::count_requests(true),
        When::Point(number) => point::arm(number),
    }
}

/// Forgets what is in a place.
pub fn disarm(place: u16) {
    if let Some(it) = PLACES.get(usize::from(place)) {
        it.fault.store(0, Relaxed);
    }
}

/// A request was taken, and somebody counts them.
pub fn on_request() {
    let mut counted = false;
    for (index, it) in PLACES.iter().enumerate() {
        let when = it.waits_for();
        let due = match when {
            Some(When::Requests(count)) => it.requests.fetch_add(1, Relaxed) + 1 >= count,
            Some(When::OneIn(requests)) => {
                let number = it.requests.fetch_add(1, Relaxed);
                let seed = it.seed.load(Relaxed);
                Random::of_event(seed, number.into()).below(requests.into()) == 0
            }
            _ => continue,
        };
        if due {
            if let Some(When::Requests(_)) = when {
                it.requests.store(0, Relaxed);
            }
            it.happen(index);
        }
        counted |= it.waits_for().is_some();
    }
    misbehaviour::count_requests(counted);
}

/// The named point of this number was passed.
pub fn on_point(number: u32) {
    let here = |it: &&Place| it.waits_for() == Some(When::Point(number));
    // Before anything happens: nothing may come after it.
    if PLACES
        .iter()
        .filter(here)
        .any(|it| it.times.load(Relaxed) != 1)
    {
        point::arm(number);
    }
    for (index, it) in PLACES.iter().enumerate() {
        if here(&it) {
            it.happen(index);
        }
    }
}

impl Place {
    fn waits_for(&self) -> Option<When> {
        (self.fault.load(Relaxed) != 0).then(|| When::decode(self.when.load(Relaxed)))
    }

    fn happen(&self, mark: usize) {
        let Some(fault) = Fault::from_number(self.fault.load(Relaxed)) else {
            return;
        };
        match self.times.load(Relaxed) {
            Order::ALWAYS => {}
            1 => self.fault.store(0, Relaxed),
            times => self.times.store(times - 1, Relaxed),
        }
        let _ = system::mark(mark);
        suffer(
            fault,
            self.argument.load(Relaxed),
            self.seed.fetch_add(1, Relaxed),
        );
    }
}
