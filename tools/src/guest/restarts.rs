//! Restarts and recoveries, as the guest's command `restarts` tells them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What became of one role.
#[derive(Clone, Debug, Deserialize)]
struct Role {
    name: String,
    restarts: u64,
    recoveries: u64,
    recovery_ns_median: u64,
    recovery_ns_max: u64,
}

/// What became of all roles since boot.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    roles: Vec<Role>,
}

/// Times of recoveries, in milliseconds: from a death to when all that was restarted answers again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// How many there were.
    pub count: u64,
    /// Half of them took no longer: the middle one of the roles' medians, each as often as it counts.
    pub median_ms: f64,
    /// None took longer.
    pub max_ms: f64,
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

    /// How long the recoveries took; nothing if there was none.
    #[must_use]
    pub fn times(&self) -> Option<Times> {
        let mut roles: Vec<&Role> = self
            .roles
            .iter()
            .filter(|role| role.recoveries > 0)
            .collect();
        roles.sort_by_key(|role| role.recovery_ns_median);
        let count: u64 = roles.iter().map(|role| role.recoveries).sum();
        let mut before = 0;
        let middle = roles.iter().find(|role| {
            before += role.recoveries;
            before * 2 >= count
        })?;
        let longest = roles.iter().map(|role| role.recovery_ns_max).max()?;
        let ms = |ns: u64| (ns as f64 / 1e4).round() / 100.0;
        Some(Times {
            count,
            median_ms: ms(middle.recovery_ns_median),
            max_ms: ms(longest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role(name: &str, restarts: u64, median: u64, max: u64) -> Value {
        json!({
            "name": name, "state": "running", "restarts": restarts, "silent": 0,
            "last_cause": "none", "recoveries": restarts,
            "recovery_ns_median": median, "recovery_ns_max": max,
        })
    }

    #[test]
    fn restarts_and_times_are_summed_over_roles() {
        let result = json!({ "roles": [
            role("naming", 0, 0, 0),
            role("virtio-blk.0", 10, 3_000_000, 90_000_000),
            role("logical", 30, 20_000_000, 40_000_000),
            role("twinfs.0", 5, 25_000_000, 41_000_000),
        ]});
        let restarts = Restarts::from_result(&result).expect("a history");
        assert_eq!(restarts.total(), 45);
        assert_eq!((restarts.of("logical"), restarts.of("naming")), (30, 0));
        assert_eq!(restarts.by_task().len(), 3);
        let times = restarts.times().expect("recoveries");
        assert_eq!(
            times,
            Times {
                count: 45,
                median_ms: 20.0,
                max_ms: 90.0
            }
        );
        assert_eq!(Restarts::default().times(), None);
        assert!(Restarts::from_result(&json!({})).is_err());
    }
}
