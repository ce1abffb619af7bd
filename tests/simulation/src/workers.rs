//! Threads that take seeds in turn, and one that watches that each of them gets on.

use std::{
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use simulation::{Case, Violation, shrink};
use tests::processor::Watched;

use crate::{Request, report::Report};

/// Stack of a thread: the futures of the whole stack, one inside the other.
const STACK_BYTES: usize = 64 << 20;

/// Processor time that one run may take, and a shrinking with all its runs. A run takes a second or two.
const RUN_MAX: Duration = Duration::from_secs(120);

/// Threads that run seeds, as the one that watches them sees them.
type Threads = Mutex<Vec<Arc<Watched>>>;

/// Carries out what is asked for.
pub fn run(request: &Request) -> ExitCode {
    let report = Report::new(request);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(request.runs.unwrap_or(u64::MAX) as usize).max(1);
    let watched = Threads::default();
    let (next, failures, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    thread::scope(|scope| {
        let work = || {
            let present = Arc::new(Watched::this_thread());
            lock(&watched).push(present.clone());
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
                present.begins(case.seed);
                one(&case, request, &report, &failures);
                present.ends();
            }
        };
        let start = |_| {
            let builder = thread::Builder::new().stack_size(STACK_BYTES);
            builder.spawn_scoped(scope, work)
        };
        let started: Vec<_> = (0..threads).map(start).collect();
        let watch = scope.spawn(|| watch(&watched, &over, &report));
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
        watch.thread().unpark();
    });
    if report.ended() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn lock(threads: &Threads) -> std::sync::MutexGuard<'_, Vec<Arc<Watched>>> {
    threads.lock().unwrap_or_else(PoisonError::into_inner)
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
fn watch(threads: &Threads, over: &AtomicBool, report: &Report) {
    const LOOK: Duration = Duration::from_secs(1);
    while !over.load(Ordering::Relaxed) {
        thread::park_timeout(LOOK);
        let exceeds = lock(threads).iter().find_map(|it| it.exceeds(RUN_MAX));
        if let Some(seed) = exceeds {
            let seconds = RUN_MAX.as_secs();
            let violation = Violation {
                counts: Default::default(),
                what: format!("it has taken {seconds} s of processor time, and does not end"),
            };
            report.failed(&Case::new(seed), &violation);
            report.ended();
            std::process::exit(1);
        }
    }
}
