//! Options of `costs`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::host::accelerator::Choice;

/// A tenth of the paper's cache of 64 MB, as PostMark is a tenth of its PostMark.
const CACHE_PAGES: &str = "1638";

/// Options of `costs`.
#[derive(Debug, Args)]
pub struct Costs {
    /// Only this part; may be given several times
    #[arg(long, value_enum)]
    pub only: Vec<Part>,
    /// How often each variant is run
    #[arg(long, value_name = "N", default_value = "5",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// What PostMark is told: a preset, or pairs as on the console
    #[arg(long, value_name = "WORDS", default_value = "loris-tenth")]
    pub postmark: String,
    /// Pages of the cache, 4 KiB each. A tenth of the paper's if it is not given; stacks have 16384
    #[arg(long, value_name = "N", default_value = CACHE_PAGES,
          value_parser = clap::value_parser!(u32).range(64..=16384))]
    pub cache_pages: u32,
    /// Seconds between checkpoints, as in the paper if it is not given
    #[arg(long, value_name = "N", default_value = "5",
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub sync_seconds: u32,
    /// How often the machine is crashed
    #[arg(long, value_name = "N", default_value = "20",
          value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub crashes: u32,
    /// Compare instructions and not time: slower, and the same on any host, however busy
    #[arg(long)]
    pub count_instructions: bool,
    /// Draw what each thing costs, round by round
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    pub json: bool,
    /// Who executes the guests
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Choice,
}

/// What `costs` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Twins, both logs, the mirror, on PostMark.
    Postmark,
    /// One `fsync`.
    Fsync,
    /// Resynchronisation after crashes of the machine.
    Crash,
}
