//! Checks logs that QEMU wrote.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

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

/// Which sync had returned when, from the note beside a log: entries and checkpoint, a line each. Without a note
/// nobody has seen a sync return.
fn synced(log: &Path) -> Result<Vec<(u64, u64)>, LogError> {
    let text = match std::fs::read_to_string(log.with_extension("synced")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let line = |line: &str| {
        let (entries, checkpoint) = line.split_once(' ')?;
        Some((entries.parse().ok()?, checkpoint.parse().ok()?))
    };
    let marks: Option<Vec<(u64, u64)>> = text.lines().map(line).collect();
    marks.ok_or(LogError::Format("the note of its syncs makes no sense"))
}

/// Checks one log, from an empty disk on.
fn check(log: &Path, tell: &mut impl FnMut(Event)) -> Result<Checker, LogError> {
    let mut checker = Checker::new([]);
    let name = log.display();
    read_log(log, &synced(log)?, |event| {
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
        let syncs = match counts.synced {
            0 => "no sync noted, so that none was checked".to_owned(),
            syncs => format!("{syncs} syncs"),
        };
        text.push(format!(
            "{} writes, {} flushes, {} roots, {syncs}",
            counts.writes, counts.flushes, counts.roots
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The summary of an empty log with this note beside it, and what was wrong.
    fn checked(name: &str, note: Option<&str>) -> (String, Vec<String>) {
        let folder =
            std::env::temp_dir().join(format!("check-order-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let log = folder.join("0.log");
        let mut head = [0; 512];
        head[..8].copy_from_slice(&0x6a_7366_7773_6872_u64.to_le_bytes());
        head[8] = 1;
        head[24..28].copy_from_slice(&512_u32.to_le_bytes());
        std::fs::write(&log, head).expect("a log");
        if let Some(note) = note {
            std::fs::write(log.with_extension("synced"), note).expect("a note");
        }
        let mut failures = Vec::new();
        let options = Options { logs: vec![log] };
        let summary = check_logs(&options, |event| {
            if let Event::Failure { what, .. } = event {
                failures.push(what);
            }
        });
        std::fs::remove_dir_all(&folder).expect("removed");
        (
            summary["text"].as_str().unwrap_or_default().to_owned(),
            failures,
        )
    }

    #[test]
    fn a_log_without_a_note_of_syncs_says_so_and_a_note_that_makes_no_sense_is_refused() {
        let (text, failures) = checked("none", None);
        assert!(text.contains("no sync noted"), "{text}");
        assert_eq!(failures.len(), 1, "no checkpoint: {failures:?}");
        let (text, failures) = checked("sound", Some("0 7\n0 8\n"));
        assert!(text.contains("2 syncs"), "{text}");
        assert!(
            failures
                .iter()
                .any(|it| it.contains("returned checkpoint 7")),
            "{failures:?}"
        );
        for (name, note) in [("word", "0 7\n1 eight\n"), ("one", "7\n")] {
            let (_, failures) = checked(name, Some(note));
            assert!(
                failures[0].contains("note of its syncs makes no sense"),
                "{failures:?}"
            );
        }
    }
}
