//! `crash-states`: the checkers of `tests/checkers`, built and run.

use anyhow::Result;
use serde_json::{Value, json};

use crate::Failure;
use crate::cli::CrashStates;
use crate::host::program::{Program, Shown};

const CHECKERS: Program = Program {
    package: "checkers",
    name: "checkers",
};

/// What every test run does of them: name, task, options.
pub fn slices() -> [(&'static str, &'static str, Value); 1] {
    let all = json!({ "calls": 2, "disks": null, "shard": [1, 1], "state": null });
    [("crash states of up to two calls", "crash-states", all)]
}

/// Does one of them; whether all of it held.
///
/// # Errors
/// As [`Program::run`], but for what did not hold.
pub fn slice(name: &str, task: &str, options: &Value) -> Result<bool> {
    let shown = Shown {
        step: name,
        json: false,
    };
    match CHECKERS.run(task, options, shown) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.downcast_ref(), Some(Failure::Check(_))) => {
            eprintln!("{error:#}");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Tries all crash states.
pub fn crash_states(options: &CrashStates) -> Result<()> {
    let shown = Shown {
        step: "Crash states",
        json: options.json,
    };
    let options = json!({
        "calls": options.calls,
        "disks": options.disks,
        "shard": options.shard,
        "state": options.state,
    });
    CHECKERS.run("crash-states", &options, shown)
}
