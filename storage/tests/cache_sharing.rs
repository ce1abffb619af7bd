//! Many at once on one file, pages shared between them, under eviction and crashes: nobody's bytes
//! are lost to somebody else's.

mod cache_support;

use std::{cell::Cell, rc::Rc};

use cache_support::{PAGE, Random, Rig, write_of};
use futures_util::future::{join, join_all};
use storage::{
    Error,
    buffer::Sink,
    cache::Config,
    file::{Attributes, FileNumber, FileService},
};

/// Bytes of a stripe: pages hold parts of several.
const STRIPE: usize = 1500;
const STRIPES: usize = 360;
const CLIENTS: usize = 6;

/// Each client writes stripes of its own, and reads them back, and others' beside.
fn share(seed: u64, crash_every: Option<u64>) -> (u64, u64) {
    let config = Config {
        pages: 64,
        log_pages: 256,
        ..Config::default()
    };
    let mut rig = Rig::with_seed(seed, config);
    rig.below.state().delay_max = 6;
    let file = rig.file(9, &[0; STRIPES * STRIPE]);
    let noise = rig.file(10, &[1; 100 * PAGE]);
    rig.sync();
    rig.below.state().crash_every = crash_every;
    rig.below.state().crash_in = crash_every;
    let left = Rc::new(Cell::new(CLIENTS));
    rig.run(async |cache| {
        let clients = join_all((0..CLIENTS).map(async |client| {
            let mut random = Random::new(seed * 100 + client as u64);
            let mut own: Vec<Vec<u8>> = vec![vec![0; STRIPE]; STRIPES / CLIENTS];
            for _ in 0..150 {
                let index = random.below(own.len() as u64) as usize;
                let stripe = index * CLIENTS + client;
                let skip = random.below(STRIPE as u64 / 2) as usize;
                let len = 1 + random.below((STRIPE - skip) as u64) as usize;
                let at = (stripe * STRIPE + skip) as u64;
                if random.one_in(2) {
                    let data = random.bytes(len);
                    own[index][skip..skip + len].copy_from_slice(&data);
                    let write = write_of(file, at, &data, 1);
                    let written = cache.write(write).await;
                    assert_eq!(written, Ok(len), "seed {seed}");
                } else {
                    let mut found = vec![0; len];
                    let read = cache.read(file, at, Sink::local(&mut found)).await;
                    assert_eq!(read, Ok(len), "seed {seed}");
                    assert_eq!(
                        found,
                        own[index][skip..skip + len],
                        "seed {seed}: stripe {stripe}"
                    );
                }
                if random.one_in(3) {
                    // A read over many stripes, which others change meanwhile.
                    let at = random.below((STRIPES * STRIPE) as u64);
                    let mut any = vec![0; 5 * PAGE];
                    cache.read(file, at, Sink::local(&mut any)).await.unwrap();
                }
            }
            left.set(left.get() - 1);
            own
        }));
        let pushing_out = async {
            let mut random = Random::new(seed);
            let mut any = vec![0; 3 * PAGE];
            while left.get() > 0 {
                let at = random.below(100) * PAGE as u64;
                cache.read(noise, at, Sink::local(&mut any)).await.unwrap();
                cache_support::yield_now().await;
            }
        };
        let (owned, ()) = join(clients, pushing_out).await;
        let mut expected = vec![0; STRIPES * STRIPE];
        for (client, own) in owned.iter().enumerate() {
            for (index, data) in own.iter().enumerate() {
                let at = (index * CLIENTS + client) * STRIPE;
                expected[at..at + STRIPE].copy_from_slice(data);
            }
        }
        let mut found = vec![0; expected.len()];
        cache.read(file, 0, Sink::local(&mut found)).await.unwrap();
        assert_eq!(found, expected, "seed {seed}");
    });
    rig.no_violations();
    (
        rig.cache.statistics().misses,
        rig.cache.statistics().recoveries,
    )
}

#[test]
fn nobody_loses_bytes_to_somebody_else() {
    for seed in 0..15 {
        let (misses, _) = share(seed, None);
        assert!(
            misses > 100,
            "seed {seed}: pages are read while others want to write them"
        );
    }
}

#[test]
fn nobody_loses_bytes_to_somebody_else_and_a_crash() {
    let replays: u64 = (50..62).map(|seed| share(seed, Some(250)).1).sum();
    assert!(replays > 12);
}

/// Create, delete and truncate of the same file, all at once: one after the other, in some order.
#[test]
fn conflicting_calls_take_turns() {
    for seed in 0..30 {
        let mut rig = Rig::with_seed(seed, Config::default());
        rig.below.state().delay_max = 9;
        let file = FileNumber(9);
        let (one, two) = rig.run(async |cache| {
            let attributes = Attributes::default();
            join(
                cache.create(file, &attributes),
                cache.create(file, &attributes),
            )
            .await
        });
        assert!(
            matches!(
                (one, two),
                (Ok(()), Err(Error::Exists)) | (Err(Error::Exists), Ok(()))
            ),
            "seed {seed}: {one:?} {two:?}"
        );
        rig.run(async |cache| {
            let data = [7; 3 * PAGE];
            let write = cache.write(write_of(file, 0, &data, 1));
            let cut = cache.truncate(file, 100, 2);
            let delete = cache.delete(file);
            let (write, cut, delete) = futures_util::join!(write, cut, delete);
            assert!(
                matches!(write, Ok(_) | Err(Error::NotFound)),
                "seed {seed}: {write:?}"
            );
            assert!(
                matches!(cut, Ok(()) | Err(Error::NotFound)),
                "seed {seed}: {cut:?}"
            );
            assert_eq!(delete, Ok(()), "seed {seed}");
            assert_eq!(
                cache.getattr(file).await,
                Err(Error::NotFound),
                "seed {seed}"
            );
            cache.sync().await.unwrap();
        });
        assert_eq!(
            rig.cache.statistics().pages,
            0,
            "seed {seed}: a deleted file has no pages"
        );
        rig.no_violations();
    }
}

/// A page that was on its way up when somebody wrote it must not come back as it was.
#[test]
fn a_slow_read_brings_no_old_data_back() {
    let config = Config {
        pages: 64,
        log_pages: 0,
        read_ahead_pages: 0,
        ..Config::default()
    };
    let mut rig = Rig::new(config);
    let file = rig.file(9, &[1; PAGE]);
    let noise = rig.file(10, &[3; 200 * PAGE]);
    rig.sync();
    rig.content(noise).unwrap();
    let below = rig.below.clone();
    below.state().held_reads = Some(file);
    let read_before = below.state().pages_read;
    rig.run(async |cache| {
        let mut old = [0; PAGE];
        let slow = cache.read(file, 0, Sink::local(&mut old));
        let write = async {
            while below.state().pages_read == read_before {
                cache_support::yield_now().await;
            }
            cache.write(write_of(file, 0, &[2; PAGE], 1)).await.unwrap();
            cache.sync().await.unwrap();
        };
        let push_out = async {
            let mut bytes = vec![0; PAGE];
            while below.state().pages_read == read_before {
                cache_support::yield_now().await;
            }
            for round in 0..3 * 200 {
                cache_support::yield_now().await;
                let at = (round % 200 * PAGE) as u64;
                cache
                    .read(noise, at, Sink::local(&mut bytes))
                    .await
                    .unwrap();
            }
            below.state().held_reads = None;
        };
        let (read, (), ()) = futures_util::join!(slow, write, push_out);
        assert_eq!(read, Ok(PAGE));
        let mut new = [0; PAGE];
        cache.read(file, 0, Sink::local(&mut new)).await.unwrap();
        assert_eq!(new, [2; PAGE]);
    });
    rig.no_violations();
}

/// Write-back never has all the calls below that there may be at once.
#[test]
fn a_reader_does_not_wait_for_write_back() {
    let config = Config {
        pages: 256,
        log_pages: 0,
        read_ahead_pages: 0,
        ..Config::default()
    };
    let mut rig = Rig::new(config);
    let file = rig.file(9, &[1; PAGE]);
    let noise = rig.file(10, &[3; 600 * PAGE]);
    rig.sync();
    rig.content(noise).unwrap();
    for number in 20..30 {
        let file = rig.file(number, &[]);
        // Four runs of pages.
        for page in [0, 2, 4, 6] {
            let write = write_of(file, page * PAGE as u64, &[2; PAGE], 1);
            assert_eq!(rig.run(async |cache| cache.write(write).await), Ok(PAGE));
        }
    }
    let below = rig.below.clone();
    below.state().held_writes = true;
    let pages_read = below.state().pages_read;
    rig.run(async |cache| {
        let read = async {
            for _ in 0..1000 {
                cache_support::yield_now().await;
            }
            assert!(below.calls("write") >= 16, "write-back takes what it may");
            let mut bytes = [0; PAGE];
            let read = cache.read(file, 0, Sink::local(&mut bytes)).await;
            assert_eq!((read, bytes), (Ok(PAGE), [1; PAGE]));
            assert_eq!(below.state().pages_read, pages_read + 1);
            below.state().held_writes = false;
        };
        assert!(join(cache.sync(), read).await.0.is_ok());
    });
    rig.no_violations();
}
