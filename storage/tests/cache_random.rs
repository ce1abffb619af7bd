//! Random calls against a model, with crashes below at random points: what a user reads is always
//! what a user wrote, and what is below after a sync is all of it.

mod cache_support;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use async_lock::RwLock;
use cache_support::{Below, Random, SyncPoint, Ticks, write_all, write_of, yield_now};
use futures_executor::LocalPool;
use futures_util::{FutureExt, future::join_all, pin_mut, select_biased, task::LocalSpawnExt};
use storage::{
    Error,
    buffer::Sink,
    cache::{Cache, Config, Statistics},
    file::{AttributeChange, Attributes, FileNumber, FileService},
};

type Outcome<T = ()> = Result<T, String>;

/// What a file should be.
#[derive(Clone, Default, PartialEq, Debug)]
struct Expected {
    data: Vec<u8>,
    mode: u32,
    modified_ns: u64,
    accessed_ns: u64,
}

type Model = BTreeMap<FileNumber, Expected>;

#[derive(Clone, Copy)]
struct Scenario {
    seed: u64,
    clients: u64,
    steps: u64,
    crash_every: Option<u64>,
    crashes_around_sync: bool,
    replay_crashes_of_ten: u64,
    lose_write: Option<u64>,
    background: bool,
}

const PLAIN: Scenario = Scenario {
    seed: 0,
    clients: 3,
    steps: 250,
    crash_every: None,
    crashes_around_sync: false,
    replay_crashes_of_ten: 0,
    lose_write: None,
    background: true,
};

struct Client {
    cache: Cache<Below, Ticks>,
    barrier: Rc<RwLock<()>>,
    random: Random,
    model: Model,
    files: Vec<FileNumber>,
    time: u64,
}

fn small() -> Config {
    // Deaths in quick succession are what these tests are about: the limit has its own test.
    Config {
        pages: 96,
        log_pages: 48,
        files: 64,
        ..Config::default()
    }
}

impl Client {
    /// Issues a call as naming does: beside no sync, and again after one when memory is full.
    async fn change<T>(&self, mut call: impl AsyncFnMut() -> storage::Result<T>) -> Outcome<T> {
        for _ in 0..20 {
            let result = {
                let _shared = self.barrier.read().await;
                call().await
            };
            match result {
                Ok(value) => return Ok(value),
                Err(Error::NoMemory) => self.sync().await?,
                Err(error) => return Err(format!("unexpected error: {error}")),
            }
        }
        Err("memory stays full in spite of syncs".into())
    }

    async fn sync(&self) -> Outcome {
        let _alone = self.barrier.write().await;
        self.cache
            .sync()
            .await
            .map(|_| ())
            .map_err(|error| format!("sync: {error}"))
    }

    async fn step(&mut self) -> Outcome {
        let file = self.files[self.random.below(self.files.len() as u64) as usize];
        self.time += 1;
        let time = self.time;
        let cache = self.cache.clone();
        let Some(mut expected) = self.model.get(&file).cloned() else {
            let attributes = Attributes {
                mode: time as u32,
                modified_ns: time,
                changed_ns: time,
                ..Attributes::default()
            };
            self.change(async || cache.create(file, &attributes).await)
                .await?;
            let new = Expected {
                mode: time as u32,
                modified_ns: time,
                ..Expected::default()
            };
            self.model.insert(file, new);
            return Ok(());
        };
        let size = expected.data.len() as u64;
        match self.random.below(20) {
            0 => {
                self.change(async || cache.delete(file).await).await?;
                self.model.remove(&file);
                return Ok(());
            }
            1 | 2 => {
                let to = match self.random.below(3) {
                    0 => self.random.below(size + 1),
                    1 => size + self.random.below(20_000),
                    _ => self.random.below(size / 4096 + 2) * 4096,
                };
                self.change(async || cache.truncate(file, to, time).await)
                    .await?;
                expected.data.resize(to as usize, 0);
                expected.modified_ns = time;
            }
            3 => {
                let change = AttributeChange {
                    mode: Some(time as u32),
                    accessed_ns: Some(time),
                    ..AttributeChange::default()
                };
                self.change(async || cache.setattr(file, &change).await)
                    .await?;
                expected.mode = time as u32;
                expected.accessed_ns = time;
            }
            4..=10 => {
                let offset = match self.random.below(4) {
                    0 => size,
                    1 => size + self.random.below(30_000),
                    2 => self.random.below(size / 4096 + 1) * 4096,
                    _ => self.random.below(size + 1),
                };
                let len = match self.random.below(4) {
                    0 => 4096,
                    1 => 1 + self.random.below(40_000),
                    _ => 1 + self.random.below(5_000),
                };
                let offset = offset.min(120_000);
                let data = self.random.bytes(len as usize);
                self.change(async || write_all(&cache, write_of(file, offset, &data, time)).await)
                    .await?;
                let end = offset as usize + data.len();
                if expected.data.len() < end {
                    expected.data.resize(end, 0);
                }
                expected.data[offset as usize..end].copy_from_slice(&data);
                expected.modified_ns = time;
            }
            _ => {
                let offset = self.random.below(size + 100);
                let len = 1 + self.random.below(30_000) as usize;
                let mut bytes = vec![0xaa; len];
                let got = self.cache.read(file, offset, Sink::local(&mut bytes)).await;
                let got = got.map_err(|error| format!("read: {error}"))?;
                let from = expected.data.len().min(offset as usize);
                let to = expected.data.len().min(offset as usize + len);
                if bytes[..got] != expected.data[from..to] {
                    return Err(format!("{file:?}: wrong data at {offset}, {len} bytes"));
                }
                return self.check_attributes(file, &expected).await;
            }
        }
        self.model.insert(file, expected);
        Ok(())
    }

    async fn check_attributes(&self, file: FileNumber, expected: &Expected) -> Outcome {
        let found = self
            .cache
            .getattr(file)
            .await
            .map_err(|error| format!("getattr: {error}"))?;
        let same = found.size == expected.data.len() as u64
            && found.mode == expected.mode
            && found.modified_ns == expected.modified_ns
            && found.accessed_ns == expected.accessed_ns;
        if same {
            Ok(())
        } else {
            Err(format!("{file:?}: {found:?}, expected {expected:?}"))
        }
    }

    async fn check_all(&self) -> Outcome {
        check(&self.cache, &self.files, &self.model).await
    }
}

async fn check(cache: &Cache<Below, Ticks>, files: &[FileNumber], model: &Model) -> Outcome {
    for &file in files {
        match (cache.getattr(file).await, model.get(&file)) {
            (Err(Error::NotFound), None) => {}
            (Ok(found), Some(expected)) => {
                let mut bytes = vec![0; expected.data.len() + 10];
                let got = cache.read(file, 0, Sink::local(&mut bytes)).await;
                let got = got.map_err(|error| format!("{file:?}: {error}"))?;
                if bytes[..got] != expected.data {
                    return Err(format!("{file:?}: wrong content"));
                }
                if (found.mode, found.modified_ns) != (expected.mode, expected.modified_ns) {
                    return Err(format!("{file:?}: wrong attributes {found:?}"));
                }
            }
            (found, expected) => {
                return Err(format!(
                    "{file:?}: {found:?}, expected {:?}",
                    expected.is_some()
                ));
            }
        }
    }
    Ok(())
}

/// Runs a scenario; returns what the cache did.
fn run(scenario: Scenario) -> Outcome<Statistics> {
    let below = Below::new(scenario.seed + 1000);
    below.state().crash_every = scenario.crash_every;
    below.state().crash_in = scenario.crash_every;
    below.state().replay_crashes_of_ten = scenario.replay_crashes_of_ten;
    let cache = Cache::new(below.clone(), Ticks::default(), small());
    let mut pool = LocalPool::new();
    if scenario.background {
        let cache = cache.clone();
        let task = async move { cache.background().await };
        pool.spawner().spawn_local(task).expect("the pool runs");
    }
    let barrier = Rc::new(RwLock::new(()));
    let ended = Rc::new(RefCell::new(0));
    let clients = (0..scenario.clients).map(|index| Client {
        cache: cache.clone(),
        barrier: barrier.clone(),
        random: Random::new(scenario.seed * 31 + index),
        model: Model::new(),
        files: (0..8)
            .map(|n| FileNumber(10 + n * scenario.clients + index))
            .collect(),
        time: 1,
    });
    let clients: Vec<_> = clients.collect();
    let outcome: Outcome<Vec<Client>> = pool.run_until(async {
        cache
            .attach()
            .await
            .map_err(|error| format!("attach: {error}"))?;
        let work = clients.into_iter().map(|mut client| {
            let (ended, below) = (ended.clone(), below.clone());
            async move {
                let mut outcome = Ok(());
                for step in 0..scenario.steps {
                    outcome = client.step().await;
                    if client.random.one_in(60) && outcome.is_ok() {
                        if scenario.crashes_around_sync && client.random.one_in(2) {
                            let point = [SyncPoint::Before, SyncPoint::After]
                                [client.random.below(2) as usize];
                            below.state().crash_in_sync.push(point);
                        }
                        outcome = client.sync().await;
                    }
                    if scenario.lose_write.is_some() && step == scenario.steps / 2 {
                        below.state().lose_write = scenario.lose_write;
                    }
                    if outcome.is_err() {
                        break;
                    }
                }
                if outcome.is_ok() {
                    outcome = client.check_all().await;
                }
                *ended.borrow_mut() += 1;
                outcome.map(|()| client)
            }
        });
        let syncer = async {
            // As naming does it: when the cache asks for it.
            while *ended.borrow() < scenario.clients {
                let wanted = cache.early_sync_wanted().fuse();
                let tick = async {
                    for _ in 0..200 {
                        yield_now().await;
                    }
                }
                .fuse();
                pin_mut!(wanted, tick);
                let wanted = select_biased! { _ = wanted => true, () = tick => false };
                if wanted {
                    let _alone = barrier.write().await;
                    cache
                        .sync()
                        .await
                        .map_err(|error| format!("early sync: {error}"))?;
                }
            }
            Ok::<(), String>(())
        };
        let (clients, synced) = futures_util::join!(join_all(work), syncer);
        synced?;
        clients.into_iter().collect()
    });
    let clients = outcome?;
    let statistics = cache.statistics();
    pool.run_until(async {
        // No more crashes: whatever is on its way must arrive by itself.
        below.state().crash_every = None;
        below.state().crash_in = None;
        below.state().replay_crashes_of_ten = 0;
        below.state().crash_in_replay.clear();
        clients[0].sync().await?;
        for client in &clients {
            client.check_all().await?;
        }
        // And it is all below, as a cache that knows nothing sees after one more crash.
        below.crash();
        let fresh = Cache::new(below.clone(), Ticks::default(), small());
        fresh
            .attach()
            .await
            .map_err(|error| format!("attach: {error}"))?;
        for client in &clients {
            check(&fresh, &client.files, &client.model).await?;
        }
        Ok::<(), String>(())
    })?;
    let violations = std::mem::take(&mut below.state().violations);
    if violations.is_empty() {
        Ok(statistics)
    } else {
        Err(format!("violations: {violations:?}"))
    }
}

fn run_seeds(scenario: Scenario, seeds: std::ops::Range<u64>) -> Vec<Statistics> {
    let one = |seed| match run(Scenario { seed, ..scenario }) {
        Ok(statistics) => statistics,
        Err(error) => panic!("seed {seed}: {error}"),
    };
    seeds.map(one).collect()
}

#[test]
fn content_is_as_written_without_crashes() {
    let runs = run_seeds(PLAIN, 0..8);
    assert!(
        runs.iter().all(|run| run.evictions > 0),
        "the runs are to be larger than the cache"
    );
    assert!(runs.iter().all(|run| run.hits > 0 && run.misses > 0));
    assert!(runs.iter().all(|run| run.recoveries == 0));
}

#[test]
fn content_is_as_written_with_nobody_in_the_background() {
    run_seeds(
        Scenario {
            background: false,
            ..PLAIN
        },
        20..24,
    );
}

#[test]
fn content_survives_crashes_now_and_then() {
    let runs = run_seeds(
        Scenario {
            crash_every: Some(600),
            ..PLAIN
        },
        100..116,
    );
    assert!(runs.iter().map(|run| run.recoveries).sum::<u64>() > 30);
}

#[test]
fn content_survives_crashes_in_the_middle_of_replays() {
    let scenario = Scenario {
        crash_every: Some(600),
        replay_crashes_of_ten: 7,
        ..PLAIN
    };
    let runs = run_seeds(scenario, 200..216);
    assert!(runs.iter().map(|run| run.recoveries).sum::<u64>() > 50);
    assert!(runs.iter().map(|run| run.recoveries_overtaken).sum::<u64>() > 50);
}

#[test]
fn content_survives_crashes_around_syncs() {
    let scenario = Scenario {
        crashes_around_sync: true,
        crash_every: Some(900),
        ..PLAIN
    };
    let runs = run_seeds(scenario, 300..316);
    assert!(
        runs.iter().any(|run| run.recoveries_cleared > 0),
        "crashes after the checkpoint"
    );
    assert!(
        runs.iter()
            .any(|run| run.recoveries > run.recoveries_cleared),
        "crashes before it"
    );
}

/// The tests above are worth nothing if they do not notice a page that never arrived.
#[test]
fn a_lost_write_is_noticed() {
    let lost = (0..10).filter(|&seed| {
        let scenario = Scenario {
            seed,
            lose_write: Some(1 + seed % 4),
            ..PLAIN
        };
        let crashing = Scenario {
            crash_every: Some(600),
            ..scenario
        };
        run(scenario).is_err() && run(crashing).is_err()
    });
    // A page may be overwritten or deleted before anyone looks.
    assert!(lost.count() >= 4);
}
