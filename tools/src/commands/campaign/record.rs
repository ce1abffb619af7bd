//! What is kept of an experiment: one line of JSON.

use serde::{Deserialize, Serialize};

/// How an experiment ended, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nobody noticed: no error was seen, and everything is as it should be.
    Recovered,
    /// The stack stopped, or answered with an error, where its documents say that it does; what was
    /// synced is there.
    StoppedAsDocumented,
    /// The host was in the way. It says nothing of Galago, and is done again.
    Harness,
    /// A bug: an error that nobody may see, wrong data, lost data, a hang, a panic.
    VisibleFailure,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [
        Self::Recovered,
        Self::StoppedAsDocumented,
        Self::Harness,
        Self::VisibleFailure,
    ];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::StoppedAsDocumented => "stopped as documented",
            Self::Harness => "harness",
            Self::VisibleFailure => "visible failure",
        }
    }
}

/// Which campaign an experiment is of: with its number, all that its choices follow from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// The kind, as it is typed: `kill`, `power-cut` …
    pub campaign: String,
    /// Its seed.
    pub seed: u64,
    /// The stack that was booted.
    pub stack: String,
    /// The options of the kind that choices depend on, as they are typed.
    pub options: String,
}

impl Identity {
    /// What to type for this campaign.
    pub fn command(&self) -> String {
        let Self {
            campaign,
            seed,
            stack,
            options,
        } = self;
        let options = if options.is_empty() {
            String::new()
        } else {
            format!(" {options}")
        };
        format!("cargo galago campaign {campaign} --stack {stack} --seed {seed}{options}")
    }
}

/// A recovery of the cache from a crash below, as the cache tells of it: when calls go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Pages that the log held at the crash.
    pub pages: u64,
    /// Files that it held.
    pub files: u64,
    /// How long it took, nanoseconds.
    pub duration_ns: u64,
    /// The stores had the newer checkpoint, with all that the log had.
    pub skipped: bool,
}

/// What was made equal again after the machine was cut off, as logical tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    /// Blocks that had been overwritten since the checkpoint.
    pub blocks: u64,
    /// Copies that were written again from a good one.
    pub rewritten: u64,
    /// Blocks without a good copy: reading them is an error.
    pub bad: u64,
}

/// What all disks together had not flushed when the power went, as the manager tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Sectors; one that was written twice counts twice.
    pub unflushed: u64,
    /// Of those, how many reached the medium.
    pub kept: u64,
    /// Writes of which a part reached the medium.
    pub torn: u64,
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// The campaign.
    #[serde(flatten)]
    pub identity: Identity,
    /// What was booted, by its hash.
    #[serde(default)]
    pub build: String,
    /// What was done meanwhile.
    pub workload: String,
    /// What was injected.
    pub fault: String,
    /// Into whom.
    pub target: String,
    /// When.
    pub moment: String,
    /// Whether it struck; what did not shows nothing.
    pub struck: bool,
    /// How often it was tried; the last time is what is told of.
    #[serde(default = "one")]
    pub attempts: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What did not hold, in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Deaths that the manager told of: task, cause, reason.
    #[serde(default)]
    pub deaths: Vec<String>,
    /// The first errors and warnings of the log, if anything was wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_words: Vec<String>,
    /// From the first death to when the stack served again, nanoseconds.
    pub recovery_ns: Option<u64>,
    /// The longest recovery of the cache.
    pub replay: Option<Replay>,
    /// From a crash until all that it had undone was written down again, the longest, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below_again_ns: Option<u64>,
    /// What was made equal again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync: Option<Resync>,
    /// What was lost when the power was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// A store went back to its penultimate checkpoint.
    #[serde(default)]
    pub penultimate: bool,
    /// Time that it took on the host, milliseconds.
    pub host_ms: u64,
    /// The end of the guest's console, if anything was wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub console: Vec<String>,
    /// What to type to repeat it.
    pub repeat: String,
}

fn one() -> u32 {
    1
}

impl Record {
    /// Whether it shows nothing: the fault did not strike, and nobody noticed anything.
    pub fn is_missed(&self) -> bool {
        !self.struck && self.outcome == Outcome::Recovered
    }
}
