//! Checks logs that QEMU wrote.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Checker, LogError, read_log};
use crate::report::Event;

/// Events between two words about how far it is.
const EVENTS_BETWEEN: u64 = 5_000;

/// What to check.
#[derive(Clone, Debug, Deserialize)]
pub struct Options {
    /// Logs, one of each disk.
    pub logs: Vec<PathBuf>,
}

/// Which sync had returned when, from the note beside a log: entries and checkpoint, a line each.
fn synced(log: &Path) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string(log.with_extension("synced")).unwrap_or_default();
    let line = |line: &str| {
        let (entries, checkpoint) = line.split_once(' ')?;
        Some((entries.parse().ok()?, checkpoint.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Checks one log, from an empty disk on.
fn check(log: &Path, tell: &mut impl FnMut(Event)) -> Result<Checker, LogError> {
    let mut checker = Checker::new([]);
    let name = log.display();
    read_log(log, &synced(log), |event| {
        checker.event(event);
        let counts = checker.counts;
        if counts.events.is_multiple_of(EVENTS_BETWEEN) {
            tell(Event::Progress {
                done: counts.events,
                total: 0,
                text: format!("{name}: {} writes, {} roots", counts.writes, counts.roots),
            });
        }
    })?;
    Ok(checker)
}

/// Checks all logs; returns the summary.
pub fn check_logs(options: &Options, mut tell: impl FnMut(Event)) -> Value {
    let mut summary = Vec::new();
    let mut text = Vec::new();
    for log in &options.logs {
        let name = log.display().to_string();
        let fails = |what: String, tell: &mut dyn FnMut(Event)| {
            let replay = format!("check-order {name}");
            let id = name.clone();
            tell(Event::Failure { id, what, replay });
        };
        let checker = match check(log, &mut tell) {
            Ok(checker) => checker,
            Err(error) => {
                fails(format!("the log cannot be read: {error}"), &mut tell);
                continue;
            }
        };
        let counts = checker.counts;
        for breach in checker.breaches {
            fails(breach, &mut tell);
        }
        if counts.roots == 0 {
            fails(
                "no checkpoint was written: the log proves nothing".into(),
                &mut tell,
            );
        }
        text.push(format!(
            "{} writes, {} flushes, {} roots, {} syncs",
            counts.writes, counts.flushes, counts.roots, counts.synced
        ));
        summary.push(json!({
            "log": log,
            "events": counts.events,
            "writes": counts.writes,
            "flushes": counts.flushes,
            "roots": counts.roots,
            "erasures": counts.erasures,
            "synced": counts.synced,
            "overwrites": counts.overwrites,
        }));
    }
    json!({ "text": text.join("; "), "logs": summary })
}
