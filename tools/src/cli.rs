//! The command line: what there is to type, with an example for each command.

pub mod campaign;
pub mod costs;

use std::path::PathBuf;

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser},
};

use crate::host::accelerator::Choice;
use crate::host::images::parse_size;

const EXIT_STATUSES: &str = "\
Exit status:
  0    everything asked for ran and held
  1    something ran and did not hold: a command, a test, a checksum
  2    the request makes no sense (wrong option, missing file)
  3    the host lacks something (QEMU, a compiler, space)
  4    the guest hung, panicked or ended too early
  130  interrupted

Colours are for terminals only; NO_COLOR=1 takes them away there too.";

/// Galago: a storage stack that keeps running when its own code crashes
#[derive(Debug, Parser)]
#[command(name = "cargo galago", bin_name = "cargo galago", version, after_help = EXIT_STATUSES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what it does: PostMark on two mirrored disks while its layers are killed
    #[command(after_help = "Examples:\n  cargo galago demo\n  cargo galago demo --seed 7 --json")]
    Demo(Demo),
    /// Run every test: on the host, of the kernel, of the booted stack
    #[command(
        after_help = "Examples:\n  cargo galago test\n  cargo galago test --only booted --filter reset"
    )]
    Test(Test),
    /// Boot and give the console on this terminal
    #[command(
        after_help = "Leave with Ctrl-A x, or `poweroff`; at the end of piped input the guest is switched \
                      off.\n\nExamples:\n  cargo galago boot\n  \
                      cargo galago boot --disk one.img --size 4GiB\n  \
                      cargo galago boot --disk a.img --disk b.img --import files.tar"
    )]
    Boot(Machine),
    /// Boot, run console commands, and end
    #[command(
        after_help = "A command that fails ends the run. Quote `;` where it belongs to a command.\n\n\
                      Examples:\n  cargo galago run -c 'format yes; mount; write /a hello; cat /a'\n  \
                      cargo galago run --disk a.img -c 'mount; ls -l /; poweroff' --json"
    )]
    Run(Run),
    /// Boot and measure: calls, boot, PostMark, idleness, recovery, reset
    #[command(
        after_help = "Examples:\n  cargo galago measure\n  cargo galago measure --only postmark --json"
    )]
    Measure(Measure),
    /// Measure what twins, logs, the mirror, an fsync and a crash cost, beside the paper's figures
    #[command(
        after_help = "Examples:\n  cargo galago costs --rounds 5 --plot costs.svg\n  \
                      cargo galago costs --only postmark --rounds 2 --count-instructions\n  \
                      cargo galago costs --only fsync --json"
    )]
    Costs(costs::Costs),
    /// Crash every short workload at every point of its writes, mount, and compare
    #[command(
        name = "crash-states",
        after_help = "Examples:\n  cargo galago crash-states\n  \
                      cargo galago crash-states --calls 3 --shard 0/8 --json"
    )]
    CrashStates(CrashStates),
    /// Put guests through experiments by the thousand, each repeatable by its number
    #[command(
        subcommand,
        after_help = "Examples:\n  cargo galago campaign kill --count 300\n  \
                      cargo galago campaign power-cut --count 200 --out cuts.jsonl\n  \
                      cargo galago campaign fault --count 426 --out faults.jsonl\n  \
                      cargo galago campaign kill --seed 1 --only 4711\n  \
                      cargo galago campaign summary target/campaigns/kill-1.jsonl"
    )]
    Campaign(campaign::Campaign),
    /// Run the whole stack on the host, from seeds, with kills and power cuts, against an oracle
    #[command(after_help = "Examples:\n  cargo galago simulate\n  \
                      cargo galago simulate --seed 1000000 --hours 8 --json\n  \
                      cargo galago simulate --seed 7 --runs 1 --without kills --trace")]
    Simulate(Simulate),
    /// Prove from what `--log-writes` recorded that writes and flushes came in the right order
    #[command(
        name = "check-order",
        after_help = "A note beside each log says when which sync returned; `run` makes one after each command \
                      `sync`.\n\nExample:\n  \
                      cargo galago run --disk a.img --log-writes logs -c 'format yes; mount; write /a hello; sync'\n  \
                      cargo galago check-order logs/0.log"
    )]
    CheckOrder(CheckOrder),
    /// Mount and use disks made by someone who means harm
    #[command(
        name = "fuzz-images",
        after_help = "Examples:\n  cargo galago fuzz-images --minutes 10 --seed 1000000\n  \
                      cargo galago fuzz-images --seed 17 --runs 1"
    )]
    FuzzImages(FuzzImages),
    /// Break recovery in ways that the simulation must find, one at a time, and see that it does
    #[command(after_help = "Examples:\n  cargo galago mutants\n  \
                      cargo galago mutants --only flush,created-twice --runs 5000")]
    Mutants(Mutants),
    /// Install QEMU if it is missing, and build the guest
    #[command(after_help = "Example:\n  cargo galago setup")]
    Setup,
}

/// The machine that is booted.
#[derive(Clone, Debug, Default, Args)]
pub struct Machine {
    /// A disk image; several for several disks. A missing one is made. Without any: two under target/
    #[arg(long = "disk", value_name = "IMAGE")]
    pub disks: Vec<PathBuf>,
    /// Size of the images that are made; those that are there keep theirs [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<u64>,
    /// A tar to `import` from, attached as a further disk that cannot be written
    #[arg(long, value_name = "TAR")]
    pub import: Option<PathBuf>,
    /// How the disks are attached
    #[arg(long, value_enum, default_value = "virtio")]
    pub bus: Bus,
    /// Stack description, by name (see qemu/stacks) or file [default: `single` or `mirror`, by the
    /// number of disks]
    #[arg(long, value_name = "NAME|FILE")]
    pub stack: Option<String>,
    /// Record what each disk takes as FOLDER/0.log, FOLDER/1.log …, for `check-order`; the images have to
    /// be new, or to have been recorded there from the beginning
    #[arg(long, value_name = "FOLDER")]
    pub log_writes: Option<PathBuf>,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value = "512",
          value_parser = clap::value_parser!(u32).range(128..=65536))]
    pub memory: u32,
    /// Who executes the guest; `auto` takes KVM where a guest has been seen to boot under it
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Choice,
}

/// How disks are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Bus {
    /// virtio-blk over PCI.
    #[default]
    Virtio,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The machine.
    #[command(flatten)]
    pub machine: Machine,
    /// Console commands, separated by `;`. May be given several times
    #[arg(short, long, value_name = "COMMANDS", required = true)]
    pub command: Vec<String>,
    /// Print the guest's events as JSON lines
    #[arg(long)]
    pub json: bool,
    /// How long the boot and each command may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "300",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// Seed of the kills and of PostMark's choices; the same seed gives the same choices
    #[arg(long, default_value = "1", value_parser = parse_seed,
          allow_negative_numbers = true)]
    pub seed: u64,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
    /// Who executes the guest
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Choice,
}

/// Options of `test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Only this kind of tests
    #[arg(long, value_enum)]
    pub only: Option<TestKind>,
    /// Who executes the guests
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Choice,
}

/// The kinds of tests, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TestKind {
    /// On the host: the layers over simulated disks, and the parts of everything else.
    Host,
    /// In the guest: what the kernel guarantees, against programs that misbehave.
    Kernel,
    /// The whole stack, booted and driven over the console.
    Booted,
}

/// Options of `measure`.
#[derive(Debug, Args)]
pub struct Measure {
    /// Only this measurement; may be given several times
    #[arg(long, value_enum)]
    pub only: Vec<Measurement>,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
    /// Who executes the guests
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Choice,
}

/// Options of `mutants`.
#[derive(Debug, Args)]
pub struct Mutants {
    /// Only those whose name contains this, or one of these
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Seed of the first run
    #[arg(long, default_value = "1", value_parser = parse_seed,
          allow_negative_numbers = true)]
    pub seed: u64,
    /// Runs after which a mutant counts as not found
    #[arg(long, value_name = "N", default_value = "2000",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: u64,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Options of `simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// Seed of the first run; each further one has the next. The same seed is the same run
    #[arg(long, default_value = "1", value_parser = parse_seed,
          allow_negative_numbers = true)]
    pub seed: u64,
    /// How many runs [default: 1000, or as many as the hours hold]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: Option<u64>,
    /// No new run after so many hours
    #[arg(long, value_name = "H", value_parser = parse_hours, allow_negative_numbers = true)]
    pub hours: Option<f64>,
    /// Leave out parts of the runs
    #[arg(long, value_name = "PARTS", value_delimiter = ',', value_parser = parts())]
    pub without: Vec<String>,
    /// End the work of a run after so many steps
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Leave out operations of each client, by their numbers
    #[arg(long, value_name = "A-B", value_delimiter = ',', value_parser = parse_range)]
    pub drop: Vec<(u64, u64)>,
    /// Leave out kills, cuts and faults, by their numbers
    #[arg(long, value_name = "A-B", value_delimiter = ',', value_parser = parse_range)]
    pub spare: Vec<(u64, u64)>,
    /// Tell every step, of a failure as it is (--whole)
    #[arg(long)]
    pub trace: bool,
    /// Tell a failure as it is, without looking for a smaller one
    #[arg(long)]
    pub whole: bool,
    /// Print failures and the summary as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// What can be left out of simulated runs, from the list of the simulation.
fn parts() -> PossibleValuesParser {
    let lines = include_str!("../../tests/simulation/parts.txt").lines();
    let parts = lines.filter_map(|line| {
        let (name, what) = line.split_once(' ')?;
        Some(PossibleValue::new(name).help(what.trim()))
    });
    parts.collect::<Vec<_>>().into()
}

/// What all choices follow from.
fn parse_seed(text: &str) -> Result<u64, String> {
    let seed = text.parse().ok();
    seed.ok_or_else(|| format!("expected a whole number from 0 to {}", u64::MAX))
}

fn parse_hours(text: &str) -> Result<f64, String> {
    let hours = text.parse().ok();
    let hours = hours.filter(|hours: &f64| *hours > 0.0 && *hours <= 10_000.0);
    hours.ok_or_else(|| "expected hours above 0, at most 10000, for instance 0.5".into())
}

/// `A-B`: the numbers from A to B, as from A on, up to before B + 1.
fn parse_range(text: &str) -> Result<(u64, u64), String> {
    let numbers = text.split_once('-').and_then(|(from, to)| {
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        Some((from, to.checked_add(1)?))
    });
    let numbers = numbers.filter(|(from, end)| from < end);
    numbers.ok_or_else(|| "expected A-B, for instance 3-10, and A not above B".into())
}

/// Options of `crash-states`.
#[derive(Debug, Args)]
pub struct CrashStates {
    /// Most calls of a workload
    #[arg(long, value_name = "N", default_value = "2",
          value_parser = clap::value_parser!(u32).range(1..=3))]
    pub calls: u32,
    /// Disks: one, or two that are mirrored [default: both]
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u32).range(1..=2))]
    pub disks: Option<u32>,
    /// Only the workloads whose number leaves I when divided by N
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    pub shard: campaign::Shard,
    /// Only this state, by the name that a failure has
    #[arg(long, value_name = "NAME")]
    pub state: Option<String>,
    /// Print failures and the summary as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Options of `check-order`.
#[derive(Debug, Args)]
pub struct CheckOrder {
    /// A log, of one disk
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,
    /// Print failures and the summary as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// Options of `fuzz-images`.
#[derive(Debug, Args)]
pub struct FuzzImages {
    /// Number of the first image; each is made from its number alone
    #[arg(long, default_value = "0", value_parser = parse_seed,
          allow_negative_numbers = true)]
    pub seed: u64,
    /// How many [default: 10000, or as many as the minutes allow]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..))]
    pub runs: Option<u64>,
    /// How long at most
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub minutes: Option<u64>,
    /// Print failures and the summary as JSON lines
    #[arg(long)]
    pub json: bool,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measurement {
    /// A call and its reply between two tasks.
    Call,
    /// From power-on to a mounted volume, in guest time.
    Boot,
    /// PostMark, a tenth of the paper's, on one disk and on a mirror.
    Postmark,
    /// The instructions of a transaction of PostMark, task by task.
    Instructions,
    /// What an idle guest costs the host.
    Idle,
    /// From a kill to an answer, over 300 kills during PostMark.
    Recovery,
    /// The first mount after a reset in the middle of PostMark.
    Reset,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        let cli = Cli::command();
        let campaigns = cli.find_subcommand("campaign").expect("a command");
        for command in cli.get_subcommands().chain(campaigns.get_subcommands()) {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("cargo galago "),
                "{} has no example",
                command.get_name()
            );
        }
    }

    #[test]
    fn numbers_that_are_left_out_are_from_the_first_to_the_last() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["galago", "simulate"], words].concat());
        let cli = parse(&["--drop", "3-10,12-12", "--hours", "0.001"]).expect("fine");
        let Command::Simulate(options) = cli.command else {
            panic!("not simulate")
        };
        assert_eq!(options.drop, [(3, 11), (12, 13)]);
        for wrong in [
            ["--drop", "9-3"],
            ["--spare", "3"],
            ["--hours", "0"],
            ["--runs", "0"],
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn disks_may_repeat_and_a_wrong_size_is_told() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["galago"], words].concat());
        let cli = parse(&["boot", "--disk", "a", "--disk", "b", "--size", "2GiB"]).expect("fine");
        let Command::Boot(machine) = cli.command else {
            panic!("not boot")
        };
        assert_eq!((machine.disks.len(), machine.size), (2, Some(2 << 30)));
        let wrong = parse(&["boot", "--size", "big"]).unwrap_err().to_string();
        assert!(wrong.contains("1GiB"), "{wrong}");
        assert!(parse(&["run"]).is_err(), "run without a command");
    }
}
