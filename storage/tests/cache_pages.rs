//! What the cache saves: calls, reads, checksums; and what bounds it.

mod cache_support;

use cache_support::{PAGE, Random, Rig, write_all, write_of};
use futures_util::future::join;
use storage::{
    Error,
    buffer::Sink,
    cache::Config,
    file::{AttributeChange, Attributes, FileNumber, FileService},
};

fn pages(pages: usize) -> Config {
    Config {
        pages,
        log_pages: pages,
        ..Config::default()
    }
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

/// PostMark's daily bread: a small file, written in small steps.
#[test]
fn a_small_file_costs_one_create_and_later_one_write() {
    let mut rig = Rig::new(Config::default());
    let data = bytes(1, 16384);
    let file = FileNumber(9);
    let before = rig.cache.statistics().calls_below;
    rig.run(async |cache| {
        cache.create(file, &Attributes::default()).await.unwrap();
        for (index, part) in data.chunks(4096).enumerate() {
            cache
                .write(write_of(file, index as u64 * 4096, part, 7))
                .await
                .unwrap();
        }
    });
    assert_eq!(rig.content(file).unwrap(), data);
    assert_eq!(
        rig.cache.statistics().calls_below,
        before + 1,
        "the create and nothing else"
    );
    rig.sync();
    assert_eq!(rig.below.calls("write"), 1);
    assert_eq!(
        rig.below.calls("setattr"),
        0,
        "the write brings size and times with it"
    );
    assert_eq!(rig.below.calls("truncate"), 0);
    assert_eq!(rig.below.calls("read"), 0);
    assert_eq!(
        rig.cache.statistics().checksums,
        12,
        "written, sent down, and read"
    );
    assert_eq!(rig.stored(file).unwrap(), data);
    rig.no_violations();
}

#[test]
fn a_file_deleted_before_a_sync_is_never_written() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, &bytes(1, 100_000));
    rig.run(async |cache| cache.delete(file).await.unwrap());
    rig.sync();
    assert_eq!(rig.below.calls("write"), 0);
    assert_eq!(rig.content(file), Err(Error::NotFound));
    let statistics = rig.cache.statistics();
    assert_eq!((statistics.dirty_pages, statistics.pages), (0, 0));
}

/// Rewriting pages before they are written back costs nothing below. Each write is checksummed, once, and
/// what is sent down once more: what outlives the cache must be known to be whole.
#[test]
fn rewritten_pages_are_written_once() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, &bytes(1, 8 * PAGE));
    for seed in 0..20 {
        let data = bytes(seed, 8 * PAGE);
        rig.run(async |cache| cache.write(write_of(file, 0, &data, seed)).await.unwrap());
    }
    rig.sync();
    assert_eq!(rig.cache.statistics().pages_written, 8);
    assert_eq!(rig.cache.statistics().checksums, 8 * 22);
    assert_eq!(
        rig.cache.statistics().copies_on_write,
        0,
        "nothing of a page is left standing"
    );
}

#[test]
fn contiguous_pages_go_down_in_large_writes() {
    let mut rig = Rig::new(Config::default());
    rig.file(9, &bytes(1, 300 * PAGE));
    rig.sync();
    assert_eq!(rig.below.calls("write"), 5);
    assert_eq!(rig.below.state().write_pages_max, 60);
    rig.no_violations();
}

#[test]
fn a_reader_in_order_is_read_ahead_of() {
    let mut rig = Rig::new(pages(1024));
    let data = bytes(3, 512 * PAGE);
    let file = rig.file(9, &data);
    rig.sync();
    rig.below.crash();
    // Another cache, that has nothing of it.
    let below = rig.below.clone();
    let mut other = Rig::new(pages(1024));
    other.below.state().now = below.state().checkpoint.clone();
    let mut page = vec![0; PAGE];
    other.run(async |cache| {
        for index in 0..512u64 {
            let got = cache
                .read(file, index * PAGE as u64, Sink::local(&mut page))
                .await
                .unwrap();
            assert_eq!(
                (got, &page[..]),
                (PAGE, &data[index as usize * PAGE..][..PAGE])
            );
        }
    });
    let calls = other.below.calls("read");
    assert!(calls <= 16, "{calls} reads for 512 pages in order");
    // At random there is nothing to be had from reading ahead.
    let mut third = Rig::new(pages(1024));
    third.below.state().now = below.state().checkpoint.clone();
    third.run(async |cache| {
        for index in [400u64, 3, 77, 200, 11, 300] {
            cache
                .read(file, index * PAGE as u64, Sink::local(&mut page))
                .await
                .unwrap();
        }
    });
    assert_eq!(third.below.state().pages_read, 6);
}

#[test]
fn partial_writes_read_only_what_they_leave_standing() {
    let mut rig = Rig::new(pages(256));
    let mut data = bytes(3, 10 * PAGE + 100);
    let file = rig.file(9, &data);
    rig.sync();
    let mut other = Rig::new(pages(256));
    other.below.state().now = rig.below.state().checkpoint.clone();
    let piece = bytes(4, 3 * PAGE);
    // Two partial pages at the ends, two whole ones between.
    other.run(async |cache| cache.write(write_of(file, 1000, &piece, 8)).await.unwrap());
    assert_eq!(other.below.state().pages_read, 2);
    data[1000..1000 + piece.len()].copy_from_slice(&piece);
    // The last page up to its end, whatever that is; and beyond the end.
    other.run(async |cache| {
        cache
            .write(write_of(file, 10 * PAGE as u64, &piece[..100], 8))
            .await
            .unwrap();
        cache
            .write(write_of(file, 12 * PAGE as u64 + 5, &piece[..50], 8))
            .await
            .unwrap();
    });
    assert_eq!(other.below.state().pages_read, 2);
    data[10 * PAGE..10 * PAGE + 100].copy_from_slice(&piece[..100]);
    data.resize(12 * PAGE + 5, 0);
    data.extend_from_slice(&piece[..50]);
    assert_eq!(other.content(file).unwrap(), data);
    other.sync();
    assert_eq!(other.stored(file).unwrap(), data);
    other.no_violations();
}

#[test]
fn what_is_cut_off_reads_as_zeros_when_the_file_grows_again() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, &[7; 5 * PAGE]);
    for synced in [false, true] {
        if synced {
            rig.sync();
        }
        rig.run(async |cache| {
            cache.truncate(file, 4096 + 10, 1).await.unwrap();
            cache.truncate(file, 3 * 4096, 2).await.unwrap();
            cache
                .write(write_of(file, 4 * 4096, b"end", 3))
                .await
                .unwrap();
        });
        let mut expected = vec![7; 4096 + 10];
        expected.resize(4 * 4096, 0);
        expected.extend_from_slice(b"end");
        assert_eq!(rig.content(file).unwrap(), expected);
        rig.sync();
        assert_eq!(rig.stored(file).unwrap(), expected);
        rig.run(async |cache| {
            cache.truncate(file, 0, 4).await.unwrap();
            cache
                .write(write_of(file, 0, &[7; 5 * PAGE], 5))
                .await
                .unwrap();
        });
    }
    rig.no_violations();
}

/// A file cut off before it was ever written down must have its size below all the same.
#[test]
fn a_size_without_pages_arrives_below() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, b"");
    rig.run(async |cache| {
        cache
            .write(write_of(file, 1 << 20, b"far", 3))
            .await
            .unwrap();
        cache.truncate(file, 5000, 4).await.unwrap();
    });
    rig.sync();
    assert_eq!(rig.stored(file).unwrap(), vec![0; 5000]);
}

#[test]
fn a_scan_leaves_the_pages_that_are_used_all_the_time() {
    let mut rig = Rig::new(pages(256));
    let hot = rig.file(9, &bytes(1, 64 * PAGE));
    let large = rig.file(10, &bytes(2, 2000 * PAGE));
    rig.sync();
    for _ in 0..3 {
        rig.content(hot).unwrap();
    }
    rig.content(large).unwrap();
    let before = rig.cache.statistics().misses;
    rig.content(hot).unwrap();
    let missed = rig.cache.statistics().misses - before;
    assert!(
        missed <= 6,
        "{missed} of 64 pages in use were lost to a scan"
    );
    assert!(rig.cache.statistics().evictions > 1500);
}

/// Data many times the size of the cache and of the log go through them, with syncs as asked for.
#[test]
fn memory_stays_within_its_bounds() {
    let config = Config {
        pages: 128,
        log_pages: 64,
        files: 64,
        ..Config::default()
    };
    let mut rig = Rig::new(config);
    let data = bytes(5, 16 * PAGE);
    let mut syncs = 0;
    for number in 0..200u64 {
        let file = FileNumber(100 + number);
        rig.run(async |cache| {
            let mut steps = 0;
            loop {
                let made = match cache.create(file, &Attributes::default()).await {
                    Ok(()) | Err(Error::Exists) => {
                        write_all(cache, write_of(file, 0, &data, 1)).await
                    }
                    Err(error) => Err(error),
                };
                match made {
                    Ok(()) => break,
                    Err(Error::NoMemory) => {
                        // The cache has asked for it before it came to this.
                        cache.early_sync_wanted().await.unwrap();
                        cache.sync().await.unwrap();
                        syncs += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
                steps += 1;
                assert!(steps < 10, "a sync makes room");
            }
        });
        let now = rig.cache.statistics();
        assert!(now.pages <= 128, "{now:?}");
        assert!(now.log_pages_kept <= 64, "{now:?}");
        assert!(now.log_pages <= 128 + 64, "{now:?}");
        assert!(now.log_files <= 64, "{now:?}");
    }
    assert!(syncs > 5);
    assert_eq!(rig.content(FileNumber(100)).unwrap(), data);
    assert_eq!(rig.content(FileNumber(299)).unwrap(), data);
    // Files of which nothing is needed any more are forgotten.
    rig.sync();
    for number in 0..200 {
        rig.run(async |cache| cache.getattr(FileNumber(100 + number)).await.unwrap());
    }
    let files = rig.cache.statistics().files;
    assert!(files <= 64 + 128 / 16 + 16, "{files} files known");
    rig.no_violations();
}

/// A page rewritten on its way down: below sees the old one whole, then the new one.
#[test]
fn pages_on_their_way_down_are_stable() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, &[1; 4 * PAGE]);
    rig.below.state().held = true;
    let below = rig.below.clone();
    rig.run(async |cache| {
        let sync = async { cache.sync().await.unwrap() };
        let rest = async {
            while cache.statistics().writes_below == 0 && below.calls("write") == 0 {
                cache_support::yield_now().await;
            }
            // The gate is closed to writers: reads go on.
            let mut page = vec![0; PAGE];
            assert_eq!(cache.read(file, 0, Sink::local(&mut page)).await, Ok(PAGE));
            assert_eq!(page, [1; PAGE]);
            below.state().held = false;
        };
        join(sync, rest).await
    });
    assert_eq!(rig.stored(file).unwrap(), [1; 4 * PAGE]);

    // In the background writers do go on: fill the cache until it writes back by itself.
    let mut rig = Rig::new(Config {
        pages: 100,
        dirty_percent: 10,
        ..Config::default()
    });
    rig.below.state().delay_max = 40;
    let file = rig.file(9, &[0; 16 * PAGE]);
    let below = rig.below.clone();
    rig.run(async |cache| {
        for round in 1..100u8 {
            let data = [round; 16 * PAGE];
            cache.write(write_of(file, 0, &data, 1)).await.unwrap();
            for _ in 0..7 {
                cache_support::yield_now().await;
            }
        }
    });
    assert!(below.calls("write") > 10, "pages were under way");
    rig.sync();
    assert_eq!(rig.stored(file).unwrap(), [99; 16 * PAGE]);
    rig.no_violations();
}

#[test]
fn attributes_are_written_back() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, b"x");
    rig.sync();
    let setattrs = rig.below.calls("setattr");
    for mode in 1..50 {
        let change = AttributeChange {
            mode: Some(mode),
            ..AttributeChange::default()
        };
        rig.run(async |cache| cache.setattr(file, &change).await.unwrap());
        let found = rig.run(async |cache| cache.getattr(file).await.unwrap());
        assert_eq!(found.mode, mode);
    }
    rig.sync();
    assert_eq!(rig.below.calls("setattr"), setattrs + 1);
    assert_eq!(
        rig.below.state().checkpoint.files[&file].attributes.mode,
        49
    );
}

#[test]
fn blocks_are_counted_as_they_are_taken() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, &[1; 3 * PAGE + 1]);
    let blocks = |rig: &mut Rig| rig.run(async |cache| cache.getattr(file).await.unwrap().blocks);
    assert_eq!(blocks(&mut rig), 4);
    rig.sync();
    assert_eq!(blocks(&mut rig), 4);
    rig.run(async |cache| cache.truncate(file, PAGE as u64, 1).await.unwrap());
    assert_eq!(blocks(&mut rig), 1);
    rig.run(async |cache| cache.write(write_of(file, 0, &[2; PAGE], 1)).await.unwrap());
    assert_eq!(blocks(&mut rig), 1, "an overwrite takes no more room");
}

/// Whoever measures is told what the cache did: no more and no less.
#[test]
fn what_the_cache_did_is_counted() {
    let mut rig = Rig::new(Config::default());
    let file = rig.file(9, &[1; 3 * PAGE]);
    rig.sync();
    rig.content(file).unwrap();
    let work = rig.run(async |cache| cache.work().await.unwrap());
    // When they are written, when they are sent down, and when they are read.
    assert_eq!(
        (work.checksums, work.bytes_checksummed),
        (9, 9 * PAGE as u64)
    );
    assert_eq!((work.writes_below, work.reads_below, work.syncs), (1, 0, 1));
    assert_eq!((work.hits, work.misses), (3, 0));
    assert_eq!(work.bytes_copied, 6 * PAGE as u64);
    let mut other = Rig::new(Config::default());
    other.below.state().now = rig.below.state().checkpoint.clone();
    other.content(file).unwrap();
    let work = other.run(async |cache| cache.work().await.unwrap());
    assert_eq!((work.misses, work.reads_below, work.checksums), (3, 1, 3));
    let calls = ["usage", "getattr", "read"].map(|name| other.below.calls(name));
    assert_eq!(work.calls_below, calls.iter().sum::<u64>());
}

/// The future of each call is moved as a whole before it is first polled, most calls of an application among them: what
/// hardly any of them comes to has a place of its own.
#[test]
fn what_a_call_may_need_costs_only_those_that_do() {
    let mut rig = Rig::new(Config::default());
    rig.run(async |cache| {
        let (file, data, mut bytes) = (FileNumber(1), [0; 8], [0; 8]);
        let (change, attributes) = (AttributeChange::default(), Attributes::default());
        let futures = [
            (
                "write",
                768,
                size_of_val(&cache.write(write_of(file, 0, &data, 1))),
            ),
            (
                "read",
                384,
                size_of_val(&cache.read(file, 0, Sink::local(&mut bytes))),
            ),
            ("getattr", 256, size_of_val(&cache.getattr(file))),
            ("setattr", 256, size_of_val(&cache.setattr(file, &change))),
            ("truncate", 256, size_of_val(&cache.truncate(file, 0, 1))),
            ("create", 256, size_of_val(&cache.create(file, &attributes))),
        ];
        for (call, most, bytes) in futures {
            assert!(bytes <= most, "{call}: {bytes} bytes");
        }
    });
}
