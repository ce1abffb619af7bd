//! Carries a plan out against a file system and times it.

use alloc::{format, string::String};

use storage::{Error, clock::Clock, vfs::FileSystem};

use super::{
    files::Files,
    parameters::Parameters,
    plan::{Plan, Step},
    report::{Phase, Progress, Report},
    scan::scan,
};
use crate::Go;

/// Runs PostMark. What fails is counted in the report, and the run goes on, as the original does.
///
/// `parameters` must have been checked. `progress` is called after every step.
pub async fn run<F: FileSystem>(
    system: &F,
    clock: &impl Clock,
    parameters: &Parameters,
    progress: &mut dyn FnMut(Progress) -> Go,
) -> Report {
    let mut run = Run {
        files: Files::new(system, parameters),
        clock,
        parameters,
        plan: Plan::new(parameters),
        report: Report {
            transactions_wanted: parameters.transactions,
            ..Report::default()
        },
        progress,
    };
    if let Err(Stopped) = run.all().await {
        run.report.stopped = true;
    }
    run.report
}

/// Errors after which a run stops: on a full or failing volume each step would only add one more, and
/// take its time.
pub const ERRORS_MAX: u32 = 100;

/// The callback said stop, or there were too many errors.
struct Stopped;

struct Run<'a, F, C> {
    files: Files<'a, F>,
    clock: &'a C,
    parameters: &'a Parameters,
    plan: Plan,
    report: Report,
    progress: &'a mut dyn FnMut(Progress) -> Go,
}

impl<F: FileSystem, C: Clock> Run<'_, F, C> {
    async fn all(&mut self) -> core::result::Result<(), Stopped> {
        self.clear().await?;
        self.create_subdirectories().await?;
        let start = self.clock.now_ns();
        let result = self.create_files().await;
        self.report.create_ns = self.since(start);
        result?;
        if self.parameters.sync {
            self.sync().await?;
        }
        let start = self.clock.now_ns();
        let result = self.transactions().await;
        self.report.transactions_ns = self.since(start);
        result?;
        if self.parameters.keep {
            self.report.files_kept = self.plan.files() as u32;
            self.report.bytes_kept = self.plan.each_file().map(|file| u64::from(file.size)).sum();
        } else {
            let start = self.clock.now_ns();
            let result = self.delete_files().await;
            self.report.delete_ns = self.since(start);
            result?;
            self.delete_subdirectories().await;
        }
        self.tell(Phase::Done, 1, 1)
    }

    fn since(&self, start: u64) -> u64 {
        self.clock.now_ns().saturating_sub(start)
    }

    fn tell(&mut self, phase: Phase, done: u32, total: u32) -> core::result::Result<(), Stopped> {
        let errors = self.report.errors.count;
        if errors >= ERRORS_MAX {
            self.report.errors.add(|| "stopped: too many errors".into());
            return Err(Stopped);
        }
        match (self.progress)(Progress {
            phase,
            done,
            total,
            errors,
        }) {
            Go::On => Ok(()),
            Go::Stop => Err(Stopped),
        }
    }

    /// Removes what an earlier run left: a run must not count old files as its own. Files that are
    /// not PostMark's stay, and then there is no run.
    async fn clear(&mut self) -> core::result::Result<(), Stopped> {
        let location = &self.parameters.location;
        let found = match scan(self.files.system, location).await {
            Ok(found) => found,
            Err(Error::NotFound) => return Ok(()),
            Err(error) => {
                self.report.errors.add(|| format!("{location}: {error}"));
                return Err(Stopped);
            }
        };
        if let Some(name) = found.foreign.first() {
            self.report.errors.add(|| {
                format!("{location}/{name} is not PostMark's: give another location, or remove it")
            });
            return Err(Stopped);
        }
        let total = found.files.len() as u32;
        for (index, file) in found.files.iter().enumerate() {
            let path = file.path(location);
            if let Err(error) = self.files.system.unlink(path.as_bytes()).await {
                self.report.errors.add(|| format!("delete {path}: {error}"));
            }
            self.tell(Phase::Clear, index as u32 + 1, total)?;
        }
        for index in found.subdirectories {
            self.directory("rmdir", format!("{location}/s{index}"))
                .await;
        }
        self.directory("rmdir", location.clone()).await;
        Ok(())
    }

    /// Makes or removes a directory.
    async fn directory(&mut self, what: &str, path: String) {
        let result = match what {
            "mkdir" => self.files.system.mkdir(path.as_bytes(), 0o755).await,
            _ => self.files.system.rmdir(path.as_bytes()).await,
        };
        if let Err(error) = result {
            self.report.errors.add(|| format!("{what} {path}: {error}"));
        }
    }

    fn subdirectories(&self) -> core::ops::Range<u32> {
        if self.parameters.subdirectories > 1 {
            0..self.parameters.subdirectories
        } else {
            0..0
        }
    }

    async fn create_subdirectories(&mut self) -> core::result::Result<(), Stopped> {
        self.directory("mkdir", self.parameters.location.clone())
            .await;
        let total = self.parameters.subdirectories;
        for index in self.subdirectories() {
            self.directory("mkdir", format!("{}/s{index}", self.parameters.location))
                .await;
            self.tell(Phase::Subdirectories, index + 1, total)?;
        }
        Ok(())
    }

    async fn create_files(&mut self) -> core::result::Result<(), Stopped> {
        for index in 0..self.parameters.files {
            let Some(step) = self.plan.create() else {
                break;
            };
            self.report.created_alone += u32::from(self.step(step).await);
            self.tell(Phase::Create, index + 1, self.parameters.files)?;
        }
        Ok(())
    }

    async fn sync(&mut self) -> core::result::Result<(), Stopped> {
        self.tell(Phase::Sync, 0, 1)?;
        let start = self.clock.now_ns();
        if let Err(error) = self.files.system.sync().await {
            self.report.errors.add(|| format!("sync: {error}"));
        }
        self.report.sync_ns = self.since(start);
        self.tell(Phase::Sync, 1, 1)
    }

    async fn transactions(&mut self) -> core::result::Result<(), Stopped> {
        let mut before = self.clock.now_ns();
        for index in 0..self.parameters.transactions {
            let Some(transaction) = self.plan.transaction() else {
                break;
            };
            if let Some(access) = transaction.access {
                let done = u32::from(self.step(access).await);
                match access {
                    Step::Read(_) => self.report.read += done,
                    _ => self.report.appended += done,
                }
            }
            if let Some(change) = transaction.change {
                let done = u32::from(self.step(change).await);
                match change {
                    Step::Create(_) => self.report.created_mixed += done,
                    _ => self.report.deleted_mixed += done,
                }
            }
            self.report.transactions += 1;
            let after = self.clock.now_ns();
            let took = after.saturating_sub(before);
            self.report.transaction_ns_max = self.report.transaction_ns_max.max(took);
            before = after;
            self.tell(Phase::Transactions, index + 1, self.parameters.transactions)?;
        }
        Ok(())
    }

    async fn delete_files(&mut self) -> core::result::Result<(), Stopped> {
        let total = self.plan.files() as u32;
        let (mut place, mut tried) = (0, 0);
        while let Some(step) = self.plan.delete_next(&mut place) {
            self.report.deleted_alone += u32::from(self.step(step).await);
            tried += 1;
            self.tell(Phase::Delete, tried, total)?;
        }
        Ok(())
    }

    async fn delete_subdirectories(&mut self) {
        for index in self.subdirectories() {
            self.directory("rmdir", format!("{}/s{index}", self.parameters.location))
                .await;
        }
        self.directory("rmdir", self.parameters.location.clone())
            .await;
    }

    /// Takes a step; returns whether it went well.
    async fn step(&mut self, step: Step) -> bool {
        let (what, file, result) = match step {
            Step::Read(file) => ("read", file, self.files.read(file).await),
            Step::Append(file, len) => ("append to", file, self.files.append(file, len).await),
            Step::Create(file) => ("create", file, self.files.create(file).await),
            Step::Delete(file) => ("delete", file, self.files.delete(file).await),
        };
        if let Err(fault) = result {
            self.report
                .errors
                .add_fault(what, &self.files.path(file), fault);
            return false;
        }
        match step {
            Step::Read(_) => self.report.bytes_read += u64::from(file.size),
            Step::Append(_, len) => self.report.bytes_written += u64::from(len),
            Step::Create(_) => self.report.bytes_written += u64::from(file.size),
            Step::Delete(_) => {}
        }
        true
    }
}
