//! The checker has to find what it looks for, and to look where it says.

use storage::twinfs::Overwrite;
use tests::stack::on_a_large_stack;

use crate::{caught::caught, report::Event, rig::Cache};

use super::{
    Options, check,
    recording::{Base, Recording, Setup},
    run, state, workload,
};

const SINGLE: Setup = Setup {
    disks: 1,
    cache: Cache::Ample,
    slow: None,
    overwrite: Overwrite::Relocate,
};

/// States that the oracle refuses, of all.
fn refused(recording: &Recording) -> (usize, usize) {
    let mut crashes = check::Crashes::new(recording);
    let states = state::all(recording);
    let refused = states.iter().filter(|state| {
        let disks = || crashes.disks(state);
        caught(|| check::check(disks, recording, state)).is_err()
    });
    (refused.count(), states.len())
}

/// A disk that answers a flush without one loses what was synced, or more.
#[test]
fn a_flush_that_is_left_out_is_found() {
    on_a_large_stack(|| {
        let base = Base::new(1);
        let workload = workload::find("overwrite:a").expect("a workload");
        let record = || Recording::new(&base, SINGLE, &workload);
        let (found, states) = refused(&record());
        assert_eq!(found, 0, "of {states} states");
        assert!(states > 30, "{states} states");
        // The first is that after the mount. The others: before the root block, and after it.
        for flush in [1, 2] {
            let mut recording = record();
            assert!(recording.lose_flush(0, flush), "flush {flush} of a sync");
            assert!(refused(&recording).0 > 0, "flush {flush} may be left out");
        }
        assert!(!record().lose_flush(0, 3), "a sync flushes twice");
    });
}

/// A name that was mistyped is no success, and no failure of the stack either.
#[test]
fn a_state_is_tried_by_its_name_or_there_is_none() {
    let try_all = |shard, state: Option<&str>| {
        let mut refusals = Vec::new();
        let options = Options {
            calls: 1,
            disks: None,
            shard,
            state: state.map(Into::into),
        };
        let outcome = run(&options, |event| {
            if let Event::Refused { what } = event {
                refusals.push(what);
            }
        });
        assert_eq!(outcome.failures, 0);
        (outcome.states, refusals.concat())
    };
    let tried = move |name: &str| try_all((0, 1), Some(name));
    on_a_large_stack(move || {
        let workload = workload::find("overwrite:a").expect("a workload");
        let recording = Recording::new(&Base::new(1), SINGLE, &workload);
        let state = &state::all(&recording)[20];
        let name = format!("{SINGLE}@{workload}@{state}");
        assert_eq!(tried(&name), (1, String::new()), "{name}");
        let whole = format!("{SINGLE}@{workload}@run");
        assert_eq!(tried(&whole), (1, String::new()));
        for name in ["typo", "1-ample@overwrite:b@1/first0", &format!("{name}9")] {
            let (states, what) = tried(name);
            assert!(
                states == 0 && what.contains("there is no state"),
                "{name}: {what}"
            );
        }
        // Nothing is to be synced of a file that has gone, nor to be deleted that was never there.
        for calls in ["rename:a:d/b+fsync:a", "sync", "unlink:c"] {
            let (states, what) = tried(&format!("{SINGLE}@{calls}@run"));
            assert!(
                states == 0 && what.contains("is no workload"),
                "{calls}: {what}"
            );
        }
        let (states, what) = try_all((99_998, 99_999), None);
        assert!(
            states == 0 && what.contains("none of them is in shard"),
            "{what}"
        );
    });
}

/// Data are overwritten in place, and both versions of them come back, but none that was never written.
#[test]
fn overwrites_in_place_come_back_whole() {
    on_a_large_stack(|| {
        let base = Base::new(1);
        let workload = workload::find("overwrite:a+overwrite:d/b").expect("a workload");
        let overwrite = Overwrite::InPlace;
        let setup = Setup {
            cache: Cache::Eager,
            overwrite,
            ..SINGLE
        };
        let recording = Recording::new(&base, setup, &workload);
        let (found, states) = refused(&recording);
        assert_eq!(found, 0, "of {states} states");
        // Without the log nobody could tell.
        let overwrite = Overwrite::Unlogged;
        let unlogged = caught(|| Recording::new(&base, Setup { overwrite, ..setup }, &workload));
        let why = unlogged.err().unwrap_or_default();
        assert!(
            why.contains("is overwritten"),
            "the order is checked: {why}"
        );
    });
}

/// A block that is torn where the checkpoint has it is lost, though what a cut has left of it is whole elsewhere.
#[test]
fn what_a_cut_copied_elsewhere_does_not_stand_for_a_torn_block() {
    on_a_large_stack(|| {
        let base = Base::new(1);
        let workload = workload::find("overwrite:d/b+rename:d/b:a+halve:a").expect("a workload");
        let setup = Setup {
            cache: Cache::Eager,
            overwrite: Overwrite::InPlace,
            ..SINGLE
        };
        let recording = Recording::new(&base, setup, &workload);
        let (found, states) = refused(&recording);
        assert_eq!(found, 0, "of {states} states");
    });
}

#[test]
fn an_eager_cache_writes_before_the_sync_and_an_ample_one_does_not() {
    on_a_large_stack(|| {
        for (disks, slow) in [(1, None), (2, Some(1))] {
            let base = Base::new(disks);
            let workload = workload::find("write:c").expect("a workload");
            let before = |cache| {
                let setup = Setup {
                    disks,
                    cache,
                    slow,
                    ..SINGLE
                };
                Recording::new(&base, setup, &workload).before_sync()
            };
            assert_eq!(before(Cache::Ample), 0, "{disks} disks");
            assert!(before(Cache::Eager) > 2, "{disks} disks");
        }
    });
}

#[test]
fn workloads_are_all_those_whose_every_call_changes_something() {
    on_a_large_stack(|| {
        let base = Base::new(1);
        let names = |calls| -> Vec<String> {
            let all = workload::all(&base.model, calls);
            all.iter().map(ToString::to_string).collect()
        };
        let one = names(1);
        assert!(one.contains(&"rename:a:d/b".into()), "{one:?}");
        // There is no `c` yet, and nothing to sync.
        assert!(
            !one.contains(&"unlink:c".into()) && !one.contains(&"sync".into()),
            "{one:?}"
        );
        let two = names(2);
        assert!(
            two.len() > 500 && two.contains(&"create:c+fsync:a".into()),
            "{}",
            two.len()
        );
        for name in &two {
            assert_eq!(
                workload::find(name).map(|it| it.to_string()).as_ref(),
                Some(name)
            );
        }
    });
}
