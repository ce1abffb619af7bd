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
    recoveries: u64,
    times_ns: VecDeque<u64>,
    longest_ns: u64,
}

impl History {
    /// The role died.
    pub fn died(&mut self, cause: Cause, silent: bool) {
        self.deaths[cause as usize] += 1;
        self.silent += u64::from(silent);
        self.last_cause = cause as u32;
    }

    /// The role answers again after this time.
    pub fn recovered(&mut self, duration_ns: u64) {
        self.recoveries += 1;
        self.longest_ns = self.longest_ns.max(duration_ns);
        if self.times_ns.len() == TIMES_MAX {
            self.times_ns.pop_front();
        }
        self.times_ns.push_back(duration_ns);
    }

    /// The times of its recoveries.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        let mut times_ns: Vec<u64> = self.times_ns.iter().copied().collect();
        times_ns.sort_unstable();
        Recovery {
            count: self.recoveries,
            median_ns: times_ns.get(times_ns.len() / 2).copied().unwrap_or(0),
            max_ns: self.longest_ns,
        }
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
            recovery: self.recovery(),
        }
    }
}
