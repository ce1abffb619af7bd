//! What a crash below has undone is owed to the layers below: how it gets there, and what applications see
//! meanwhile.

mod cache_support;

use cache_support::{PAGE, Random, Rig, write_of, yield_now};
use futures_util::{
    FutureExt,
    future::{join, join_all},
};
use storage::{
    Error,
    buffer::Sink,
    cache::Config,
    file::{Attributes, FileNumber, FileService},
};

/// A cache that writes everything back at once.
fn eager() -> Config {
    Config {
        pages: 4096,
        log_pages: 4096,
        dirty_percent: 0,
        ..Config::default()
    }
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    Random::new(seed).bytes(len)
}

/// Has the background work until nothing is newer than below.
fn settle(rig: &mut Rig) {
    rig.run(async |cache| {
        while cache.statistics().dirty_pages > 0 {
            yield_now().await;
        }
    });
}

/// The layer below dies, and the cache notices.
fn crash(rig: &mut Rig) {
    rig.below.crash();
    rig.run(async |cache| cache.usage().await.expect("an answer"));
}

/// Files of so many pages each, written down and not in any checkpoint.
fn written_down(rig: &mut Rig, files: u64, pages: usize) -> Vec<(FileNumber, Vec<u8>)> {
    let made = (0..files).map(|number| {
        let data = bytes(number, pages * PAGE);
        (rig.file(10 + number, &data), data)
    });
    let made = made.collect();
    settle(rig);
    made
}

/// However much was written down since the checkpoint, whoever calls after a crash waits for the next
/// instance, and for what his own call needs.
#[test]
fn calls_go_on_before_anything_is_sent_down_again() {
    for (files, pages) in [(2, 1), (100, 1), (2, 400), (60, 60)] {
        let mut rig = Rig::new(eager());
        let made = written_down(&mut rig, files, pages);
        let below = rig.below.clone();
        let before = ["attach", "create", "write"].map(|name| below.calls(name));
        rig.below.state().held_writes = true;
        crash(&mut rig);
        for (file, data) in &made {
            assert_eq!(rig.content(*file).as_ref(), Ok(data));
        }
        let after = ["attach", "create", "write"].map(|name| below.calls(name));
        assert_eq!(after[0] - before[0], 1);
        assert!(after[2] - before[2] <= 24, "writes under way");
        rig.below.state().held_writes = false;
        rig.sync();
        for (file, data) in made {
            assert_eq!(rig.stored(file), Some(data));
        }
        rig.no_violations();
    }
}

/// Crashes that come faster than what they undo can be sent down again: whoever reads and writes goes on for
/// as long as they last, and nothing is lost when they end.
#[test]
fn crashes_in_quick_succession_end_nothing() {
    let mut rig = Rig::new(eager());
    let mut made = written_down(&mut rig, 60, 10);
    let mut random = Random::new(5);
    for round in 0..1000 {
        crash(&mut rig);
        let (file, data) = &mut made[random.below(60) as usize];
        let piece = random.bytes(100);
        let at = random.below((data.len() - 100) as u64) as usize;
        rig.run(async |cache| {
            let write = write_of(*file, at as u64, &piece, round);
            assert_eq!(cache.write(write).await, Ok(100));
        });
        data[at..at + 100].copy_from_slice(&piece);
        assert_eq!(rig.content(*file).as_ref(), Ok(&*data), "round {round}");
    }
    let statistics = rig.cache.statistics();
    assert!(statistics.recoveries_overtaken > 300, "{statistics:?}");
    rig.sync();
    for (file, data) in made {
        assert_eq!(rig.stored(file), Some(data));
    }
    rig.no_violations();
}

/// After a crash far more may be dirty than writers may make dirty. They do not wait for that.
#[test]
fn writers_do_not_wait_for_what_a_crash_has_undone() {
    let config = Config {
        pages: 256,
        log_pages: 256,
        dirty_percent: 1,
        dirty_percent_max: 20,
        ..Config::default()
    };
    let mut rig = Rig::new(config);
    let made = written_down(&mut rig, 4, 50);
    rig.below.state().held_writes = true;
    crash(&mut rig);
    rig.run(async |cache| {
        for page in 0..20 {
            let write = write_of(FileNumber(10), page * PAGE as u64, &[7; PAGE], 9);
            assert_eq!(cache.write(write).await, Ok(PAGE));
        }
        assert_eq!(cache.statistics().dirty_pages, 200);
    });
    rig.below.state().held_writes = false;
    rig.sync();
    for (file, data) in &made[1..] {
        assert_eq!(rig.stored(*file).as_ref(), Some(data));
    }
    rig.no_violations();
}

/// Pages that only the log kept are dirty where they are: the cache takes no page more than before, and
/// writers find room before all of it is below.
#[test]
fn a_log_that_is_larger_than_the_cache_is_owed_without_memory() {
    let config = Config {
        pages: 64,
        log_pages: 512,
        dirty_percent: 0,
        ..Config::default()
    };
    let mut rig = Rig::new(config);
    let made = written_down(&mut rig, 10, 40);
    assert!(rig.cache.statistics().log_pages_kept > 300);
    for _ in 0..3 {
        let writes = rig.below.calls("write");
        crash(&mut rig);
        rig.run(async |cache| {
            assert!(cache.statistics().dirty_pages > 300);
            let write = write_of(FileNumber(10), 0, &made[0].1[..PAGE], 9);
            assert_eq!(cache.write(write).await, Ok(PAGE));
        });
        assert!(rig.below.calls("write") - writes <= 24, "for one page");
        settle(&mut rig);
        let statistics = rig.cache.statistics();
        assert!(statistics.pages <= 64, "{statistics:?}");
        assert_eq!(statistics.log_pages, 400, "{statistics:?}");
    }
    for (file, data) in &made {
        assert_eq!(rig.content(*file).as_ref(), Ok(data));
    }
    rig.sync();
    for (file, data) in made {
        assert_eq!(rig.stored(file), Some(data));
    }
    rig.no_violations();
}

/// Room below that was given away once is not given to others after a crash: neither blocks nor files.
#[test]
fn what_was_promised_is_still_there() {
    let mut rig = Rig::new(eager());
    rig.below.state().blocks_max = 400;
    rig.below.state().files_max = 32;
    let made = written_down(&mut rig, 30, 10);
    rig.below.crash();
    let refused = rig.run(async |cache| {
        let numbers = 0..12;
        let attributes = Attributes::default();
        let creations = numbers.map(|number| cache.create(FileNumber(900 + number), &attributes));
        let refusals = |results: Vec<_>| results.iter().filter(|it| **it != Ok(())).count();
        refusals(join_all(creations).await)
    });
    assert_eq!(refused, 10, "of twelve, two fit");
    rig.below.crash();
    let mut taken = 0;
    while rig.run(async |cache| {
        let write = write_of(FileNumber(10), (20 + taken) * PAGE as u64, &[1; PAGE], 9);
        cache.write(write).await == Ok(PAGE)
    }) {
        taken += 1;
    }
    assert!((60..100).contains(&taken), "{taken} of a hundred");
    rig.sync();
    for (file, data) in &made[1..] {
        assert_eq!(rig.stored(*file).as_ref(), Some(data));
    }
    rig.no_violations();
}

/// Naming asks which numbers are taken when it begins; a file that a crash has undone is one of them.
#[test]
fn a_number_that_is_owed_is_not_free() {
    let mut rig = Rig::new(eager());
    written_down(&mut rig, 40, 1);
    rig.below.crash();
    let mut bits = [0; 64];
    rig.run(async |cache| {
        let bitmap = Sink::local(&mut bits);
        cache.numbers(FileNumber(0), bitmap).await.expect("numbers")
    });
    let is_taken = |number: usize| bits[number / 8] & 1 << (number % 8) != 0;
    assert!((10..50).all(is_taken));
    assert!(!is_taken(50));
}

/// The first crash leaves applications at work while the background sees to what it has undone; only then is a
/// sync wanted. A second one that comes before that leaves it to the sync.
#[test]
fn a_sync_is_wanted_when_the_background_is_through_or_crashes_repeat() {
    for crashes in 1..=2 {
        let mut rig = Rig::new(eager());
        written_down(&mut rig, 10, 100);
        let wanted = |rig: &mut Rig| {
            rig.run(async |cache| cache.early_sync_wanted().now_or_never().is_some())
        };
        assert!(!wanted(&mut rig), "a thousand pages are little");
        rig.below.state().held_writes = true;
        for _ in 0..crashes {
            crash(&mut rig);
        }
        assert_eq!(wanted(&mut rig), crashes > 1);
        rig.below.state().held_writes = false;
        settle(&mut rig);
        assert!(wanted(&mut rig), "a thousand pages are much after a crash");
        rig.sync();
        assert!(!wanted(&mut rig));
    }
}

/// Files that are deleted, cut and replaced while they are owed themselves.
#[test]
fn what_is_owed_may_change_once_more() {
    let mut rig = Rig::new(eager());
    let [deleted, cut, longer] = [1, 2, 3].map(|number| rig.file(number, &[1; 3 * PAGE]));
    rig.sync();
    let made = rig.file(4, &[2; 2 * PAGE]);
    rig.run(async |cache| {
        cache.truncate(cut, 5000, 5).await.unwrap();
        cache.truncate(longer, 7 * PAGE as u64, 5).await.unwrap();
        cache.delete(deleted).await.unwrap();
    });
    settle(&mut rig);
    rig.below.crash();
    let attributes = Attributes::default();
    let (created, cut_again) = rig.run(async |cache| {
        cache.delete(made).await.unwrap();
        cache.truncate(longer, 100, 6).await.unwrap();
        join(
            cache.create(deleted, &attributes),
            cache.truncate(cut, 4000, 6),
        )
        .await
    });
    assert_eq!((created, cut_again), (Ok(()), Ok(())));
    rig.below.crash();
    rig.run(async |cache| cache.truncate(cut, 6000, 7).await.unwrap());
    assert_eq!(rig.content(made), Err(Error::NotFound));
    rig.sync();
    let mut zeroed = vec![1; 4000];
    zeroed.resize(6000, 0);
    assert_eq!(rig.stored(cut), Some(zeroed));
    assert_eq!(rig.stored(longer), Some(vec![1; 100]));
    assert_eq!(rig.stored(deleted), Some(vec![]));
    assert_eq!(rig.stored(made), None);
    rig.no_violations();
}

/// A file in the place of one that the checkpoint has takes two calls to make again. If the second fails, the
/// first is not issued twice.
#[test]
fn a_file_that_could_be_deleted_and_not_made_again_is_made_later() {
    let mut rig = Rig::new(eager());
    let file = rig.file(9, b"as in the checkpoint");
    rig.sync();
    rig.run(async |cache| cache.delete(file).await.expect("it is there"));
    let data = bytes(9, 3 * PAGE);
    rig.file(9, &data);
    settle(&mut rig);
    rig.below.state().create_errors = vec![Error::Device; 3];
    crash(&mut rig);
    for _ in 0..4 {
        // The background may have met some of the errors.
        let synced = rig.run(async |cache| cache.sync().await);
        assert!(matches!(synced, Ok(_) | Err(Error::Device)), "{synced:?}");
    }
    assert_eq!(rig.below.state().create_errors, Vec::<Error>::new());
    rig.sync();
    assert_eq!(rig.stored(file), Some(data));
    rig.no_violations();
}
