//! Naming is killed, and its clients do not notice: at every call below, at every store to the memory that
//! outlives it, while it recovers, and at random.

use std::{collections::BTreeMap, rc::Rc};

use futures_executor::block_on;
use storage::{
    Error,
    naming::Limits,
    vfs::{Descriptor, FileSystem, OpenFlags},
};

use crate::{
    conformance::{errno, run},
    crashes::{CALLS_MAX, OPERATIONS, Tree, views_agree},
    fake::Fault,
    fsck::{examine, tree},
    model::Model,
    random::{compare, step},
    support::{CREATE, Random, put, read, write},
    world::{Death, World},
};

pub fn perform(world: &Rc<World>, line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let answer = block_on(run(&world.client(), &mut BTreeMap::new(), &words));
    answer.unwrap_or_else(|error| errno(error).into())
}

pub fn prepare(seed: u64, setup: &str) -> Rc<World> {
    let world = World::new(seed, Limits::default());
    for line in setup.split(';').map(str::trim) {
        if let Some(directory) = line.strip_prefix("@fill ") {
            for index in 0..15 {
                perform(&world, &format!("touch {directory}/{index:02}{{253*x}}"));
            }
            perform(&world, &format!("touch {directory}/{{32*y}}"));
        } else {
            perform(&world, line);
        }
    }
    world
}

/// Operations beside those of the other faults: what moves a descriptor, and what changes one file.
const MORE: &[(&str, &str)] = &[
    ("open f rwc; write 0 0123; seek 0 start 1", "read 0 2"),
    ("open f rwc; write 0 0123", "seek 0 end -1"),
    ("mkdir d; touch d/a; touch d/b; open d r", "readdir 0"),
    ("open f rwca; write 0 0123; open f rw", "write 0 {5000*x}"),
    ("open f rwca; write 0 {4000*x}", "write 0 {4000*y}"),
    ("open f rwc; write 0 0123; unlink f", "write 0 4567"),
    ("open f rwc; write 0 0123; unlink f; open g rwc", "close 0"),
    ("touch f", "chown f 7 8"),
    ("touch f", "utimes f 5 now"),
    ("open f rwc; write 0 0123", "close 0"),
    ("open f rwc; write 0 0123", "open f rw"),
    ("open f rwc", "open f rwcx"),
    ("touch f; touch g", "link f g"),
    ("mkdir d; touch d/f", "rmdir d"),
];

/// Everything that a program can tell of where it is: the tree, and each descriptor.
pub fn seen(world: &Rc<World>) -> (Tree, Vec<String>) {
    let mut all = Vec::new();
    for number in 0..4 {
        for question in [
            "fstat N size",
            "fstat N links",
            "seek N current 0",
            "pread N 0 9000",
        ] {
            all.push(perform(world, &question.replace('N', &number.to_string())));
        }
    }
    let files = world.fake.borrow().files();
    (tree(&files), all)
}

/// The answer of an operation, and what is there after it, without deaths.
fn expected(setup: &str, operation: &str) -> (String, (Tree, Vec<String>)) {
    let world = prepare(1, setup);
    let answer = perform(&world, operation);
    (answer, seen(&world))
}

/// The operation was done once and is whole, as if nobody had died.
pub fn check(
    world: &Rc<World>,
    what: &str,
    answer: &str,
    (expected, after): &(String, (Tree, Vec<String>)),
) {
    assert_eq!(answer, expected, "{what}: the answer");
    // Whoever died last is replaced, and what it had left to do is done.
    block_on(world.client().mount()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(&seen(world), after, "{what}");
    let report = examine(&world.fake.borrow().files());
    assert!(report.is_whole(), "{what}: {report:?}");
    views_agree(&world.fake.borrow(), &world.naming(), what);
    block_on(world.client().sync()).unwrap_or_else(|error| panic!("{what}: sync: {error}"));
    perform(world, "open {40*n} rwcx");
    // What was open is not, one by one, and nothing is left of what had no name.
    for number in 0..5 {
        perform(world, &format!("close {number}"));
    }
    let files = world.fake.borrow().files();
    let report = examine(&files);
    assert!(
        report.is_whole(),
        "{what}: after all was closed: {report:?}"
    );
    let named = tree(&files).len();
    assert!(
        files.len() <= named + 1,
        "{what}: {} files for {named} names",
        files.len()
    );
}

pub fn operations() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    OPERATIONS.iter().chain(MORE)
}

#[test]
fn a_death_at_any_call_below_is_not_noticed() {
    let mut struck = 0;
    for &(setup, operation) in operations() {
        let expected = expected(setup, operation);
        for fault in [Fault::Hang, Fault::HangAfter] {
            for call in 0..CALLS_MAX {
                let world = prepare(call + 1, setup);
                world.kill(&[Death::Call(call, fault)]);
                let answer = perform(&world, operation);
                let is_over = world.spare();
                let what = format!("{setup}; {operation}: {fault:?} at call {call}");
                check(&world, &what, &answer, &expected);
                if is_over {
                    break;
                }
                struck += 1;
            }
        }
    }
    assert!(struck > 3 * OPERATIONS.len() as u64, "only {struck} deaths");
}

#[test]
fn a_death_while_it_recovers_is_not_noticed() {
    let mut again = 0;
    for &(setup, operation) in operations() {
        let expected = expected(setup, operation);
        for call in 0..CALLS_MAX {
            let mut struck = 0;
            for second in 0..CALLS_MAX {
                let fault = [Fault::Hang, Fault::HangAfter][second as usize % 2];
                let world = prepare(call + 1, setup);
                world.kill(&[
                    Death::Call(call, Fault::HangAfter),
                    Death::Call(second / 2, fault),
                    Death::Call(second / 3, Fault::HangAfter),
                ]);
                let answer = perform(&world, operation);
                let is_over = world.spare();
                let deaths = world.deaths.get();
                let what =
                    format!("{setup}; {operation}: at call {call}, then {fault:?} at {second}");
                check(&world, &what, &answer, &expected);
                if deaths == 0 || is_over {
                    break;
                }
                struck += 1;
                again += u64::from(deaths > 1);
            }
            if struck == 0 {
                break;
            }
        }
    }
    let operations = operations().count() as u64;
    assert!(again > 10 * operations, "only {again} deaths after another");
}

#[test]
fn a_death_at_any_store_is_not_noticed() {
    let mut struck = 0;
    for (index, &(setup, operation)) in operations().enumerate() {
        let expected = expected(setup, operation);
        // Every store of some, of the others every so often and each time others.
        let step = if index % 16 == 0 { 2 } else { 17 };
        let mut store = index as u64 % step;
        loop {
            let world = prepare(store + 1, setup);
            let before = world.deaths.get();
            world.kill(&[Death::Store(store)]);
            let answer = perform(&world, operation);
            let is_dead = world.is_dead() || world.deaths.get() > before;
            world.spare();
            let what = format!("{setup}; {operation}: at store {store}");
            check(&world, &what, &answer, &expected);
            if !is_dead {
                break;
            }
            struck += 1;
            store += step;
            assert!(store < 20_000, "{what}: it goes on and on");
        }
    }
    assert!(struck > 200, "only {struck} deaths");
}

#[test]
fn random_operations_answer_as_the_model_does_whenever_naming_dies() {
    for seed in 1..=12 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
        let world = World::new(seed, Limits::default());
        let system = world.client();
        let mut model = Model::new();
        let mut log = Vec::new();
        for index in 0..400 {
            match random.below(8) {
                0 | 1 => world.kill(&[Death::Call(
                    random.below(6),
                    *random.pick(&[Fault::Hang, Fault::HangAfter]),
                )]),
                2 => world.kill(&[Death::Store(random.below(400))]),
                3 => world.kill(&[
                    Death::Store(random.below(300)),
                    Death::Call(random.below(3), Fault::HangAfter),
                    Death::Store(random.below(3000)),
                ]),
                4 => world.die(),
                _ => {}
            }
            let (what, ours, theirs) = block_on(step(&mut random, &system, &mut model));
            log.push(format!("{what} (after {} deaths)", world.deaths.get()));
            let tail = || log[log.len().saturating_sub(20)..].join("\n");
            assert_eq!(ours, theirs, "seed {seed}, step {index}, after\n{}", tail());
            if !world.is_dead() {
                let report = examine(&world.fake.borrow().files());
                let what = format!("seed {seed}, step {index}, after\n{}", tail());
                assert!(report.is_whole(), "{what}: {report:?}");
            }
            if random.below(30) == 0 {
                let what = format!("seed {seed}, step {index}, after\n{}", tail());
                block_on(compare(&system, &model, &what));
            }
            if random.below(60) == 0 {
                block_on(system.sync()).expect("sync");
            }
        }
        assert!(
            world.deaths.get() > 50,
            "only {} deaths",
            world.deaths.get()
        );
        world.spare();
        block_on(async {
            system.sync().await.expect("sync");
            compare(&system, &model, &format!("seed {seed}, end")).await;
        });
    }
}

#[test]
fn a_file_that_has_no_name_is_there_as_long_as_it_is_open() {
    let world = World::new(1, Limits::default());
    let system = world.client();
    block_on(async {
        let file = system.open(b"f", CREATE, 0o600).await.unwrap();
        write(&system, file, None, b"before").await.unwrap();
        system.unlink(b"f").await.unwrap();
        for round in 0..5 {
            world.die();
            write(&system, file, None, b", after").await.unwrap();
            world.die();
            let content = read(&system, file, Some(0), 100).await.unwrap();
            assert_eq!(content.len(), 6 + 7 * (round + 1));
            system.sync().await.unwrap();
        }
        assert_eq!(system.stat(b"f", true).await.err(), Some(Error::NotFound));
        let files = world.fake.borrow().files().len();
        world.die();
        system.close(file).await.unwrap();
        assert_eq!(world.fake.borrow().files().len(), files - 1);
        assert_eq!(
            read(&system, file, Some(0), 1).await,
            Err(Error::BadDescriptor)
        );
    });
}

#[test]
fn what_a_client_had_open_that_is_gone_is_closed() {
    let world = World::new(1, Limits::default());
    let mut id = crate::support::CLIENT;
    let old = world.client_of(id);
    block_on(async {
        let file = old.open(b"f", CREATE, 0o600).await.unwrap();
        old.unlink(b"f").await.unwrap();
        let files = world.fake.borrow().files().len();
        world.die();
        id.generation += 1;
        let new = world.client_of(id);
        assert_eq!(
            read(&new, file, Some(0), 1).await,
            Err(Error::BadDescriptor)
        );
        assert_eq!(world.fake.borrow().files().len(), files - 1);
        let opened = new.open(b"g", CREATE, 0o600).await.unwrap();
        assert_eq!(opened, Descriptor(0));
        world.naming().client_gone(id.role).await;
        world.die();
        assert_eq!(
            read(&new, opened, Some(0), 1).await,
            Err(Error::BadDescriptor)
        );
    });
}

/// The layer below begins anew from its checkpoint, when the next instance of naming comes.
fn loses_its_history(world: &Rc<World>) {
    let below = world.clone();
    *world.damage.borrow_mut() = Some(Box::new(move |_| {
        let fake = below.fake.borrow().after_power_failure();
        fake.0.borrow_mut().history += 1;
        *below.fake.borrow_mut() = fake;
    }));
}

#[test]
fn a_volume_that_is_not_the_same_keeps_nothing_open() {
    let world = World::new(1, Limits::default());
    let system = world.client();
    block_on(async {
        let file = system.open(b"f", CREATE, 0o600).await.unwrap();
        system.sync().await.unwrap();
        world.die();
        loses_its_history(&world);
        let gone = read(&system, file, Some(0), 1).await;
        assert_eq!(gone, Err(Error::BadDescriptor));
        // Nor does the next instance find what this one has thrown away.
        world.die();
        let gone = read(&system, file, Some(0), 1).await;
        assert_eq!(gone, Err(Error::BadDescriptor));
        // Whoever opens a file now gets no number that somebody believes to be another file's.
        let opened = system.open(b"g", CREATE, 0o600).await.unwrap();
        assert_ne!(opened, file);
        let gone = write(&system, file, None, b"for f").await;
        assert_eq!(gone, Err(Error::BadDescriptor));
        assert_eq!(read(&system, opened, Some(0), 9).await, Ok(Vec::new()));
        world.die();
        assert_eq!(read(&system, opened, Some(0), 9).await, Ok(Vec::new()));
    });
}

/// What was done and not answered is gone with all that was not synced: what the answer says is there.
#[test]
fn a_call_that_was_reverted_before_its_answer_is_made_again() {
    let mut deaths = 0;
    for store in 0..200 {
        let world = World::new(1, Limits::default());
        let system = world.client();
        block_on(async {
            system.mkdir(b"before", 0o700).await.unwrap();
            system.sync().await.unwrap();
            loses_its_history(&world);
            world.kill(&[Death::Store(store)]);
            system.mkdir(b"d", 0o700).await.unwrap();
            if world.deaths.get() > 0 {
                deaths += 1;
                assert!(system.stat(b"d", true).await.is_ok(), "store {store}");
            }
            world.spare();
        });
    }
    assert!(deaths > 10, "only {deaths} deaths");
}

#[test]
fn what_is_opened_again_after_a_loss_is_open() {
    let mut deaths = 0;
    for store in 0..200 {
        let world = World::new(1, Limits::default());
        let system = world.client();
        block_on(async {
            put(&system, b"f", b"text").await.unwrap();
            system.sync().await.unwrap();
            loses_its_history(&world);
            world.kill(&[Death::Store(store)]);
            let file = system.open(b"f", OpenFlags::READ, 0).await.unwrap();
            if world.deaths.get() > 0 {
                deaths += 1;
                let found = read(&system, file, Some(0), 9).await;
                assert_eq!(found, Ok(b"text".to_vec()), "store {store}");
            }
            world.spare();
        });
    }
    assert!(deaths > 10, "only {deaths} deaths");
}

#[test]
fn what_a_call_opens_that_is_given_up_is_closed() {
    let world = World::new(1, Limits::default());
    let system = world.client();
    block_on(async {
        world.is_deaf.set(true);
        assert!(system.open(b"f", CREATE, 0o600).await.is_err());
        world.is_deaf.set(false);
        assert_eq!(system.open(b"f", CREATE, 0o600).await, Ok(Descriptor(0)));
    });
}
