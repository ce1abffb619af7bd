//! What the guest says on COM2: one JSON object a line, with the member `event`.

use serde_json::{Map, Value};

/// One line from the guest.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    members: Map<String, Value>,
    /// The line as it came.
    line: String,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Whether it succeeded.
    pub ok: bool,
    /// Why not, if not.
    pub error: Option<String>,
    /// What it found out, by command.
    pub result: Value,
}

impl Done {
    /// Whether it was not begun, as another of its number is at work.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let told = self.error.as_deref();
        told.is_some_and(|error| error.ends_with("of different ids"))
    }

    /// Whether it failed because a task died that was asked.
    #[must_use]
    pub fn is_death(&self) -> bool {
        let told = self.error.as_deref();
        told.is_some_and(|error| error.ends_with("peer died"))
    }
}

impl Event {
    /// Reads a line. A reset of the machine may leave half a line in front of the next; then the
    /// whole one at the end counts.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let last = line.rfind("{\"event\"").unwrap_or(0);
        [line, &line[last..]]
            .iter()
            .find_map(|text| match serde_json::from_str(text) {
                Ok(Value::Object(members)) => {
                    let is_event = members.get("event").is_some_and(Value::is_string);
                    is_event.then(|| Self {
                        members,
                        line: (*text).to_owned(),
                    })
                }
                _ => None,
            })
    }

    /// Stands for a line that is no event, so that it is seen and not lost.
    #[must_use]
    pub fn garbled(line: &str) -> Self {
        Self::ours("garbled", "text", line.into())
    }

    /// Stands for `count` arrivals that were dropped, for nobody read them.
    #[must_use]
    pub fn lost(count: u64) -> Self {
        Self::ours("lost", "count", count.into())
    }

    fn ours(kind: &str, name: &str, value: Value) -> Self {
        let mut members = Map::new();
        members.insert("event".into(), kind.into());
        members.insert(name.into(), value);
        Self {
            line: serde_json::json!(members).to_string(),
            members,
        }
    }

    /// What happened: `ready`, `output`, `progress`, `done`, `log` …
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("event").unwrap_or_default()
    }

    /// A member by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// A member that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// A member that is a whole number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }

    /// The command it belongs to.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.number("id")
    }

    /// Whether it says that a new instance of this task was started.
    #[must_use]
    pub fn is_restart_of(&self, task: &str) -> bool {
        self.kind() == "restart" && self.text("task") == Some(task)
    }

    /// How the command `id` ended, if this says so.
    #[must_use]
    pub fn done(&self, id: u64) -> Option<Done> {
        (self.kind() == "done" && self.id() == Some(id)).then(|| Done {
            ok: self.get("ok") == Some(&Value::Bool(true)),
            error: self.text("error").map(str::to_owned),
            result: self.get("result").cloned().unwrap_or(Value::Null),
        })
    }
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_in_the_middle_of_a_line_costs_only_that_line() {
        let line = r#"{"event":"output","id":3,"te{"event":"ready","time_ns":5}"#;
        let event = Event::parse(line).expect("the whole line at the end");
        assert_eq!((event.kind(), event.number("time_ns")), ("ready", Some(5)));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for line in [
            "",
            "hello",
            "{}",
            "[1]",
            r#"{"event":7}"#,
            r#"{"event":"out"#,
        ] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_command_ends_well_only_if_it_says_so() {
        let done = |line: &str| Event::parse(line).expect("an event").done(1);
        assert!(
            done(r#"{"event":"done","id":1,"ok":true}"#)
                .expect("its end")
                .ok
        );
        assert!(!done(r#"{"event":"done","id":1}"#).expect("its end").ok);
        assert_eq!(done(r#"{"event":"done","id":2,"ok":true}"#), None);
        let failed = done(r#"{"event":"done","id":1,"ok":false,"error":"no such file"}"#);
        assert_eq!(
            failed.expect("its end").error.as_deref(),
            Some("no such file")
        );
    }
}
