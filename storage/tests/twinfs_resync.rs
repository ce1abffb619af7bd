//! TwinFS overwriting in place: after a crash every block is what the medium has of it, or an error.

mod twinfs_support;

use std::rc::Rc;

use futures_executor::block_on;
use storage::{
    Error,
    block::ram::{Event, History},
    checksum::{Algorithm, Checksum},
    file::{FileNumber, FileStore, Timestamp},
    twinfs::Config,
};
use twinfs_support::{overwriting::*, *};

#[test]
fn every_block_is_what_the_medium_has_of_it_or_an_error() {
    for algorithm in [Algorithm::Xxh64, Algorithm::Crc32c] {
        let mut run = Run::new(3, algorithm);
        let file = run.file(4, 3 * BLOCK + 100);
        let other = run.file(1, BLOCK);
        run.sync();
        let from = run.events();
        run.write(&[(file, 0, 1, 0)]);
        run.write(&[(file, 1, 2, 0)]);
        run.write(&[(file, 0, 1, 0)]);
        // Longer than in the checkpoint, to which it goes back.
        run.write(&[(file, 3, 1, 3 * BLOCK + 3000)]);
        run.write(&[(file, 3, 1, 3 * BLOCK + 4000)]);
        run.write(&[(other, 0, 1, 0)]);
        run.write(&[(file, 0, 2, 0)]);
        let states = every_crash(&run, from);
        assert!(states > 200, "{states}");
    }
}

#[test]
fn writes_that_arrive_together_share_a_flush_and_crash_as_well() {
    let mut run = Run::new(4, Algorithm::Xxh64);
    let files: Vec<FileNumber> = (0..3).map(|_| run.file(2, 2 * BLOCK)).collect();
    run.sync();
    let from = run.events();
    // The first write after a checkpoint flushes for itself.
    run.write(&[(files[0], 1, 1, 0)]);
    run.disk.delay(2);
    let before = run.disk.counters();
    run.write(&[
        (files[0], 0, 1, 0),
        (files[1], 0, 2, 0),
        (files[2], 1, 1, 0),
    ]);
    let after = run.disk.counters();
    assert_eq!(after.flushes - before.flushes, 1);
    assert_eq!(
        after.writes - before.writes,
        4,
        "one block of the log, three of data"
    );
    run.write(&[(files[2], 1, 1, 0), (files[1], 1, 1, 0)]);
    every_crash(&run, from);
}

/// Crashes in a row, each in the middle of what followed the last one.
#[test]
fn a_crash_after_a_crash_finds_the_same_and_more() {
    for seed in 0..20 {
        let mut run = Run::new(seed, Algorithm::Xxh64);
        let files: Vec<FileNumber> = (0..3).map(|_| run.file(6, 6 * BLOCK - 50)).collect();
        run.sync();
        for round in 0..8 {
            for _ in 0..1 + run.random.below(6) {
                let file = files[run.random.below(3) as usize];
                let first = run.random.below(6);
                let count = 1 + run.random.below(6 - first);
                let size = run.random.below(2) * 6 * BLOCK;
                run.write(&[(file, first, count, size)]);
            }
            let history = run.history();
            let taken = history.events().len() - run.random.below(3) as usize;
            let mut random = Random(seed << 8 | round);
            let kind = run.random.below(3);
            let crashed = Rc::new(history.crash(taken, |_, _| match kind {
                0 => true,
                1 => false,
                _ => random.below(2) == 0,
            }));
            crashed.record();
            let store = store(&crashed, in_place());
            let expected = Expected {
                run: &run,
                what: format!("seed {seed}, round {round}"),
            };
            let blocks = expected.check(&crashed, &store);
            run.now = blocks;
            run.store = store;
            run.disk = crashed;
            if run.random.below(3) == 0 {
                run.sync();
            }
        }
    }
}

/// The versions that may be on the medium, by the history alone: the last one that a flush covers, and all
/// since.
fn possible(history: &History, taken: usize, versions: &[Vec<u8>]) -> Vec<usize> {
    let events = &history.events()[..taken];
    let flushed = history.flushed(taken);
    assert!(flushed > 0, "a flush");
    let written = |version: usize| {
        events.iter().position(|event| match event {
            Event::Write { data, .. } => data.chunks(4096).any(|block| block == versions[version]),
            Event::Flush { .. } => false,
        })
    };
    let durable =
        (0..versions.len()).rfind(|&version| written(version).is_some_and(|at| at < flushed));
    let since =
        (0..versions.len()).filter(|&version| written(version).is_some_and(|at| at >= flushed));
    durable.into_iter().chain(since).collect()
}

/// A disk that lost a write, or brought an old one back: a record lets exactly those versions pass that
/// could be on the medium when it was written, and the one that it announces.
#[test]
fn a_record_says_exactly_which_versions_can_be_there() {
    let mut run = Run::new(5, Algorithm::Xxh64);
    let file = run.file(2, 2 * BLOCK);
    let others = run.file(40, 40 * BLOCK);
    run.sync();
    let mut points = Vec::new();
    for round in 0..8 {
        // Sometimes another block's record, whose flush makes the last version durable.
        if round % 3 == 2 {
            run.write(&[(others, round, 1, 0)]);
        }
        let before = run.events();
        run.write(&[(file, 1, 1, 0)]);
        let history = run.history();
        let logged = (before..history.events().len())
            .find(|&at| match &history.events()[at] {
                Event::Write { sector, .. } => (8..256 * 8).contains(sector),
                Event::Flush { .. } => false,
            })
            .unwrap();
        points.push((logged + 1, round as usize + 1));
    }
    let (history, versions) = (run.history(), &run.versions[&(file, 1)]);
    let place = run.places[&(file, 1)];
    let mut obsolete = 0;
    for (taken, announced) in points {
        let mut expected = possible(&history, taken, versions);
        expected.push(announced);
        for (version, content) in versions.iter().enumerate() {
            let crashed = Rc::new(history.crash(taken, |_, _| true));
            crashed.poke(place, content);
            let store = store(&crashed, in_place());
            block_on(store.load(Timestamp(run.timestamp))).unwrap();
            let what = format!("record {announced}, version {version}");
            let found = block_on(read(&store, file, 1, 1)).map(|(_, data)| data == *content);
            if expected.contains(&version) {
                assert_eq!(found, Ok(true), "{what}");
            } else {
                assert_eq!(found, Err(Error::Corrupt), "{what}");
                obsolete += usize::from(version < announced);
            }
        }
    }
    assert!(obsolete > 10, "{obsolete}");
}

/// What was announced together costs one flush, whatever becomes of it; and every crash state is as
/// good with announcements that were never made true.
#[test]
fn announcements_share_a_flush_and_promise_nothing() {
    let mut run = Run::new(13, Algorithm::Xxh64);
    let file = run.file(5, 5 * BLOCK - 9);
    run.sync();
    // A hole, the end, and a file that is not there.
    for (number, block) in [(file.0, 7), (999, 0)] {
        let announced = run
            .store
            .prewrite(FileNumber(number), block * BLOCK, &[Checksum(1)]);
        let _ = block_on(announced);
    }
    run.write(&[(file, 4, 1, 0)]);
    let from = run.events();
    let before = run.disk.counters();
    let mut random = run.random.clone();
    // What `write` makes next: a block each.
    let next: Vec<_> = (0..3)
        .map(|_| Algorithm::Xxh64.of(&random.bytes(4096)))
        .collect();
    let never = [Checksum(11), Checksum(12)];
    block_on(run.store.prewrite(file, 0, &never)).unwrap();
    assert_eq!(block_on(run.store.prewrite(file, 0, &next)), Ok(true));
    for block in 0..3 {
        run.write(&[(file, block, 1, 0)]);
    }
    let after = run.disk.counters();
    assert_eq!(after.flushes - before.flushes, 1);
    assert_eq!(
        after.writes - before.writes,
        4,
        "one block of the log, three of data"
    );
    // Not as announced: a record of its own.
    block_on(run.store.prewrite(file, 3 * BLOCK, &never)).unwrap();
    run.write(&[(file, 3, 2, 0)]);
    assert_eq!(run.disk.counters().flushes - after.flushes, 1);
    every_crash(&run, from);
    // Where nothing is overwritten in place, nobody need announce anything.
    let relocating = store(&run.disk, Config::default());
    assert_eq!(block_on(relocating.prewrite(file, 0, &never)), Ok(false));
}
