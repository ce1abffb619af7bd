//! Naming has written into its journal by mistake before it died.
//!
//! What cannot be read is lost and told; never is there a panic, somebody else's data, or a name that
//! goes.

use std::{cell::RefCell, sync::Once};

use futures_executor::block_on;
use storage::{
    Error,
    naming::Limits,
    surviving::Heap,
    vfs::{Descriptor, FileSystem, SeekFrom},
};

use crate::{
    crashes::OPERATIONS,
    fake::Fault,
    fsck::{examine, tree},
    restarts::perform,
    support::{CREATE, Random, read, write},
    world::{Death, World},
};

/// The first page of the journal's table of calls (`storage::naming`, `CALL_PAGES`).
const CALLS_PAGE: usize = 24;

thread_local! {
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the errors that are logged.
struct Keeper;

impl log::Log for Keeper {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Error {
            TOLD.with_borrow_mut(|told| told.push(record.args().to_string()));
        }
    }
    fn flush(&self) {}
}

/// The errors that were logged since the last time.
fn told() -> Vec<String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Keeper).expect("the first logger");
        log::set_max_level(log::LevelFilter::Error);
    });
    TOLD.take()
}

/// Writes up to `most` times somewhere.
fn wild(seed: u64, most: u64) -> impl FnOnce(&Heap) {
    move |memory| {
        let mut random = Random(seed | 1);
        for _ in 0..=random.below(most) {
            let page = random.below(memory.len() as u64) as usize;
            let len = [1, 8, 64, 600, 4096][random.below(5) as usize];
            let offset = random.below(4097 - len as u64) as usize;
            let byte = *random.pick(&[0, 0xff, 0x41, random.0 as u8]);
            memory.write_wild(page, offset, &vec![byte; len]);
        }
    }
}

#[test]
fn what_was_open_is_what_it_was_or_an_error_that_is_told() {
    let mut lost = 0;
    for seed in 1..=80 {
        told();
        let world = World::new(seed, Limits::default());
        let system = world.client();
        let name = |number: u32| format!("f{number}").into_bytes();
        let content = |number: u32| format!("content {number}").into_bytes();
        block_on(async {
            for number in 0..40 {
                let file = system.open(&name(number), CREATE, 0o600).await.unwrap();
                assert_eq!(file, Descriptor(number));
                write(&system, file, None, &content(number)).await.unwrap();
            }
            let before = tree(&world.fake.borrow().files());
            world.die();
            *world.damage.borrow_mut() = Some(Box::new(wild(seed * 977, 6)));
            system.mount().await.unwrap();
            assert_eq!(tree(&world.fake.borrow().files()), before, "seed {seed}");
            // Others open files in the place of those that are lost.
            let mut new = Vec::new();
            for number in 100..105 {
                let file = system.open(&name(number), CREATE, 0o600).await.unwrap();
                write(&system, file, None, &content(number)).await.unwrap();
                new.push((file, number));
            }
            let mut gone = 0;
            for number in 0..40 {
                match read(&system, Descriptor(number), Some(0), 100).await {
                    Ok(found) => assert_eq!(found, content(number), "seed {seed}: {number}"),
                    Err(error) => {
                        assert_eq!(error, Error::BadDescriptor, "seed {seed}: {number}");
                        gone += 1;
                    }
                }
            }
            for (file, number) in new {
                let found = read(&system, file, Some(0), 100).await;
                assert_eq!(found, Ok(content(number)), "seed {seed}: {number}");
            }
            assert!(
                gone == 0 || !told().is_empty(),
                "seed {seed}: {gone} are lost and nobody said so"
            );
            lost += gone;
        });
    }
    assert!(lost > 10, "only {lost} descriptors were lost in all");
}

/// Where a descriptor is that was moved last, only the last commit says; where others are, their records.
#[test]
fn a_descriptor_goes_on_where_it_was_or_not_at_all() {
    let (mut went_on, mut lost) = (0, 0);
    for place in 0..4096 / 16 {
        told();
        let world = World::new(place as u64 + 1, Limits::default());
        let system = world.client();
        block_on(async {
            let first = system.open(b"a", CREATE, 0o600).await.unwrap();
            write(&system, first, None, b"one two three").await.unwrap();
            system.seek(first, SeekFrom::Start(0)).await.unwrap();
            let second = system.open(b"a", CREATE, 0o600).await.unwrap();
            assert_eq!(read(&system, first, None, 4).await.unwrap(), b"one ");
            assert_eq!(read(&system, second, None, 2).await.unwrap(), b"on");
            assert_eq!(read(&system, second, None, 2).await.unwrap(), b"e ");
            world.die();
            *world.damage.borrow_mut() = Some(Box::new(move |memory: &Heap| {
                memory.write_wild(CALLS_PAGE, place * 16, &[0x5a; 16]);
            }));
            system.mount().await.unwrap();
            let is_told = !told().is_empty();
            for descriptor in [first, second] {
                match read(&system, descriptor, None, 3).await {
                    Ok(found) => {
                        assert_eq!(found, b"two", "place {place}");
                        went_on += 1;
                    }
                    Err(error) => {
                        assert_eq!(error, Error::BadDescriptor, "place {place}");
                        assert!(is_told, "place {place}: it is lost and nobody said so");
                        lost += 1;
                    }
                }
            }
        });
    }
    assert!(went_on > 100 && lost > 0, "{went_on} went on, {lost} lost");
}

#[test]
fn operations_under_way_lose_no_names_and_no_data() {
    for seed in 1..=15 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
        let world = World::new(seed, Limits::default());
        let system = world.client();
        for round in 0..40 {
            let &(setup, operation) = random.pick(OPERATIONS);
            for line in setup.split("; ").filter(|line| !line.starts_with('@')) {
                perform(&world, line);
            }
            world.kill(&[Death::Store(random.below(300))]);
            *world.damage.borrow_mut() = Some(Box::new(wild(random.0, 4)));
            // What is asked again may be done twice, if it is not known any more that it was done.
            perform(&world, operation);
            world.spare();
            // Nothing that is half done is worse than untidy.
            world.fake.borrow().0.borrow_mut().unchecked = true;
            block_on(system.mount()).unwrap();
            let report = examine(&world.fake.borrow().files());
            let what = format!("seed {seed}, round {round}, {operation}");
            assert!(report.is_benign(), "{what}: {report:?}");
        }
    }
}

/// Without its header nobody knows which volume the journal is about, and nothing of it is taken back.
#[test]
fn half_an_operation_that_stays_is_told() {
    let mut half = 0;
    for place in (0..4096).step_by(32) {
        let world = World::new(1, Limits::default());
        for line in ["touch f", "mkdir d"] {
            perform(&world, line);
        }
        world.naming();
        world.fake.borrow().set_fault(2, Fault::HangAfter);
        *world.damage.borrow_mut() = Some(Box::new(move |memory: &Heap| {
            memory.write_wild(CALLS_PAGE, place, &[0x5a; 8]);
        }));
        // The first answer alone: naming dies once.
        told();
        perform(&world, "rename f d/f");
        let report = examine(&world.fake.borrow().files());
        assert!(report.is_benign(), "place {place}: {report:?}");
        if !report.is_whole() {
            half += 1;
            let told = told();
            assert!(
                told.iter().any(|line| line.contains("half")),
                "place {place}: {told:?}"
            );
        }
    }
    assert!(half > 0, "no operation stays by halves");
}

#[test]
fn memory_that_holds_nothing_of_naming_is_no_obstacle() {
    for byte in [0, 0xff, 0x5a] {
        let world = World::new(1, Limits::default());
        let system = world.client();
        block_on(async {
            let file = system.open(b"f", CREATE, 0o600).await.unwrap();
            told();
            world.die();
            *world.damage.borrow_mut() = Some(Box::new(move |memory: &Heap| {
                for page in 0..memory.len() {
                    memory.write_wild(page, 0, &[byte; 4096]);
                }
            }));
            let gone = read(&system, file, Some(0), 1).await;
            assert_eq!(gone, Err(Error::BadDescriptor));
            assert!(!told().is_empty(), "nobody said so");
            let file = system.open(b"f", CREATE, 0o600).await.unwrap();
            world.die();
            assert_eq!(read(&system, file, Some(0), 1).await, Ok(Vec::new()));
        });
    }
}

#[test]
fn what_is_given_up_is_never_found_again() {
    let world = World::new(1, Limits::default());
    let system = world.client();
    block_on(async {
        let file = system.open(b"f", CREATE, 0o600).await.unwrap();
        drop(told());
        world.die();
        world.discards.set(true);
        let gone = read(&system, file, Some(0), 1).await;
        assert_eq!(gone, Err(Error::BadDescriptor));
        let told = told();
        assert!(told.iter().any(|line| line.contains("half")), "{told:?}");
        world.die();
        let gone = read(&system, file, Some(0), 1).await;
        assert_eq!(gone, Err(Error::BadDescriptor));
        let new = system.open(b"f", CREATE, 0o600).await.unwrap();
        assert_ne!(new, file, "it would be taken for the one that is gone");
    });
}
