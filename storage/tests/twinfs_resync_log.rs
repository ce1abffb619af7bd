//! The resynchronisation log of TwinFS when it is full, damaged, forged or cannot be written or read: no wrong
//! data, and no more lost than what it said.

mod twinfs_support;

use std::rc::Rc;

use futures_executor::block_on;
use storage::{
    Error,
    block::ram::Operation,
    checksum::Algorithm,
    file::{FileStore, Timestamp},
};
use twinfs_support::{overwriting::*, *};

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
