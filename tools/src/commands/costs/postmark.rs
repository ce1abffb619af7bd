//! PostMark on each variant by turns, so that what is compared ran in the same minutes.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::Bench;
use super::ratio::{Ratio, median_of};
use super::variant::{COMPARISONS, VARIANTS, Variant};
use crate::Failure;
use crate::guest::{DiskWork, succeeded};
use crate::ui::{Step, duration};

/// What a run took.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Seconds of the transactions, in the guest's time.
    transactions_s: f64,
    /// Seconds of the processor, of all tasks together, for the whole run; with instructions counted,
    /// thousands of millions of them.
    processor_s: f64,
    /// What the disks were asked for, from the first file on to a `sync` at the end.
    disks: DiskWork,
    /// Calls between tasks.
    calls: u64,
    /// Calls of the cache below it.
    calls_below: u64,
    /// Checksums that the cache computed.
    checksums: u64,
    /// Pages that the cache did not have.
    misses: u64,
    /// Checkpoints.
    syncs: u64,
    /// MiB that the roll-forward log had at most.
    log_mib: f64,
}

/// All runs of a variant.
#[derive(Clone, Debug, Serialize)]
pub struct Runs {
    /// The variant.
    pub name: &'static str,
    /// A run in each round.
    pub samples: Vec<Sample>,
}

impl Runs {
    /// The median of something over the rounds.
    pub fn median(&self, of: impl Fn(&Sample) -> f64) -> f64 {
        median_of(self.samples.iter().map(of))
    }
}

/// How much one thing costs.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// What.
    pub what: &'static str,
    /// Per cent, of what the columns are told to be compared by.
    pub ratio: Option<Ratio>,
    /// Of the paper, per cent, and where.
    pub paper: Option<(f64, &'static str)>,
}

/// What PostMark told.
#[derive(Clone, Debug, Serialize)]
pub struct PostMark {
    /// What was typed.
    pub command: String,
    /// Whether instructions are compared, and not seconds.
    pub counted: bool,
    /// What each thing costs.
    pub costs: Vec<Cost>,
    /// The variants.
    pub variants: Vec<Runs>,
}

/// Runs PostMark on every variant, round after round.
pub fn run(bench: &Bench, step: &Step) -> Result<PostMark> {
    let command = format!("bench postmark {}", bench.options.postmark);
    let none = |variant: &Variant| Runs {
        name: variant.name,
        samples: Vec::new(),
    };
    let mut variants: Vec<Runs> = VARIANTS.iter().map(none).collect();
    let begun = Instant::now();
    let rounds = bench.options.rounds as usize;
    let all = rounds * VARIANTS.len();
    for run in 0..all {
        let (round, place) = (run / VARIANTS.len(), run % VARIANTS.len());
        // There and back again, so that what drifts does not favour one.
        let at = match round % 2 {
            0 => place,
            _ => VARIANTS.len() - 1 - place,
        };
        let left = match run {
            0 => String::new(),
            _ => {
                let each = begun.elapsed().as_secs_f64() / run as f64;
                format!(", {} left", duration(each * (all - run) as f64))
            }
        };
        let name = VARIANTS[at].name;
        step.position(run as u64, all as u64);
        step.progress(&format!("round {} of {rounds}, {name}{left}", round + 1));
        variants[at]
            .samples
            .push(sample(bench, &VARIANTS[at], &command)?);
    }
    let counted = bench.options.count_instructions;
    let took = |at: usize| -> Vec<f64> {
        let samples = variants[at].samples.iter();
        let of = |it: &Sample| {
            if counted {
                it.processor_s
            } else {
                it.transactions_s
            }
        };
        samples.map(of).collect()
    };
    let costs = COMPARISONS.map(|it| Cost {
        what: it.what,
        ratio: Ratio::of(&took(it.with), &took(it.without)),
        paper: it.paper,
    });
    Ok(PostMark {
        command,
        counted,
        costs: costs.into(),
        variants,
    })
}

fn sample(bench: &Bench, variant: &Variant, command: &str) -> Result<Sample> {
    let mut guest = bench.formatted(variant.stack, variant.disks, |text| variant.describe(text))?;
    let before = guest.disk_work()?;
    let done = guest.command(command, bench.limit())?;
    let report = succeeded(command, done)?;
    guest.expect("sync", bench.limit())?;
    let disks = guest.disk_work()? - before;
    let stats = guest.expect("stats", bench.limit())?;
    guest.power_off(bench.limit(), |_| {})?;
    let number = |of: &Value, name: &str| {
        let found = of[name].as_u64();
        found.ok_or_else(|| Failure::Check(format!("{command} told no {name}")))
    };
    let seconds = |ns: u64| ns as f64 / 1e9;
    let counters = &report["counters"];
    let tasks = report["cpu_ns"].as_object().into_iter().flatten();
    let processor_ns = tasks.filter_map(|(_, ns)| ns.as_u64()).sum();
    Ok(Sample {
        transactions_s: seconds(number(&report, "transactions_ns")?),
        processor_s: seconds(processor_ns),
        disks,
        calls: number(counters, "calls")?,
        calls_below: number(counters, "cache_calls_below")?,
        checksums: number(counters, "checksums")?,
        misses: number(counters, "cache_misses")?,
        syncs: number(counters, "syncs")?,
        log_mib: number(&stats, "log_pages_max")? as f64 / 256.0,
    })
}

/// A column of a table: its heading, and its figure of a run.
type Column = (&'static str, fn(&Sample) -> f64);

impl Sample {
    /// What a table shows of each variant.
    pub const COLUMNS: [Column; 11] = [
        ("transactions s", |it| it.transactions_s),
        ("processor s", |it| it.processor_s),
        ("writes", |it| it.disks.writes as f64),
        ("MiB written", |it| {
            it.disks.bytes_written as f64 / 1_048_576.0
        }),
        ("flushes", |it| it.disks.flushes as f64),
        ("reads", |it| it.disks.reads as f64),
        ("calls", |it| it.calls as f64),
        ("calls below", |it| it.calls_below as f64),
        ("checksums", |it| it.checksums as f64),
        ("syncs", |it| it.syncs as f64),
        ("log MiB", |it| it.log_mib),
    ];
}
