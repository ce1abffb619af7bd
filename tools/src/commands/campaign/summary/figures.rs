//! The figures of a campaign.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::Serialize;

use super::machine::{Cuts, Resynchronised};
use super::merge::Merged;
use super::relation::Relation;
use crate::Failure;
use crate::commands::campaign::record::{Outcome, Record};

/// Experiments by how they ended, but for those whose fault never struck.
pub type Outcomes = BTreeMap<Outcome, u64>;

/// Failures that are told one by one.
const TOLD_MAX: usize = 20;

/// Upper ends of the classes of log sizes, in pages; the last is open.
const CLASSES: [u64; 7] = [0, 15, 63, 255, 1023, 4095, u64::MAX];

/// Of some times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// Half took no longer, milliseconds.
    pub median_ms: f64,
    /// Ninety-nine of a hundred took no longer, milliseconds.
    pub p99_ms: f64,
    /// None took longer, milliseconds.
    pub max_ms: f64,
}

impl Times {
    /// Of these, in nanoseconds; nothing if there is none.
    pub fn of(mut ns: Vec<u64>) -> Option<Self> {
        ns.sort_unstable();
        let last = ns.len().checked_sub(1)?;
        let ms = |index: usize| (ns[index] as f64 / 1e4).round() / 100.0;
        Some(Self {
            count: ns.len(),
            median_ms: ms(last / 2),
            p99_ms: ms((last * 99).div_ceil(100)),
            max_ms: ms(last),
        })
    }
}

/// Experiments with the same fault in the same target.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The fault.
    pub fault: String,
    /// The target.
    pub target: String,
    /// Experiments.
    pub experiments: u64,
    /// Those in which it never struck: they show nothing.
    pub missed: u64,
    /// How the others ended.
    pub outcomes: Outcomes,
    /// From death to service.
    pub recovery: Option<Times>,
}

/// Recoveries of the cache with logs of similar size.
#[derive(Clone, Debug, Serialize)]
pub struct Class {
    /// The smallest log of the class, pages.
    pub pages_min: u64,
    /// The largest; nothing for any.
    pub pages_max: Option<u64>,
    /// From the crash until calls went on.
    pub replay: Times,
}

/// All of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// What was typed, for each campaign.
    pub campaigns: Vec<String>,
    /// What was booted, by hash; two and more if it was built anew in between.
    pub builds: BTreeSet<String>,
    /// Experiments.
    pub experiments: u64,
    /// Those in which the fault never struck.
    pub missed: u64,
    /// How the others ended.
    pub outcomes: Outcomes,
    /// By fault and target.
    pub rows: Vec<Row>,
    /// From death to service, of all.
    pub recovery: Option<Times>,
    /// Recoveries of the cache, of all.
    pub replay: Option<Times>,
    /// Until all that the log had was written down again, of all.
    pub below_again: Option<Times>,
    /// Recoveries of the cache by size of the log.
    pub replay_by_log: Vec<Class>,
    /// How long they take by the size of the log, as a line.
    pub replay_relation: Option<Relation>,
    /// What was made equal again.
    pub resynchronised: Option<Resynchronised>,
    /// What disks had not flushed when the power was cut.
    pub cuts: Option<Cuts>,
    /// Times that a store went back to its penultimate checkpoint.
    pub penultimate: u64,
    /// Logs that were cleared: the stores had the newer checkpoint.
    pub replays_skipped: u64,
    /// Host time of all experiments, seconds.
    pub host_s: f64,
    /// Records that were there twice.
    pub duplicates: u64,
    /// Of those, the ones that differ.
    pub disagreements: Vec<String>,
    /// The first failures: what, and how to repeat it.
    pub failures: Vec<String>,
}

impl Figures {
    /// Counts.
    pub fn of(merged: &Merged) -> Self {
        let records: Vec<&Record> = merged.records().collect();
        let mut campaigns: Vec<String> = records
            .iter()
            .map(|record| record.identity.command())
            .collect();
        campaigns.dedup();
        let count = |holds: fn(&Record) -> bool| {
            records.iter().filter(|record| holds(record)).count() as u64
        };
        Self {
            campaigns,
            builds: records.iter().map(|it| it.build.clone()).collect(),
            experiments: records.len() as u64,
            missed: missed(&records),
            outcomes: outcomes(&records),
            rows: rows(&records),
            recovery: recovery(&records),
            replay: Times::of(replays(&records).map(|(_, ns)| ns).collect()),
            below_again: Times::of(records.iter().filter_map(|it| it.below_again_ns).collect()),
            replay_by_log: classes(&records),
            replay_relation: Relation::of(replays(&records)),
            resynchronised: Resynchronised::of(&records),
            cuts: Cuts::of(&records),
            penultimate: count(|record| record.penultimate),
            replays_skipped: count(|record| record.replay.is_some_and(|replay| replay.skipped)),
            host_s: records.iter().map(|record| record.host_ms).sum::<u64>() as f64 / 1e3,
            duplicates: merged.duplicates,
            disagreements: merged.disagreements.clone(),
            failures: failures(&records),
        }
    }

    /// Experiments that ended so.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// An error if anything was visible, or is not done.
    ///
    /// # Errors
    /// [`Failure::Check`] counts what was visible, [`Failure::Host`] what the host has spoilt.
    pub fn verdict(&self) -> Result<()> {
        let all = self.experiments;
        match (
            self.count(Outcome::VisibleFailure),
            self.count(Outcome::Harness),
        ) {
            (0, 0) => Ok(()),
            (0, count) => {
                let what = format!("{count} of {all} experiments are to be done again");
                Err(Failure::Host(what).into())
            }
            (count, _) => {
                let what = format!("{count} of {all} experiments failed visibly");
                Err(Failure::Check(what).into())
            }
        }
    }
}

fn outcomes(records: &[&Record]) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for record in records.iter().filter(|record| !record.is_missed()) {
        *outcomes.entry(record.outcome).or_default() += 1;
    }
    outcomes
}

fn missed(records: &[&Record]) -> u64 {
    records.iter().filter(|record| record.is_missed()).count() as u64
}

fn recovery(records: &[&Record]) -> Option<Times> {
    Times::of(records.iter().filter_map(|it| it.recovery_ns).collect())
}

fn rows(records: &[&Record]) -> Vec<Row> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Record>> = BTreeMap::new();
    for record in records {
        let key = (record.fault.as_str(), record.target.as_str());
        groups.entry(key).or_default().push(record);
    }
    let row = |((fault, target), records): ((&str, &str), Vec<&Record>)| Row {
        fault: fault.into(),
        target: target.into(),
        experiments: records.len() as u64,
        missed: missed(&records),
        outcomes: outcomes(&records),
        recovery: recovery(&records),
    };
    groups.into_iter().map(row).collect()
}

/// Pages of the log and nanoseconds, of the recoveries that did not clear it.
pub fn replays<'a>(records: &'a [&Record]) -> impl Iterator<Item = (u64, u64)> + 'a {
    let replays = records.iter().filter_map(|record| record.replay);
    replays
        .filter(|replay| !replay.skipped)
        .map(|replay| (replay.pages, replay.duration_ns))
}

fn classes(records: &[&Record]) -> Vec<Class> {
    let mut classes = Vec::new();
    let mut pages_min = 0;
    for pages_max in CLASSES {
        let of_class =
            replays(records).filter(|(pages, _)| (pages_min..=pages_max).contains(pages));
        if let Some(replay) = Times::of(of_class.map(|(_, ns)| ns).collect()) {
            classes.push(Class {
                pages_min,
                pages_max: (pages_max < u64::MAX).then_some(pages_max),
                replay,
            });
        }
        pages_min = pages_max.saturating_add(1);
    }
    classes
}

fn failures(records: &[&Record]) -> Vec<String> {
    let failed = records
        .iter()
        .filter(|record| record.outcome == Outcome::VisibleFailure);
    let line = |record: &&Record| {
        let why = record.why.as_deref().unwrap_or("no reason given");
        format!("{}\n    {why}", record.repeat)
    };
    failed.map(line).take(TOLD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::campaign::record::Replay;
    use crate::commands::campaign::results::tests::record;

    #[test]
    fn times_are_those_of_the_ordered_list() {
        let ms = |ms: u64| ms * 1_000_000;
        let times = Times::of((1..=200).rev().map(ms).collect()).expect("some");
        assert_eq!(
            (times.median_ms, times.p99_ms, times.max_ms),
            (100.0, 199.0, 200.0)
        );
        let one = Times::of(vec![ms(7)]).expect("one");
        assert_eq!((one.median_ms, one.p99_ms, one.max_ms), (7.0, 7.0, 7.0));
        assert_eq!(Times::of(Vec::new()), None);
    }

    #[test]
    fn everything_is_counted_where_it_belongs() {
        let mut merged = Merged::default();
        for number in 0..10 {
            let mut it = record(number, Outcome::Recovered);
            it.target = ["logical", "cache"][number as usize % 2].into();
            it.replay = Some(Replay {
                pages: 100 * number,
                files: 1,
                duration_ns: 1_000_000 * (number + 1),
                skipped: number == 9,
            });
            it.penultimate = number == 3;
            merged.add(it);
        }
        merged.add(record(10, Outcome::VisibleFailure));
        let mut missed = record(11, Outcome::Recovered);
        missed.struck = false;
        merged.add(missed);
        let mut spoilt = Merged::default();
        spoilt.add(record(0, Outcome::Harness));
        let undone = Figures::of(&spoilt).verdict().unwrap_err().to_string();
        assert!(undone.contains("to be done again"), "{undone}");
        let figures = Figures::of(&merged);
        assert_eq!((figures.experiments, figures.missed), (12, 1));
        assert_eq!(figures.builds.len(), 1);
        assert_eq!(figures.count(Outcome::Recovered), 10);
        assert_eq!((figures.penultimate, figures.replays_skipped), (1, 1));
        let rows: Vec<_> = figures.rows.iter().map(|row| row.target.as_str()).collect();
        assert_eq!(rows, ["cache", "logical"]);
        assert_eq!(figures.rows[1].outcomes[&Outcome::VisibleFailure], 1);
        let sizes: Vec<_> = figures
            .replay_by_log
            .iter()
            .map(|class| (class.pages_min, class.replay.count))
            .collect();
        assert_eq!(sizes, [(0, 1), (64, 2), (256, 6)]);
        // A ms for each 100 pages.
        let relation = figures.replay_relation.expect("nine replays");
        assert!((relation.ms_per_mib - 2.56).abs() < 1e-6, "{relation:?}");
        assert!(
            figures
                .verdict()
                .unwrap_err()
                .to_string()
                .contains("1 of 12")
        );
    }
}
