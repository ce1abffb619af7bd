//! The second serial port: lines of JSON for programs, in both directions.
//!
//! In: `{"id":1,"command":"ls /"}`, `{"id":2,"cancel":1}`, or a command as plain text.
//! Out: objects with a member `event`; see `docs/console.md`.

use alloc::{
    format,
    string::{String, ToString},
};

use serde_json::{Value, json};

use crate::records::Record;

/// Longest line that is taken, bytes: a path as long as there may be, each byte escaped in JSON, and
/// a command about it.
pub const LINE_BYTES_MAX: usize = 32 << 10;

/// What a program sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Run this command.
    Run {
        /// What the answers will carry; plain text has none.
        id: Option<u64>,
        /// The command.
        command: String,
    },
    /// Stop the command with this number.
    Cancel(u64),
}

/// Reads a line. An error is what to answer, with the number if there was one.
pub fn parse(line: &str) -> Result<Order, (Option<u64>, String)> {
    if !line.starts_with('{') {
        return Ok(Order::Run {
            id: None,
            command: line.to_string(),
        });
    }
    let value: Value =
        serde_json::from_str(line).map_err(|error| (None, format!("not JSON: {error}")))?;
    let id = value.get("id").and_then(Value::as_u64);
    if let Some(cancelled) = value.get("cancel") {
        return cancelled
            .as_u64()
            .map(Order::Cancel)
            .ok_or_else(|| (id, "cancel: expected the id of a command".into()));
    }
    match value.get("command").and_then(Value::as_str) {
        Some(command) => Ok(Order::Run {
            id,
            command: command.into(),
        }),
        None => Err((id, "expected {\"id\": NUMBER, \"command\": TEXT}".into())),
    }
}

/// The number of an order of which only the beginning was kept, if that has it.
#[must_use]
pub fn id_of_beginning(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("\"id\":")?;
    let rest = rest.trim_start();
    let end = rest.find(|it: char| !it.is_ascii_digit())?;
    rest[..end].parse().ok()
}

fn event(kind: &str, id: Option<u64>, members: Value) -> String {
    // Programs find the beginning of a line by its first member, so that comes first.
    let mut text = format!("{{\"event\":\"{kind}\"");
    if let Some(id) = id {
        text.push_str(&format!(",\"id\":{id}"));
    }
    if let Value::Object(members) = members {
        for (name, value) in members {
            text.push_str(&format!(",{}:{value}", Value::String(name)));
        }
    }
    text.push_str("}\n");
    text
}

/// The console takes commands; `members` say more.
#[must_use]
pub fn ready(members: Value) -> String {
    event("ready", None, members)
}

/// A line that a command wrote.
#[must_use]
pub fn output(id: Option<u64>, text: &str) -> String {
    event("output", id, json!({ "text": text }))
}

/// How far a command is; `total` is zero if that is not known.
#[must_use]
pub fn progress(id: Option<u64>, text: &str, done: u64, total: u64) -> String {
    let mut members = json!({ "text": text, "done": done });
    if total > 0 {
        members["total"] = total.into();
    }
    event("progress", id, members)
}

/// The end of a command.
#[must_use]
pub fn done(id: Option<u64>, result: Result<&Value, &str>) -> String {
    let members = match result {
        Ok(result) => json!({ "ok": true, "error": null, "result": result }),
        Err(error) => json!({ "ok": false, "error": error, "result": null }),
    };
    event("done", id, members)
}

/// A record of the log. One of level zero is an event of its own, if its text is an object.
#[must_use]
pub fn record(record: &Record<'_>) -> String {
    if record.level == 0
        && let Ok(Value::Object(mut members)) = serde_json::from_str(record.text)
    {
        let kind = match members.remove("event") {
            Some(Value::String(kind)) => kind.replace(['"', '\\'], "_"),
            _ => "task".into(),
        };
        members.insert("time_ns".into(), record.time_ns.into());
        // The manager tells of other tasks; who tells of no one means itself.
        members.entry("task").or_insert_with(|| record.task.into());
        return event(&kind, None, Value::Object(members));
    }
    event(
        "log",
        None,
        json!({
            "time_ns": record.time_ns,
            "level": record.level_name(),
            "task": record.task,
            "text": record.text,
        }),
    )
}

/// So many records were not sent, because the reader was too slow.
#[must_use]
pub fn lost(records: u64) -> String {
    event("lost", None, json!({ "records": records }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_come_as_json_or_as_text() {
        let run = |id, command: &str| {
            Ok(Order::Run {
                id,
                command: command.into(),
            })
        };
        assert_eq!(parse("ls /"), run(None, "ls /"));
        assert_eq!(
            parse(r#"{"id":7,"command":"write a \"b\""}"#),
            run(Some(7), "write a \"b\"")
        );
        assert_eq!(parse(r#"{"command":"ls"}"#), run(None, "ls"));
        assert_eq!(parse(r#"{"id":8,"cancel":7}"#), Ok(Order::Cancel(7)));
        assert_eq!(parse(r#"{"id":9}"#).expect_err("no command").0, Some(9));
        assert_eq!(
            parse(r#"{"id":9,"cancel":"x"}"#).expect_err("no number").0,
            Some(9)
        );
        assert_eq!(parse(r#"{"id":"#).expect_err("no JSON").0, None);
    }

    #[test]
    fn the_number_of_a_line_that_is_too_long_is_found() {
        let line = r#"{"id": 17,"command":"write /a aaaaaaaaa"#;
        assert_eq!(id_of_beginning(line), Some(17));
        assert_eq!(id_of_beginning(r#"{"command":"write /a aaaaaaaaa"#), None);
        assert_eq!(id_of_beginning(r#"{"id":"#), None);
    }

    #[test]
    fn every_event_is_one_line_of_json_that_begins_with_its_kind() {
        let record_of = |level, text| Record {
            time_ns: 5,
            level,
            task: "cache",
            text,
        };
        for (line, kind) in [
            (ready(json!({ "time_ns": 1 })), "ready"),
            (output(Some(1), "a\"b\nc\u{1b}"), "output"),
            (progress(Some(1), "x", 1, 0), "progress"),
            (done(Some(1), Ok(&json!({ "a": 1 }))), "done"),
            (done(None, Err("no")), "done"),
            (record(&record_of(3, "text")), "log"),
            (
                record(&record_of(0, r#"{"event":"restart","n":1}"#)),
                "restart",
            ),
            (record(&record_of(0, "no object")), "log"),
            (record(&record_of(0, r#"{"event":"a\"b"}"#)), "a_b"),
            (lost(3), "lost"),
        ] {
            assert!(
                line.starts_with(&format!("{{\"event\":\"{kind}\"")),
                "{line}"
            );
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let value: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(value["event"], kind);
        }
    }

    #[test]
    fn events_of_tasks_carry_time_and_task() {
        for (text, task) in [
            (
                r#"{"event":"restart","task":"twinfs.0","time_ns":1,"restarts":3}"#,
                "twinfs.0",
            ),
            (r#"{"event":"restart","restarts":3}"#, "manager"),
        ] {
            let line = record(&Record {
                time_ns: 5,
                level: 0,
                task: "manager",
                text,
            });
            let value: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(
                (&value["time_ns"], &value["restarts"]),
                (&json!(5), &json!(3))
            );
            assert_eq!(value["task"], task);
        }
    }
}
