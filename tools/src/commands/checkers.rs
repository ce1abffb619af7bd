//! `crash-states`, `check-order`, `fuzz-images`: the checkers of `tests/checkers`, built and run. Also the
//! slice that every test run does of them and of the simulation.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use crate::Failure;
use crate::cli::{CheckOrder, CrashStates, FuzzImages};
use crate::commands::simulate::SIMULATION;
use crate::failure::reason;
use crate::host::program::{Program, Shown};

const CHECKERS: Program = Program {
    package: "checkers",
    name: "checkers",
};

/// A part of what a program checks.
pub struct Slice {
    /// Its name among the tests.
    pub name: &'static str,
    program: Program,
    task: &'static str,
    options: Value,
}

/// What every test run does.
pub fn slices() -> [Slice; 3] {
    [
        Slice {
            name: "crash states of up to two calls",
            program: CHECKERS,
            task: "crash-states",
            options: json!({ "calls": 2, "disks": null, "shard": [0, 1], "state": null }),
        },
        Slice {
            name: "two thousand hostile images",
            program: CHECKERS,
            task: "fuzz-images",
            options: json!({ "seed": 0, "runs": 2000, "minutes": null }),
        },
        Slice {
            name: "a hundred simulated runs",
            program: SIMULATION,
            task: "run",
            options: json!({ "case": { "seed": 1 }, "runs": 100 }),
        },
    ]
}

/// Does one of them; whether all of it held.
///
/// # Errors
/// As [`Program::run`], but for what did not hold.
pub fn slice(slice: &Slice) -> Result<bool> {
    let shown = Shown {
        step: slice.name,
        json: false,
        others: false,
    };
    match slice.program.run(slice.task, &slice.options, shown) {
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
        others: false,
    };
    let options = json!({
        "calls": options.calls,
        "disks": options.disks,
        "shard": [options.shard.index, options.shard.of],
        "state": options.state,
    });
    CHECKERS.run("crash-states", &options, shown)
}

/// Checks what was recorded.
pub fn check_order(options: &CheckOrder) -> Result<()> {
    let absolute = |log: &PathBuf| -> Result<PathBuf> {
        let found = std::fs::canonicalize(log);
        found.map_err(|error| {
            let what = format!("{}: {}", log.display(), reason(&error));
            Failure::Usage(what).into()
        })
    };
    let logs: Vec<PathBuf> = options.logs.iter().map(absolute).collect::<Result<_>>()?;
    logs.iter().try_for_each(|log| expect_log(log))?;
    let shown = Shown {
        step: "The order of writes and flushes",
        json: options.json,
        others: false,
    };
    let paths: Vec<&Path> = logs.iter().map(PathBuf::as_path).collect();
    CHECKERS.run("check-order", &json!({ "logs": paths }), shown)
}

/// Refuses a file that is no log at all: there is no order in it to be wrong.
fn expect_log(path: &Path) -> Result<()> {
    /// How `blklogwrites` logs begin: the magic number and the version.
    const HEAD: [u64; 2] = [0x6a_7366_7773_6872, 1];
    let expected = HEAD.map(u64::to_le_bytes).concat();
    let mut head = [0; size_of::<[u64; 2]>()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    let wrong = |what: &str| Failure::Usage(format!("{}: {what}", path.display())).into();
    match read {
        Ok(()) if head[..] == expected => Ok(()),
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(wrong(&reason(&error))),
        _ => Err(wrong("this is no log that --log-writes recorded")),
    }
}

/// Tries hostile images.
pub fn fuzz_images(options: &FuzzImages) -> Result<()> {
    let shown = Shown {
        step: "Hostile images",
        json: options.json,
        others: false,
    };
    let options = json!({
        "seed": options.seed,
        "runs": options.runs,
        "minutes": options.minutes,
    });
    CHECKERS.run("fuzz-images", &options, shown)
}
