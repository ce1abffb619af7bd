//! TwinFS on disks that fail: typed errors, nothing half done, and a way back.

mod twinfs_support;

use std::{cell::Cell, rc::Rc};

use futures_executor::block_on;
use storage::{
    Error,
    block::ram::Operation,
    checksum::Algorithm,
    file::{FileStore, Timestamp},
    twinfs::Config,
};
use twinfs_support::*;

/// Fails every request of a kind from the `after`th on, `count` times.
fn break_disk(disk: &Disk, kind: fn(&Operation) -> bool, after: u64, count: u64) {
    let seen = Cell::new(0);
    disk.fault(move |operation| {
        if !kind(&operation) {
            return Ok(());
        }
        seen.set(seen.get() + 1);
        if seen.get() > after && seen.get() <= after + count {
            Err(Error::Device)
        } else {
            Ok(())
        }
    });
}

fn is_write(operation: &Operation) -> bool {
    matches!(operation, Operation::Write { .. })
}

fn is_read(operation: &Operation) -> bool {
    matches!(operation, Operation::Read { .. })
}

fn is_flush(operation: &Operation) -> bool {
    matches!(operation, Operation::Flush)
}

#[test]
fn a_sync_that_fails_at_any_request_leaves_a_checkpoint_to_load() {
    for (kind, requests) in [(is_write as fn(&Operation) -> bool, 14), (is_flush, 2)] {
        let mut failures = 0;
        for after in 0..requests {
            let disk = disk(32);
            let mut pair = Pair {
                store: fresh(&disk, Config::default(), 16),
                model: Model::new(),
                random: Random(after),
                blocks_max: 30,
            };
            for _ in 0..40 {
                pair.step();
            }
            block_on(pair.store.sync(checkpoint(2))).unwrap();
            let durable = pair.model.clone();
            for _ in 0..40 {
                pair.step();
            }
            break_disk(&disk, kind, after, 1);
            let failed = block_on(pair.store.sync(checkpoint(3)));
            disk.heal();
            let what = format!("request {after}");
            if failed.is_ok() {
                continue;
            }
            failures += 1;
            // Reads go on; a second sync succeeds, or the store knows that it cannot.
            pair.model.compare(&pair.store, &what);
            let again = block_on(pair.store.sync(checkpoint(3)));
            match failed {
                Err(Error::Device) => {
                    assert_eq!(again, Ok(()), "{what}");
                    let other = store(&disk, Config::default());
                    block_on(other.load(Timestamp(3))).unwrap();
                    pair.model.compare(&other, &what);
                }
                doubt => {
                    assert_eq!(doubt, Err(Error::NotLoaded), "{what}");
                    assert_eq!(again, doubt, "{what}");
                    let create = block_on(pair.store.create(&attributes(false)));
                    assert_eq!(
                        create,
                        Err(Error::Device),
                        "{what}: changes after the failure"
                    );
                    let newest = block_on(pair.store.info()).unwrap().newest.timestamp;
                    block_on(pair.store.load(newest)).unwrap();
                    let model = if newest == Timestamp(3) {
                        &pair.model
                    } else {
                        &durable
                    };
                    model.compare(&pair.store, &what);
                    block_on(pair.store.create(&attributes(false))).unwrap();
                    let next = checkpoint(newest.0 + 1);
                    block_on(pair.store.sync(next)).unwrap();
                }
            }
        }
        let most = failures * 10 > requests * 8;
        assert!(most, "only {failures} of {requests} requests failed");
    }
}

#[test]
fn a_write_that_fails_changes_nothing_and_leaks_nothing() {
    for protected in [false, true] {
        let disk = disk(32);
        let store = fresh(&disk, Config::default(), 16);
        let file = block_on(store.create(&attributes(protected))).unwrap();
        let mut model = Model::new();
        model.create(file, attributes(protected));
        let old = Random(1).bytes(4096 * 40);
        block_on(write(&store, file, 0, &old, 40 * BLOCK)).unwrap();
        model.write(file, 0, &old, 40 * BLOCK);
        block_on(store.sync(checkpoint(2))).unwrap();
        let usage = block_on(store.usage()).unwrap();
        // Half of it is there, half is new.
        let new = Random(2).bytes(4096 * 40);
        break_disk(&disk, is_write, 0, 1);
        let failed = block_on(write(&store, file, 20, &new, 60 * BLOCK));
        assert_eq!(failed, Err(Error::Device));
        disk.heal();
        model.compare(&store, "after the failed write");
        block_on(store.sync(checkpoint(3))).unwrap();
        let after = block_on(store.usage()).unwrap();
        // An indirect block may have been made for it.
        assert!(
            usage.blocks_free - after.blocks_free <= 2,
            "{usage:?} {after:?}"
        );
        block_on(write(&store, file, 20, &new, 60 * BLOCK)).unwrap();
        model.write(file, 20, &new, 60 * BLOCK);
        model.compare(&store, "after the second try");
    }
}

#[test]
fn an_overwrite_in_place_that_fails_never_reaches_a_checkpoint() {
    let disk = disk(16);
    let store = fresh(&disk, Config::default(), 16);
    let file = block_on(store.create(&attributes(true))).unwrap();
    let old = Random(1).bytes(4096);
    block_on(write(&store, file, 0, &old, BLOCK)).unwrap();
    block_on(store.sync(checkpoint(2))).unwrap();
    block_on(write(&store, file, 0, &Random(2).bytes(4096), BLOCK)).unwrap();
    break_disk(&disk, is_write, 0, 1);
    let failed = block_on(write(&store, file, 0, &Random(3).bytes(4096), BLOCK));
    assert_eq!(failed, Err(Error::Device));
    disk.heal();
    assert_eq!(block_on(store.sync(checkpoint(3))), Err(Error::NotLoaded));
    block_on(store.load(Timestamp(2))).unwrap();
    assert_eq!(block_on(read(&store, file, 0, 1)).unwrap().1, old);
}

#[test]
fn operations_on_a_disk_that_fails_now_and_then_succeed_when_tried_again() {
    for seed in 0..8 {
        let disk = disk(64);
        let mut random = Random(seed);
        let store = fresh(&disk, small_cache(), 16);
        let mut model = Model::new();
        let mut files = Vec::new();
        for at in 0..30 {
            let attributes = attributes(at % 3 == 0);
            let file = block_on(store.create(&attributes)).unwrap();
            model.create(file, attributes);
            for block in [0, 15, 280, 66_000] {
                let data = random.bytes(4096 * 12);
                block_on(write(&store, file, block, &data, (block + 12) * BLOCK)).unwrap();
                model.write(file, block, &data, (block + 12) * BLOCK);
            }
            files.push(file);
        }
        block_on(store.sync(checkpoint(2))).unwrap();
        // All metadata has to be read again.
        block_on(store.load(Timestamp(2))).unwrap();
        let mut failures = 0;
        for file in files {
            let size = random.below(70_000 * BLOCK);
            let kind = if random.below(2) == 0 {
                is_read
            } else {
                is_write
            };
            break_disk(&disk, kind, random.below(8), 1);
            let mut result = block_on(store.truncate(file, size, 5));
            if result.is_err() {
                failures += 1;
                assert_eq!(result, Err(Error::Device), "seed {seed}");
                disk.heal();
                result = block_on(store.truncate(file, size, 5));
            }
            assert_eq!(result, Ok(()), "seed {seed}");
            model.truncate(file, size, 5);
            if random.below(2) == 0 {
                break_disk(&disk, is_read, random.below(8), 1);
                if block_on(store.delete(file)).is_err() {
                    failures += 1;
                    disk.heal();
                    block_on(store.delete(file)).unwrap();
                }
                model.delete(file);
            }
            disk.heal();
        }
        assert!(failures > 3, "seed {seed}: only {failures} failures");
        model.compare(&store, &format!("seed {seed}"));
        block_on(store.sync(checkpoint(3))).unwrap();
        block_on(store.load(Timestamp(3))).unwrap();
        model.compare(&store, &format!("seed {seed}, reloaded"));
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_a_device_error_and_nothing_else() {
    let disk = disk(16);
    let store = fresh(&disk, Config::default(), 16);
    let file = block_on(store.create(&attributes(false))).unwrap();
    block_on(write(&store, file, 0, &[1; 4096], 4096)).unwrap();
    block_on(store.sync(checkpoint(2))).unwrap();
    disk.fault(|_| Err(Error::Device));
    assert_eq!(
        block_on(read(&store, file, 0, 1)).map(|_| ()),
        Err(Error::Device)
    );
    assert!(block_on(store.load(Timestamp(2))).is_err());
    assert_eq!(block_on(store.getattr(file)), Err(Error::NotLoaded));
    assert!(block_on(store.format(&format_of(16, Algorithm::Xxh64))).is_err());
    disk.heal();
    block_on(store.load(Timestamp(2))).unwrap();
    assert_eq!(block_on(read(&store, file, 0, 1)).unwrap().1, [1; 4096]);
}

#[test]
fn a_call_dropped_half_way_costs_the_checkpoint_at_most() {
    use futures_util::{FutureExt, pin_mut};
    for polls in 0..12 {
        let disk = disk(16);
        let store = Rc::new(fresh(&disk, Config::default(), 16));
        let file = block_on(store.create(&attributes(false))).unwrap();
        let old = Random(1).bytes(4096 * 30);
        block_on(write(&*store, file, 0, &old, 30 * BLOCK)).unwrap();
        block_on(store.sync(checkpoint(2))).unwrap();
        let usage = block_on(store.usage()).unwrap();
        disk.delay(3);
        {
            let new = Random(2).bytes(4096 * 30);
            let call = write(&*store, file, 10, &new, 40 * BLOCK);
            pin_mut!(call);
            for _ in 0..polls {
                if (&mut call).now_or_never().is_some() {
                    break;
                }
            }
        }
        disk.delay(0);
        match block_on(store.sync(checkpoint(3))) {
            Ok(()) => {
                let (_, data) = block_on(read(&*store, file, 0, 10)).unwrap();
                assert_eq!(data, old[..40960], "polls {polls}");
            }
            Err(error) => {
                assert_eq!(error, Error::NotLoaded);
                block_on(store.load(Timestamp(2))).unwrap();
                assert_eq!(block_on(read(&*store, file, 0, 30)).unwrap().1, old);
                assert_eq!(block_on(store.usage()).unwrap(), usage, "polls {polls}");
            }
        }
    }
}

/// Whoever is about to erase other disks asks first: what is in memory does not answer for the device.
#[test]
fn a_dead_device_is_told_by_info_whether_or_not_the_store_is_loaded() {
    let disk = disk(8);
    let loaded = fresh(&disk, Config::default(), 16);
    let asked_anew = || block_on(store(&disk, Config::default()).info());
    break_disk(&disk, is_read, 0, u64::MAX);
    assert_eq!(block_on(loaded.info()), Err(Error::Device));
    assert_eq!(asked_anew(), Err(Error::Device));
    // One block that cannot be read is no dead disk.
    break_disk(&disk, is_read, 0, 1);
    assert!(block_on(loaded.info()).is_ok());
    break_disk(&disk, is_read, 0, 1);
    assert!(asked_anew().is_ok());
}
