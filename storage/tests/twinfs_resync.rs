//! TwinFS overwriting in place: after a crash every block is what the medium has of it, or an error.
//!
//! The oracle looks at the medium. It knows what was written and where the checkpoint had it; what is
//! there after a crash, in one piece, has to be read, and what is not in one piece must not.

mod twinfs_support;

use std::{collections::BTreeMap, rc::Rc};

use futures_executor::block_on;
use futures_util::future::join_all;
use storage::{
    Error, Result,
    block::ram::{Event, History, Operation, RamDisk},
    buffer::Source,
    checksum::{Algorithm, Checksum},
    file::{FileNumber, FileStore, ResyncRange, Timestamp, Write},
    twinfs::Config,
};
use twinfs_support::*;

/// What was written to a block: in the checkpoint, and since.
type Versions = Vec<Vec<u8>>;

/// A store that overwrites in place, and everything that was ever written to it.
struct Run {
    disk: Disk,
    store: Store,
    algorithm: Algorithm,
    random: Random,
    versions: BTreeMap<(FileNumber, u64), Versions>,
    /// Where the checkpoint has each block, and how long it has each file.
    places: BTreeMap<(FileNumber, u64), u64>,
    sizes: BTreeMap<FileNumber, u64>,
    timestamp: u64,
}

impl Run {
    fn new(seed: u64, algorithm: Algorithm) -> Self {
        let disk = disk(8);
        let store = store(&disk, in_place());
        block_on(store.format(&format_of(16, algorithm))).unwrap();
        block_on(store.load(Timestamp(1))).unwrap();
        disk.record();
        Self {
            disk,
            store,
            algorithm,
            random: Random(seed),
            versions: BTreeMap::new(),
            places: BTreeMap::new(),
            sizes: BTreeMap::new(),
            timestamp: 1,
        }
    }

    fn file(&mut self, blocks: u64, size: u64) -> FileNumber {
        let file = block_on(self.store.create(&attributes(false))).unwrap();
        self.write(&[(file, 0, blocks, size)]);
        file
    }

    /// Writes at once: file, first block, blocks, size afterwards.
    fn write(&mut self, writes: &[(FileNumber, u64, u64, u64)]) {
        let mut all = Vec::new();
        for &(file, first, blocks, size) in writes {
            let mut data = self.random.bytes((blocks * BLOCK) as usize);
            // Zeros beyond the end of the file, as the cache writes them.
            let end = size.max(block_on(self.store.getattr(file)).unwrap().size);
            if let Some(beyond) = data.get_mut(end.saturating_sub(first * BLOCK) as usize..) {
                beyond.fill(0);
            }
            for (block, bytes) in (first..).zip(data.chunks(BLOCK as usize)) {
                let versions = self.versions.entry((file, block)).or_default();
                versions.push(bytes.to_vec());
            }
            all.push((file, first, data, size));
        }
        let calls = all.iter().map(|(file, first, data, size)| {
            write_of(&self.store, self.algorithm, *file, *first, data, *size)
        });
        for result in block_on(join_all(calls)) {
            result.unwrap();
        }
    }

    fn sync(&mut self) {
        self.timestamp += 1;
        block_on(self.store.sync(checkpoint(self.timestamp))).unwrap();
        let history = self.history();
        for (&(file, block), versions) in &mut self.versions {
            let size = block_on(self.store.getattr(file)).unwrap().size;
            self.sizes.insert(file, size);
            match block_on(read(&self.store, file, block, 1)) {
                Ok((_, data)) => {
                    let place = self.places.entry((file, block)).or_default();
                    if *place == 0 || self.disk.peek(*place, 4096) != data {
                        *place = place_of(&history, &data);
                    }
                    *versions = vec![data];
                }
                // It was lost in a crash, and nobody has written it since.
                Err(_) => versions.clear(),
            }
        }
    }

    fn history(&self) -> History {
        self.disk.history().unwrap()
    }

    fn events(&self) -> usize {
        self.history().events().len()
    }
}

async fn write_of(
    store: &Store,
    algorithm: Algorithm,
    file: FileNumber,
    block: u64,
    data: &[u8],
    size: u64,
) -> Result<()> {
    let checksums: Vec<_> = data.chunks(4096).map(|block| algorithm.of(block)).collect();
    let write = Write {
        file,
        offset: block * BLOCK,
        data: Source::local(data),
        checksums: &checksums,
        size,
        modified_ns: 7,
    };
    store.write(write).await
}

fn ranges(store: &Store) -> Vec<ResyncRange> {
    let mut all = Vec::new();
    loop {
        let more = block_on(store.resync_ranges(all.len() as u64)).unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Where in the history this was written last.
fn place_of(history: &History, content: &[u8]) -> u64 {
    let found = history.events().iter().rev().find_map(|event| {
        let Event::Write { sector, data } = event else {
            return None;
        };
        let at = data.chunks(4096).position(|block| block == content)?;
        Some(sector + at as u64 * 8)
    });
    found.expect("it was written")
}

/// A crashed disk, and what must be there.
struct Expected<'a> {
    run: &'a Run,
    what: String,
}

impl Expected<'_> {
    /// Loads the checkpoint and compares each block with the medium. Returns the blocks that are lost.
    fn check(&self, disk: &Disk, store: &Store) -> Vec<(FileNumber, u64)> {
        let what = &self.what;
        let newest = block_on(store.info()).unwrap().newest.timestamp;
        assert_eq!(newest.0, self.run.timestamp, "{what}");
        let medium = disk.snapshot();
        block_on(store.load(newest)).unwrap();
        let reported = ranges(store);
        let mut lost = Vec::new();
        for (&(file, block), versions) in &self.run.versions {
            let size = self.run.sizes[&file];
            assert_eq!(block_on(store.getattr(file)).unwrap().size, size, "{what}");
            if block * BLOCK >= size {
                continue;
            }
            let there = medium.peek(self.run.places[&(file, block)], 4096);
            let whole = versions.contains(&there);
            let found = block_on(read(store, file, block, 1));
            if !whole {
                assert!(found == Err(Error::Corrupt), "{what}: torn block {block}");
                lost.push((file, block));
            } else {
                let (len, data) = found.unwrap_or_else(|error| {
                    panic!("{what}: file {}, block {block}: {error}", file.0)
                });
                let used = (size - block * BLOCK).min(BLOCK) as usize;
                assert_eq!(len, used, "{what}");
                assert!(data[..used] == there[..used], "{what}: block {block}");
                assert!(data[used..].iter().all(|&byte| byte == 0), "{what}");
            }
            let is_reported = reported.iter().any(|range| {
                range.file == file
                    && (range.offset..range.offset + range.len).contains(&(block * BLOCK))
            });
            // What is not as in the checkpoint must be compared with the other stores.
            let as_before = versions.first().is_none_or(|first| *first == there);
            assert!(is_reported || as_before, "{what}: block {block}");
        }
        lost
    }

    /// As `check`; then again, as after another crash at once, and after a checkpoint.
    fn check_thrice(&self, crashed: RamDisk) {
        let disk = Rc::new(crashed);
        let lost = self.check(&disk, &store(&disk, in_place()));
        let again = store(&disk, in_place());
        assert_eq!(self.check(&disk, &again), lost, "{}", self.what);
        let next = self.run.timestamp + 1;
        block_on(again.sync(checkpoint(next))).unwrap();
        let after = store(&disk, in_place());
        block_on(after.load(Timestamp(next))).unwrap();
        assert_eq!(ranges(&after), [], "{}", self.what);
        for &(file, block) in self.run.versions.keys() {
            if block * BLOCK < self.run.sizes[&file] {
                let (before, now) = (
                    block_on(read(&again, file, block, 1)),
                    block_on(read(&after, file, block, 1)),
                );
                assert!(before == now, "{}: block {block}", self.what);
                assert_eq!(now.is_err(), lost.contains(&(file, block)), "{}", self.what);
            }
        }
        // An overwrite heals.
        for (file, block) in lost {
            let data = vec![0x55; 4096];
            let healed = write_of(&after, self.run.algorithm, file, block, &data, 1);
            block_on(healed).unwrap();
            assert_eq!(block_on(read(&after, file, block, 1)).unwrap().1, data);
        }
    }
}

/// Every subset of the unflushed writes, at every point of the history since `from`, and each of them
/// torn.
fn every_crash(run: &Run, from: usize) -> u64 {
    let history = run.history();
    let mut states = 0;
    for taken in from..=history.events().len() {
        let flushed = history.events()[..taken]
            .iter()
            .rposition(|event| matches!(event, Event::Flush))
            .map_or(0, |flush| flush + 1);
        let unflushed = taken - flushed;
        assert!(unflushed <= 6, "{unflushed} writes are too many to try");
        let mut random = Random(taken as u64);
        let mut check = |what: String, survives: &mut dyn FnMut(usize, u64) -> bool| {
            let expected = Expected {
                run,
                what: format!("after {taken} events, {what}"),
            };
            expected.check_thrice(history.crash(taken, survives));
            states += 1;
        };
        for subset in 0..1_u64 << unflushed {
            check(format!("subset {subset:#b}"), &mut |event, _| {
                subset >> (event - flushed) & 1 == 1
            });
        }
        for torn in flushed..taken {
            for sectors in 1..8 {
                check(
                    format!("event {torn} torn at {sectors}"),
                    &mut |event, sector| event != torn || sector % 8 < sectors,
                );
            }
            for time in 0..4 {
                check(format!("event {torn} torn, {time}"), &mut |event, _| {
                    event != torn || random.below(2) == 0
                });
            }
        }
    }
    states
}

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
            expected.check(&crashed, &store);
            run.store = store;
            run.disk = crashed;
            if run.random.below(3) == 0 {
                run.sync();
            }
        }
    }
}

/// The versions that may be on the medium, by the history alone: the last one that was written before
/// the last flush, and all since.
fn possible(history: &History, taken: usize, versions: &[Vec<u8>]) -> Vec<usize> {
    let events = &history.events()[..taken];
    let flush = events
        .iter()
        .rposition(|event| matches!(event, Event::Flush))
        .expect("a flush");
    let written = |version: usize| {
        events.iter().position(|event| match event {
            Event::Write { data, .. } => data.chunks(4096).any(|block| block == versions[version]),
            Event::Flush => false,
        })
    };
    let durable =
        (0..versions.len()).rfind(|&version| written(version).is_some_and(|at| at < flush));
    let since =
        (0..versions.len()).filter(|&version| written(version).is_some_and(|at| at > flush));
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
                Event::Flush => false,
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

#[test]
fn a_full_log_relocates_and_the_next_checkpoint_empties_it() {
    let mut run = Run::new(6, Algorithm::Xxh64);
    let file = run.file(2, 2 * BLOCK);
    run.sync();
    run.write(&[(file, 0, 1, 0)]);
    for _ in 1..255 {
        let before = run.disk.counters();
        run.write(&[(file, 0, 1, 0)]);
        assert_eq!(run.disk.counters().flushes - before.flushes, 1);
    }
    let from = run.events();
    let before = run.disk.counters();
    run.write(&[(file, 0, 1, 0)]);
    run.write(&[(file, 0, 2, 0)]);
    assert_eq!(run.disk.counters().flushes, before.flushes);
    let free = block_on(run.store.usage()).unwrap().blocks_free;
    every_crash(&run, from);
    run.sync();
    let from = run.events();
    assert_eq!(block_on(run.store.usage()).unwrap().blocks_free, free + 2);
    let before = run.disk.counters();
    run.write(&[(file, 0, 2, 0)]);
    // The old root, and the log.
    assert_eq!(run.disk.counters().flushes - before.flushes, 2);
    every_crash(&run, from);
}

#[test]
fn a_log_that_cannot_be_written_relocates() {
    for faulty in [
        |operation| matches!(operation, Operation::Write { sector, .. } if sector < 256 * 8),
        |operation| matches!(operation, Operation::Flush),
    ] {
        let mut run = Run::new(7, Algorithm::Xxh64);
        let file = run.file(3, 3 * BLOCK);
        run.sync();
        run.write(&[(file, 2, 1, 0)]);
        let from = run.events();
        run.disk.fault(move |operation| {
            if faulty(operation) {
                Err(Error::Device)
            } else {
                Ok(())
            }
        });
        run.write(&[(file, 0, 2, 0), (file, 2, 1, 0)]);
        run.disk.heal();
        let before = run.disk.counters();
        run.write(&[(file, 0, 1, 0)]);
        assert_eq!(run.disk.counters().flushes, before.flushes);
        every_crash(&run, from);
        run.sync();
        run.write(&[(file, 0, 1, 0)]);
        every_crash(&run, run.events());
    }
}

/// The bytes of a log block, by the description of the format.
fn log_block(disk: &Disk, timestamp: u64, position: u32, records: &[[u64; 5]]) -> Vec<u8> {
    let root = disk.peek([0, 256 * 8][timestamp as usize % 2], 4096);
    let mut block = vec![0; 4096];
    block[..8].copy_from_slice(b"GalTwnLg");
    block[16..24].copy_from_slice(&timestamp.to_le_bytes());
    block[24..32].copy_from_slice(&root[8..16]);
    block[32..36].copy_from_slice(&position.to_le_bytes());
    block[36..40].copy_from_slice(&(records.len() as u32).to_le_bytes());
    for (at, &[file, number, sum, version, oldest]) in (40..).step_by(24).zip(records) {
        block[at..at + 4].copy_from_slice(&(file as u32).to_le_bytes());
        block[at + 4..at + 8].copy_from_slice(&(number as u32).to_le_bytes());
        block[at + 8..at + 16].copy_from_slice(&sum.to_le_bytes());
        block[at + 16..at + 20].copy_from_slice(&(version as u32).to_le_bytes());
        block[at + 20..at + 24].copy_from_slice(&(oldest as u32).to_le_bytes());
    }
    let sum = Algorithm::Xxh64.of(&block);
    block[8..16].copy_from_slice(&sum.0.to_le_bytes());
    block
}

#[test]
fn a_log_block_of_another_time_or_place_is_none() {
    let mut run = Run::new(8, Algorithm::Xxh64);
    let file = run.file(2, 2 * BLOCK);
    run.sync();
    run.write(&[(file, 0, 1, 0)]);
    run.write(&[(file, 1, 1, 0)]);
    let first = run.disk.peek(8, 4096);
    run.sync();
    run.write(&[(file, 0, 1, 0)]);
    let second = run.disk.peek(8, 4096);
    assert_ne!(first, second);
    // The checkpoint before had the second log block, which is on the medium still.
    let reload = |what: &str, position: u64, block: &[u8], records: usize| {
        let disk = Rc::new(run.disk.snapshot());
        disk.poke(8 * (1 + position), block);
        let store = store(&disk, in_place());
        block_on(store.load(Timestamp(run.timestamp))).unwrap();
        assert_eq!(ranges(&store).len(), records, "{what}");
        block_on(read(&store, file, 0, 1)).is_ok()
    };
    assert!(reload("as it is", 0, &second, 1));
    assert!(!reload("the old one in its place", 0, &first, 0));
    assert!(reload("the old one behind it", 1, &first, 1));
    assert!(reload("itself behind it", 1, &second, 1));
    let other = log_block(&run.disk, run.timestamp - 1, 0, &[[file.0, 0, 0, 1, 0]]);
    assert!(!reload("the root of another time", 0, &other, 0));
}

/// What a damaged log block announced is lost, if it was overwritten, and nothing else is.
#[test]
fn a_damaged_log_block_costs_what_it_announced() {
    let mut run = Run::new(9, Algorithm::Xxh64);
    let file = run.file(3, 3 * BLOCK);
    run.sync();
    for block in 0..3 {
        run.write(&[(file, block, 1, 0)]);
    }
    for damaged in 0..3 {
        let disk = Rc::new(run.disk.snapshot());
        disk.poke(8 * (1 + damaged), &[0xaa; 512]);
        let store = store(&disk, in_place());
        block_on(store.load(Timestamp(run.timestamp))).unwrap();
        for block in 0..3 {
            let found = block_on(read(&store, file, block, 1));
            if block == damaged {
                assert!(found == Err(Error::Corrupt));
            } else {
                assert!(found.unwrap().1 == run.versions[&(file, block)][1]);
            }
        }
        // The log goes on behind what is left of it.
        block_on(write(&store, file, 1, &[7; 4096], 1)).unwrap();
        let after = self::store(&disk, in_place());
        block_on(after.load(Timestamp(run.timestamp))).unwrap();
        assert!(block_on(read(&after, file, 1, 1)).unwrap().1 == [7; 4096]);
    }
}

#[test]
fn a_forged_log_makes_no_wrong_data_and_no_harm() {
    let mut run = Run::new(10, Algorithm::Xxh64);
    let file = run.file(3, 2 * BLOCK + 10);
    let hole = block_on(run.store.create(&attributes(false))).unwrap();
    block_on(run.store.truncate(hole, 1 << 40, 7)).unwrap();
    let twins = block_on(run.store.create(&attributes(true))).unwrap();
    let data = run.random.bytes(4096);
    block_on(write(&run.store, twins, 0, &data, BLOCK)).unwrap();
    run.sync();
    let sum = |block: u64| Algorithm::Xxh64.of(&run.versions[&(file, block)][0]).0;
    let most = u64::from(u32::MAX);
    let forgeries: &[&[[u64; 5]]] = &[
        &[[0, 0, 1, 1, 0], [most, most, 1, 1, 0], [9999, 0, 1, 1, 0]],
        &[
            [hole.0, 5, 1, 1, 0],
            [hole.0, most, 1, 1, 0],
            [file.0, 3, 1, 1, 0],
        ],
        &[[twins.0, 0, 1, 1, 0], [1, 0, 1, 1, 0]],
        // No store says that more is gone than was announced.
        &[
            [file.0, 0, 1, 1, 1],
            [file.0, 0, 1, 0, 0],
            [file.0, 1, 2, 3, most],
        ],
        // In circles.
        &[
            [file.0, 0, sum(0), 2, 1],
            [file.0, 0, sum(1), 1, 0],
            [file.0, 0, sum(0), 2, 1],
        ],
        // Each the other's.
        &[[file.0, 0, sum(1), 1, 0], [file.0, 1, sum(0), 1, 0]],
        &[
            [file.0, 0, sum(0), most, most - 1],
            [file.0, 1, 5, most, 0],
            [file.0, 2, sum(2), 1, 0],
        ],
        &[[file.0, 0, 3, 2, 1]],
    ];
    for (number, records) in forgeries.iter().enumerate() {
        for position in [0, 254] {
            let disk = Rc::new(run.disk.snapshot());
            for at in 0..=position {
                let block = log_block(&disk, run.timestamp, at, records);
                disk.poke(8 * (1 + u64::from(at)), &block);
            }
            let mut store = store(&disk, in_place());
            let mut corrupt = 0;
            for _ in 0..2 {
                block_on(store.load(Timestamp(run.timestamp))).unwrap();
                corrupt = 0;
                for block in 0..3 {
                    match block_on(read(&store, file, block, 1)) {
                        Ok((_, data)) => assert!(data == run.versions[&(file, block)][0]),
                        Err(error) => {
                            assert_eq!(error, Error::Corrupt);
                            corrupt += 1;
                        }
                    }
                }
                assert!(block_on(read(&store, twins, 0, 1)).unwrap().1 == data);
                // It goes on, behind a full log too.
                for block in 0..3 {
                    let size = 3 * BLOCK;
                    block_on(write(&store, twins, block, &data, size)).unwrap();
                    block_on(write(&store, hole, block, &data, size)).unwrap();
                }
                store = self::store(&disk, in_place());
            }
            assert_eq!(corrupt, usize::from(number == 7), "forgery {number}");
            block_on(store.load(Timestamp(run.timestamp))).unwrap();
            block_on(write(&store, file, 0, &data, 1)).unwrap();
            assert!(block_on(read(&store, file, 0, 1)).unwrap().1 == data);
            block_on(store.sync(checkpoint(run.timestamp + 1))).unwrap();
            block_on(store.load(Timestamp(run.timestamp + 1))).unwrap();
            assert!(block_on(read(&store, file, 0, 1)).unwrap().1 == data);
        }
    }
}

/// A sector of the log, or of the data, that the disk cannot read costs what it holds.
#[test]
fn what_cannot_be_read_is_an_error_and_the_rest_is_there() {
    let mut run = Run::new(11, Algorithm::Xxh64);
    let file = run.file(4, 4 * BLOCK);
    run.sync();
    run.write(&[(file, 0, 2, 0)]);
    run.write(&[(file, 2, 2, 0)]);
    for bad in [8, 16, run.places[&(file, 1)], run.places[&(file, 2)]] {
        let disk = Rc::new(run.disk.snapshot());
        disk.fault(move |operation| match operation {
            Operation::Read { sector, sectors } if (sector..sector + sectors).contains(&bad) => {
                Err(Error::Device)
            }
            _ => Ok(()),
        });
        let store = store(&disk, in_place());
        block_on(store.load(Timestamp(run.timestamp))).unwrap();
        let lost: &[u64] = match bad {
            8 => &[0, 1],
            16 => &[2, 3],
            _ if bad == run.places[&(file, 1)] => &[1],
            _ => &[2],
        };
        for block in 0..4 {
            match block_on(read(&store, file, block, 1)) {
                Ok((_, data)) => assert!(data == run.versions[&(file, block)][1]),
                Err(_) => assert!(lost.contains(&block), "sector {bad}, block {block}"),
            }
        }
    }
}

/// After the death of a task the log above is replayed, cuts before contents. A torn block must not be
/// in the way of that.
#[test]
fn a_file_can_be_cut_within_a_torn_block() {
    let mut run = Run::new(12, Algorithm::Crc32c);
    let file = run.file(2, 2 * BLOCK);
    run.sync();
    run.write(&[(file, 1, 1, 0)]);
    run.disk.poke(run.places[&(file, 1)], &[0xee; 512]);
    let store = store(&run.disk, in_place());
    block_on(store.load(Timestamp(run.timestamp))).unwrap();
    for time in 0..2 {
        block_on(store.truncate(file, BLOCK + 10, 7)).unwrap();
        let found = block_on(read(&store, file, 1, 1));
        assert!(found == Err(Error::Corrupt), "{time}");
        // Nor does what was cut off come back with a disk that thinks better of it.
        let whole = run.versions[&(file, 1)][1].clone();
        run.disk.poke(run.places[&(file, 1)], &whole);
        block_on(store.truncate(file, 2 * BLOCK, 7)).unwrap();
        let found = block_on(read(&store, file, 1, 1));
        assert!(found == Err(Error::Corrupt), "{time}");
    }
    let data = vec![3; 4096];
    let healed = write_of(&store, Algorithm::Crc32c, file, 1, &data, 1);
    block_on(healed).unwrap();
    assert!(block_on(read(&store, file, 1, 1)).unwrap().1 == data);
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
