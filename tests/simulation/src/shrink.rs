//! A smaller case that fails as well: parts of the run switched off, then operations and disruptions left
//! out, as long as it still fails and the time lasts.
//!
//! A case with less in it is another run, and may fail for another reason. It is as good a finding.

use std::time::{Duration, Instant};

use crate::{
    case::{Case, Ranges, parts},
    run::{Violation, run},
};

/// Time for one case.
const TIME_MAX: Duration = Duration::from_secs(20);

struct Shrinker {
    case: Case,
    violation: Box<Violation>,
    deadline: Instant,
}

/// The smallest case that was found, and how it fails.
#[must_use]
pub fn shrink(case: Case, violation: Box<Violation>) -> (Case, Box<Violation>) {
    let mut shrinker = Shrinker {
        case,
        violation,
        deadline: Instant::now() + TIME_MAX,
    };
    for part in parts() {
        let mut smaller = shrinker.case.clone();
        if !smaller.is_without(part) {
            smaller.without.push(part.into());
            shrinker.take(smaller);
        }
    }
    let disruptions = shrinker.violation.counts.disruptions;
    shrinker.leave_out(disruptions, |case| &mut case.spared);
    let operations = shrinker.violation.counts.operations_max;
    shrinker.leave_out(operations, |case| &mut case.dropped);
    (shrinker.case, shrinker.violation)
}

impl Shrinker {
    /// Takes a smaller case if it fails.
    fn take(&mut self, smaller: Case) -> bool {
        if Instant::now() >= self.deadline {
            return false;
        }
        let Err(violation) = run(&smaller) else {
            return false;
        };
        (self.case, self.violation) = (smaller, violation);
        true
    }

    /// Leaves out numbers 1 to `last`, in pieces that get smaller.
    fn leave_out(&mut self, last: u64, of: impl Fn(&mut Case) -> &mut Ranges) {
        let mut piece = last;
        while piece > 0 {
            let mut from = 1;
            while from <= last && Instant::now() < self.deadline {
                let mut smaller = self.case.clone();
                let to = (from + piece).min(last + 1);
                if add(of(&mut smaller), (from, to)) {
                    self.take(smaller);
                }
                from = to;
            }
            piece /= 2;
        }
    }
}

/// Adds a range that none of the others has whole. Says whether there was anything to add.
fn add(ranges: &mut Ranges, (from, to): (u64, u64)) -> bool {
    if ranges.iter().any(|it| it.0 <= from && to <= it.1) {
        return false;
    }
    ranges.retain(|it| !(from <= it.0 && it.1 <= to));
    ranges.push((from, to));
    ranges.sort_unstable();
    // What adjoins becomes one.
    ranges.dedup_by(|next, before| {
        let adjoins = next.0 <= before.1;
        before.1 = if adjoins {
            before.1.max(next.1)
        } else {
            before.1
        };
        adjoins
    });
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_none_is_added_twice() {
        let mut ranges = vec![(5, 8)];
        assert!(!add(&mut ranges, (6, 7)));
        assert!(add(&mut ranges, (1, 3)));
        assert!(add(&mut ranges, (3, 5)));
        assert_eq!(ranges, [(1, 8)]);
        assert!(add(&mut ranges, (0, 20)));
        assert_eq!(ranges, [(0, 20)]);
    }
}
