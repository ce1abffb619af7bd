//! `simulate`: the simulation of `tests/simulation`, built and run.

use anyhow::Result;
use serde_json::json;

use crate::cli::Simulate;
use crate::host::program::{Program, Shown};

/// The program.
pub const SIMULATION: Program = Program {
    package: "simulation",
    name: "simulate",
};

/// The level of what the simulation and the stack in it log, which is shown if this is set.
const LOG: &str = "GALAGO_LOG";

/// Runs, if neither their number nor hours are given.
const RUNS: u64 = 1000;

/// Runs the simulation.
pub fn run(options: &Simulate) -> Result<()> {
    let tells = options.trace || std::env::var_os(LOG).is_some();
    let shown = Shown {
        step: "Simulation",
        json: options.json,
        others: tells,
    };
    let runs = match (options.runs, options.hours) {
        (None, None) => Some(RUNS),
        (runs, _) => runs,
    };
    let request = json!({
        "case": {
            "seed": options.seed,
            "without": options.without,
            "steps": options.steps,
            "dropped": options.drop,
            "spared": options.spare,
        },
        "runs": runs,
        "seconds": options.hours.map(|hours| (hours * 3600.0).ceil() as u64),
        "trace": options.trace,
        // What many attempts at something smaller have to tell, nobody can tell apart.
        "whole": options.whole || tells,
    });
    SIMULATION.run("run", &request, shown)
}
