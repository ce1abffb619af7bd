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
    let Chosen {
        workloads,
        setups,
        wanted,
    } = match Chosen::by(options) {
        Ok(chosen) => chosen,
        Err(what) => {
            tell(Event::Refused { what });
            return Outcome::default();
        }
    };
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
        && (outcome.states, outcome.failures) == (0, 0)
    {
        let what = no_state(name);
        tell(Event::Refused { what });
    }
    outcome
}

/// What is to be tried.
struct Chosen {
    workloads: Vec<Workload>,
    setups: Vec<Setup>,
    /// Only this state.
    wanted: Option<String>,
}

impl Chosen {
    /// # Errors
    /// With why, if there is nothing of the kind.
    fn by(options: &Options) -> Result<Self, String> {
        let model = Base::new(1).model;
        if let Some(text) = &options.state {
            let name = Name::parse(text).ok_or_else(|| no_state(text))?;
            if !workload::makes_sense(&name.workload, &model) {
                let calls = &name.workload;
                return Err(format!(
                    "{calls} is no workload: not each of its calls changes something, or syncs what has changed"
                ));
            }
            return Ok(Self {
                workloads: vec![name.workload],
                setups: vec![name.setup],
                wanted: Some(name.state),
            });
        }
        let (index, count) = options.shard;
        let all = workload::all(&model, options.calls);
        let number = all.len();
        let workloads: Vec<_> = all.into_iter().skip(index).step_by(count.max(1)).collect();
        if workloads.is_empty() {
            return Err(format!(
                "there are {number} workloads, and none of them is in shard {index}/{count}"
            ));
        }
        let setups = match options.disks {
            Some(disks) => Setup::all(disks),
            None => [Setup::all(1), Setup::all(2)].concat(),
        };
        Ok(Self {
            workloads,
            setups,
            wanted: None,
        })
    }
}

fn no_state(name: &str) -> String {
    format!("there is no state `{name}`: a name has the form SETUP@CALLS@EVENTS/KEPT")
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
