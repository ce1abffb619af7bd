//! The volatile cache: reads see what is held, a flush keeps it, and a cut loses a part of the rest.

use std::{
    collections::BTreeSet,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use futures_executor::block_on;
use storage::{
    Error,
    block::{BlockDevice, ram::RamDisk},
    buffer::Source,
    faulty::{Settled, WriteCache},
};

use crate::{Disk, numbered, read, run_of, write};

fn cached(sectors_max: u64) -> (Disk, WriteCache<Disk>) {
    let disk = Rc::new(RamDisk::new(256));
    let cache = WriteCache::new(disk.clone(), sectors_max);
    block_on(cache.attach()).unwrap();
    (disk, cache)
}

#[test]
fn what_is_held_is_read_and_not_on_the_disk() {
    let (disk, cache) = cached(64);
    write(&cache, 8, &run_of(8, 8, 1)).unwrap();
    write(&cache, 10, &run_of(10, 2, 2)).unwrap();
    let mut expected = run_of(8, 2, 1);
    expected.extend(run_of(10, 2, 2));
    expected.extend(run_of(12, 4, 1));
    assert_eq!(read(&cache, 8, 8).unwrap(), expected);
    assert_eq!(disk.peek(8, 512), vec![0; 512]);
    assert_eq!(cache.unflushed(), 10);
    block_on(cache.flush()).unwrap();
    assert_eq!(disk.peek(8, 8 * 512), expected);
    assert_eq!((cache.unflushed(), disk.counters().flushes), (0, 1));
}

#[test]
fn beyond_the_bound_the_oldest_go_to_the_disk() {
    let (disk, cache) = cached(16);
    for at in 0..4 {
        write(&cache, at * 8, &run_of(at * 8, 8, 1)).unwrap();
    }
    assert_eq!(cache.unflushed(), 16);
    assert_eq!(disk.peek(0, 16 * 512), run_of(0, 16, 1));
    assert_eq!(disk.peek(16 * 512 / 512, 512), vec![0; 512]);
}

/// The disk after a cut with a seed: after a flush of version 1, versions 2 and 3 of some sectors.
fn after_cut(seed: Option<u64>) -> (Vec<u8>, Settled) {
    let (disk, cache) = cached(1024);
    write(&cache, 0, &run_of(0, 16, 1)).unwrap();
    block_on(cache.flush()).unwrap();
    write(&cache, 0, &run_of(0, 8, 2)).unwrap();
    write(&cache, 32, &run_of(32, 8, 2)).unwrap();
    write(&cache, 4, &run_of(4, 8, 3)).unwrap();
    cache.cut();
    let settled = block_on(cache.settle(seed)).unwrap();
    (disk.peek(0, 40 * 512), settled)
}

#[test]
fn a_cut_loses_of_the_unflushed_what_its_seed_says() {
    let mut seen: BTreeSet<Vec<u64>> = BTreeSet::new();
    let (mut earlier_won, mut whole) = (false, 0);
    for seed in 0..400 {
        let (disk, settled) = after_cut(Some(seed));
        assert_eq!(disk, after_cut(Some(seed)).0, "seed {seed}");
        assert_eq!(settled.unflushed, 24);
        let versions: Vec<u64> = (0..40)
            .map(|sector| {
                let content = &disk[sector * 512..][..512];
                (0..4)
                    .find(|&version| {
                        content == numbered(sector as u64, version)
                            || version == 0 && content == [0; 512]
                    })
                    .unwrap_or_else(|| panic!("seed {seed}: sector {sector} is torn"))
            })
            .collect();
        for (sector, &version) in versions.iter().enumerate() {
            let allowed: &[u64] = match sector {
                0..4 => &[1, 2],
                4..8 => &[1, 2, 3],
                8..12 => &[1, 3],
                12..16 => &[1],
                16..32 => &[0],
                _ => &[0, 2],
            };
            assert!(
                allowed.contains(&version),
                "seed {seed}: {version} in {sector}"
            );
        }
        let new = versions[..12].iter().filter(|&&it| it > 1).count();
        let new = new + versions[32..].iter().filter(|&&it| it > 0).count();
        assert_eq!(settled.kept, new as u64, "seed {seed}: {versions:?}");
        // The one write that no other covers.
        let alone = versions[32..].iter().filter(|&&it| it == 2).count();
        if (1..8).contains(&alone) {
            assert!((1..=3).contains(&settled.torn), "seed {seed}: {settled:?}");
        }
        if settled.kept == 0 || versions[8..12] == [3; 4] && alone == 8 && versions[..4] == [2; 4] {
            whole += u64::from(settled.torn == 0);
        }
        earlier_won |= versions[4..8].contains(&2) && versions[8..12].contains(&3);
        seen.insert(versions);
    }
    assert!(seen.len() > 150, "many different ends: {}", seen.len());
    assert!(earlier_won, "the order of writes is any");
    let (disk, settled) = after_cut(None);
    assert!(whole > 0, "some cuts tear no write");
    let all = Settled {
        unflushed: 24,
        kept: 24,
        torn: 0,
    };
    assert_eq!(settled, all);
    assert_eq!(disk[4 * 512..5 * 512], numbered(4, 3));
}

#[test]
fn from_the_cut_on_nobody_is_answered() {
    let (disk, cache) = cached(16);
    assert_eq!(block_on(cache.settle(Some(1))), Err(Error::BadArgument));
    cache.cut();
    let mut context = Context::from_waker(Waker::noop());
    let data = numbered(3, 1);
    assert!(pin!(cache.write(3, Source::local(&data))).poll(&mut context) == Poll::Pending);
    assert!(pin!(cache.flush()).poll(&mut context) == Poll::Pending);
    assert!(pin!(cache.attach()).poll(&mut context) == Poll::Pending);
    block_on(cache.settle(Some(1))).unwrap();
    assert_eq!(disk.peek(3, 512), vec![0; 512]);
}

/// A cut in the middle of a flush: what the flush has not yet written can still be lost, and the
/// flush is never answered.
#[test]
fn a_cut_in_the_middle_of_a_flush() {
    let mut outcomes = BTreeSet::new();
    for polls in 0..12 {
        let (disk, cache) = cached(64);
        disk.delay(1);
        for at in 0..4 {
            write(&cache, at, &numbered(at, 1)).unwrap();
        }
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut flush = pin!(cache.flush());
            let mut ended = false;
            for _ in 0..polls {
                ended = ended || flush.as_mut().poll(&mut context).is_ready();
            }
            cache.cut();
            block_on(cache.settle(Some(3))).unwrap();
            if !ended {
                // What is under way below may end; the flush does not.
                for _ in 0..4 {
                    assert!(flush.as_mut().poll(&mut context).is_pending());
                }
            }
        }
        let there: Vec<bool> = (0..4)
            .map(|at| disk.peek(at, 512) == numbered(at, 1))
            .collect();
        outcomes.insert(there);
    }
    assert!(outcomes.len() > 1);
}
