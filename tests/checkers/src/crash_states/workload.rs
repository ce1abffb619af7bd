//! All workloads of up to so many calls: those of which every call changes something.

use std::fmt;

use tests::model::Model;

use super::call::{CALLS, Call};

/// Calls one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload(pub Vec<Call>);

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&calls.join("+"))
    }
}

/// The workload of that name.
#[must_use]
pub fn find(name: &str) -> Option<Workload> {
    let call = |name: &str| CALLS.into_iter().find(|call| call.to_string() == name);
    let calls: Option<Vec<Call>> = name.split('+').map(call).collect();
    calls.map(Workload)
}

/// Time and contents of the call at this place of a workload.
pub fn salt(place: usize) -> u64 {
    1_000 + place as u64
}

/// All workloads of 1 to `calls` calls on the tree that `model` has, shortest first.
#[must_use]
pub fn all(model: &Model, calls: usize) -> Vec<Workload> {
    let mut all = Vec::new();
    let mut shorter = vec![(Vec::new(), model.clone())];
    for place in 0..calls {
        let mut longer = Vec::new();
        for (calls, model) in &shorter {
            for call in CALLS {
                let mut after: Model = model.clone();
                // A call that fails, or that syncs what was just synced, is no news.
                let syncs_again =
                    call.is_sync() && calls.last().is_none_or(|last: &Call| last.is_sync());
                if syncs_again || call.model(&mut after, salt(place)) != Ok(true) {
                    continue;
                }
                let mut calls = calls.clone();
                calls.push(call);
                longer.push((calls, after));
            }
        }
        all.extend(longer.iter().map(|(calls, _)| Workload(calls.clone())));
        shorter = longer;
    }
    all
}
