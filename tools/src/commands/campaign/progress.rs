//! How a campaign goes: a live line on a terminal, a line now and then in a pipe.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use super::record::{Outcome, Record};
use crate::ui::{Step, Ui, duration};

/// Time between two lines in a pipe.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// What has been done so far in this run.
pub struct Progress {
    ui: Ui,
    step: Option<Step>,
    begun: Instant,
    told: Instant,
    /// Experiments that this run is to do, and has done.
    wanted: u64,
    done: u64,
    outcomes: BTreeMap<Outcome, u64>,
    missed: u64,
}

impl Progress {
    /// Begins to show how `wanted` experiments go.
    pub fn new(ui: Ui, name: &str, wanted: u64) -> Self {
        let now = Instant::now();
        let live = std::io::stderr().is_terminal();
        let step = live.then(|| ui.step(name));
        if let Some(step) = &step {
            step.position(0, wanted);
        }
        Self {
            ui,
            step,
            begun: now,
            told: now,
            wanted,
            done: 0,
            outcomes: BTreeMap::new(),
            missed: 0,
        }
    }

    /// Takes note of an experiment; one that went wrong gets a line that stays.
    pub fn add(&mut self, record: &Record) {
        self.done += 1;
        match record.is_missed() {
            true => self.missed += 1,
            false => *self.outcomes.entry(record.outcome).or_default() += 1,
        }
        if matches!(record.outcome, Outcome::VisibleFailure | Outcome::Harness) {
            let name = format!(
                "experiment {}: {} of {}, {}",
                record.number, record.fault, record.target, record.moment
            );
            let why = record.why.clone().unwrap_or_default();
            let ui = self.ui;
            self.above(|| ui.result(&name, Some(&why)));
        }
    }

    /// Brings the line up to date.
    pub fn show(&mut self) {
        let text = self.text();
        match &self.step {
            Some(step) => {
                step.position(self.done, self.wanted);
                step.progress(&text);
            }
            None if self.told.elapsed() >= LINE_EVERY => {
                self.told = Instant::now();
                self.ui.note(&text);
            }
            None => {}
        }
    }

    /// Takes the live line away.
    pub fn end(&mut self) {
        if let Some(step) = self.step.take() {
            step.forget();
        }
    }

    /// Experiments done in this run, by how they ended.
    pub fn outcomes(&self) -> String {
        let count = |outcome: &Outcome| {
            let count = self.outcomes.get(outcome)?;
            Some(format!("{count} {}", outcome.words()))
        };
        let missed = (self.missed > 0).then(|| format!("{} never struck", self.missed));
        let counts: Vec<String> = Outcome::ALL
            .iter()
            .filter_map(count)
            .chain(missed)
            .collect();
        counts.join(", ")
    }

    fn text(&self) -> String {
        let elapsed = self.begun.elapsed().as_secs_f64();
        let rate = self.done as f64 / elapsed.max(1e-3);
        let mut text = format!("{} of {}", self.done, self.wanted);
        if self.done > 0 {
            let left = (self.wanted - self.done.min(self.wanted)) as f64 / rate;
            text = format!(
                "{text}: {}; {:.0} a minute, {} left",
                self.outcomes(),
                60.0 * rate,
                duration(left)
            );
        }
        text
    }

    fn above(&self, print: impl FnOnce()) {
        match &self.step {
            Some(step) => step.above(print),
            None => print(),
        }
    }
}
