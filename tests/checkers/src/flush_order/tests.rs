//! The checker finds nothing in what the stack does, and what is wrong in traces made wrong.

use std::rc::Rc;

use storage::{block::ram::RamDisk, twinfs::Overwrite, vfs::FileSystem as _};
use tests::{
    session::Session,
    stack::{TestClock, disks, format, on_a_large_stack},
};

use super::{Checker, Counts, Event, of_disk};
use crate::{
    format::{LOG_BLOCKS, ROOT_PLACES, Root, RootPlace},
    rig::{Cache, stack},
};

/// What each disk took in a run of random operations, from format on.
fn run(count: usize, seed: u64) -> Vec<Vec<Event>> {
    run_with(count, seed, Overwrite::Relocate)
}

fn run_with(count: usize, seed: u64, overwrite: Overwrite) -> Vec<Vec<Event>> {
    let (disks, clock) = (disks(count), TestClock::default());
    let all: Vec<Rc<RamDisk>> = disks.iter().flatten().cloned().collect();
    for disk in &all {
        // Requests overlap.
        disk.delay(1);
        disk.record();
    }
    let taken = || {
        all.iter()
            .map(|disk| disk.history().map_or(0, |it| it.events().len()))
    };
    let mut session = Session::new("flush order", seed, &clock);
    let mut synced = vec![Vec::new(); count];
    for _ in 0..3 {
        let cache = [Cache::Ample, Cache::Eager][seed as usize % 2];
        let system = stack(&disks, &clock, cache, overwrite);
        system.run(async {
            let client = system.client(0);
            if synced[0].is_empty() {
                format(&client, &session.what()).await;
            }
            for _ in 0..4 {
                for _ in 0..25 {
                    session.step(&client).await;
                }
                let checkpoint = session.sync(&client).await;
                for (synced, taken) in synced.iter_mut().zip(taken()) {
                    synced.push((taken, checkpoint));
                }
            }
            let checkpoint = client.statfs().await.expect("mounted").checkpoint;
            session.crashed(checkpoint);
        });
    }
    let events = all.iter().zip(&synced).map(|(disk, synced)| {
        let history = disk.history().expect("it records");
        of_disk(&history, synced)
    });
    events.collect()
}

fn check(events: &[Event]) -> (Counts, Vec<String>) {
    let mut checker = Checker::new([]);
    events.iter().for_each(|event| checker.event(event));
    (checker.counts, checker.breaches)
}

#[test]
fn the_stack_keeps_the_order() {
    on_a_large_stack(|| {
        for seed in 0..4 {
            for (number, disk) in run(1 + seed as usize % 2, seed / 2).iter().enumerate() {
                let (counts, breaches) = check(disk);
                assert_eq!(breaches, [""; 0], "seed {seed}, disk {number}");
                assert!(counts.roots >= 12 && counts.writes > 200, "{counts:?}");
                assert_eq!(counts.synced, 12);
            }
        }
    });
}

fn root_place(event: &Event) -> Option<u64> {
    match event {
        Event::Write { sector, data } => {
            let data: &crate::format::Block = data[..].try_into().ok()?;
            let is_root = matches!(Root::read(data, sector / 8), RootPlace::Root(_));
            is_root.then_some(sector / 8)
        }
        _ => None,
    }
}

/// Where in a trace the root blocks are of syncs that wrote something else, too.
fn roots(events: &[Event]) -> Vec<usize> {
    let is_write = |at: usize| matches!(events[at], Event::Write { .. });
    let all = (4..events.len()).filter(|&at| root_place(&events[at]).is_some());
    // The copy, and two flushes if it is one disk of several, else one.
    let is_synced = |root: usize| {
        let after = events[root + 1..].iter();
        let until_synced = after.take_while(|event| !matches!(event, Event::Synced(_)));
        let is_of_root = |event: &Event| match event {
            Event::Write { sector, .. } => ROOT_PLACES.contains(&(sector / 8)),
            _ => true,
        };
        until_synced.clone().count() <= 3 && until_synced.clone().all(is_of_root)
    };
    let roots: Vec<usize> = all
        .filter(|at| is_write(at - 2) && is_synced(*at))
        .collect();
    assert!(roots.len() >= 8, "{} checkpoints", roots.len());
    roots
}

fn found(events: &[Event], expected: &str) {
    let (_, breaches) = check(events);
    assert!(
        breaches.iter().any(|it| it.contains(expected)),
        "{expected}: {breaches:#?}"
    );
}

#[test]
fn a_flush_left_out_before_a_root_or_after_it_is_found() {
    on_a_large_stack(|| {
        for disks in [1, 2] {
            let events = &run(disks, 2)[0];
            for root in roots(events) {
                assert!(
                    matches!(events[root - 1], Event::Flush { .. }),
                    "a flush before the root"
                );
                let mut without = events.clone();
                without.remove(root - 1);
                found(&without, "is not on the medium");
                // One store copies its root before the flush.
                let after = root + 3 - disks;
                assert!(
                    matches!(events[after], Event::Flush { .. }),
                    "a flush after the root"
                );
                let mut without = events.clone();
                without.remove(after);
                let expected = ["whose root is not on", "is not the newest on"][disks - 1];
                found(&without, expected);
            }
        }
    });
}

#[test]
fn a_root_written_before_the_last_block_it_refers_to_is_found() {
    on_a_large_stack(|| {
        let events = &run(1, 2)[0];
        for root in roots(events) {
            let mut early = events.clone();
            // Before the flush and the last write.
            early[root - 2..=root].rotate_right(1);
            found(&early, "is written, and");
        }
    });
}

#[test]
fn the_flush_of_a_copied_root_left_out_is_found() {
    on_a_large_stack(|| {
        let events = &run(2, 2)[1];
        let mut copies = 0;
        for root in roots(events) {
            // At the end of a sync that wrote something, up to the next write.
            let (copied, next) = (root + 2, root + 5);
            match events.get(copied..=next) {
                Some(
                    [
                        Event::Write { data, .. },
                        Event::Flush { .. },
                        Event::Synced(_),
                        Event::Write { sector, .. },
                    ],
                ) if !ROOT_PLACES.contains(&(sector / 8)) => {
                    let Event::Write { data: root, .. } = &events[root] else {
                        unreachable!("a root is written")
                    };
                    assert!(data == root, "the sync copies the root");
                }
                _ => continue,
            }
            let mut without = events.clone();
            without.remove(copied + 1);
            found(&without, "may still be loaded and needs it");
            copies += 1;
        }
        assert!(copies > 5, "{copies} copies");
    });
}

/// A root whose sync returned is on the medium twice, or damage to it would pass for a sync that never was.
#[test]
fn a_root_that_is_not_copied_is_found() {
    on_a_large_stack(|| {
        for disks in [1, 2] {
            let events = &run(disks, 2)[0];
            for root in roots(events) {
                let is_copy = |&at: &usize| match (&events[root], &events[at]) {
                    (Event::Write { data: root, .. }, Event::Write { data, .. }) => data == root,
                    _ => false,
                };
                let copy = (root + 1..root + 3).find(is_copy).expect("a copy");
                let mut without = events.clone();
                without.remove(copy);
                found(&without, "on the medium once only");
            }
        }
    });
}

/// What is overwritten in place is announced for the newest checkpoint. One before it, to which a crash may still lead
/// back, has no record of it.
#[test]
fn an_overwrite_that_only_the_newest_checkpoint_can_tell_is_found() {
    on_a_large_stack(|| {
        let mut overwrites = 0;
        for seed in 0..4 {
            let events = &run_with(2, seed, Overwrite::InPlace)[0];
            for root in roots(events) {
                assert!(matches!(events[root + 4], Event::Synced(_)));
                let mut without = events.clone();
                // The copy, its flush, and that the sync returned.
                without.drain(root + 2..root + 5);
                let (mut checker, mut before) = (Checker::new([]), 0);
                for event in &without {
                    before = checker.counts.overwrites;
                    checker.event(event);
                    if !checker.breaches.is_empty() {
                        break;
                    }
                }
                // Others are of blocks that are used again.
                let announced = checker.counts.overwrites > before;
                overwrites += u64::from(announced && checker.breaches.len() == 1);
            }
        }
        assert!(overwrites > 3, "{overwrites} overwrites");
    });
}

#[test]
fn a_root_erased_after_its_sync_is_found_unless_the_volume_is_made_anew() {
    on_a_large_stack(|| {
        for disks in [1, 2] {
            let events = &run(disks, 2)[0];
            for root in roots(events) {
                let newest = root_place(&events[root]).expect("a root");
                let synced = root + 2 + disks;
                assert!(matches!(events[synced], Event::Synced(_)));
                let erased = |places: &[u64]| {
                    let mut erased = events[..=synced].to_vec();
                    erased.extend(places.iter().map(|place| Event::Write {
                        sector: place * 8,
                        data: vec![0; 4096].into(),
                    }));
                    erased.push(Event::Flush { late: 0 });
                    erased
                };
                found(&erased(&[newest]), "is gone, though a sync had returned");
                assert_eq!(check(&erased(&ROOT_PLACES)).1, [""; 0]);
            }
        }
    });
}

/// A flush that was asked for before the last write had ended promises nothing of it.
#[test]
fn a_flush_that_did_not_wait_is_found() {
    on_a_large_stack(|| {
        for disks in [1, 2] {
            let events = &run(disks, 2)[0];
            for root in roots(events) {
                let mut early = events.clone();
                early[root - 1] = Event::Flush { late: 1 };
                found(&early, "is not on the medium");
                early[root - 1] = Event::Flush { late: 0 };
                assert_eq!(check(&early).1, [""; 0]);
                // What came before it is the root, of one store with its copy.
                let after = 3 - disks;
                early[root + after] = Event::Flush { late: after };
                let expected = ["whose root is not on", "is not the newest on"][disks - 1];
                found(&early, expected);
            }
        }
    });
}

/// What a checkpoint refers to is written again right after it.
#[test]
fn a_block_used_again_too_early_is_found() {
    on_a_large_stack(|| {
        let events = &run(1, 2)[0];
        let (first, last) = (roots(events)[1], *roots(events).last().expect("a root"));
        let is_data =
            |event: &&Event| matches!(event, Event::Write { sector, .. } if sector / 8 > 256);
        let written = events[first..last].iter().rfind(is_data).expect("a block");
        let Event::Write { sector, .. } = written else {
            unreachable!("only writes are looked for")
        };
        let other = Event::Write {
            sector: *sector,
            data: vec![0x5a; 4096].into(),
        };
        let mut early = events[..last + 3].to_vec();
        early.push(other);
        found(&early, "is overwritten");
    });
}

/// Data that are overwritten in place are announced first, on the medium.
#[test]
fn an_overwrite_in_place_without_a_record_on_the_medium_is_found() {
    on_a_large_stack(|| {
        for seed in 0..2 {
            let events = &run_with(2, seed, Overwrite::InPlace)[0];
            let (counts, breaches) = check(events);
            assert_eq!(breaches, [""; 0]);
            assert!(counts.overwrites > 20, "{counts:?}");
            let is_log = |event: &Event| match event {
                Event::Write { sector, .. } => LOG_BLOCKS.contains(&(sector / 8)),
                _ => false,
            };
            let logged: Vec<usize> = (0..events.len())
                .filter(|&at| is_log(&events[at]))
                .collect();
            assert!(logged.len() > 5, "{} log blocks", logged.len());
            for at in logged {
                // What else was under way may have ended before its flush.
                let is_flush = |at: &usize| matches!(events[*at], Event::Flush { .. });
                let flush = (at..events.len()).find(is_flush).expect("a flush");
                let mut without = events.clone();
                without.remove(flush);
                found(&without, "is overwritten");
            }
        }
        let (_, breaches) = check(&run_with(1, 0, Overwrite::Unlogged)[0]);
        assert!(!breaches.is_empty(), "without a log");
    });
}
