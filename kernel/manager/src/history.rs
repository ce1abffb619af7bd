//! What the manager remembers of a role: deaths by cause, and how long recoveries took.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use abi::Cause;

use crate::control::{Recovery, RoleHistory};

/// Recoveries whose times are kept for the median; of older ones only the longest is known.
pub const TIMES_MAX: usize = 512;

/// The history of one role.
#[derive(Clone, Debug, Default)]
pub struct History {
    deaths: [u64; 10],
    silent: u64,
    last_cause: u32,
    recoveries: Times,
    answers: Times,
}

impl History {
    /// The role died.
    pub fn died(&mut self, cause: Cause, silent: bool) {
        self.deaths[cause as usize] += 1;
        self.silent += u64::from(silent);
        self.last_cause = cause as u32;
    }

    /// The role serves again after this time.
    pub fn recovered(&mut self, duration_ns: u64) {
        self.recoveries.add(duration_ns);
    }

    /// The role answers pings again after this time.
    pub fn answered(&mut self, duration_ns: u64) {
        self.answers.add(duration_ns);
    }

    /// As clients are told.
    #[must_use]
    pub fn report(&self, name: &str, state: &str, restarts: u64) -> RoleHistory {
        RoleHistory {
            name: String::from(name),
            state: String::from(state),
            restarts,
            deaths: self.deaths,
            silent: self.silent,
            last_cause: self.last_cause,
            recovery: self.recoveries.report(),
            answering: self.answers.report(),
        }
    }
}

/// How long something took, each time.
#[derive(Clone, Debug, Default)]
struct Times {
    count: u64,
    last_ns: VecDeque<u64>,
    longest_ns: u64,
}

impl Times {
    fn add(&mut self, duration_ns: u64) {
        self.count += 1;
        self.longest_ns = self.longest_ns.max(duration_ns);
        if self.last_ns.len() == TIMES_MAX {
            self.last_ns.pop_front();
        }
        self.last_ns.push_back(duration_ns);
    }

    fn report(&self) -> Recovery {
        let mut sorted_ns: Vec<u64> = self.last_ns.iter().copied().collect();
        sorted_ns.sort_unstable();
        Recovery {
            count: self.count,
            median_ns: sorted_ns.get(sorted_ns.len() / 2).copied().unwrap_or(0),
            max_ns: self.longest_ns,
        }
    }
}
