//! Which run: a seed, and what is left out of it.

use serde::{Deserialize, Serialize};

/// What can be left out of a run, in the order in which shrinking tries. `cargo galago simulate --help` shows the
/// same list.
#[must_use]
pub fn parts() -> Vec<&'static str> {
    let lines = include_str!("../parts.txt").lines();
    lines
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// A run. The same case is the same run, in every process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Where all choices come from.
    pub seed: u64,
    /// Those of [`parts`] that are left out.
    #[serde(default)]
    pub without: Vec<String>,
    /// Ends after so many steps, if not before.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Operations that are left out: of each client those from the first number on, up to before the
    /// second.
    #[serde(default)]
    pub dropped: Ranges,
    /// Kills, cuts and faults that are left out, in the order in which they would have come.
    #[serde(default)]
    pub spared: Ranges,
}

/// Ranges of numbers: from the first on, up to before the second.
pub type Ranges = Vec<(u64, u64)>;

/// Whether a number is in one of the ranges.
fn holds(ranges: &Ranges, number: u64) -> bool {
    let mut ranges = ranges.iter();
    ranges.any(|&(from, to)| (from..to).contains(&number))
}

impl Case {
    /// The whole run of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Whether a part is left out.
    #[must_use]
    pub fn is_without(&self, part: &str) -> bool {
        debug_assert!(parts().contains(&part), "{part} is in no list");
        self.without.iter().any(|it| it == part)
    }

    /// Whether a client's operation of this number is left out.
    #[must_use]
    pub fn drops(&self, operation: u64) -> bool {
        holds(&self.dropped, operation)
    }

    /// Whether the kill, cut or fault of this number is left out.
    #[must_use]
    pub fn spares(&self, disruption: u64) -> bool {
        holds(&self.spared, disruption)
    }

    /// The arguments of `cargo galago` that carry out this case.
    #[must_use]
    pub fn arguments(&self) -> String {
        let mut text = format!("simulate --seed {} --runs 1", self.seed);
        if !self.without.is_empty() {
            text += &format!(" --without {}", self.without.join(","));
        }
        if let Some(steps) = self.steps {
            text += &format!(" --steps {steps}");
        }
        for (name, ranges) in [("drop", &self.dropped), ("spare", &self.spared)] {
            if !ranges.is_empty() {
                let last = |end: u64| end.saturating_sub(1);
                let ranges = ranges
                    .iter()
                    .map(|&(from, end)| format!("{from}-{}", last(end)));
                text += &format!(" --{name} {}", ranges.collect::<Vec<_>>().join(","));
            }
        }
        // One that is small already is not made smaller once more.
        if *self != Self::new(self.seed) {
            text += " --whole";
        }
        text
    }
}

#[cfg(test)]
mod told {
    use super::*;

    #[test]
    fn what_is_left_out_is_told_from_the_first_number_to_the_last() {
        assert_eq!(Case::new(7).arguments(), "simulate --seed 7 --runs 1");
        let case = Case {
            dropped: vec![(3, 11), (12, 13)],
            ..Case::new(7)
        };
        let expected = "simulate --seed 7 --runs 1 --drop 3-10,12-12 --whole";
        assert_eq!(case.arguments(), expected);
    }
}
