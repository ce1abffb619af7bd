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

/// Whether each call of a workload changes something, or syncs what has changed, on the tree that `model` has.
#[must_use]
pub fn makes_sense(workload: &Workload, model: &Model) -> bool {
    let (mut model, calls) = (model.clone(), &workload.0);
    (0..calls.len()).all(|place| {
        let after = after(&calls[..place], calls[place], &model);
        after.map(|after| model = after).is_some()
    })
}

/// What there is after one more call, if that is any news: it does not fail, nor sync what was just synced.
fn after(calls: &[Call], call: Call, model: &Model) -> Option<Model> {
    let syncs_again = call.is_sync() && calls.last().is_none_or(|last| last.is_sync());
    let mut after = model.clone();
    (!syncs_again && call.model(&mut after, salt(calls.len())) == Ok(true)).then_some(after)
}

/// Time and contents of the call at this place of a workload.
pub fn salt(place: usize) -> u64 {
    1_000 + place as u64
}

/// All workloads of 1 to `calls` calls on the tree that `model` has, shortest first.
#[must_use]
pub fn all(model: &Model, calls: usize) -> Vec<Workload> {
    let mut all = Vec::new();
    let mut shorter: Vec<(Vec<Call>, Model)> = vec![(Vec::new(), model.clone())];
    for _ in 0..calls {
        let mut longer = Vec::new();
        for (calls, model) in &shorter {
            for call in CALLS {
                if let Some(after) = after(calls, call, model) {
                    longer.push(([&calls[..], &[call]].concat(), after));
                }
            }
        }
        all.extend(longer.iter().map(|(calls, _)| Workload(calls.clone())));
        shorter = longer;
    }
    all
}
