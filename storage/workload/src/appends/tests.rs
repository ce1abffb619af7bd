use alloc::{string::ToString, vec, vec::Vec};
use core::cell::Cell;

use futures_executor::block_on;

use super::*;
use crate::testing::MemoryFs;

/// Goes on by a microsecond at each look.
#[derive(Default)]
struct Ticks(Cell<u64>);

impl Clock for Ticks {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1000);
        self.0.get()
    }
}

fn run_on(system: &MemoryFs, parameters: &Parameters, stop_at: u32) -> Result<Report, String> {
    parameters.check()?;
    let mut progress = |done| if done == stop_at { Go::Stop } else { Go::On };
    block_on(run(system, &Ticks::default(), parameters, &mut progress))
}

#[test]
fn all_that_is_appended_is_made_durable_by_the_call_asked_for() {
    for (with, expected) in [(With::Fsync, vec![0, 1, 2, 0, 1]), (With::Sync, vec![])] {
        let system = MemoryFs::new();
        let parameters = Parameters {
            count: 5,
            writes: 3,
            size: 1001,
            files: 3,
            with,
            seed: 9,
            keep: true,
            ..Parameters::default()
        };
        let report = run_on(&system, &parameters, u32::MAX).expect("done");
        assert_eq!((report.count, report.bytes), (5, 15 * 1001));
        assert!(report.median_ns > 0 && report.total_ns > report.appends_ns);
        let synced: Vec<(String, usize)> = system.fsyncs();
        let files: Vec<_> = synced.iter().map(|(path, _)| path.as_str()).collect();
        let paths: Vec<_> = expected.iter().map(|it| format!("/fsync/{it}")).collect();
        assert_eq!(files, paths);
        // Each comes after its appends.
        let lengths: Vec<_> = synced.iter().map(|(_, length)| *length).collect();
        let rounds = [1, 1, 1, 2, 2].map(|round| round * 3 * 1001);
        assert_eq!(lengths, rounds[..expected.len()]);
        for (number, rounds) in [(0, 2), (1, 2), (2, 1)] {
            let content = system.content(&format!("/fsync/{number}"));
            assert_eq!(content.len(), rounds * 3 * 1001);
            assert_eq!(Content::new(9, number).mismatch(0, &content), None);
        }
    }
}

#[test]
fn a_run_leaves_nothing_unless_it_is_told_or_stopped() {
    let system = MemoryFs::new();
    let parameters = Parameters::default();
    run_on(&system, &parameters, u32::MAX).expect("done");
    assert!(system.paths().is_empty(), "{:?}", system.paths());
    let report = run_on(&system, &parameters, 7).expect("stopped");
    assert_eq!((report.count, report.bytes), (7, 7 * 4096));
    assert_eq!(system.paths(), ["/fsync", "/fsync/0"]);
    let refused = run_on(&system, &parameters, u32::MAX).expect_err("it is there");
    assert!(refused.contains("/fsync"), "{refused}");
}

#[test]
fn what_is_out_of_bounds_is_named() {
    let fine = Parameters::default();
    for (parameters, part) in [
        (
            Parameters {
                count: 0,
                ..fine.clone()
            },
            "count",
        ),
        (
            Parameters {
                writes: 0,
                ..fine.clone()
            },
            "writes",
        ),
        (
            Parameters {
                size: SIZE_MAX + 1,
                ..fine.clone()
            },
            "size",
        ),
        (
            Parameters {
                files: 65,
                ..fine.clone()
            },
            "files",
        ),
        (
            Parameters {
                location: "/".to_string(),
                ..fine.clone()
            },
            "location",
        ),
    ] {
        let told = parameters.check().expect_err(part);
        assert!(told.contains(part), "{told}");
    }
}
