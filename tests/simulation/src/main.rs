//! Runs the simulation, a thread for each core, and tells in lines of JSON how it goes: the program that
//! `cargo galago simulate` builds and starts.
//!
//! | event | fields |
//! | --- | --- |
//! | `progress` | `done`, `total` (zero if not known), `text` |
//! | `failure` | `id`, `what`, `replay`: the arguments of `cargo galago` that do it once more |
//! | `summary` | at the end, once: `text`, and the figures |
#![forbid(unsafe_code)]

mod report;
mod workers;

use std::process::ExitCode;

use serde::Deserialize;
use simulation::Case;

/// What is asked for.
#[derive(Clone, Debug, Deserialize)]
struct Request {
    /// The first run.
    case: Case,
    /// How many runs, each with the next seed.
    #[serde(default)]
    runs: Option<u64>,
    /// No new run after so many seconds.
    #[serde(default)]
    seconds: Option<u64>,
    /// Failures after which no new run begins: they will have one reason.
    #[serde(default = "failures_max")]
    failures: u64,
    /// Every step is told on standard error.
    #[serde(default)]
    trace: bool,
    /// A failure is told as it is, and not made smaller.
    #[serde(default)]
    whole: bool,
}

fn failures_max() -> u64 {
    5
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let request = match (arguments.next().as_deref(), arguments.next()) {
        (Some("run"), Some(json)) => serde_json::from_str::<Request>(&json),
        _ => {
            eprintln!("usage: simulate run '{{\"case\":{{\"seed\":1}},\"runs\":1}}'");
            return ExitCode::from(2);
        }
    };
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            eprintln!("this is no request: {error}");
            return ExitCode::from(2);
        }
    };
    if request.trace {
        tests::logging::begin_at(log::LevelFilter::Trace);
    } else {
        tests::logging::begin();
    }
    simulation::catch_panics();
    workers::run(&request)
}
