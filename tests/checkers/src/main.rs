//! What `cargo galago` runs: `checkers NAME OPTIONS`, the options as one JSON object. Prints a line of JSON
//! for each event (see `checkers::report`).
#![forbid(unsafe_code)]

use std::{alloc::System, process::ExitCode};

use cap::Cap;

use checkers::{
    crash_states, flush_order, hostile_images,
    report::{self, Event},
};

/// Counts bytes, and has an end.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Room for the futures of the whole stack, nested one in the other.
const STACK_BYTES: usize = 64 << 20;

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
        Some("fuzz-images") => serde_json::from_str(&options).map(|options| {
            let memory = hostile_images::Memory {
                allocated: || MEMORY.allocated(),
                limit: |bytes| {
                    let limited = MEMORY.set_limit(bytes);
                    limited.expect("it is more than there is");
                },
            };
            let tell = |event| report::print(&event);
            let fuzz = move || hostile_images::fuzz(&options, memory, tell).summary();
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            let thread = thread.spawn(fuzz).expect("a thread");
            let summary = thread.join();
            // A mistake of the checker itself: without a summary, that is a failure.
            summary.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }),
        _ => {
            eprintln!(
                "expected: checkers crash-states|check-order|fuzz-images OPTIONS; use `cargo galago`"
            );
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
