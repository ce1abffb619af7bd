//! Restarts and recoveries, as the guest tells them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::events::Event;

/// What became of one role.
#[derive(Clone, Debug, Deserialize)]
struct Role {
    name: String,
    restarts: u64,
}

/// What became of all roles since boot.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    roles: Vec<Role>,
}

/// How long each recovery took, as the guest's events tell while they happen.
#[derive(Clone, Debug, Default)]
pub struct Recoveries {
    durations_ns: Vec<u64>,
}

/// Recoveries whose time is kept.
const RECOVERIES_MAX: usize = 100_000;

/// Times of recoveries, in milliseconds: from a death to when the stack serves again, the
/// replay of the roll-forward log included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// How many there were.
    pub count: usize,
    /// Half of them took no longer.
    pub median_ms: f64,
    /// None took longer.
    pub max_ms: f64,
}

impl Recoveries {
    /// Takes note of `event`, if it tells of a recovery.
    pub fn note(&mut self, event: &Event) {
        if event.kind() == "recovery"
            && let Some(ns) = event.number("duration_ns")
            && self.durations_ns.len() < RECOVERIES_MAX
        {
            self.durations_ns.push(ns);
        }
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.durations_ns.len()
    }

    /// How long they took; nothing if there was none.
    #[must_use]
    pub fn times(&self) -> Option<Times> {
        let mut sorted = self.durations_ns.clone();
        sorted.sort_unstable();
        let (middle, last) = (*sorted.get(sorted.len() / 2)?, *sorted.last()?);
        let ms = |ns: u64| (ns as f64 / 1e4).round() / 100.0;
        Some(Times {
            count: sorted.len(),
            median_ms: ms(middle),
            max_ms: ms(last),
        })
    }
}

impl Restarts {
    /// From the result of `restarts`.
    ///
    /// # Errors
    /// If it is not what that command tells.
    pub fn from_result(result: &Value) -> Result<Self> {
        let roles = Vec::deserialize(&result["roles"]);
        Ok(Self {
            roles: roles.with_context(|| format!("`restarts` told {result}"))?,
        })
    }

    /// Restarts by task, of those that were restarted.
    #[must_use]
    pub fn by_task(&self) -> BTreeMap<String, u64> {
        let restarted = self.roles.iter().filter(|role| role.restarts > 0);
        restarted
            .map(|role| (role.name.clone(), role.restarts))
            .collect()
    }

    /// Restarts of one task.
    #[must_use]
    pub fn of(&self, task: &str) -> u64 {
        self.roles
            .iter()
            .filter(|role| role.name == task)
            .map(|role| role.restarts)
            .sum()
    }

    /// All restarts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.roles.iter().map(|role| role.restarts).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn restarts_are_told_by_task() {
        let role = |name: &str, restarts: u64| json!({ "name": name, "restarts": restarts });
        let roles = [role("naming", 0), role("logical", 30), role("twinfs.0", 5)];
        let restarts = Restarts::from_result(&json!({ "roles": roles })).expect("a history");
        assert_eq!(restarts.total(), 35);
        assert_eq!((restarts.of("logical"), restarts.of("naming")), (30, 0));
        assert_eq!(restarts.by_task().len(), 2);
        assert!(Restarts::from_result(&json!({})).is_err());
    }

    #[test]
    fn recoveries_end_when_the_stack_serves_and_not_when_tasks_answer() {
        let mut recoveries = Recoveries::default();
        assert_eq!(recoveries.times(), None);
        for (kind, ms) in [
            ("recovery", 90),
            ("recovery", 10),
            ("answering", 500),
            ("recovery", 20),
        ] {
            let line = format!(
                "{{\"event\":\"{kind}\",\"duration_ns\":{}}}",
                ms * 1_000_000
            );
            recoveries.note(&Event::parse(&line).expect("an event"));
        }
        let times = recoveries.times().expect("recoveries");
        assert_eq!(
            times,
            Times {
                count: 3,
                median_ms: 20.0,
                max_ms: 90.0
            }
        );
    }
}
