//! Conducting a campaign: who makes which experiment, and when it ends.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use anyhow::Result;

use super::experiment::{Kind, perform, settle};
use super::progress::Progress;
use super::queue::Queue;
use super::record::{Identity, Outcome, Record};
use super::results::Results;
use super::rig::Rig;
use super::summary;
use super::workshop::{MEMORY_MIB, Workshop};
use crate::Failure;
use crate::cli::campaign::Experiments;
use crate::guest::{Description, Prepared};
use crate::host::interrupt::{self, AskFirst};
use crate::host::project::Project;
use crate::ui::{self, Ui};

/// Guests at once where nobody says: each keeps a core busy.
const JOBS_MAX: usize = 4;

/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// Experiments in a row that the host may spoil before the campaign stops.
const HARNESS_MAX: u32 = 3;

/// A campaign as it was asked for.
pub struct Campaign<'a> {
    /// Its kind, as it is typed.
    pub name: &'static str,
    /// The stack.
    pub stack: &'a str,
    /// Options that choices depend on, as they are typed.
    pub options: String,
    /// What every campaign has.
    pub experiments: &'a Experiments,
    /// The stack's description.
    pub description: Description,
}

impl Campaign<'_> {
    /// Makes the experiments that are not done yet.
    pub fn conduct(self, kind: &dyn Kind) -> Result<()> {
        let brief = if self.experiments.brief {
            " --brief"
        } else {
            ""
        };
        let identity = Identity {
            campaign: self.name.into(),
            seed: self.experiments.seed,
            stack: self.stack.into(),
            options: format!("{}{brief}", self.options),
        };
        if let Some(number) = self.experiments.only {
            let (workshop, _) = self.workshop()?;
            return only(kind, &identity, number, &workshop);
        }
        // What is wrong with the file is told before anything is built.
        let results = Results::open(&self.path()?, &identity)?;
        let (workshop, ui) = self.workshop()?;
        self.all(kind, &identity, &workshop, results, ui)
    }

    /// What guests are booted from, built if need be.
    fn workshop(&self) -> Result<(Workshop, Ui)> {
        let ui = Ui::new(false);
        let prepared = Prepared::new(&ui)?;
        let machine = prepared.machine(self.stack, MEMORY_MIB)?;
        let accelerator = prepared.accelerator(self.experiments.accel, &machine, &ui);
        let workshop = Workshop {
            accelerator,
            stack: self.stack.into(),
            description: self.description.clone(),
            build: prepared.build()?,
            prepared,
        };
        Ok((workshop, ui))
    }

    fn all(
        &self,
        kind: &dyn Kind,
        identity: &Identity,
        workshop: &Workshop,
        results: Results,
        ui: Ui,
    ) -> Result<()> {
        let path = self.path()?;
        let shard = self.experiments.shard;
        let numbers: Vec<u64> = (0..self.experiments.count)
            .filter(|&number| shard.has(number) && !results.has(number))
            .collect();
        let wanted = numbers.len() as u64;
        ui.note(&format!("results go to {}", path.display()));
        let _asks = AskFirst::new();
        let mut progress = Progress::new(ui, &format!("{} campaign", self.name), wanted);
        let queue = Queue::new(numbers);
        // None after it could not be written to.
        let mut results = Some(results);
        let outcome = std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..self.jobs(wanted) {
                let (sender, queue) = (sender.clone(), &queue);
                scope.spawn(move || work(kind, identity, workshop, queue, &sender));
            }
            drop(sender);
            let mut spoilt = 0;
            let mut outcome: Result<()> = Ok(());
            loop {
                progress.show();
                if interrupt::asked() {
                    queue.stop();
                }
                let record = match receiver.recv_timeout(SHOWN_EVERY) {
                    Ok(Ok(record)) => record,
                    Ok(Err(error)) => {
                        queue.stop();
                        outcome = Err(error);
                        continue;
                    }
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                progress.add(&record);
                spoilt = if record.outcome == Outcome::Harness {
                    spoilt + 1
                } else {
                    0
                };
                if let Some(Err(error)) = results.as_mut().map(|results| results.add(&record)) {
                    queue.stop();
                    results = None;
                    outcome = Err(error.into());
                } else if spoilt >= HARNESS_MAX {
                    queue.stop();
                    let why = record.why.unwrap_or_default();
                    let what =
                        format!("{spoilt} experiments in a row failed for the host's sake: {why}");
                    outcome = Err(Failure::Host(what).into());
                }
            }
            outcome
        });
        progress.end();
        let left = queue.left();
        drop(results);
        let figures = summary::of_files(std::slice::from_ref(&path))?;
        ui::print(&figures.to_string());
        outcome?;
        if left > 0 || interrupt::asked() {
            ui.note(&format!(
                "{left} experiments are left; the same command goes on with them"
            ));
            std::process::exit(interrupt::STATUS);
        }
        figures.verdict()
    }

    fn jobs(&self, wanted: u64) -> u64 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.experiments.jobs;
        jobs.unwrap_or(cores.min(JOBS_MAX) as u64).min(wanted)
    }

    fn path(&self) -> Result<PathBuf> {
        let Experiments { seed, shard, .. } = self.experiments;
        let target = Project::find()?.target().to_owned();
        Ok(self.experiments.out.clone().unwrap_or_else(|| {
            let part = match shard.of {
                1 => String::new(),
                of => format!("-{}-of-{of}", shard.index),
            };
            let folder = target.join("campaigns");
            folder.join(format!("{}-{seed}{part}.jsonl", self.name))
        }))
    }
}

/// One thread: a rig, and experiment after experiment on it.
fn work(
    kind: &dyn Kind,
    identity: &Identity,
    workshop: &Workshop,
    queue: &Queue,
    records: &Sender<Result<Record>>,
) {
    let mut rig = match Rig::new(workshop) {
        Ok(rig) => rig,
        Err(error) => {
            let _ = records.send(Err(error));
            return;
        }
    };
    let mut next = queue.next();
    while let Some(number) = next {
        let mut record = perform(kind, identity, number, &mut rig);
        if record.outcome == Outcome::Harness {
            queue.put_back(number);
        }
        next = queue.next();
        if next.is_none() {
            settle(&mut record, &mut rig);
        }
        // Nobody hears it any more if the campaign has failed.
        let _ = records.send(Ok(record));
    }
}

/// One experiment, to be looked at.
fn only(kind: &dyn Kind, identity: &Identity, number: u64, workshop: &Workshop) -> Result<()> {
    let mut rig = Rig::new(workshop)?;
    let mut record = perform(kind, identity, number, &mut rig);
    settle(&mut record, &mut rig);
    ui::print(&serde_json::to_string_pretty(&record)?);
    match record.outcome {
        Outcome::Recovered | Outcome::StoppedAsDocumented => Ok(()),
        Outcome::Harness => Err(Failure::Host(record.why.unwrap_or_default()).into()),
        Outcome::VisibleFailure => Err(Failure::Check(record.why.unwrap_or_default()).into()),
    }
}
