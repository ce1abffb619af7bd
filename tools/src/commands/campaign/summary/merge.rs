//! Records of several files as one campaign, or several: each experiment counts once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::commands::campaign::record::{Identity, Outcome, Record};

/// Experiments by campaign and number.
#[derive(Default)]
pub struct Merged {
    records: BTreeMap<(Identity, u64), Record>,
    /// Records that were taken for one with another.
    pub duplicates: u64,
    /// Experiments that ended one way here and another way there.
    pub disagreements: Vec<String>,
}

impl Merged {
    /// Adds a record. Of two of the same experiment the worse counts, but for one that the host spoilt.
    pub fn add(&mut self, record: Record) {
        match self.records.entry((record.identity.clone(), record.number)) {
            Entry::Vacant(entry) => {
                entry.insert(record);
            }
            Entry::Occupied(mut entry) => {
                let before = entry.get();
                let spoilt = |record: &Record| record.outcome == Outcome::Harness;
                if !spoilt(before) && !spoilt(&record) {
                    self.duplicates += 1;
                    if before.outcome != record.outcome {
                        self.disagreements.push(format!(
                            "{} --only {}: {}, and {}",
                            record.identity.command(),
                            record.number,
                            before.outcome.words(),
                            record.outcome.words()
                        ));
                    }
                }
                if spoilt(before) || (!spoilt(&record) && record.outcome > before.outcome) {
                    entry.insert(record);
                }
            }
        }
    }

    /// Each experiment once.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::campaign::results::tests::record;

    #[test]
    fn an_experiment_counts_once_and_who_disagrees_is_told() {
        let mut merged = Merged::default();
        for (number, outcome) in [
            (1, Outcome::Recovered),
            (1, Outcome::Recovered),
            (2, Outcome::Harness),
            (2, Outcome::Recovered),
            (3, Outcome::VisibleFailure),
            (3, Outcome::Harness),
            (4, Outcome::VisibleFailure),
            (4, Outcome::Recovered),
        ] {
            merged.add(record(number, outcome));
        }
        let outcomes: Vec<Outcome> = merged.records().map(|record| record.outcome).collect();
        let expected = [
            Outcome::Recovered,
            Outcome::Recovered,
            Outcome::VisibleFailure,
            Outcome::VisibleFailure,
        ];
        assert_eq!(outcomes, expected);
        assert_eq!((merged.duplicates, merged.disagreements.len()), (2, 1));
        assert!(merged.disagreements[0].contains("--only 4"));
        let mut other = record(1, Outcome::Recovered);
        other.identity.seed = 2;
        merged.add(other);
        assert_eq!(merged.records().count(), 5, "of another campaign");
    }
}
