//! Times at which this host stood still: it slept, or nobody got anything done for want of memory.
//!
//! A guest that is late then says nothing of the stack. A thread that wakes ten times a second notices how late it is.

use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long the thread sleeps.
const TICK: Duration = Duration::from_millis(100);

/// Later than this it is not for other programs' sake.
const LATE: Duration = Duration::from_secs(2);

/// Stalls that are remembered; the oldest go.
const STALLS_MAX: usize = 64;

static STALLS: Mutex<Vec<Stall>> = Mutex::new(Vec::new());
static WATCH: Once = Once::new();

#[derive(Clone, Copy)]
struct Stall {
    ended: Instant,
    lasted: Duration,
}

/// Begins to watch, if nobody does yet.
pub fn watch() {
    WATCH.call_once(|| {
        // Without the thread no stall is noticed, as on a host that has none.
        let _ = std::thread::Builder::new().name("stalls".into()).spawn(|| {
            let mut before = Instant::now();
            loop {
                std::thread::sleep(TICK);
                let now = Instant::now();
                note(before, now);
                before = now;
            }
        });
    });
}

fn note(before: Instant, now: Instant) {
    let lasted = now.duration_since(before).saturating_sub(TICK);
    if lasted < LATE {
        return;
    }
    let mut stalls = STALLS.lock().unwrap_or_else(PoisonError::into_inner);
    if stalls.len() == STALLS_MAX {
        stalls.remove(0);
    }
    stalls.push(Stall { ended: now, lasted });
}

/// How long the host has stood still since `since`, as far as it was watched.
pub fn since(since: Instant) -> Duration {
    let stalls = STALLS.lock().unwrap_or_else(PoisonError::into_inner);
    let later = stalls.iter().filter(|stall| stall.ended > since);
    later.map(|stall| stall.lasted).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_wakes_late_tells_of_a_stall_and_one_in_time_does_not() {
        // Later than what a stall of the host that runs this test may have noted.
        let start = Instant::now() + Duration::from_secs(1000);
        note(start, start + TICK);
        assert_eq!(since(start), Duration::ZERO);
        note(start, start + TICK + Duration::from_secs(7));
        assert_eq!(since(start), Duration::from_secs(7));
        assert_eq!(since(start + Duration::from_secs(8)), Duration::ZERO);
    }
}
