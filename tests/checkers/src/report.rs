//! What a checker tells `cargo galago` while it works: a line of JSON for each event.

use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

/// An event of a checker.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// How far it is.
    Progress {
        /// Parts of the work that are done.
        done: u64,
        /// Parts there are; zero if that is not known.
        total: u64,
        /// What is worth knowing beside it.
        text: String,
    },
    /// Something does not hold.
    Failure {
        /// What names the case.
        id: String,
        /// What was expected and found.
        what: String,
        /// The arguments of `cargo galago` that do it once more.
        replay: String,
    },
    /// What was asked for makes no sense, so that nothing was tried.
    Refused {
        /// Why.
        what: String,
    },
    /// The end.
    Summary(Value),
}

/// Prints an event as a line. Whoever reads may be gone; then so is the reason to go on.
pub fn print(event: &Event) {
    let text = serde_json::to_string(event).unwrap_or_default();
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(1);
    }
}
