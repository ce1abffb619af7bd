//! Whole runs against a file system in memory, compared with the original program's figures.

use alloc::{string::String, vec::Vec};
use core::cell::Cell;

use futures_executor::block_on;
use storage::{clock::Clock, vfs::FileSystem as _};

use super::*;
use crate::{Go, testing::MemoryFs};

struct Ticks(Cell<u64>);

impl Clock for Ticks {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1_000);
        self.0.get()
    }
}

fn run_on(system: &MemoryFs, parameters: &Parameters) -> Report {
    block_on(run(system, &Ticks(Cell::new(0)), parameters, &mut |_| {
        Go::On
    }))
}

/// created alone, mixed; read; appended; deleted alone, mixed; hundredths of KB or MB read, written.
type Figures = (u32, u32, u32, u32, u32, u32, u64, u64);

fn figures(report: &Report, unit: u64) -> Figures {
    // The original rounds to hundredths.
    let hundredths = |bytes: u64| (bytes * 100 + unit / 2) / unit;
    (
        report.created_alone,
        report.created_mixed,
        report.read,
        report.appended,
        report.deleted_alone,
        report.deleted_mixed,
        hundredths(report.bytes_read),
        hundredths(report.bytes_written),
    )
}

const KB: u64 = 1 << 10;
const MB: u64 = 1 << 20;

/// The figures that Debian's `postmark` 1.53-2 printed for the same parameters.
#[test]
fn a_run_does_what_the_original_does() {
    let cases = [
        (
            Parameters::default(),
            MB,
            (500, 264, 243, 257, 528, 236, 136, 445),
        ),
        (
            Parameters::preset("loris-tenth").expect("preset"),
            MB,
            (4000, 4002, 4029, 3970, 4004, 3998, 6972, 14472),
        ),
        (
            Parameters {
                seed: 7,
                bias_read: Some(8),
                bias_create: Some(6),
                files: 100,
                transactions: 300,
                subdirectories: 5,
                size_min: 1000,
                size_max: 5000,
                ..Parameters::default()
            },
            KB,
            (100, 180, 237, 63, 160, 120, 71617, 86356),
        ),
        (
            Parameters {
                seed: 99,
                bias_read: None,
                bias_create: Some(9),
                files: 50,
                transactions: 200,
                size_min: 3000,
                size_max: 3000,
                ..Parameters::default()
            },
            KB,
            (50, 73, 0, 0, 100, 23, 0, 36035),
        ),
        (
            Parameters {
                bias_create: None,
                files: 20,
                transactions: 400,
                size_min: 100,
                size_max: 2000,
                ..Parameters::default()
            },
            KB,
            (20, 0, 208, 143, 20, 0, 34978, 3895),
        ),
    ];
    for (parameters, unit, original) in cases {
        let system = MemoryFs::new();
        let report = run_on(&system, &parameters);
        assert!(report.is_clean(), "{parameters:?}: {:?}", report.errors);
        assert_eq!(figures(&report, unit), original, "{parameters:?}");
        assert_eq!(system.paths(), [""; 0], "nothing is left");
    }
}

fn small() -> Parameters {
    Parameters {
        files: 60,
        transactions: 200,
        size_min: 100,
        size_max: 9000,
        subdirectories: 3,
        keep: true,
        ..Parameters::default()
    }
}

fn check(system: &MemoryFs, parameters: &Parameters, check: Check) -> Verified {
    block_on(verify(system, parameters, check, &mut |_| Go::On))
}

fn some_file(system: &MemoryFs) -> String {
    let paths = system.paths();
    paths
        .into_iter()
        .find(|path| path.matches('/').count() == 3)
        .expect("a file in a subdirectory")
}

#[test]
fn what_a_run_keeps_verifies_from_the_parameters_alone() {
    let system = MemoryFs::new();
    let report = run_on(&system, &small());
    assert!(report.is_clean(), "{:?}", report.errors);
    for question in [Check::Complete, Check::Found] {
        let verified = check(&system, &small(), question);
        assert!(verified.is_clean(), "{verified:?}");
        assert_eq!(verified.files, report.files_kept);
        assert_eq!(verified.bytes, report.bytes_kept);
    }
    let other = Parameters {
        seed: 43,
        ..small()
    };
    assert_eq!(
        check(&system, &other, Check::Found).wrong,
        report.files_kept
    );
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let system = MemoryFs::new();
    run_on(&system, &small());
    let path = some_file(&system);
    system.flip(&path, 77);
    for question in [Check::Complete, Check::Found] {
        let verified = check(&system, &small(), question);
        assert_eq!(
            (verified.wrong, verified.errors.count),
            (1, 1),
            "{verified:?}"
        );
        assert_eq!(
            verified.errors.first,
            [alloc::format!("{path}: wrong byte at 77")]
        );
    }
}

#[test]
fn a_byte_that_flips_during_the_run_fails_the_run() {
    let system = MemoryFs::new();
    let flipped = Cell::new(false);
    let mut spoil = |progress: Progress| {
        if progress.phase == Phase::Transactions && !flipped.replace(true) {
            // In every file, so that whichever is read next shows it.
            system
                .paths()
                .iter()
                .filter(|path| path.matches('/').count() == 3)
                .for_each(|path| {
                    system.flip(path, 0);
                });
        }
        Go::On
    };
    let report = block_on(run(&system, &Ticks(Cell::new(0)), &small(), &mut spoil));
    assert!(report.errors.count > 0 && !report.is_clean());
    assert!(
        report.errors.first[0].ends_with("wrong byte at 0"),
        "{:?}",
        report.errors
    );
}

#[test]
fn files_missing_extra_cut_and_foreign_are_told_apart() {
    let system = MemoryFs::new();
    run_on(&system, &small());
    let path = some_file(&system);
    system.cut(&path, 50);
    let verified = check(&system, &small(), Check::Complete);
    assert_eq!(
        (verified.wrong, verified.missing, verified.extra),
        (1, 0, 0)
    );
    assert!(
        check(&system, &small(), Check::Found).is_clean(),
        "a beginning is enough"
    );

    block_on(system.unlink(path.as_bytes())).expect("unlink");
    let verified = check(&system, &small(), Check::Complete);
    assert_eq!(
        (verified.wrong, verified.missing, verified.extra),
        (0, 1, 0)
    );
    assert_eq!(verified.errors.first, [alloc::format!("{path}: missing")]);

    system.put("/postmark/s0/999999", b"");
    system.put("/postmark/readme", b"");
    let verified = check(&system, &small(), Check::Complete);
    assert_eq!(
        (verified.wrong, verified.missing, verified.extra),
        (0, 1, 2)
    );
}

#[test]
fn a_run_removes_its_own_leftovers_but_nothing_else() {
    let system = MemoryFs::new();
    run_on(&system, &small());
    assert!(
        run_on(
            &system,
            &Parameters {
                keep: false,
                ..small()
            }
        )
        .is_clean()
    );
    assert_eq!(system.paths(), [""; 0]);

    system.put("/postmark/thesis.txt", b"irreplaceable");
    let report = run_on(&system, &small());
    assert!(report.stopped && report.created_alone == 0);
    assert!(
        report.errors.first[0].contains("thesis.txt"),
        "{:?}",
        report.errors
    );
    assert_eq!(system.paths(), ["/postmark", "/postmark/thesis.txt"]);
}

#[test]
fn a_run_stops_when_it_is_told_to() {
    let system = MemoryFs::new();
    let mut calls = 0;
    let mut stop = |_| {
        calls += 1;
        if calls < 100 { Go::On } else { Go::Stop }
    };
    let report = block_on(run(&system, &Ticks(Cell::new(0)), &small(), &mut stop));
    assert!(report.stopped && !report.is_clean());
    assert_eq!(calls, 100);
}

#[test]
fn errors_are_counted_and_the_run_goes_on_until_there_are_too_many() {
    let system = MemoryFs::new();
    system.limit_bytes(100_000);
    let report = run_on(&system, &small());
    // One more says that it stopped.
    assert_eq!(report.errors.count, ERRORS_MAX + 1, "{report:?}");
    assert!(report.stopped && report.transactions < 200, "{report:?}");
    // Only what went well is counted as done.
    assert!(report.created_alone < small().files, "{report:?}");
    assert_eq!(report.errors.first.len(), ERRORS_KEPT);
    assert!(
        report.errors.first[0].contains("no space left"),
        "{:?}",
        report.errors.first
    );
}

#[test]
fn calls_are_of_the_size_that_was_asked_for() {
    let lens = |buffered, block| {
        let system = MemoryFs::new();
        run_on(
            &system,
            &Parameters {
                buffered,
                read_block: block,
                write_block: block,
                ..small()
            },
        );
        let lens: Vec<usize> = system.write_lens();
        *lens.iter().max().expect("writes")
    };
    assert_eq!(lens(false, 512), 512);
    assert_eq!(lens(true, 512), 4096);
    assert_eq!(lens(true, 8192), 8192);
}
