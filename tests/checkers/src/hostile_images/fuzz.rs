//! Runs, one after the other, each from a number.

use std::{
    cell::Cell,
    collections::HashSet,
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use storage::block::ram::RamDisk;
use tests::{processor::Watched, random::Random};

use super::{
    image::Image,
    mutate::{MUTATIONS, Mutation, Truth},
    using::{Found, exercise},
    volume::Volume,
};
use crate::{
    caught::caught,
    report::{self, Event},
    rig::Disks,
};

/// Failures after which nothing more is tried.
const FAILURES_MAX: u64 = 10;
/// Bytes that one run may have whenever a call has ended: the caches of a mirror, and as much again.
const RUN_BYTES_MAX: usize = 96 << 20;
/// Bytes that it may have within a call. Beyond them the allocator refuses, and that ends the process.
const RUN_BYTES_PEAK: usize = 2 * RUN_BYTES_MAX;
/// Processor time that a run may take; it takes milliseconds.
const RUN_LIMIT: Duration = Duration::from_secs(30);
/// The memory of the process.
#[derive(Clone, Copy)]
pub struct Memory {
    /// How many bytes it has.
    pub allocated: fn() -> usize,
    /// Has the allocator refuse what would make it more than so many.
    pub limit: fn(usize),
}

/// What to do.
#[derive(Clone, Debug, Deserialize)]
pub struct Options {
    /// The first run.
    pub seed: u64,
    /// How many.
    pub runs: Option<u64>,
    /// How long at most, in minutes.
    pub minutes: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Runs.
    pub runs: u64,
    /// Those in which the volume could be mounted all the same.
    pub mounted: u64,
    /// Parts of files that were compared and right.
    pub right: u64,
    /// Calls that were answered with an error.
    pub errors: u64,
    /// Most bytes that a run had at a time.
    pub bytes_max: usize,
    /// Runs in which something did not hold.
    pub failures: u64,
}

impl Outcome {
    /// In words and figures.
    #[must_use]
    pub fn summary(&self) -> serde_json::Value {
        let Self {
            runs,
            mounted,
            right,
            errors,
            bytes_max,
            failures,
        } = self;
        let mib = bytes_max >> 20;
        serde_json::json!({
            "text": format!(
                "{runs} images, {mounted} mounted, {right} parts of files compared, {errors} errors, \
                 {mib} MiB at most, {failures} failed"
            ),
            "runs": runs,
            "mounted": mounted,
            "compared": right,
            "errors": errors,
            "bytes_max": bytes_max,
            "failures": failures,
        })
    }
}

/// Ends the process, with the failure told, if a run of this thread does not end.
fn watch(fails: impl Fn(u64) + Send + 'static) -> Arc<Watched> {
    let watched = Arc::new(Watched::this_thread());
    let this_thread = watched.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if let Some(run) = this_thread.exceeds(RUN_LIMIT) {
                fails(run);
                std::process::exit(1);
            }
        }
    });
    watched
}

fn failure(run: u64, what: String) -> Event {
    Event::Failure {
        id: format!("image {run}"),
        what,
        replay: format!("fuzz-images --seed {run} --runs 1"),
    }
}

/// Tries images. Each is told before it is tried: whoever finds the process ended knows by which.
pub fn fuzz(options: &Options, memory: Memory, mut tell: impl FnMut(Event)) -> Outcome {
    let allocated = memory.allocated;
    let volumes = Volume::all();
    let watched = watch(|run| {
        let what = format!("it has taken {RUN_LIMIT:?} of processor time, and does not end");
        report::print(&failure(run, what));
    });
    let (mut outcome, begun) = (Outcome::default(), Instant::now());
    let limit = options
        .minutes
        .map(|minutes| Duration::from_secs(60 * minutes));
    let runs = options
        .runs
        .unwrap_or(if limit.is_some() { u64::MAX } else { 10_000 });
    let total = if limit.is_some() { 0 } else { runs };
    for run in (0..runs).map(|number| options.seed.wrapping_add(number)) {
        if limit.is_some_and(|limit| begun.elapsed() > limit) || outcome.failures >= FAILURES_MAX {
            break;
        }
        watched.begins(run);
        tell(Event::Progress {
            done: outcome.runs,
            total,
            text: format!("image {run}, {} failed", outcome.failures),
        });
        let before = allocated();
        (memory.limit)(before.saturating_add(RUN_BYTES_PEAK));
        let most = Rc::new(Cell::new(0));
        let seen = most.clone();
        let bounds = move || {
            let now = allocated().saturating_sub(before);
            seen.set(seen.get().max(now));
            assert!(now < RUN_BYTES_MAX, "{} MiB for one image", now >> 20);
        };
        let (case, result) = one(&volumes, run, &bounds);
        match result {
            Ok(found) => {
                outcome.mounted += u64::from(found.mounted);
                outcome.right += found.right;
                outcome.errors += found.errors;
            }
            Err(what) => {
                outcome.failures += 1;
                tell(failure(run, format!("{case}: {what}")));
            }
        }
        outcome.runs += 1;
        outcome.bytes_max = outcome.bytes_max.max(most.get());
    }
    watched.ends();
    outcome
}

/// An image: which disk of which volume, and what was done to it.
pub struct Case {
    volume: usize,
    disk: usize,
    /// The mutations, in order.
    pub done: Vec<Mutation>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { volume, disk, done } = self;
        write!(f, "volume {volume}, disk {disk}, {done:?}")
    }
}

/// The image of this number: what was done to it, and what came of that.
pub fn one(volumes: &[Volume], run: u64, bounds: &dyn Fn()) -> (Case, Result<Found, String>) {
    let mut random = Random::new(run);
    let number = random.below(volumes.len() as u64) as usize;
    let volume = &volumes[number];
    let mut disks = volume.copy();
    let others: Vec<Rc<RamDisk>> = volumes.iter().flat_map(Volume::copy).collect();
    let which = random.below(disks.len() as u64) as usize;
    let (mut done, mut truth) = (Vec::new(), Truth::All);
    let mut image = Image::new(disks[which].clone());
    let needs: Vec<HashSet<u64>> = needs(&image, volume);
    for _ in 0..1 + random.below(2) {
        let mutation: Mutation = random.pick(&MUTATIONS);
        let left = mutation.apply(&mut image, &others, &mut random);
        truth = if left == Truth::None || truth == Truth::None {
            Truth::None
        } else if left == Truth::Untouched || truth == Truth::Untouched {
            Truth::Untouched
        } else {
            Truth::All
        };
        done.push(mutation);
    }
    let believed: HashSet<usize> = match truth {
        Truth::All => (0..volume.files.len()).collect(),
        Truth::None => HashSet::new(),
        Truth::Untouched => {
            let untouched = |file: &usize| needs[*file].is_disjoint(&image.touched);
            (0..volume.files.len()).filter(untouched).collect()
        }
    };
    disks[which] = image.disk;
    let held: Disks = disks.into_iter().map(Some).collect();
    let case = Case {
        volume: number,
        disk: which,
        done,
    };
    let work = || {
        exercise(
            &held,
            volume.overwrite,
            (&volume.files, &believed),
            run,
            bounds,
        )
    };
    (case, caught(work))
}

/// The blocks that each file needs.
fn needs(image: &Image, volume: &Volume) -> Vec<HashSet<u64>> {
    let file = |file: &super::volume::File| {
        let way = file
            .logical
            .iter()
            .flat_map(|&logical| image.needs(logical));
        way.collect()
    };
    volume.files.iter().map(file).collect()
}
