//! Deaths and restarts, as the guest's events tell them, and how long the applications waited.

use std::collections::BTreeMap;

use serde::Serialize;

use super::events::Event;

/// Counts restarts by task, and keeps every recovery's time.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    by_task: BTreeMap<String, u64>,
    recoveries_ns: Vec<u64>,
}

/// Most recoveries whose time is kept.
const RECOVERIES_MAX: usize = 100_000;

/// Times of recoveries, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// How many there were.
    pub count: usize,
    /// Half of them took no longer.
    pub median_ms: f64,
    /// None took longer.
    pub max_ms: f64,
}

impl Restarts {
    /// Takes note of `event`, if it tells of a restart or a recovery.
    pub fn note(&mut self, event: &Event) {
        match event.kind() {
            "restart" => {
                let task = event.text("task").unwrap_or("?").to_owned();
                *self.by_task.entry(task).or_default() += 1;
            }
            "recovery" => {
                if let Some(ns) = event.number("duration_ns")
                    && self.recoveries_ns.len() < RECOVERIES_MAX
                {
                    self.recoveries_ns.push(ns);
                }
            }
            _ => {}
        }
    }

    /// Restarts by task.
    #[must_use]
    pub fn by_task(&self) -> &BTreeMap<String, u64> {
        &self.by_task
    }

    /// All restarts.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_task.values().sum()
    }

    /// How long the recoveries took; nothing if there was none.
    #[must_use]
    pub fn times(&self) -> Option<Times> {
        let mut sorted = self.recoveries_ns.clone();
        sorted.sort_unstable();
        let (median, max) = (*sorted.get(sorted.len() / 2)?, *sorted.last()?);
        let ms = |ns: u64| (ns as f64 / 1e4).round() / 100.0;
        Some(Times {
            count: sorted.len(),
            median_ms: ms(median),
            max_ms: ms(max),
        })
    }
}
