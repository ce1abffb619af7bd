//! Threads that take seeds in turn, and one that watches that each of them gets on.

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use simulation::{Case, Violation, shrink};

use crate::{Request, report::Report};

/// Stack of a thread: the futures of the whole stack, one inside the other.
const STACK_BYTES: usize = 64 << 20;

/// Time that one run may take, and a shrinking with all its runs.
const RUN_MAX: Duration = Duration::from_secs(120);

/// What a thread is at: since when, and the seed.
type Present = Mutex<Option<(Instant, u64)>>;

/// Carries out what is asked for.
pub fn run(request: &Request) -> ExitCode {
    let report = Report::new(request);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(request.runs.unwrap_or(u64::MAX) as usize).max(1);
    let presents: Vec<Present> = (0..threads).map(|_| Mutex::default()).collect();
    let (next, failures, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    thread::scope(|scope| {
        let work = |present| {
            let wanted = || {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let in_time = |limit: u64| began.elapsed().as_secs() < limit;
                let few = failures.load(Ordering::Relaxed) < request.failures;
                let more = request.runs.is_none_or(|runs| number < runs);
                (few && more && request.seconds.is_none_or(in_time)).then_some(number)
            };
            while let Some(number) = wanted() {
                let case = Case {
                    seed: request.case.seed.wrapping_add(number),
                    ..request.case.clone()
                };
                set(present, Some((Instant::now(), case.seed)));
                one(&case, request, &report, &failures);
                set(present, None);
            }
        };
        let start = |present| {
            let builder = thread::Builder::new().stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, move || work(present))
        };
        let started: Vec<_> = presents.iter().map(start).collect();
        scope.spawn(|| watch(&presents, &over, &report));
        for thread in started {
            let thread = thread.unwrap_or_else(|error| {
                // Whatever the others would find is not what was asked for.
                eprintln!("a thread cannot be started: {error}");
                std::process::exit(1);
            });
            // Panics of runs are caught; another one ends the program without a summary.
            thread.join().expect("a thread that runs seeds");
        }
        over.store(true, Ordering::Relaxed);
    });
    if report.ended() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn set(present: &Present, to: Option<(Instant, u64)>) {
    *present.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

fn one(case: &Case, request: &Request, report: &Report, failures: &AtomicU64) {
    match simulation::run(case) {
        Ok(counts) => report.ran(&counts),
        Err(violation) => {
            failures.fetch_add(1, Ordering::Relaxed);
            report.ran(&violation.counts);
            let (case, violation) = if request.whole {
                (case.clone(), violation)
            } else {
                shrink(case.clone(), violation)
            };
            report.failed(&case, &violation);
        }
    }
}

/// Ends the program when a run does not end: a poll that never returns cannot be ended otherwise.
///
/// What counts is time in which this thread got its turns too: a host that stands still for minutes is no hang.
fn watch(presents: &[Present], over: &AtomicBool, report: &Report) {
    const LOOK: Duration = Duration::from_millis(20);
    let mut watched = vec![(None, Duration::ZERO); presents.len()];
    while !over.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
        for (present, (last, lasts)) in presents.iter().zip(&mut watched) {
            let present = *present.lock().unwrap_or_else(PoisonError::into_inner);
            *lasts = if present == *last {
                *lasts + LOOK
            } else {
                Duration::ZERO
            };
            *last = present;
            let Some((_, seed)) = present else {
                continue;
            };
            if *lasts > RUN_MAX {
                let violation = Violation {
                    counts: Default::default(),
                    what: format!("a step takes more than {} s", RUN_MAX.as_secs()),
                };
                report.failed(&Case::new(seed), &violation);
                report.ended();
                std::process::exit(1);
            }
        }
    }
}
