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

/// Runs, if neither their number nor hours are given.
const RUNS: u64 = 1000;

/// Runs the simulation.
pub fn run(options: &Simulate) -> Result<()> {
    let shown = Shown {
        step: "Simulation",
        json: options.json,
        others: options.trace,
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
        "seconds": options.hours.map(|hours| (hours * 3600.0) as u64),
        "trace": options.trace,
        "whole": options.whole,
    });
    SIMULATION.run("run", &request, shown)
}
