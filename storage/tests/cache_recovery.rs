//! Crashes at chosen points, and the end of what can be recovered.

mod cache_support;

use cache_support::{Below, PAGE, Random, Rig, SyncPoint, Ticks, write_of, yield_now};
use futures_executor::LocalPool;
use futures_util::{
    FutureExt,
    future::{join, join_all},
};
use storage::{
    Error,
    buffer::Sink,
    cache::{Cache, Config},
    file::{AttributeChange, Attributes, FileNumber, FileService, Timestamp},
};

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

fn small() -> Config {
    Config {
        pages: 64,
        log_pages: 256,
        dirty_percent: 10,
        ..Config::default()
    }
}

/// Every kind of change, sent down and then lost.
#[test]
fn every_kind_of_change_is_there_again() {
    let mut rig = Rig::new(small());
    let data = bytes(1, 40 * PAGE);
    let [kept, cut, deleted, replaced, untouched] =
        [1, 2, 3, 4, 5].map(|number| rig.file(number, &data[..10 * PAGE]));
    rig.sync();
    let created = rig.file(6, &data);
    let change = AttributeChange {
        mode: Some(0o755),
        ..AttributeChange::default()
    };
    rig.run(async |cache| {
        cache
            .write(write_of(kept, 5000, b"changed", 10))
            .await
            .unwrap();
        cache.truncate(cut, 5000, 11).await.unwrap();
        cache.truncate(cut, 9000, 12).await.unwrap();
        cache.delete(deleted).await.unwrap();
        cache.delete(replaced).await.unwrap();
        cache
            .create(replaced, &Attributes::default())
            .await
            .unwrap();
        cache
            .write(write_of(replaced, 0, b"new", 13))
            .await
            .unwrap();
        cache.setattr(untouched, &change).await.unwrap();
    });
    // Send as much as possible down without a checkpoint, by asking much of a small cache.
    for number in 0..40 {
        rig.file(50 + number, &data[..4 * PAGE]);
    }
    assert!(
        rig.cache.statistics().log_pages > 64,
        "the log has pages beyond the cache"
    );
    rig.below.crash();
    let expect = |rig: &mut Rig| {
        let mut changed = data[..10 * PAGE].to_vec();
        changed[5000..5007].copy_from_slice(b"changed");
        assert_eq!(rig.content(kept).unwrap(), changed);
        let mut zeroed = data[..5000].to_vec();
        zeroed.resize(9000, 0);
        assert_eq!(rig.content(cut).unwrap(), zeroed);
        assert_eq!(rig.content(deleted), Err(Error::NotFound));
        assert_eq!(rig.content(replaced).unwrap(), b"new");
        assert_eq!(rig.content(created).unwrap(), data);
        assert_eq!(rig.content(untouched).unwrap(), data[..10 * PAGE]);
        for number in 0..40 {
            assert_eq!(
                rig.content(FileNumber(50 + number)).unwrap(),
                data[..4 * PAGE]
            );
        }
    };
    expect(&mut rig);
    rig.sync();
    assert_eq!(rig.cache.statistics().recoveries, 1);
    assert!(rig.cache.statistics().recovery_ns_max > 0);
    assert_eq!(
        rig.cache.statistics().log_pages,
        0,
        "a sync empties the log"
    );
    assert_eq!(rig.cache.statistics().log_files, 0);
    assert_eq!(
        rig.below.state().checkpoint.files[&untouched]
            .attributes
            .mode,
        0o755
    );
    rig.below.crash();
    expect(&mut rig);
    rig.no_violations();
}

/// A cache with nothing in it, over what another has stored: the truth is below.
#[test]
fn a_sync_leaves_nothing_in_memory_alone() {
    let mut rig = Rig::new(small());
    let data = bytes(3, 30 * PAGE + 77);
    let file = rig.file(9, &data);
    rig.sync();
    rig.below.crash();
    let cache = Cache::new(rig.below.clone(), Ticks::default(), small());
    let mut found = vec![0; data.len()];
    LocalPool::new().run_until(async {
        cache.attach().await.unwrap();
        assert_eq!(
            cache.read(file, 0, Sink::local(&mut found)).await,
            Ok(data.len())
        );
    });
    assert_eq!(found, data);
}

#[test]
fn a_crash_in_a_sync_before_the_checkpoint_means_all_of_it_once_more() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, b"one");
    rig.below.state().crash_in_sync = vec![SyncPoint::Before, SyncPoint::Before];
    assert_eq!(rig.sync(), Timestamp(2));
    let statistics = rig.cache.statistics();
    assert_eq!(
        (statistics.recoveries, statistics.recoveries_cleared),
        (2, 0)
    );
    assert_eq!(rig.stored(file).unwrap(), b"one");
    rig.no_violations();
}

#[test]
fn a_crash_in_a_sync_after_the_checkpoint_clears_the_log() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, b"one");
    rig.below.state().crash_in_sync = vec![SyncPoint::After];
    rig.sync();
    let statistics = rig.cache.statistics();
    assert_eq!(
        (statistics.recoveries, statistics.recoveries_cleared),
        (1, 1)
    );
    assert_eq!(
        rig.below.calls("create"),
        1,
        "a file that is there is not created again"
    );
    assert_eq!(rig.stored(file).unwrap(), b"one");
    // And what comes after is based on the new checkpoint.
    rig.run(async |cache| cache.write(write_of(file, 0, b"two", 2)).await.unwrap());
    rig.below.crash();
    rig.sync();
    assert_eq!(rig.stored(file).unwrap(), b"two");
    rig.no_violations();
}

#[test]
fn crashes_in_attach_and_soon_after_are_survived() {
    let mut rig = Rig::new(small());
    let data = bytes(1, 20 * PAGE);
    for number in 0..10 {
        rig.file(10 + number, &data);
    }
    rig.below.crash();
    rig.below.state().crash_in_attach = 3;
    rig.below.state().crash_in_replay = vec![1, 5, 9, 2, 14];
    for number in 0..10 {
        assert_eq!(rig.content(FileNumber(10 + number)).unwrap(), data);
    }
    rig.sync();
    let statistics = rig.cache.statistics();
    assert_eq!(statistics.recoveries_broken_off, 3, "{statistics:?}");
    assert_eq!(statistics.recoveries_overtaken, 5, "{statistics:?}");
    for number in 0..10 {
        assert_eq!(rig.stored(FileNumber(10 + number)).unwrap(), data);
    }
    rig.no_violations();
}

/// One recovery serves all calls that the crash ended.
#[test]
fn calls_under_way_share_one_recovery() {
    let mut rig = Rig::new(small());
    let data = bytes(1, 4 * PAGE);
    let files: Vec<_> = (0..20).map(|number| rig.file(10 + number, &data)).collect();
    rig.sync();
    let attaches = rig.below.calls("attach");
    let below = rig.below.clone();
    below.state().delay_max = 30;
    rig.run(async |cache| {
        let creates = join_all((0..20).map(async |number| {
            cache
                .create(FileNumber(100 + number), &Attributes::default())
                .await
                .unwrap();
        }));
        let reads = join_all(files.iter().map(async |&file| {
            let mut found = vec![0; data.len()];
            assert_eq!(
                cache.read(file, 0, Sink::local(&mut found)).await,
                Ok(data.len())
            );
            assert_eq!(found, data);
        }));
        let crash = async {
            for _ in 0..4 {
                yield_now().await;
            }
            below.crash();
        };
        futures_util::join!(creates, reads, crash)
    });
    assert_eq!(rig.below.calls("attach"), attaches + 1);
    for number in 0..20 {
        rig.run(async |cache| cache.getattr(FileNumber(100 + number)).await.unwrap());
    }
    rig.no_violations();
}

/// A log that does not fit what is below means that data would be lost: everything stops, at once and
/// for all.
#[test]
fn a_foreign_checkpoint_stops_the_stack() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, b"one");
    rig.sync();
    rig.run(async |cache| {
        cache
            .create(FileNumber(10), &Attributes::default())
            .await
            .unwrap()
    });
    rig.below.state().timestamp += 1;
    rig.below.crash();
    let outcome = rig.run(async |cache| cache.create(FileNumber(11), &Attributes::default()).await);
    assert_eq!(outcome, Err(Error::PeerGone));
    let (sync, write, wanted) = rig.run(async |cache| {
        let sync = cache.sync().await;
        let write = cache.write(write_of(file, 0, b"two", 1)).await;
        (sync, write, cache.early_sync_wanted().await)
    });
    assert_eq!(sync, Err(Error::PeerGone));
    assert_eq!(write, Err(Error::PeerGone));
    assert_eq!(wanted, Err(Error::PeerGone));
}

#[test]
fn attaching_that_gets_nowhere_ends() {
    let mut rig = Rig::new(Config {
        call_attempts: 5,
        ..small()
    });
    rig.file(9, b"one");
    rig.below.crash();
    rig.below.state().crash_in_attach = u64::MAX;
    let attaches = rig.below.calls("attach");
    let outcome = rig.run(async |cache| cache.sync().await);
    assert_eq!(outcome, Err(Error::PeerGone));
    assert_eq!(rig.below.calls("attach"), attaches + 6);
}

/// Who crashed lately may crash again: until that is long ago, little is left to be undone.
#[test]
fn after_a_crash_a_sync_is_wanted_soon() {
    let config = Config {
        pages: 4096,
        log_pages: 4096,
        pages_after_crash: 32,
        ..Config::default()
    };
    let mut rig = Rig::new(config);
    let data = bytes(6, 40 * PAGE);
    let wanted =
        |rig: &mut Rig| rig.run(async |cache| cache.early_sync_wanted().now_or_never().is_some());
    rig.file(9, &data);
    assert!(!wanted(&mut rig), "forty pages are little");
    rig.sync();
    rig.below.crash();
    rig.file(10, b"x");
    assert!(!wanted(&mut rig), "a page is little even now");
    rig.file(11, &data);
    assert!(
        wanted(&mut rig),
        "forty pages are much while a crash is fresh"
    );
    rig.sync();
    assert!(!wanted(&mut rig));
}

/// A call that kills whoever serves it is not issued for ever.
#[test]
fn a_deadly_call_is_given_up() {
    let mut rig = Rig::new(Config {
        call_attempts: 7,
        ..small()
    });
    rig.file(9, b"one");
    rig.below.state().crash_in_sync = vec![SyncPoint::Before; 100];
    assert_eq!(
        rig.run(async |cache| cache.sync().await),
        Err(Error::PeerGone)
    );
    assert_eq!(rig.below.state().crash_in_sync.len(), 100 - 8);
}

/// Callers that go away in the middle leave no doubt about what is below.
#[test]
fn calls_dropped_halfway_are_carried_to_their_end() {
    let attributes = Attributes::default();
    for steps in 0..12 {
        let mut rig = Rig::with_seed(steps, small());
        let old = rig.file(9, &[1; 2 * PAGE]);
        rig.sync();
        rig.below.state().delay_max = 8;
        rig.run(async |cache| {
            let mut create = Box::pin(cache.create(FileNumber(20), &attributes).fuse());
            let mut truncate = Box::pin(cache.truncate(old, 10, 4).fuse());
            let mut sync = Box::pin(cache.sync().fuse());
            for _ in 0..steps {
                let _ = futures_util::poll!(&mut create);
                let _ = futures_util::poll!(&mut truncate);
                let _ = futures_util::poll!(&mut sync);
                yield_now().await;
            }
        });
        if steps > 0 {
            let sizes = rig.run(async |cache| {
                let size = async |file| cache.getattr(file).await.map(|found| found.size);
                cache.sync().await.unwrap();
                join(size(FileNumber(20)), size(old)).await
            });
            assert_eq!(sizes, (Ok(0), Ok(10)), "dropped after {steps} steps");
            rig.below.crash();
            assert_eq!(
                rig.content(old).unwrap(),
                [1; 10],
                "dropped after {steps} steps"
            );
        }
        rig.no_violations();
    }
}

#[test]
fn a_caller_that_restarts_finds_the_cache_as_it_was() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, b"not yet below");
    rig.run(async |cache| assert_eq!(cache.attach().await.unwrap().checkpoint, Timestamp(1)));
    assert_eq!(rig.content(file).unwrap(), b"not yet below");
    assert_eq!(rig.below.calls("attach"), 1);
    rig.sync();
    rig.run(async |cache| assert_eq!(cache.attach().await.unwrap().checkpoint, Timestamp(2)));
}

#[test]
fn a_format_forgets_everything() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, &[1; 5 * PAGE]);
    rig.sync();
    rig.run(async |cache| cache.write(write_of(file, 0, b"dirty", 3)).await.unwrap());
    let format = storage::file::VolumeFormat {
        volume: 77,
        algorithm: Default::default(),
        twin_offset: 16,
    };
    rig.run(async |cache| cache.format(&format).await.unwrap());
    assert_eq!(rig.content(file), Err(Error::NotFound));
    let statistics = rig.cache.statistics();
    assert_eq!(
        (
            statistics.pages,
            statistics.dirty_pages,
            statistics.log_files
        ),
        (0, 0, 0)
    );
    rig.file(9, b"again");
    rig.sync();
    assert_eq!(rig.stored(file).unwrap(), b"again");
}

#[test]
fn nothing_works_before_attach() {
    let cache = Cache::new(Below::new(1), Ticks::default(), small());
    LocalPool::new().run_until(async {
        assert_eq!(cache.getattr(FileNumber(1)).await, Err(Error::NotLoaded));
        assert_eq!(cache.sync().await, Err(Error::NotLoaded));
    });
}

/// Memory below that is short while files are deleted again is not the end.
#[test]
fn what_is_owed_is_tried_again_when_memory_below_is_short() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, &[1; PAGE]);
    rig.sync();
    rig.run(async |cache| cache.delete(file).await.unwrap());
    rig.below.state().delete_errors = vec![Error::NoMemory; 5];
    rig.below.crash();
    let found = rig.run(async |cache| cache.usage().await);
    found.expect("the stack goes on");
    rig.sync();
    assert_eq!(rig.stored(file), None);
    rig.no_violations();
}

#[test]
fn a_number_that_the_checkpoint_still_has_is_not_free() {
    let mut rig = Rig::new(small());
    let [kept, deleted] = [1, 300].map(|number| rig.file(number, b"text"));
    rig.sync();
    let in_use = |rig: &mut Rig, number: FileNumber| {
        let mut bits = [0; 64];
        let known = rig.run(async |cache| {
            let bitmap = Sink::local(&mut bits);
            cache.numbers(FileNumber(0), bitmap).await.expect("numbers")
        });
        let byte = number.0 as usize / 8;
        byte < known && bits[byte] & 1 << (number.0 % 8) != 0
    };
    rig.run(async |cache| cache.delete(deleted).await.unwrap());
    assert!(
        in_use(&mut rig, deleted),
        "after a crash of the system it is there again"
    );
    assert!(in_use(&mut rig, kept));
    rig.sync();
    assert!(!in_use(&mut rig, deleted));
    assert!(in_use(&mut rig, kept));
}
