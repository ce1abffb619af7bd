//! The command line of `campaign`: kinds of experiments, and the summary of what they wrote.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};

use crate::host::accelerator::Choice;

const GOES_ON: &str = "The same command again goes on where the last one ended. A failure says how to repeat it alone: \
                       the command, with --only.";

/// The kinds of campaigns, and their summary.
#[derive(Clone, Debug, Subcommand)]
pub enum Campaign {
    /// Kill tasks while files are written: nobody may notice
    #[command(after_help = format!("{GOES_ON}\n\nExamples:\n  cargo galago campaign kill --count 300\n  \
                      cargo galago campaign kill --targets logical,twinfs.0 --seed 7 --out kills.jsonl\n  \
                      cargo galago campaign kill --targets drivers --stack single --jobs 1\n  \
                      cargo galago campaign kill --seed 1 --only 4711\n  \
                      cargo galago campaign kill --count 10701 --shard 3/32 --out kills-3.jsonl"))]
    Kill(Kill),
    /// Have any task and any disk fail in every way: recovered, or an orderly stop
    #[command(
        after_help = format!("Experiment N has fault N of the list, so that the first of them are each fault of each \
                      target once. One that did not strike is tried again, up to three times. {GOES_ON}\n\n\
                      Examples:\n  cargo galago campaign fault --count 300\n  \
                      cargo galago campaign fault --faults panic,deadlock --targets stores\n  \
                      cargo galago campaign fault --faults dead,slow,read-error --stack single-faulty\n  \
                      cargo galago campaign fault --count 426 --out faults.jsonl\n  \
                      cargo galago campaign summary faults.jsonl --matrix\n  \
                      cargo galago run --stack mirror-faulty -c inject")
    )]
    Fault(Fault),
    /// Have disks go wrong in silence, by type of block: never wrong data
    #[command(
        after_help = format!("On a mirror nobody may notice; on one disk, errors may be seen. {GOES_ON}\n\n\
                      Examples:\n  cargo galago campaign corrupt --count 80\n  \
                      cargo galago campaign corrupt --faults lost-write,misdirected-write --seed 7\n  \
                      cargo galago campaign corrupt --stack single-faulty --faults torn-write\n  \
                      cargo galago campaign corrupt --faults corrupt --only 12")
    )]
    Corrupt(Corrupt),
    /// Cut the power while files are written: what was synced must be there
    #[command(
        after_help = format!("Three of four cuts are at a point of a sync or a write-back, the others at any moment. \
                      {GOES_ON}\n\nExamples:\n  cargo galago campaign power-cut --count 200\n  \
                      cargo galago campaign power-cut --stack single-faulty --seed 7\n  \
                      cargo galago campaign power-cut --how reset --stack mirror\n  \
                      cargo galago campaign power-cut --how qemu-kill --stack mirror --jobs 1\n  \
                      cargo galago campaign power-cut --count 2000 --shard 0/8 --out cuts-0.jsonl\n  \
                      cargo galago campaign power-cut --how power --only 17")
    )]
    PowerCut(PowerCut),
    /// Count and tabulate what campaigns wrote; shards are merged
    #[command(
        after_help = "Ends with status 1 if there is a visible failure.\n\nExamples:\n  \
                      cargo galago campaign summary kills-*.jsonl\n  \
                      cargo galago campaign summary target/campaigns/power-cut-1.jsonl\n  \
                      cargo galago campaign summary kills.jsonl --plot replay.svg\n  \
                      cargo galago campaign summary kills.jsonl --json\n  \
                      cargo galago campaign summary faults.jsonl --matrix"
    )]
    Summary(Summary),
}

/// Options of every kind of campaign.
#[derive(Clone, Debug, Args)]
pub struct Experiments {
    /// How many experiments: the numbers from 0 to N-1
    #[arg(long, value_name = "N", default_value = "100",
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub count: u64,
    /// With an experiment's number, all that its choices follow from
    #[arg(long, value_name = "S", default_value = "1", value_parser = super::parse_seed,
          allow_negative_numbers = true)]
    pub seed: u64,
    /// Only the experiments whose number leaves I when divided by N
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    pub shard: Shard,
    /// Only this experiment, to repeat it; nothing is written
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["shard", "out", "count"])]
    pub only: Option<u64>,
    /// Little work, and one boot for all: a slice for tests
    #[arg(long)]
    pub brief: bool,
    /// Where a line for each experiment goes; those that are there are not done again
    /// [default: a file under target/campaigns]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Guests at once [default: one for each core, at most four]
    #[arg(short, long, value_name = "J", value_parser = clap::value_parser!(u64).range(1..=256))]
    pub jobs: Option<u64>,
    /// Who executes the guests
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Choice,
}

/// Whom a campaign turns against.
#[derive(Clone, Debug, Args)]
pub struct Targets {
    /// Tasks, by name or group (`drivers`, `stores`, `below`, `all`)
    #[arg(
        long,
        value_name = "TASK,…",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new(),
        default_value = "all"
    )]
    pub targets: Vec<String>,
}

/// What is injected.
#[derive(Clone, Debug, Args)]
pub struct Faults {
    /// Faults, by the names that `inject` on the console has for them
    #[arg(
        long,
        value_name = "FAULT,…",
        value_delimiter = ',',
        value_parser = NonEmptyStringValueParser::new(),
        default_value = "all"
    )]
    pub faults: Vec<String>,
}

/// Options of `campaign kill`.
#[derive(Clone, Debug, Args)]
pub struct Kill {
    /// What every campaign has.
    #[command(flatten)]
    pub experiments: Experiments,
    /// Whom.
    #[command(flatten)]
    pub targets: Targets,
    /// Stack description, by name (see qemu/stacks) or file
    #[arg(long, value_name = "NAME|FILE", default_value = "mirror")]
    pub stack: String,
}

/// Options of the campaigns that need the filter before disks.
#[derive(Clone, Debug, Args)]
pub struct OnFaultyDisks {
    /// What every campaign has.
    #[command(flatten)]
    pub experiments: Experiments,
    /// Stack description, by name (see qemu/stacks) or file; disks fail where the filter `faulty` is
    #[arg(long, value_name = "NAME|FILE", default_value = "mirror-faulty")]
    pub stack: String,
}

/// Options of `campaign fault`.
#[derive(Clone, Debug, Args)]
pub struct Fault {
    /// What every campaign on faulty disks has.
    #[command(flatten)]
    pub on: OnFaultyDisks,
    /// Whom; disks fail, too.
    #[command(flatten)]
    pub targets: Targets,
    /// What.
    #[command(flatten)]
    pub faults: Faults,
}

/// Options of `campaign corrupt`.
#[derive(Clone, Debug, Args)]
pub struct Corrupt {
    /// What every campaign on faulty disks has.
    #[command(flatten)]
    pub on: OnFaultyDisks,
    /// What: corrupt, torn-write, lost-write, misdirected-write, or all.
    #[command(flatten)]
    pub faults: Faults,
}

/// Options of `campaign power-cut`.
#[derive(Clone, Debug, Args)]
pub struct PowerCut {
    /// What every campaign on faulty disks has; `--how reset` and `qemu-kill` need no filter.
    #[command(flatten)]
    pub on: OnFaultyDisks,
    /// What is cut
    #[arg(long, value_enum, default_value = "power")]
    pub how: How,
}

/// How a machine is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// The power: of what the disks have not flushed, any part in any order is on the medium.
    Power,
    /// The reset button: the disks keep what they were given.
    Reset,
    /// QEMU is killed: the host keeps what it was given.
    QemuKill,
}

impl How {
    /// As it is typed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Reset => "reset",
            Self::QemuKill => "qemu-kill",
        }
    }
}

/// Options of `campaign summary`.
#[derive(Clone, Debug, Args)]
pub struct Summary {
    /// What campaigns wrote.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print the figures as JSON
    #[arg(long, conflicts_with = "matrix")]
    pub json: bool,
    /// Print how experiments ended as a table in Markdown: a row a fault, a column a target
    #[arg(long)]
    pub matrix: bool,
    /// Draw the time of each recovery of the cache over the size of its log, as SVG
    #[arg(long, value_name = "SVG")]
    pub plot: Option<PathBuf>,
}

/// A part of a campaign that needs to know nothing of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its place among the shards, from zero.
    pub index: u64,
    /// How many there are; at least one.
    pub of: u64,
}

impl Shard {
    /// Whether an experiment belongs to it.
    #[must_use]
    pub fn has(self, number: u64) -> bool {
        number % self.of == self.index
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| {
            let (index, of) = (index.parse().ok()?, of.parse().ok()?);
            (index < of).then_some(Self { index, of })
        });
        parts.ok_or_else(|| "expected I/N with I from 0 to N-1, for instance 0/8".into())
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_experiment_belongs_to_one_shard() {
        let shards: Vec<Shard> = (0..5)
            .map(|index| format!("{index}/5").parse().expect("a shard"))
            .collect();
        for number in 0..100 {
            assert_eq!(shards.iter().filter(|shard| shard.has(number)).count(), 1);
        }
        for wrong in ["5/5", "1", "a/b", "0/0", "-1/2", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_would_be_ignored_or_means_nothing_is_refused() {
        let refused = |words: &[&str]| {
            let words = ["galago", "campaign"].iter().chain(words);
            Cli::try_parse_from(words).unwrap_err().to_string()
        };
        let error = refused(&["kill", "--only", "1", "--count", "5"]);
        assert!(error.contains("cannot be used with"), "{error}");
        let error = refused(&["kill", "--targets", ""]);
        assert!(error.contains("--targets"), "{error}");
        let error = refused(&["fault", "--faults", "panic,"]);
        assert!(error.contains("--faults"), "{error}");
    }

    #[test]
    fn every_example_can_be_typed() {
        let mut command = Cli::command();
        let campaign = command.find_subcommand_mut("campaign").expect("there");
        let mut examples = 0;
        for kind in campaign.get_subcommands_mut() {
            let help = kind.render_long_help().to_string();
            let lines = help
                .lines()
                .filter(|line| line.starts_with("  cargo galago "));
            for line in lines {
                examples += 1;
                let words = line.split_whitespace().skip(1);
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
        assert!(examples > 20, "{examples}");
    }
}
