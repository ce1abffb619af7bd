//! All workloads, on all cores.

use std::{
    collections::HashSet,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    time::Instant,
};

use serde::Deserialize;

use super::{
    check,
    recording::{Base, Recording, Setup},
    state,
    workload::{self, Workload},
};
use crate::{caught::caught, report::Event};

/// Failures after which nothing more is tried.
const FAILURES_MAX: usize = 10;
/// The state that stands for the workload itself, without a crash.
const RUN: &str = "run";
/// Room for the futures of the whole stack, nested one in the other.
const STACK_BYTES: usize = 64 << 20;

/// What to try.
#[derive(Clone, Debug, Deserialize)]
pub struct Options {
    /// Most calls of a workload, 1 to 3.
    pub calls: usize,
    /// One disk, or two that are mirrored; otherwise both.
    pub disks: Option<usize>,
    /// Which part of all workloads, counted from 0, of how many.
    pub shard: (usize, usize),
    /// Only this state, by its name.
    pub state: Option<String>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Workloads run, each in every setup.
    pub workloads: u64,
    /// States that a crash can leave.
    pub states: u64,
    /// Those of them whose contents no other state of their workload has: they were mounted.
    pub mounted: u64,
    /// States that the oracle does not allow.
    pub failures: u64,
}

impl Outcome {
    /// In words and figures.
    #[must_use]
    pub fn summary(&self) -> serde_json::Value {
        let Self {
            workloads,
            states,
            mounted,
            failures,
        } = self;
        serde_json::json!({
            "text": format!("{workloads} workloads, {states} states, {mounted} mounted, {failures} failed"),
            "workloads": workloads,
            "states": states,
            "mounted": mounted,
            "failures": failures,
        })
    }
}

/// What a worker tells.
enum News {
    Done { states: u64, mounted: u64 },
    Failure { id: String, what: String },
}

/// Tries everything, telling `tell` how far it is.
pub fn run(options: &Options, mut tell: impl FnMut(Event)) -> Outcome {
    let only = options.state.as_ref().map(|name| Name::parse(name));
    let workloads = match &only {
        Some(None) => Vec::new(),
        Some(Some(name)) => vec![name.workload.clone()],
        None => {
            let (index, count) = options.shard;
            let all = workload::all(&Base::new(1).model, options.calls);
            let mine = all.into_iter().skip(index);
            mine.step_by(count.max(1)).collect()
        }
    };
    let setups = match &only {
        Some(name) => name.iter().map(|name| name.setup).collect(),
        None => match options.disks {
            Some(disks) => Setup::all(disks),
            None => [Setup::all(1), Setup::all(2)].concat(),
        },
    };
    let wanted = only.flatten().map(|name| name.state);
    let (next, begun) = (AtomicUsize::new(0), Instant::now());
    let (sender, news) = channel();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut outcome = Outcome::default();
    let (next, workloads) = (&next, &workloads);
    let (setups, wanted) = (&setups, wanted.as_deref());
    std::thread::scope(|scope| {
        for _ in 0..cores.min(workloads.len()) {
            let sender = sender.clone();
            let work = move || {
                let bases = [Base::new(1), Base::new(2)];
                while let Some(workload) = workloads.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // Setups differ in when things are written, rarely in what.
                    let (mut seen, mut states) = ([HashSet::new(), HashSet::new()], 0);
                    for &setup in setups {
                        let (base, seen) = (&bases[setup.disks - 1], &mut seen[setup.disks - 1]);
                        states += explore(base, setup, workload, wanted, seen, &sender);
                    }
                    let mounted = seen.iter().map(|seen| seen.len() as u64).sum();
                    let _ = sender.send(News::Done { states, mounted });
                }
            };
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, work).expect("a thread");
        }
        drop(sender);
        for news in news {
            match news {
                News::Done { states, mounted } => {
                    outcome.workloads += 1;
                    outcome.states += states;
                    outcome.mounted += mounted;
                    let left = workloads.len() as u64 - outcome.workloads;
                    let each = begun.elapsed().as_secs_f64() / outcome.workloads as f64;
                    tell(Event::Progress {
                        done: outcome.workloads,
                        total: workloads.len() as u64,
                        text: format!(
                            "{} workloads, {} states, about {:.0} s left",
                            outcome.workloads,
                            outcome.states,
                            each * left as f64
                        ),
                    });
                }
                News::Failure { id, what } => {
                    outcome.failures += 1;
                    let replay = format!("crash-states --state {id}");
                    tell(Event::Failure { id, what, replay });
                    if outcome.failures as usize >= FAILURES_MAX {
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                    }
                }
            }
        }
    });
    if let Some(name) = &options.state
        && outcome.states == 0
    {
        outcome.failures += 1;
        tell(Event::Failure {
            id: name.clone(),
            what: "there is no state of this name, so that nothing was tried".into(),
            replay: format!("crash-states --state {name}"),
        });
    }
    outcome
}

/// A state's name in its parts: setup, workload, state.
struct Name {
    setup: Setup,
    workload: Workload,
    state: String,
}

/// What separates the parts.
const PARTS: char = '@';

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, PARTS);
        let (setup, calls) = (parts.next()?, parts.next()?);
        let mut setups = Setup::all(1).into_iter().chain(Setup::all(2));
        Some(Self {
            setup: setups.find(|it| it.to_string() == setup)?,
            workload: workload::find(calls)?,
            state: parts.next()?.to_owned(),
        })
    }
}

/// Tries all states of a workload but those whose contents were `seen`; returns how many there are.
fn explore(
    base: &Base,
    setup: Setup,
    workload: &Workload,
    wanted: Option<&str>,
    seen: &mut HashSet<u64>,
    news: &Sender<News>,
) -> u64 {
    let fails = |state: &str, what: String| {
        let id = [&setup.to_string(), &workload.to_string(), state].join(&PARTS.to_string());
        let _ = news.send(News::Failure { id, what });
    };
    let recording = match caught(|| Recording::new(base, setup, workload)) {
        Ok(recording) => recording,
        Err(what) => {
            fails(RUN, what);
            return u64::from(wanted == Some(RUN));
        }
    };
    let mut crashes = check::Crashes::new(&recording);
    let mut states = u64::from(wanted == Some(RUN));
    for state in state::all(&recording) {
        let name = state.to_string();
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        states += 1;
        if !seen.insert(crashes.contents(&state)) {
            continue;
        }
        let disks = || crashes.disks(&state);
        if let Err(what) = caught(|| check::check(disks, &recording, &state)) {
            fails(&name, what);
        }
    }
    states
}
