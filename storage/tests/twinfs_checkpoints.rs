//! Which checkpoints a TwinFS has, and returning to them.

mod twinfs_support;

use std::rc::Rc;

use futures_executor::block_on;
use storage::{
    Error,
    block::ram::RamDisk,
    checksum::Algorithm,
    file::{Checkpoint, FileNumber, FileStore, StoreFormat, Timestamp},
    twinfs::Config,
};
use twinfs_support::*;

fn pair(disk: &Disk, seed: u64) -> Pair {
    Pair {
        store: fresh(disk, Config::default(), 16),
        model: Model::new(),
        random: Random(seed),
        blocks_max: 20,
    }
}

/// Whoever has another disk in the machine hears so; a disk of which nobody knows what it is may be a damaged one.
/// Either can be formatted.
#[test]
fn a_disk_with_something_else_on_it_is_no_volume_and_one_with_anything_may_be_a_damaged_one() {
    let random = Random(5).bytes(4096);
    let with = |mut block: Vec<u8>, at: usize, bytes: &[u8]| {
        block[at..at + bytes.len()].copy_from_slice(bytes);
        block
    };
    let others = [
        (with(vec![0; 4096], 510, &[0x55, 0xaa]), Error::NotFormatted),
        (
            with(vec![0; 4096], 1080, &[0x53, 0xef]),
            Error::NotFormatted,
        ),
        (with(random.clone(), 0, b"XFSB"), Error::NotFormatted),
        (random.clone(), Error::Corrupt),
        (b"no volume\n".repeat(4096)[..4096].to_vec(), Error::Corrupt),
    ];
    for (number, (first, error)) in others.into_iter().enumerate() {
        let disk = disk(8);
        disk.poke(0, &first);
        for second in [&[0; 4096], &random[..]] {
            disk.poke(256 * 8, second);
            let store = store(&disk, Config::default());
            assert_eq!(block_on(store.info()), Err(error), "disk {number}");
        }
        fresh(&disk, Config::default(), 16);
    }
    // One that is too small for a volume holds none.
    let small = Rc::new(RamDisk::new(64));
    assert_eq!(
        block_on(store(&small, Config::default()).info()),
        Err(Error::NotFormatted)
    );
}

#[test]
fn a_new_store_says_what_it_was_made_as() {
    for algorithm in [Algorithm::Xxh64, Algorithm::Crc32c] {
        let disk = disk(8);
        let store = store(&disk, Config::default());
        assert_eq!(block_on(store.info()), Err(Error::NotFormatted));
        assert_eq!(block_on(store.load(Timestamp(1))), Err(Error::NotFormatted));
        let format = format_of(16, algorithm);
        block_on(store.format(&format)).unwrap();
        assert_eq!(
            block_on(store.getattr(FileNumber(1))),
            Err(Error::NotLoaded)
        );
        assert_eq!(block_on(store.sync(checkpoint(2))), Err(Error::NotLoaded));
        let info = block_on(store.info()).unwrap();
        assert_eq!(
            (info.volume, info.index, info.stores),
            (0x1234_5678_9abc, 1, 3)
        );
        assert_eq!(info.algorithm, algorithm);
        assert_eq!(
            info.newest,
            Checkpoint {
                timestamp: Timestamp(1),
                present: 0b111
            }
        );
        assert_eq!(info.previous, None);
        assert_eq!(block_on(store.load(Timestamp(0))), Err(Error::NoCheckpoint));
        assert_eq!(block_on(store.load(Timestamp(2))), Err(Error::NoCheckpoint));
        block_on(store.load(Timestamp(1))).unwrap();
        let mapping = block_on(store.getattr(FileNumber(1))).unwrap();
        assert!(mapping.class.protected);
        assert_eq!(mapping.size, 0);
    }
}

#[test]
fn formats_that_make_no_sense_are_refused() {
    let good = format_of(16, Algorithm::Xxh64);
    let refused = [
        StoreFormat {
            twin_offset: 0,
            ..good
        },
        StoreFormat {
            twin_offset: 257,
            ..good
        },
        StoreFormat { stores: 0, ..good },
        StoreFormat { stores: 33, ..good },
        StoreFormat { index: 3, ..good },
    ];
    for format in refused {
        let disk = disk(8);
        let store = store(&disk, Config::default());
        assert_eq!(
            block_on(store.format(&format)),
            Err(Error::BadArgument),
            "{format:?}"
        );
        assert_eq!(disk.pages(), 0);
    }
    let tiny = disk(3);
    let result = block_on(store(&tiny, Config::default()).format(&good));
    assert_eq!(result, Err(Error::BadArgument));
}

#[test]
fn format_leaves_nothing_of_an_older_volume() {
    let disk = disk(16);
    let mut old = pair(&disk, 5);
    for _ in 0..50 {
        old.step();
    }
    block_on(old.store.sync(checkpoint(2))).unwrap();
    block_on(old.store.sync(checkpoint(3))).unwrap();
    let store = fresh(&disk, Config::default(), 16);
    let info = block_on(store.info()).unwrap();
    assert_eq!((info.newest.timestamp, info.previous), (Timestamp(1), None));
    let mut model = Model::new();
    model.gone = (2..100).collect();
    model.compare(&store, "new volume");
}

#[test]
fn the_previous_checkpoint_can_be_loaded_until_something_is_written() {
    for seed in 0..8 {
        let disk = disk(16);
        let mut pair = pair(&disk, seed);
        let mut models = vec![Model::new(), Model::new()];
        for timestamp in 2..6 {
            for _ in 0..25 {
                pair.step();
            }
            block_on(pair.store.sync(checkpoint(timestamp))).unwrap();
            models.push(pair.model.clone());
            let info = block_on(pair.store.info()).unwrap();
            assert_eq!(info.previous.unwrap().timestamp, Timestamp(timestamp - 1));
        }
        // Another instance says the same, and returns.
        let copy = std::rc::Rc::new(disk.snapshot());
        let other = store(&copy, Config::default());
        assert_eq!(
            block_on(other.info()).unwrap(),
            block_on(pair.store.info()).unwrap()
        );
        block_on(other.load(Timestamp(4))).unwrap();
        models[4].compare(&other, "previous, other instance");

        // What has only changed in memory is no hindrance.
        block_on(pair.store.create(&attributes(false))).unwrap();
        block_on(pair.store.load(Timestamp(4))).unwrap();
        models[4].compare(&pair.store, "previous, same instance");

        // The newest is gone for good: the way goes on from the previous.
        let info = block_on(store(&disk, Config::default()).info()).unwrap();
        assert_eq!((info.newest.timestamp, info.previous), (Timestamp(4), None));
        pair.model = models[4].clone();
        for _ in 0..25 {
            pair.step();
        }
        assert_eq!(
            block_on(pair.store.load(Timestamp(5))),
            Err(Error::NoCheckpoint)
        );
        block_on(pair.store.load(Timestamp(4))).unwrap();
        pair.model = models[4].clone();
        for _ in 0..25 {
            pair.step();
        }
        block_on(pair.store.sync(checkpoint(5))).unwrap();
        let again = store(&disk, Config::default());
        block_on(again.load(Timestamp(5))).unwrap();
        pair.model.compare(&again, "the new checkpoint 5");
    }
}

#[test]
fn a_previous_checkpoint_that_was_overwritten_is_not_offered() {
    let disk = disk(16);
    let mut pair = pair(&disk, 3);
    for timestamp in 2..4 {
        for _ in 0..25 {
            pair.step();
        }
        block_on(pair.store.sync(checkpoint(timestamp))).unwrap();
    }
    disk.record();
    for _ in 0..25 {
        pair.step();
    }
    block_on(pair.store.sync(checkpoint(4))).unwrap();
    // Everything of checkpoint 4 but its root: what checkpoint 2 refers to is no longer there.
    let history = disk.history().unwrap();
    let crashed = std::rc::Rc::new(history.crash(history.events().len() - 2, |_, _| true));
    let info = block_on(store(&crashed, Config::default()).info()).unwrap();
    assert_eq!((info.newest.timestamp, info.previous), (Timestamp(3), None));
}

/// Its blocks are used again, while all that its root points to is still there.
#[test]
fn a_previous_checkpoint_whose_blocks_are_used_again_is_not_offered() {
    let disk = disk(16);
    let store = fresh(&disk, Config::default(), 16);
    let file = block_on(store.create(&attributes(false))).unwrap();
    block_on(write(&store, file, 0, &[1; 600 * 4096], 600 * BLOCK)).unwrap();
    block_on(store.sync(checkpoint(2))).unwrap();
    block_on(store.delete(file)).unwrap();
    block_on(store.sync(checkpoint(3))).unwrap();
    assert_eq!(
        block_on(store.info()).unwrap().previous,
        Some(checkpoint(2))
    );
    let other = block_on(store.create(&attributes(false))).unwrap();
    let mut block = 0;
    while block_on(write(&store, other, block, &[2; 4096], (block + 1) * BLOCK)).is_ok() {
        block += 1;
    }
    assert!(block > 600, "{block} blocks");
    let again = twinfs_support::store(&disk, Config::default());
    for store in [&store, &again] {
        let info = block_on(store.info()).unwrap();
        assert_eq!((info.newest, info.previous), (checkpoint(3), None));
    }
    assert_eq!(block_on(again.load(Timestamp(2))), Err(Error::NoCheckpoint));
}

/// When all stores have a checkpoint, each is told. Then the one before is gone, and the first write costs
/// nothing more.
#[test]
fn a_finished_checkpoint_has_no_way_back() {
    let disk = disk(16);
    let store = fresh(&disk, Config::default(), 16);
    let file = block_on(store.create(&attributes(false))).unwrap();
    block_on(store.sync(checkpoint(2))).unwrap();
    assert_eq!(
        block_on(store.finish(Timestamp(1))),
        Err(Error::BadArgument)
    );
    let previous = |store: &Store| {
        let info = block_on(store.info()).unwrap();
        assert_eq!(info.finished, info.previous.is_none());
        info.previous.map(|it| it.timestamp)
    };
    assert_eq!(previous(&store), Some(Timestamp(1)));
    let before = disk.counters().flushes;
    block_on(store.finish(Timestamp(2))).unwrap();
    assert_eq!(disk.counters().flushes, before + 1);
    assert_eq!(previous(&store), None);
    // On the medium, too, and without a flush after it.
    let again = twinfs_support::store(&disk, Config::default());
    assert_eq!(previous(&again), None);
    block_on(store.finish(Timestamp(2))).unwrap();
    block_on(write(&store, file, 0, &[1; 4096], BLOCK)).unwrap();
    assert_eq!(disk.counters().flushes, before + 1);
}

/// What the way back costs: a flush in each checkpoint of several stores, if something is written in it.
#[test]
fn a_checkpoint_takes_two_flushes_and_one_for_the_way_back() {
    for (present, written, flushes) in [
        (0b10, true, 2),
        (0b10, false, 2),
        (0b11, true, 3),
        (0b11, false, 2),
    ] {
        let disk = disk(16);
        let store = fresh(&disk, Config::default(), 16);
        let file = block_on(store.create(&attributes(false))).unwrap();
        let mut before = 0;
        for timestamp in 2..12 {
            if written {
                block_on(write(&store, file, 0, &[1; 4096], BLOCK)).unwrap();
                block_on(write(&store, file, 1, &[2; 4096], 2 * BLOCK)).unwrap();
            }
            let checkpoint = Checkpoint {
                timestamp: Timestamp(timestamp),
                present,
            };
            block_on(store.sync(checkpoint)).unwrap();
            let now = disk.counters().flushes;
            // The first one is taken after `load`, which must flush.
            if timestamp > 2 {
                let what = format!("{present:b}, {written}, checkpoint {timestamp}");
                assert_eq!(now - before, flushes, "{what}");
            }
            before = now;
            let way_back = block_on(store.info()).unwrap().previous.is_some();
            assert_eq!(way_back, present == 0b11);
        }
    }
}

#[test]
fn checkpoints_are_counted_one_by_one() {
    let disk = disk(8);
    let store = fresh(&disk, Config::default(), 16);
    for wrong in [0, 1, 3, u64::MAX] {
        assert_eq!(
            block_on(store.sync(checkpoint(wrong))),
            Err(Error::BadArgument)
        );
    }
    for timestamp in 2..20 {
        block_on(store.sync(checkpoint(timestamp))).unwrap();
        assert_eq!(
            block_on(store.info()).unwrap().newest,
            checkpoint(timestamp)
        );
    }
    assert_eq!(block_on(store.resync_ranges(0)).unwrap().len(), 0);
}

#[test]
fn bad_arguments_change_nothing() {
    let disk = disk(8);
    let store = fresh(&disk, Config::default(), 16);
    let file = block_on(store.create(&attributes(false))).unwrap();
    let block = [1; 4096];
    let put = |file, at, data: &[u8], size| block_on(write(&store, file, at, data, size));
    assert_eq!(put(FileNumber(0), 0, &block, 4096), Err(Error::NotFound));
    assert_eq!(put(FileNumber(99), 0, &block, 4096), Err(Error::NotFound));
    assert_eq!(
        put(FileNumber(u64::MAX), 0, &block, 4096),
        Err(Error::NotFound)
    );
    assert_eq!(put(file, 0, &block[..100], 100), Err(Error::BadArgument));
    assert_eq!(
        put(file, 7, &block, 4096),
        Err(Error::BadArgument),
        "beyond its own size"
    );
    assert_eq!(put(file, 1 << 32, &block, 1 << 45), Err(Error::TooBig));
    assert_eq!(put(file, 1 << 40, &block, 1 << 45), Err(Error::TooBig));
    assert_eq!(
        block_on(store.truncate(file, (1 << 44) + 1, 1)),
        Err(Error::TooBig)
    );
    assert_eq!(block_on(store.delete(FileNumber(77))), Err(Error::NotFound));
    assert_eq!(
        block_on(store.delete(FileNumber(1))),
        Err(Error::BadArgument)
    );
    let mut half = [0; 100];
    let sink = storage::buffer::Sink::local(&mut half);
    assert_eq!(block_on(store.read(file, 0, sink)), Err(Error::BadArgument));
    assert_eq!(
        block_on(read(&store, file, u64::MAX >> 12, 1)).unwrap().0,
        0
    );
    let mut model = Model::new();
    model.create(file, attributes(false));
    model.compare(&store, "after bad arguments");
}
