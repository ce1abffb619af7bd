//! Which requests a rule acts on, and how it counts.

use std::rc::Rc;

use futures_executor::block_on;
use storage::{
    Error,
    block::{BlockDevice, ram::RamDisk},
    faulty::{Action, Control, Direction, Faulty, Persistence, Place, RULES_MAX, Rule, WriteCache},
};

use crate::{Slept, faulty, numbered, read, run_of, write};

#[test]
fn a_rule_spares_acts_and_is_done() {
    let (_, filter, _) = faulty(64, Persistence::Written);
    let rule = Rule {
        skip: 2,
        times: Some(2),
        place: Place::Sectors { first: 8, last: 15 },
        ..Rule::new(Action::ReadError)
    };
    let number = block_on(filter.add(None, rule)).unwrap();
    let results: Vec<bool> = (0..6).map(|_| read(&filter, 8, 1).is_ok()).collect();
    assert_eq!(results, [true, true, false, false, true, true]);
    assert!(read(&filter, 16, 8).is_ok(), "elsewhere nothing happens");
    let armed = filter.rules()[0];
    assert_eq!(
        (armed.number, armed.acted, armed.left()),
        (number, 2, Some(0))
    );
    assert_eq!(filter.remove(number), Ok(()));
    assert_eq!(filter.remove(number), Err(Error::NotFound));
}

#[test]
fn a_rule_acts_on_requests_that_touch_its_place_at_all() {
    let (_, filter, _) = faulty(64, Persistence::Written);
    let rule = Rule {
        times: None,
        place: Place::Sectors { first: 8, last: 15 },
        ..Rule::new(Action::WriteError)
    };
    block_on(filter.add(None, rule)).unwrap();
    for (sector, count, fails) in [(0, 8, false), (0, 9, true), (15, 4, true), (16, 1, false)] {
        let result = write(&filter, sector, &run_of(sector, count, 1));
        assert_eq!(result.is_err(), fails, "{count} from {sector}");
    }
    assert!(read(&filter, 8, 8).is_ok(), "a write error spares reads");
}

#[test]
fn a_rule_that_somebody_asks_for_names_no_sectors_that_the_disk_does_not_have() {
    let cache = WriteCache::new(Rc::new(RamDisk::new(64)), 16);
    let filter = Faulty::new(cache, Slept::default(), Persistence::Written);
    block_on(filter.attach()).unwrap();
    let placed = |first, last| Rule {
        place: Place::Sectors { first, last },
        ..Rule::new(Action::WriteError)
    };
    let sent = |to| Rule::new(Action::MisdirectedWrite { to: Some(to) });
    for rule in [placed(0, 64), placed(70, 80), sent((60, 64))] {
        let added = block_on(Control::add(&filter, 1, rule));
        assert_eq!(added, Err(Error::BadArgument), "{rule:?}");
    }
    for (number, rule) in (1..).zip([placed(0, 63), sent((56, 63))]) {
        block_on(Control::add(&filter, number, rule)).unwrap();
    }
}

#[test]
fn the_same_seed_picks_the_same_requests() {
    let picked = |seed| -> Vec<bool> {
        let (_, filter, _) = faulty(64, Persistence::Written);
        let rule = Rule {
            times: None,
            one_in: 4,
            seed,
            ..Rule::new(Action::ReadError)
        };
        block_on(filter.add(None, rule)).unwrap();
        (0..400).map(|_| read(&filter, 0, 1).is_err()).collect()
    };
    let first = picked(1);
    assert_eq!(first, picked(1));
    assert_ne!(first, picked(2));
    let hits = first.iter().filter(|&&hit| hit).count();
    assert!((60..140).contains(&hits), "one in four of 400: {hits}");
}

#[test]
fn slow_delays_and_changes_nothing() {
    let (_, filter, slept) = faulty(64, Persistence::Written);
    let rule = Rule {
        times: Some(3),
        ..Rule::new(Action::Slow { ms: 20 })
    };
    block_on(filter.add(None, rule)).unwrap();
    write(&filter, 3, &numbered(3, 1)).unwrap();
    assert_eq!(read(&filter, 3, 1).unwrap(), numbered(3, 1));
    block_on(filter.flush()).unwrap();
    block_on(filter.flush()).unwrap();
    assert_eq!(*slept.0.borrow(), [20, 20, 20]);
}

#[test]
fn a_dead_disk_stays_dead_until_the_rule_goes() {
    let (disk, filter, _) = faulty(64, Persistence::Written);
    let rule = Rule {
        skip: 1,
        ..Rule::new(Action::Dead)
    };
    let number = block_on(filter.add(None, rule)).unwrap();
    assert!(read(&filter, 0, 1).is_ok());
    for _ in 0..3 {
        assert_eq!(read(&filter, 0, 1), Err(Error::Device));
        assert_eq!(write(&filter, 0, &numbered(0, 9)), Err(Error::Device));
        assert_eq!(block_on(filter.flush()), Err(Error::Device));
        assert_eq!(block_on(filter.attach()), Err(Error::Device));
    }
    assert_eq!(disk.peek(0, 512), numbered(0, 0));
    // What an instance of a task leaves behind is taken over by the next.
    let (_, next, _) = faulty(64, Persistence::Written);
    next.restore(filter.rules()).unwrap();
    assert_eq!(read(&next, 0, 1), Err(Error::Device));
    filter.remove(number).unwrap();
    assert!(read(&filter, 0, 1).is_ok());
}

/// Who counts what has struck counts what has changed something.
#[test]
fn a_rule_acts_on_nothing_that_it_cannot_change() {
    let within = |first, last| Action::MisdirectedWrite {
        to: Some((first, last)),
    };
    let torn = |sectors| Action::TornWrite { sectors };
    // From sector 8 on; the first so many change nothing.
    for (action, spared, struck) in [
        (torn(0), 1, 2),
        (torn(3), 3, 4),
        (within(8, 11), 4, 3),
        (within(9, 10), 3, 2),
        (within(60, u64::MAX), 5, 4),
        (within(70, 80), 1, 0),
    ] {
        let (_, filter, _) = faulty(64, Persistence::Written);
        block_on(filter.add(None, Rule::new(action))).unwrap();
        let acts = |count| {
            write(&filter, 8, &run_of(8, count, count)).unwrap();
            let changed = read(&filter, 8, count).unwrap() != run_of(8, count, count);
            let armed = filter.rules()[0];
            assert_eq!((changed, armed.matched), (armed.acted > 0, armed.acted));
            changed
        };
        assert!(!acts(spared), "{action:?}, {spared} sectors");
        assert!(struck == 0 || acts(struck), "{action:?}, {struck} sectors");
    }
}

#[test]
fn a_misdirected_write_never_comes_out_at_its_own_place() {
    for seed in 0..100 {
        let (_, filter, _) = faulty(64, Persistence::Written);
        let rule = Rule {
            seed,
            ..Rule::new(Action::MisdirectedWrite { to: Some((7, 18)) })
        };
        block_on(filter.add(None, rule)).unwrap();
        write(&filter, 8, &run_of(8, 8, 1)).unwrap();
        assert_ne!(read(&filter, 8, 8).unwrap(), run_of(8, 8, 1), "seed {seed}");
    }
}

#[test]
fn a_lost_flush_succeeds_and_is_none() {
    let (disk, filter, _) = faulty(64, Persistence::Written);
    block_on(filter.add(None, Rule::new(Action::LostFlush))).unwrap();
    write(&filter, 0, &numbered(0, 1)).unwrap();
    block_on(filter.flush()).unwrap();
    assert_eq!(disk.counters().flushes, 0);
    block_on(filter.flush()).unwrap();
    assert_eq!(disk.counters().flushes, 1);
}

#[test]
fn rules_that_make_no_sense_are_refused_and_their_number_is_bounded() {
    let (_, filter, _) = faulty(64, Persistence::Written);
    let good = Rule::new(Action::ReadError);
    let sectors = Place::Sectors { first: 5, last: 4 };
    for bad in [
        Rule {
            direction: Direction::Writes,
            ..good
        },
        Rule {
            direction: Direction::Reads,
            ..Rule::new(Action::LostWrite)
        },
        Rule { one_in: 0, ..good },
        Rule {
            times: Some(0),
            ..good
        },
        Rule {
            place: sectors,
            ..good
        },
        Rule::new(Action::Corrupt { bytes: 0 }),
        Rule::new(Action::Slow { ms: 60_001 }),
    ] {
        let result = block_on(filter.add(None, bad));
        assert_eq!(result, Err(Error::BadArgument), "{bad:?}");
    }
    for number in 1..=RULES_MAX as u32 {
        assert_eq!(block_on(filter.add(None, good)), Ok(number));
    }
    assert_eq!(block_on(filter.add(None, good)), Err(Error::NoMemory));
    assert_eq!(block_on(filter.add(Some(3), good)), Err(Error::Exists));
    // One that is done makes room.
    assert!(read(&filter, 0, 1).is_err());
    assert_eq!(block_on(filter.add(None, good)), Ok(RULES_MAX as u32 + 1));
}
