//! Rules outlive the filter, and count on where they were.

use std::rc::Rc;

use futures_executor::block_on;
use futures_util::FutureExt as _;
use storage::{
    block::{BlockDevice as _, ram::RamDisk},
    faulty::{Action, Faulty, KEPT_PAGES, Kept, Persistence, Place, RULES_MAX, Rule, Timer},
    surviving::Heap,
};

use crate::{faulty, read};

/// A wait that whoever waits does not live to the end of.
struct TooLong;

impl Timer for TooLong {
    async fn sleep_ms(&self, _: u32) {
        core::future::pending().await
    }
}

/// A filter whose request takes too long is ended by the manager. Its successor must not do it all over again.
#[test]
fn a_rule_that_ends_its_filter_has_acted() {
    let memory = Heap::new(KEPT_PAGES);
    let (mut kept, _) = Kept::open(memory.clone()).unwrap();
    let filter = Faulty::new(Rc::new(RamDisk::new(64)), TooLong, Persistence::Written);
    block_on(filter.attach()).unwrap();
    filter.keep_with(move |rules| kept.keep(rules));
    let rules = [
        Rule {
            skip: 1,
            ..Rule::new(Action::Slow { ms: 40_000 })
        },
        Rule::new(Action::LostFlush),
    ];
    for (rule, number) in rules.into_iter().zip(1..) {
        block_on(filter.add(Some(number), rule)).unwrap();
    }
    assert!(filter.flush().now_or_never().is_some(), "spared");
    filter.remove(2).unwrap();
    assert!(filter.flush().now_or_never().is_none());
    let rules = filter.rules();
    drop(filter);

    let (kept, lost) = Kept::open(memory.next_instance()).unwrap();
    assert_eq!((kept.rules(), lost), (rules, 0));
    let (_, next, slept) = faulty(64, Persistence::Written);
    next.restore(kept.rules()).unwrap();
    block_on(next.flush()).unwrap();
    assert_eq!(*slept.0.borrow(), []);
}

#[test]
fn rules_count_on_where_they_were() {
    let memory = Heap::new(KEPT_PAGES);
    let (mut kept, lost) = Kept::open(memory.clone()).unwrap();
    assert_eq!((kept.rules().len(), lost), (0, 0));
    let (_, filter, _) = faulty(64, Persistence::Written);
    for skip in 0..RULES_MAX as u64 {
        let rule = Rule {
            skip: 3 + skip * u64::from(u32::MAX),
            times: Some(u64::MAX),
            seed: u64::MAX,
            one_in: u32::MAX,
            place: Place::Sectors {
                first: 0,
                last: u64::MAX - skip,
            },
            ..Rule::new(Action::MisdirectedWrite {
                to: Some((u64::MAX - 1, u64::MAX)),
            })
        };
        block_on(filter.add(None, rule)).unwrap();
    }
    kept.keep(&filter.rules());
    filter.remove(7).unwrap();
    filter.remove(9).unwrap();
    let rule = Rule {
        skip: 2,
        ..Rule::new(Action::ReadError)
    };
    block_on(filter.add(Some(99), rule)).unwrap();
    assert!(read(&filter, 0, 1).is_ok());
    kept.keep(&filter.rules());
    drop(kept);

    let (kept, lost) = Kept::open(memory.next_instance()).unwrap();
    assert_eq!(lost, 0);
    assert_eq!(kept.rules(), filter.rules());
    let (_, next, _) = faulty(64, Persistence::Written);
    next.restore(kept.rules()).unwrap();
    assert!(read(&next, 0, 1).is_ok());
    assert!(read(&next, 0, 1).is_err(), "two were spared, one before");
}

#[test]
fn rules_that_were_written_over_are_told_as_lost() {
    let memory = Heap::new(KEPT_PAGES);
    let (mut kept, _) = Kept::open(memory.clone()).unwrap();
    let (_, filter, _) = faulty(64, Persistence::Written);
    for _ in 0..3 {
        block_on(filter.add(None, Rule::new(Action::LostWrite))).unwrap();
    }
    kept.keep(&filter.rules());
    drop(kept);
    for page in 0..KEPT_PAGES {
        assert!(memory.write_wild(page, 700, &[0xa5; 300]));
    }
    let (kept, lost) = Kept::open(memory.next_instance()).unwrap();
    assert!(lost > 0);
    assert!(
        kept.rules()
            .iter()
            .all(|rule| filter.rules().contains(rule))
    );
}
