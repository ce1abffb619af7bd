//! What `cargo galago` runs: `checkers NAME OPTIONS`, the options as one JSON object. Prints a line of JSON
//! for each event (see `checkers::report`).
#![forbid(unsafe_code)]

use std::process::ExitCode;

use checkers::{
    crash_states, flush_order,
    report::{self, Event},
};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (name, options) = (arguments.next(), arguments.next().unwrap_or_default());
    let done = match name.as_deref() {
        Some("crash-states") => serde_json::from_str(&options).map(|options| {
            let outcome = crash_states::run(&options, |event| report::print(&event));
            outcome.summary()
        }),
        Some("check-order") => serde_json::from_str(&options)
            .map(|options| flush_order::check_logs(&options, |event| report::print(&event))),
        _ => {
            eprintln!("expected: checkers crash-states|check-order OPTIONS; use `cargo galago`");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(summary) => {
            report::print(&Event::Summary(summary));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the options are not what is expected: {error}");
            ExitCode::from(2)
        }
    }
}
