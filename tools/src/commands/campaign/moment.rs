//! When something is injected: somewhere in the work, or in the middle of a sync.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::load::{Load, Plan};
use super::random::Random;
use super::subject::{LIMIT, Subject};

/// One moment in so many is in a sync, which is where it is difficult.
const IN_SYNC_ONE_IN: u64 = 4;

/// Microseconds that a sync takes, about.
const SYNC_US: u64 = 40_000;

/// Microseconds that an operation takes, or more.
const OPERATION_US: u64 = 5_000;

/// When something is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// After so many operations have begun,
    operations: u64,
    /// and, of work that is not counted, so long,
    before: Duration,
    /// and, if so, a sync has begun,
    in_sync: bool,
    /// so long after that.
    delay: Duration,
    /// What was done by this operation is synced before.
    synced: Option<u64>,
}

impl Moment {
    /// Some time while the plan is carried out.
    pub fn within(random: &mut Random, plan: &Plan) -> Self {
        let in_sync = random.one_in(IN_SYNC_ONE_IN);
        Self {
            operations: random.below(plan.operations() + 1),
            before: Duration::from_micros(random.below(1 + 1_000 * plan.expected_ms())),
            in_sync,
            delay: Duration::from_micros(random.below(if in_sync {
                SYNC_US
            } else {
                OPERATION_US
            })),
            synced: None,
        }
    }

    /// In half of the cases, with a sync some operations before, which is answered by then.
    pub fn with_a_sync(mut self, random: &mut Random) -> Self {
        let synced = random.below(self.operations + 1);
        self.synced = (self.operations > 0 && random.one_in(2)).then_some(synced);
        self
    }

    /// In words.
    pub fn describe(self) -> String {
        let ms = |duration: Duration| duration.as_micros() as f64 / 1e3;
        let mut words = match (self.operations, self.before) {
            (0, before) => format!("{} ms", ms(before)),
            (count, _) => format!("{count} operations"),
        };
        if let Some(synced) = self.synced {
            words += &format!(", synced after {synced}");
        }
        words.push_str(if self.in_sync { ", in a sync" } else { "" });
        format!("after {words} and {} ms", ms(self.delay))
    }

    /// Lets the load go on until it has come.
    pub fn wait(self, subject: &mut Subject, load: &mut Load) -> Result<()> {
        let mut due = None;
        let mut synced = self.synced;
        loop {
            load.go_on(subject)?;
            if synced.is_some_and(|synced| load.begun() >= synced) {
                synced = None;
                load.sync(subject)?;
            }
            if load.begun() >= self.operations && (self.synced.is_none() || !load.syncs()) {
                due.get_or_insert_with(|| Instant::now() + self.before);
            }
            if load.is_over() || due.is_some_and(|due| due <= Instant::now()) {
                break;
            }
            attend(subject, load, due)?;
        }
        if self.in_sync {
            load.sync(subject)?;
        }
        let due = Instant::now() + self.delay;
        while Instant::now() < due {
            load.go_on(subject)?;
            attend(subject, load, Some(due))?;
        }
        Ok(())
    }
}

/// Hands the next event to the load; waits for none longer than until `due`.
fn attend(subject: &mut Subject, load: &mut Load, due: Option<Instant>) -> Result<()> {
    let event = subject.event("the work", due.unwrap_or_else(|| Instant::now() + LIMIT))?;
    match event {
        Some(event) => load.take(&event),
        None if due.is_some() => Ok(()),
        None => Err(subject.guest.hang("the work", LIMIT)),
    }
}
