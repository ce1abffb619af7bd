//! The cache dies: at every store to the memory that outlives it, and at random points. The layer below forgets
//! with it, back to its checkpoint.

mod cache_support;

use std::cell::RefCell;

use cache_support::{
    Model, Mortal, PAGE, Random, Step, SyncPoint, any_step, check, run, small, step, yield_now,
};
use futures_util::{FutureExt, pin_mut, select_biased};
use storage::{
    Error,
    cache::Config,
    file::{Attributes, FileNumber, FileService, Resume, Resuming, Timestamp},
};

fn check_below(mortal: &Mortal, model: &Model, name: &str) {
    let state = mortal.below.state();
    assert_eq!(state.violations, Vec::<String>::new(), "{name}");
    let found: Vec<_> = state.checkpoint.files.keys().copied().collect();
    let wanted: Vec<_> = model.keys().copied().collect();
    assert_eq!(found, wanted, "{name}");
    for (file, expected) in model {
        let stored = &state.checkpoint.files[file];
        assert!(stored.data == expected.data, "{name}: {file:?} as stored");
        assert_eq!(stored.attributes.mode, expected.mode, "{name}: {file:?}");
    }
}

/// Every kind of change to files that the checkpoint has, that it has not, and that it has another of.
const SCRIPT: [Step; 32] = [
    Step::Create(1),
    Step::Write(1, 0, 3 * PAGE),
    Step::Create(2),
    Step::Write(2, 0, 2 * PAGE + 100),
    Step::Create(3),
    Step::Write(3, 0, 5000),
    Step::Create(4),
    Step::Sync,
    Step::Write(1, 10, 20),
    Step::Write(1, PAGE, PAGE),
    Step::Write(1, PAGE + 5, 100),
    Step::Write(1, 3 * PAGE - 7, 1000),
    Step::Truncate(2, PAGE + 50),
    Step::Truncate(2, 2 * PAGE),
    Step::Write(2, PAGE + 60, 10),
    Step::Truncate(2, PAGE + 62),
    Step::Mode(3, 0o755),
    Step::Delete(4),
    Step::Create(5),
    Step::Write(5, 100, 4 * PAGE),
    Step::Truncate(5, 2 * PAGE + 1),
    Step::Delete(3),
    Step::Create(3),
    Step::Write(3, 0, 17),
    Step::Create(6),
    Step::Write(6, 0, PAGE),
    Step::Delete(6),
    Step::Sync,
    Step::Truncate(1, 0),
    Step::Write(1, 3 * PAGE, 3),
    Step::Delete(5),
    Step::Write(2, 0, PAGE),
];

/// Runs the script with deaths at these stores, and one at the end; returns how many stores there were, and
/// how many of the deaths at stores came.
fn script(deaths_at: Vec<u64>) -> (u64, u64) {
    play(&SCRIPT, deaths_at)
}

fn play(script: &[Step], deaths_at: Vec<u64>) -> (u64, u64) {
    let name = format!("deaths at {deaths_at:?}");
    let mortal = Mortal::new(3, small());
    mortal.below.state().delay_max = 1;
    mortal.die_at(deaths_at);
    let service = Resuming::new(mortal.clone());
    let mut model = Model::new();
    run(&mortal, &name, async {
        service.attach().await.expect("nothing is in the way");
        for (time, &what) in script.iter().enumerate() {
            step(&service, &mut model, what, time as u64).await;
        }
        mortal.kill();
        check(&service, &model, &name).await;
        service.sync().await.expect("a checkpoint");
        check(&service, &model, &name).await;
    });
    check_below(&mortal, &model, &name);
    (mortal.stores(), mortal.deaths() - 1)
}

#[test]
fn a_death_at_any_store_is_never_seen() {
    let (stores, deaths) = script(vec![]);
    assert_eq!(deaths, 0);
    let mut died = 0;
    for store in first_of_the_volume()..stores {
        died += script(vec![store]).1;
    }
    assert!(died > 900, "{died} deaths");
}

/// The page that records were about to go to is forgotten with the instance that took it: the next takes one
/// of a lower number for the same, and both are there when it dies.
#[test]
fn a_death_while_the_records_grow_is_never_seen() {
    let mut steps = vec![Step::Create(1), Step::Write(1, 0, 2 * PAGE)];
    steps.extend([Step::Create(2), Step::Write(2, 0, PAGE)]);
    steps.extend([Step::Delete(1), Step::Delete(2)]);
    steps.extend((3..60).map(Step::Create));
    let (stores, _) = play(&steps, vec![]);
    let mut died = 0;
    for store in first_of_the_volume()..stores {
        died += play(&steps, vec![store]).1;
    }
    assert!(died > 500, "{died} deaths");
}

/// Before there is a table, there is nothing to lose; what is said then is another test's.
fn first_of_the_volume() -> u64 {
    let mortal = Mortal::new(3, small());
    run(&mortal, "the first", async {
        mortal.history().await.unwrap();
    });
    mortal.stores()
}

/// The instance that recovers dies in the middle of that, and the one after it.
#[test]
fn deaths_while_recovering_are_never_seen() {
    let (stores, _) = script(vec![]);
    let mut died = 0;
    for (round, store) in (first_of_the_volume()..stores).step_by(47).enumerate() {
        for again in (1..40).step_by(3) {
            let later = again + 1 + round as u64 % 5;
            died += script(vec![store, store + again, store + again + later]).1;
        }
    }
    assert!(died > 500, "{died} deaths");
}

/// A file that is larger than the cache is written, with deaths at random points: pages under way, kept
/// by the log alone, dirty.
#[test]
fn deaths_at_random_points_are_never_seen() {
    let mut deaths = 0;
    for seed in 0..25 {
        let name = format!("seed {seed}");
        let mut random = Random::new(seed);
        let mortal = Mortal::new(seed, small());
        let service = Resuming::new(mortal.clone());
        let mut model = Model::new();
        let ended = RefCell::new(false);
        let mut killer = random.clone();
        let killing = async {
            while !*ended.borrow() {
                for _ in 0..killer.below(600) {
                    yield_now().await;
                }
                mortal.kill();
                for _ in 0..killer.below(3) {
                    // Sometimes before it has done anything.
                    yield_now().await;
                    mortal.kill();
                }
                yield_now().await;
            }
        };
        let working = async {
            service.attach().await.expect("nothing is in the way");
            for time in 0..120 {
                let what = any_step(&mut random, &model);
                step(&service, &mut model, what, time).await;
                if time % 10 == 0 {
                    check(&service, &model, &name).await;
                }
            }
            *ended.borrow_mut() = true;
            check(&service, &model, &name).await;
            service.sync().await.expect("a checkpoint");
        };
        run(&mortal, &name, async {
            futures_util::join!(working, killing)
        });
        check_below(&mortal, &model, &name);
        deaths += mortal.deaths();
    }
    assert!(deaths > 100, "{deaths} deaths");
}

/// Calls that find what their first attempt has done.
#[test]
fn a_repeated_call_finds_its_own_effect() {
    let mortal = Mortal::new(1, small());
    let service = Resuming::new(mortal.clone());
    run(&mortal, "repeated", async {
        service.attach().await.unwrap();
        let (file, attributes) = (FileNumber(9), Attributes::default());
        mortal.create(file, &attributes).await.unwrap();
        assert_eq!(service.create(file, &attributes).await, Err(Error::Exists));
        mortal.delete(file).await.unwrap();
        assert_eq!(service.delete(file).await, Err(Error::NotFound));
        let history = service.history().await.unwrap();
        mortal.kill();
        assert_eq!(service.history().await, Ok(history), "nothing was lost");
    });
}

/// A sync that was given up must not be thought to be under way when the log has more: what one store may have
/// of it would be taken for all of the log.
#[test]
fn a_sync_that_was_given_up_is_not_under_way() {
    let mortal = Mortal::new(1, small());
    let service = Resuming::new(mortal.clone());
    let mut model = Model::new();
    run(&mortal, "given up", async {
        service.attach().await.unwrap();
        step(&service, &mut model, Step::Create(1), 1).await;
        step(&service, &mut model, Step::Sync, 2).await;
        step(&service, &mut model, Step::Write(1, 0, 100), 3).await;
        // The cache dies in a sync, and who asked for it is gone.
        let base = mortal.below.state().timestamp;
        let crashes = mortal.below.state().crashes;
        mortal.below.state().crash_in_sync = vec![SyncPoint::Before];
        {
            let sync = service.sync().fuse();
            let begun = async {
                while mortal.below.state().crashes == crashes {
                    yield_now().await;
                }
            }
            .fuse();
            pin_mut!(sync, begun);
            select_biased! {
                () = begun => mortal.kill(),
                _ = sync => panic!("it has ended"),
            }
        }
        check(&service, &model, "gone back").await;
        let resumed = |syncing| {
            let base = Timestamp(base);
            Some(Resume { base, syncing })
        };
        assert_eq!(mortal.below.state().resumed, resumed(true));
        step(&service, &mut model, Step::Write(1, 50, 100), 4).await;
        mortal.below.crash();
        step(&service, &mut model, Step::Create(2), 5).await;
        assert_eq!(mortal.below.state().resumed, resumed(false));
        check(&service, &model, "given up").await;
    });
}

/// There is no memory to write something down. From then until the next sync nobody relies on the rest, also if a sync
/// that failed has written other things down since: what the next instance goes on with is everything, or nothing.
#[test]
fn what_is_written_down_in_part_is_not_gone_on_with() {
    let mut given_up = 0;
    for (files, sync_fails) in (2..27).flat_map(|files| [(files, false), (files, true)]) {
        let name = format!("{files} files, failed sync {sync_fails}");
        let mortal = Mortal::new(1, small());
        let service = Resuming::new(mortal.clone());
        let mut model = Model::new();
        run(&mortal, &name, async {
            service.attach().await.unwrap();
            step(&service, &mut model, Step::Create(1), 1).await;
            step(&service, &mut model, Step::Sync, 2).await;
            mortal.stop_memory();
            let checkpoint = model.clone();
            for number in 2..=files {
                step(&service, &mut model, Step::Create(number), 3).await;
            }
            if sync_fails {
                mortal.below.state().sync_errors = vec![Error::Device];
                assert_eq!(service.sync().await, Err(Error::Device));
            }
            mortal.kill();
            let asked = service.usage().fuse();
            let lost = service.lost().fuse();
            pin_mut!(asked, lost);
            let is_lost = select_biased! { _ = asked => false, () = lost => true };
            let service = Resuming::new(mortal.clone());
            service.attach().await.unwrap();
            match is_lost {
                true => check(&service, &checkpoint, &name).await,
                false => check(&service, &model, &name).await,
            }
            given_up += u32::from(is_lost);
        });
    }
    assert!((10..40).contains(&given_up), "{given_up}");
}

/// Without a log there is nothing to go on with, above or below.
#[test]
fn without_a_log_a_crash_ends_the_stack() {
    let config = Config {
        roll_forward: false,
        ..small()
    };
    let mortal = Mortal::new(1, config);
    let service = Resuming::new(mortal.clone());
    let mut model = Model::new();
    run(&mortal, "no log", async {
        service.attach().await.unwrap();
        step(&service, &mut model, Step::Create(1), 1).await;
        step(&service, &mut model, Step::Write(1, 0, 9000), 2).await;
        step(&service, &mut model, Step::Sync, 3).await;
        assert_eq!(mortal.statistics().map(|it| it.log_pages), Some(0));
        mortal.below.crash();
        assert_eq!(service.usage().await, Err(Error::PeerGone));
    });
}
