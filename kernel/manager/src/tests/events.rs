//! Events are JSON that fits a record of the log, whatever a task says when it dies.

use std::string::String;

use serde_json::Value;

use storage::faulty::Settled;

use crate::events::{
    EVENT_BYTES_MAX, answering, death, missed, power_cut, recovery, restart, stopped,
};

const NAME: &str = "a-name-of-31-bytes-is-the-limit";
const CAUSE: &str = "touched memory that is not its own";

fn parsed(event: &str) -> Value {
    assert!(event.len() <= EVENT_BYTES_MAX, "{} bytes", event.len());
    serde_json::from_str(event).unwrap_or_else(|error| panic!("{error}: {event}"))
}

#[test]
fn last_words_of_any_kind_and_length_leave_an_event_whole() {
    for piece in [
        "\"",
        "\\",
        "\n",
        "\u{fffd}",
        "x",
        "\"😀\\",
        "\u{1b}[0m\u{85}",
    ] {
        for count in [0, 1, 50, 99, 100, 101, 200, 256, 4096] {
            let words = piece.repeat(count);
            let event = parsed(&death(u64::MAX, NAME, CAUSE, &words));
            let reason: String = event["reason"].as_str().expect("text").into();
            let shown = words.replace(char::is_control, " ");
            assert!(shown.starts_with(&reason), "{event}");
            assert!(reason == shown || reason.len() >= 97, "{event}");
            parsed(&stopped(u64::MAX, NAME, &words));
        }
    }
}

#[test]
fn events_have_the_members_that_are_documented() {
    let event = parsed(&death(7, "cache", "panic", "it said \"no\""));
    assert_eq!(
        event,
        serde_json::json!({
            "event": "death", "time_ns": 7, "task": "cache", "cause": "panic",
            "reason": "it said \"no\"",
        })
    );
    let event = parsed(&restart(7, "cache", 3));
    assert_eq!(
        (&event["event"], &event["restarts"]),
        (&"restart".into(), &3.into())
    );
    let expected = serde_json::json!({ "event": "missed", "time_ns": 7, "number": 3 });
    assert_eq!(parsed(&missed(7, 3)), expected);
    let settled = Settled {
        unflushed: 24,
        kept: 9,
        torn: 2,
    };
    let expected = serde_json::json!({
        "event": "power-cut", "time_ns": 7, "task": "faulty.0", "unflushed": 24, "kept": 9, "torn": 2,
    });
    assert_eq!(parsed(&power_cut(7, "faulty.0", settled)), expected);
    for (event, kind) in [
        (answering(7, "cache", 5, 9), "answering"),
        (recovery(7, "cache", 5, 9), "recovery"),
    ] {
        let expected = serde_json::json!({
            "event": kind, "time_ns": 7, "task": "cache", "tasks": 5, "duration_ns": 9,
        });
        assert_eq!(parsed(&event), expected);
    }
}
