//! The whole stack in one process, against a model: random operations, remounts, killed tasks,
//! power failures, missing and stale disks.
//!
//! `GALAGO_SEEDS` asks for more runs than usual, `GALAGO_SEED` for one in particular.

#![recursion_limit = "256"]

use std::rc::Rc;

use futures_executor::block_on;
use storage::{
    block::ram::{Event, History, RamDisk},
    file::FileStore,
    twinfs::{Overwrite, TwinFs},
    vfs::FileSystem,
};
use tests::{
    overwrites::{Overwrites, is_in_place},
    random::{Random, seeds},
    session::{Session, volume},
    stack::{
        CacheSize, TestClock, collapsed, collapsed_that, disks, format, on_a_large_stack,
        random_kill, tasks_that,
    },
};

#[test]
fn random_operations_do_what_posix_says_and_a_sync_keeps_them() {
    on_a_large_stack(|| seeds(8).for_each(remounts));
}

fn remounts(seed: u64) {
    let (disks, clock) = (disks(2), TestClock::default());
    let size = CacheSize::of(seed);
    let mut session = Session::new("remount", seed, &clock);
    let system = collapsed(&disks, &clock, size);
    system.run(async {
        format(&system.client(0), &session.what()).await;
    });
    drop(system);
    for _ in 0..4 {
        let system = collapsed(&disks, &clock, size);
        system.run(async {
            let client = system.client(0);
            for _ in 0..100 {
                session.step(&client).await;
            }
            session.check(&client).await;
            let checkpoint = session.sync(&client).await;
            session.crashed(checkpoint);
        });
    }
    let system = collapsed(&disks, &clock, size);
    system.run(session.check(&system.client(0)));
}

/// Tasks below the cache are killed at random messages, some of them several times in the course of
/// one recovery: no operation fails, none is lost.
#[test]
fn killed_tasks_are_not_noticed() {
    on_a_large_stack(|| {
        for (seed, overwrite) in seeds(8).zip(
            [Overwrite::Relocate, Overwrite::InPlace]
                .into_iter()
                .cycle(),
        ) {
            let (kills, restarts) = survives_kills(seed, overwrite);
            // Or the test would test nothing.
            assert!(
                kills > 10 && restarts > 5,
                "seed {seed}: {kills} kills, {restarts} restarts"
            );
        }
    });
}

fn survives_kills(seed: u64, overwrite: Overwrite) -> (u64, u64) {
    let (disks, clock) = (disks(2), TestClock::default());
    // Each kind of cache over each kind of store.
    let size = CacheSize::of(seed / 2);
    let mut session = Session::new("kills", seed, &clock);
    let mut random = Random::new(!seed);
    let (system, group) = tasks_that(overwrite, &disks, &clock, size);
    for disk in disks.iter().flatten() {
        disk.delay(1);
    }
    system.run(async {
        let client = system.client(0);
        format(&client, &session.what()).await;
        for step in 0..300 {
            if random.one_in(4) {
                group.plan(random_kill(&mut random, group.messages()));
            }
            session.step(&client).await;
            if step % 60 == 59 {
                session.sync(&client).await;
                // With nothing in the log any more, what is not in the cache comes from below.
                session.check(&client).await;
            }
        }
        session.check(&client).await;
        session.close_all(&client).await;
        session.sync(&client).await;
    });
    let system = collapsed(&disks, &clock, CacheSize::Ample);
    system.run(session.check(&system.client(0)));
    (group.kills(), group.restarts())
}

/// The power fails, at any point, with any part of what was not flushed on the medium: the next
/// mount finds exactly the last checkpoint, with either disk or both.
#[test]
fn a_power_failure_leads_back_to_the_last_checkpoint() {
    on_a_large_stack(|| {
        for seed in seeds(2) {
            let run = Recorded::new(seed, Overwrite::Relocate);
            let mut random = Random::new(!seed);
            for point in &run.points {
                // Syncs are where it is difficult.
                let times = if point.first == point.last {
                    u64::from(random.one_in(20))
                } else {
                    4
                };
                for time in 0..times {
                    let crashed = run.crash(point, time > 0, &mut random);
                    for missing in [None, Some(0), Some(1)] {
                        let mut disks: Vec<_> = crashed.iter().map(copy).collect();
                        if let Some(missing) = missing {
                            disks[missing] = None;
                        }
                        run.check(&disks, &[point.first, point.last]);
                    }
                }
            }
        }
    });
}

/// The same where data are overwritten in place: what is not as in the checkpoint is as it was at some
/// time since, in each block, on both disks or either.
#[test]
fn after_a_power_failure_overwritten_blocks_are_old_or_new() {
    on_a_large_stack(|| {
        let (mut newer, mut lost) = (0, 0);
        for seed in seeds(4) {
            // With a tiny cache much is overwritten before a sync.
            let run = Recorded::new(2 * seed + 1, Overwrite::InPlace);
            let mut random = Random::new(!seed);
            for point in run
                .points
                .iter()
                .filter(|point| point.after != point.before)
            {
                let crashed = run.crash(point, random.one_in(3), &mut random);
                let mut disks: Vec<_> = crashed.iter().map(copy).collect();
                if random.one_in(2) {
                    disks[random.below(2) as usize] = None;
                }
                let found = run.settle(&disks, point);
                (newer, lost) = (newer + found.0, lost + found.1);
            }
        }
        // Or the test would test nothing. To tear a block on both disks takes more runs than these.
        assert!(newer > 10, "{newer} blocks newer, {lost} lost");
    });
}

fn copy(disk: &Rc<RamDisk>) -> Option<Rc<RamDisk>> {
    Some(Rc::new(disk.snapshot()))
}

/// A step of a recorded run.
struct Point {
    /// Events of each disk before and after it.
    before: [usize; 2],
    after: [usize; 2],
    /// The checkpoints before and after it.
    first: u64,
    last: u64,
    /// What had been overwritten since the first of them.
    overwrites: Overwrites,
}

/// A run whose disks remember everything.
struct Recorded {
    seed: u64,
    overwrite: Overwrite,
    clock: TestClock,
    session: Session,
    histories: Vec<History>,
    points: Vec<Point>,
}

impl Recorded {
    fn new(seed: u64, overwrite: Overwrite) -> Self {
        let (disks, clock) = (disks(2), TestClock::default());
        let size = CacheSize::of(seed);
        let mut session = Session::new("power", seed, &clock);
        let system = collapsed_that(overwrite, &disks, &clock, size);
        let mut points: Vec<Point> = Vec::new();
        let events = || {
            let disk = |disk: &Option<Rc<RamDisk>>| {
                disk.as_ref()
                    .and_then(|disk| disk.history())
                    .map_or(0, |it| it.events().len())
            };
            [disk(&disks[0]), disk(&disks[1])]
        };
        system.run(async {
            let client = system.client(0);
            format(&client, &session.what()).await;
            let mut last = session.sync(&client).await;
            disks.iter().flatten().for_each(|disk| disk.record());
            let mut overwrites = Overwrites::since(&session.model);
            for step in 0..150 {
                let (first, before) = (last, events());
                if step % 15 == 14 {
                    last = session.sync(&client).await;
                } else {
                    session.step(&client).await;
                }
                let found = client.statfs().await.unwrap().checkpoint;
                assert_eq!(
                    found,
                    last,
                    "{}: a sync that nobody asked for",
                    session.what()
                );
                overwrites.note(&session.model);
                points.push(Point {
                    before,
                    after: events(),
                    first,
                    last,
                    overwrites: overwrites.clone(),
                });
                if last > first {
                    overwrites = Overwrites::since(&session.model);
                }
            }
        });
        let histories = disks
            .iter()
            .flatten()
            .filter_map(|disk| disk.history())
            .collect();
        Self {
            seed,
            overwrite,
            clock,
            session,
            histories,
            points,
        }
    }

    /// The disks after a power failure in the middle of a step: anywhere, or just when a flush was
    /// asked for, with everything before it on its way and nothing of it promised.
    fn crash(&self, point: &Point, at_a_flush: bool, random: &mut Random) -> Vec<Rc<RamDisk>> {
        let mut taken = [0, 1].map(|disk| {
            let (before, after) = (point.before[disk], point.after[disk]);
            let flushes = self.flushes(point, disk);
            if at_a_flush && !flushes.is_empty() {
                random.pick(&flushes)
            } else {
                before + random.below((after - before) as u64 + 1) as usize
            }
        });
        // A disk gets the last part of a sync when all have the one before.
        let has_checkpoint = [0, 1].map(|disk| self.has_checkpoint(point, disk));
        if (0..2).any(|disk| taken[disk] > has_checkpoint[disk]) {
            taken = [0, 1].map(|disk| taken[disk].max(has_checkpoint[disk]));
        }
        let disk = |disk: usize| {
            let (before, taken) = (point.before[disk], taken[disk]);
            let history = &self.histories[disk];
            let (last, salt) = (taken.saturating_sub(1), random.number());
            let lost = before as u64 + random.below((taken - before) as u64 + 1);
            let toss = |number: u64| Random::new(salt ^ number).below(2) == 0;
            let crashed = match random.below(6) {
                0 => history.crash(taken, |_, _| false),
                1 => history.crash(taken, |_, _| true),
                2 => history.crash(taken, |event, sector| toss(sector ^ event as u64)),
                3 => history.crash(taken, |event, _| toss(event as u64)),
                4 => history.crash(taken, |event, _| event == last),
                _ => history.crash(taken, |event, _| event as u64 != lost),
            };
            Rc::new(crashed)
        };
        (0..2).map(disk).collect()
    }

    /// The flushes of a disk in a step.
    fn flushes(&self, point: &Point, disk: usize) -> Vec<usize> {
        let events = self.histories[disk].events();
        let is_flush = |&event: &usize| matches!(events[event], Event::Flush { .. });
        (point.before[disk]..point.after[disk])
            .filter(is_flush)
            .collect()
    }

    /// How many events a disk has seen when it has the checkpoint of this step: all but those with which
    /// it forgets the one before. A step without a checkpoint has none of those.
    fn has_checkpoint(&self, point: &Point, disk: usize) -> usize {
        match self.flushes(point, disk)[..] {
            [.., root, _] if point.last > point.first => root + 1,
            _ => point.after[disk],
        }
    }

    /// Mounts what is left and compares; goes on from there, and again. It must be a volume like
    /// any other, on all the disks that are there.
    fn check(&self, disks: &[Option<Rc<RamDisk>>], allowed: &[u64]) {
        let present: Vec<bool> = disks.iter().map(Option::is_some).collect();
        let name = format!(
            "power, seed {}, disks {present:?}, after {allowed:?}",
            self.seed
        );
        let mut session = Session::new(&name, self.seed, &self.clock);
        session.checkpoints.clone_from(&self.session.checkpoints);
        let mut allowed = allowed.to_vec();
        for _ in 0..2 {
            let system = collapsed(disks, &self.clock, CacheSize::Ample);
            system.run(async {
                let client = system.client(0);
                let found = client.statfs().await;
                let found = found.unwrap_or_else(|error| panic!("{}: {error}", session.what()));
                let stores = disks.iter().flatten().count();
                assert_eq!(found.stores_present as usize, stores, "{}", session.what());
                let what = session.what();
                assert!(
                    allowed.contains(&found.checkpoint),
                    "{what}: {}",
                    found.checkpoint
                );
                session.crashed(found.checkpoint);
                session.check(&client).await;
                for _ in 0..10 {
                    session.step(&client).await;
                }
                allowed = vec![session.sync(&client).await];
            });
        }
    }
}

impl Recorded {
    /// Mounts what is left, compares as far as it must be the same, goes on, and mounts it again.
    fn settle(&self, disks: &[Option<Rc<RamDisk>>], point: &Point) -> (u64, u64) {
        let present: Vec<bool> = disks.iter().map(Option::is_some).collect();
        let name = format!("power, in place, seed {}, disks {present:?}", self.seed);
        let mut session = Session::new(&name, self.seed, &self.clock);
        session.checkpoints.clone_from(&self.session.checkpoints);
        let newest = disks.iter().flatten().map(newest).min().unwrap();
        assert!(
            [point.first, point.last].contains(&newest),
            "{name}: {newest}"
        );
        let none = Overwrites::since(&session.checkpoints[&newest]);
        let overwrites = if newest == point.first {
            &point.overwrites
        } else {
            &none
        };
        let crashed: Vec<_> = disks
            .iter()
            .map(|disk| disk.as_ref().map(|it| it.snapshot()))
            .collect();
        let is_there = |before: &[u8], block: &[u8]| {
            let mut disks = crashed.iter().zip(&self.histories);
            disks.any(|(disk, history)| {
                let disk = disk.as_ref();
                disk.is_some_and(|disk| is_in_place(disk, history, before, block))
            })
        };
        let system = collapsed_that(self.overwrite, disks, &self.clock, CacheSize::Ample);
        let found = system.run(async {
            let client = system.client(0);
            let mounted = client.statfs().await.unwrap().checkpoint;
            // Resynchronisation ends with a checkpoint.
            assert!(
                mounted == newest || mounted == newest + 1,
                "{name}: {mounted}"
            );
            let found = session.settle(&client, newest, overwrites, is_there).await;
            session.check(&client).await;
            for _ in 0..5 {
                session.step(&client).await;
            }
            let checkpoint = session.sync(&client).await;
            session.crashed(checkpoint);
            found
        });
        let system = collapsed(disks, &self.clock, CacheSize::Ample);
        system.run(session.check(&system.client(0)));
        found
    }
}

/// The newest checkpoint of a disk, by itself.
fn newest(disk: &Rc<RamDisk>) -> u64 {
    let store = TwinFs::new(disk.clone(), TestClock::default());
    block_on(store.info()).unwrap().newest.timestamp.0
}

#[test]
fn a_missing_disk_costs_nothing_but_redundancy_and_comes_back_as_stale() {
    on_a_large_stack(|| seeds(4).for_each(goes_on_without_a_disk));
}

fn goes_on_without_a_disk(seed: u64) {
    let away = (seed % 2) as usize;
    let (disks, clock, mut session) = volume("degraded", seed);
    let mut one = disks.clone();
    one[away] = None;
    for disks in [&one, &one, &disks, &disks] {
        let system = collapsed(disks, &clock, CacheSize::Tiny);
        system.run(async {
            let client = system.client(0);
            session.check(&client).await;
            let found = client.statfs().await.unwrap();
            assert_eq!(
                (found.stores, found.stores_present),
                (2, 1),
                "{}",
                session.what()
            );
            for _ in 0..50 {
                session.step(&client).await;
            }
            let checkpoint = session.sync(&client).await;
            session.crashed(checkpoint);
        });
    }
}
