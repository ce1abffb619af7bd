//! What has been done by all threads, and what is told of it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::json;
use simulation::{Case, Counts, Violation};

use crate::Request;

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_millis(500);

struct State {
    runs: u64,
    violations: u64,
    sum: Counts,
    told: Instant,
}

/// See the module's description.
pub struct Report {
    began: Instant,
    runs: Option<u64>,
    seconds: Option<u64>,
    state: Mutex<State>,
}

impl Report {
    pub fn new(request: &Request) -> Self {
        let began = Instant::now();
        Self {
            began,
            runs: request.runs,
            seconds: request.seconds,
            state: Mutex::new(State {
                runs: 0,
                violations: 0,
                sum: Counts::default(),
                told: began,
            }),
        }
    }

    /// A run has ended.
    pub fn ran(&self, counts: &Counts) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.runs += 1;
        state.sum.steps += counts.steps;
        state.sum.operations += counts.operations;
        state.sum.refused += counts.refused;
        state.sum.kills += counts.kills;
        state.sum.cuts += counts.cuts;
        state.sum.faults += counts.faults;
        state.sum.given_up += counts.given_up;
        state.sum.lost += counts.lost;
        state.sum.hash = state.sum.hash.wrapping_add(counts.hash);
        if state.told.elapsed() >= PROGRESS {
            state.told = Instant::now();
            let seconds = self.began.elapsed().as_secs();
            let (done, total) = match (self.runs, self.seconds) {
                (Some(runs), _) => (state.runs, runs),
                (None, Some(limit)) => (seconds, limit),
                (None, None) => (state.runs, 0),
            };
            let text = self.text(&state);
            tell(&json!({ "event": "progress", "done": done, "total": total, "text": text }));
        }
    }

    /// A run has failed: what is told of it.
    pub fn failed(&self, case: &Case, violation: &Violation) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.violations += 1;
        tell(&json!({
            "event": "failure",
            "id": format!("seed {}, step {}", case.seed, violation.counts.steps),
            "what": violation.what,
            "replay": case.arguments(),
        }));
    }

    /// All has ended. Says whether something was run, and without a violation.
    pub fn ended(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = state.sum;
        tell(&json!({
            "event": "summary",
            "text": self.text(&state),
            "runs": state.runs,
            "steps": sum.steps,
            "operations": sum.operations,
            "refused": sum.refused,
            "kills": sum.kills,
            "cuts": sum.cuts,
            "faults": sum.faults,
            "given_up": sum.given_up,
            "lost": sum.lost,
            "violations": state.violations,
            "seconds": self.began.elapsed().as_secs_f64(),
            "hash": format!("{:016x}", sum.hash),
        }));
        state.runs > 0 && state.violations == 0
    }

    fn text(&self, state: &State) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let sum = &state.sum;
        format!(
            "{} runs, {:.1} million steps ({:.1} million a minute), {} operations, {} of them without \
             room, {} kills, {} power cuts, {} faults of disks, {} directories given up to lies and {} volumes, {} violations",
            state.runs,
            sum.steps as f64 / 1e6,
            sum.steps as f64 / 1e6 * 60.0 / seconds.max(0.001),
            sum.operations,
            sum.refused,
            sum.kills,
            sum.cuts,
            sum.faults,
            sum.given_up,
            sum.lost,
            state.violations,
        )
    }
}

fn tell(event: &serde_json::Value) {
    // Nobody listens any more: then nobody needs to be told.
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{event}");
}
