//! What each way of overwriting data costs a disk, in requests and flushes.
//!
//! `cargo test -p tests --test overwrite_costs -- --nocapture --test-threads 1` prints the figures.

#![recursion_limit = "256"]

use std::{cell::Cell, future::poll_fn, pin::pin, rc::Rc, task::Poll};

use futures_util::future::{Either, select};
use storage::{
    block::ram::{Operation, RamDisk},
    buffer::Source,
    twinfs::Overwrite,
    vfs::{FileSystem, OpenFlags},
};
use tests::{
    random::Random,
    stack::{CacheSize, Collapsed, TestClock, collapsed_that, format, on_a_large_stack},
};
use workload::{
    Go,
    postmark::{self, Parameters},
};

const MODES: [Overwrite; 3] = [Overwrite::Relocate, Overwrite::InPlace, Overwrite::Unlogged];

/// What a disk was asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Costs {
    flushes: u64,
    writes: u64,
    bytes: u64,
    log_writes: u64,
    log_blocks: u64,
}

/// A volume of one disk that answers late, so that calls meet.
struct Bench {
    disk: Rc<RamDisk>,
    log: Rc<Cell<(u64, u64)>>,
    system: Collapsed,
    before: Cell<Costs>,
}

impl Bench {
    fn new(overwrite: Overwrite, cache: CacheSize) -> Self {
        let disk = Rc::new(RamDisk::new(1 << 19));
        let log = Rc::new(Cell::new((0, 0)));
        let counted = log.clone();
        disk.fault(move |operation| {
            if let Operation::Write { sector, sectors } = operation
                && (8..256 * 8).contains(&sector)
            {
                let (writes, blocks) = counted.get();
                counted.set((writes + 1, blocks + sectors / 8));
            }
            Ok(())
        });
        let disks = [Some(disk.clone())];
        let system = collapsed_that(overwrite, &disks, &TestClock::default(), cache);
        system.run(format(&system.client(0), "bench"));
        disk.delay(3);
        Self {
            disk,
            log,
            system,
            before: Cell::default(),
        }
    }

    fn now(&self) -> Costs {
        let (counters, (log_writes, log_blocks)) = (self.disk.counters(), self.log.get());
        Costs {
            flushes: counters.flushes,
            writes: counters.writes,
            bytes: counters.bytes_written,
            log_writes,
            log_blocks,
        }
    }

    fn begin(&self) {
        self.before.set(self.now());
    }

    /// Since `begin`; prints it.
    fn end(&self, what: &str) -> Costs {
        let (before, now) = (self.before.get(), self.now());
        let costs = Costs {
            flushes: now.flushes - before.flushes,
            writes: now.writes - before.writes,
            bytes: now.bytes - before.bytes,
            log_writes: now.log_writes - before.log_writes,
            log_blocks: now.log_blocks - before.log_blocks,
        };
        println!(
            "{what:<38} {:>5} flushes {:>6} writes {:>5} MiB {:>4} log writes {:>4} log blocks",
            costs.flushes,
            costs.writes,
            costs.bytes >> 20,
            costs.log_writes,
            costs.log_blocks
        );
        costs
    }
}

/// A file of 8 MiB that the checkpoint has; then random overwrites of 4 to 16 KiB, a sync after each
/// `between` of them.
fn overwrites(overwrite: Overwrite, cache: CacheSize, syncs: u32, between: u32) -> Costs {
    const BLOCKS: u64 = 2048;
    let bench = Bench::new(overwrite, cache);
    bench.system.run(async {
        let client = bench.system.client(0);
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        let file = client.open(b"/data", flags, 0o644).await.unwrap();
        let mut random = Random::new(5);
        for block in (0..BLOCKS).step_by(256) {
            let data = vec![random.number() as u8; 1 << 20];
            let written = client.write(file, Some(block * 4096), Source::local(&data));
            assert_eq!(written.await, Ok(data.len()));
        }
        client.sync().await.unwrap();
        bench.begin();
        for _ in 0..syncs {
            for _ in 0..between {
                let blocks = 1 + random.below(4);
                let data = vec![random.number() as u8; blocks as usize * 4096];
                let at = random.below(BLOCKS - blocks) * 4096;
                let written = client.write(file, Some(at), Source::local(&data));
                assert_eq!(written.await, Ok(data.len()));
            }
            client.sync().await.unwrap();
        }
        bench.end(&format!("{overwrite:?}, {cache:?} cache, {between} a sync"))
    })
}

#[test]
fn overwrites_of_a_file_share_the_flushes_of_the_log() {
    on_a_large_stack(|| {
        println!();
        for (syncs, between) in [(20, 10), (5, 100), (2, 500)] {
            let [relocated, in_place, unlogged] =
                MODES.map(|overwrite| overwrites(overwrite, CacheSize::Ample, syncs, between));
            // Each time the cache writes back it says beforehand what.
            let groups = in_place.flushes - unlogged.flushes;
            assert_eq!(groups, in_place.log_writes);
            assert!(groups < 2 * u64::from(syncs), "{groups} flushes of the log");
            assert_eq!(relocated.log_writes + unlogged.log_writes, 0);
        }
    });
}

/// PostMark, with a sync after each so many steps.
fn postmark(overwrite: Overwrite, cache: CacheSize, files: u32, between: u64) -> Costs {
    let bench = Bench::new(overwrite, cache);
    bench.system.run(async {
        let parameters = Parameters {
            files,
            transactions: 2 * files,
            size_min: 4 << 10,
            size_max: 28 << 10,
            read_block: 4 << 10,
            write_block: 4 << 10,
            subdirectories: 10,
            sync: true,
            ..Parameters::default()
        };
        let client = bench.system.client(0);
        let steps = Cell::new(0_u64);
        let mut progress = |_| {
            steps.set(steps.get() + 1);
            Go::On
        };
        bench.begin();
        let clock = TestClock::default();
        let work = postmark::run(&client, &clock, &parameters, &mut progress);
        let other = bench.system.client(1);
        let syncs = async {
            let mut next = between;
            loop {
                if steps.get() >= next {
                    next += between;
                    other.sync().await.unwrap();
                }
                let mut yielded = false;
                poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::replace(&mut yielded, true) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            }
        };
        match select(pin!(work), pin!(syncs)).await {
            Either::Left((report, _)) => assert_eq!(report.errors.count, 0),
            Either::Right(((), _)) => {}
        }
        bench.end(&format!("{overwrite:?}, {cache:?} cache, PostMark"))
    })
}

#[test]
fn postmark_overwrites_little() {
    on_a_large_stack(|| {
        println!();
        let [relocated, in_place, unlogged] =
            MODES.map(|overwrite| postmark(overwrite, CacheSize::Ample, 400, 200));
        assert!(
            in_place.log_writes > 0,
            "it appends to files of the checkpoint"
        );
        assert!(
            in_place.flushes < 2 * unlogged.flushes,
            "{in_place:?} {unlogged:?}"
        );
        assert_eq!(relocated.log_writes + unlogged.log_writes, 0);
    });
}

/// A small cache writes back all the time, a few files at a time: it announces those that come next, too.
#[test]
fn what_a_small_cache_writes_in_many_steps_shares_flushes() {
    on_a_large_stack(|| {
        println!();
        let run = |overwrite| postmark(overwrite, CacheSize::Small, 1000, 1000);
        let [relocated, in_place, unlogged] = MODES.map(run);
        // One for each step would be 91.
        assert!((5..30).contains(&in_place.log_writes), "{in_place:?}");
        assert_eq!(in_place.flushes, unlogged.flushes + in_place.log_writes);
        assert!(in_place.writes < unlogged.writes * 21 / 20, "{unlogged:?}");
        assert_eq!(relocated.log_writes + unlogged.log_writes, 0);
    });
}

/// What is overwritten again before its turn has come costs a flush more.
#[test]
fn random_overwrites_under_a_small_cache_share_some_flushes() {
    on_a_large_stack(|| {
        println!();
        let run = |overwrite| overwrites(overwrite, CacheSize::Small, 2, 3000);
        let [_, in_place, unlogged] = MODES.map(run);
        // One for each step would be 335.
        assert!((10..250).contains(&in_place.log_writes), "{in_place:?}");
        assert_eq!(in_place.flushes, unlogged.flushes + in_place.log_writes);
    });
}
