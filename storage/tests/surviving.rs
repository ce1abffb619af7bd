//! Records in memory that outlives instances: deaths at every store, and writes by mistake.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
};

use storage::surviving::{Found, Heap, Memory, Opened, RecordId, Table};

const WORDS: usize = 3;
type Payload = [u64; WORDS];
type Small = Table<Heap, WORDS>;

/// What is stored: of one, two or three words.
fn stored(n: u64) -> Vec<u64> {
    let words = [n, n.wrapping_mul(0x9e37_79b9_7f4a_7c15), !n];
    words[..1 + n as usize % WORDS].into()
}

/// What is found of it: zeros behind it, whatever longer one was there before.
fn payload(n: u64) -> Payload {
    let mut payload = [0; WORDS];
    let stored = stored(n);
    payload[..stored.len()].copy_from_slice(&stored);
    payload
}

/// Runs `work` until it has made so many stores, and ends it there. Whether it came to its end.
fn until_store(memory: &Heap, stores: u64, work: impl FnOnce()) -> bool {
    let last = memory.stores() + stores;
    let dead = memory.clone();
    memory.before_each_store(move |stores| {
        if stores == last {
            dead.end_instance();
            resume_unwind(Box::new("killed"));
        }
    });
    catch_unwind(AssertUnwindSafe(work)).is_ok()
}

fn open(memory: &Heap) -> Option<Opened<Heap, WORDS>> {
    Small::open(memory.clone(), |page| memory.page(page))
}

/// What a table holds; nothing may be lost.
fn held(opened: &Opened<Heap, WORDS>) -> BTreeMap<u64, RecordId> {
    assert_eq!((opened.pages_lost, opened.marker_lost), (0, false));
    let value = |found: &Found<WORDS>| match found {
        Found::Held(held) => {
            assert_eq!(*held, payload(held[0]));
            held[0]
        }
        Found::Lost(hint) => panic!("a record is lost, of which {hint:?} is left"),
    };
    opened
        .records
        .iter()
        .map(|(id, found)| (value(found), *id))
        .collect()
}

/// A table of two pages with some records free, some changed a number of times; and what it holds.
fn table(memory: &Heap) -> (Small, BTreeMap<u64, RecordId>) {
    let mut table = Small::new(memory.clone(), memory.page(0).unwrap());
    let mut records = BTreeMap::new();
    for n in 0..70 {
        let id = table.insert(&stored(n)).unwrap_or_else(|| {
            table.grow(memory.page(table.pages()).unwrap());
            table.insert(&stored(n)).expect("a page has room")
        });
        records.insert(n, id);
    }
    for n in 0..70 {
        let id = records.remove(&n).unwrap();
        match n % 3 {
            0 => table.remove(id),
            1 => {
                table.set(id, &stored(1000 + n));
                records.insert(1000 + n, id);
            }
            _ => {
                table.set(id, &stored(1000 + n));
                table.set(id, &stored(2000 + n));
                records.insert(2000 + n, id);
            }
        }
    }
    assert_eq!(table.pages(), 2);
    (table, records)
}

#[test]
fn a_table_is_found_as_it_was_left() {
    let memory = Heap::new(8);
    let (left, records) = table(&memory);
    drop(left);
    let opened = open(&memory.next_instance()).unwrap();
    assert_eq!(held(&opened), records);
    let mut table = opened.accept();
    let id = records[&1001];
    table.set(id, &stored(5));
    drop(table);
    let opened = open(&memory.next_instance()).unwrap();
    assert_eq!(held(&opened)[&5], id);
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Insert(u64),
    Set(u64, u64),
    Remove(u64),
    Grow,
}

/// A death at any store of any change, and at any store of making that good: what was there before is
/// there, or what was to be there, and never anything else.
#[test]
fn a_death_at_any_store_is_before_or_after_the_change() {
    let changes = [
        Change::Insert(7),
        Change::Set(1001, 8),
        Change::Set(2065, 9),
        Change::Remove(1004),
        Change::Grow,
    ];
    let mut deaths = 0;
    for change in changes {
        for stores in 0.. {
            let memory = Heap::new(8);
            let (mut table, before) = table(&memory);
            let mut after = before.clone();
            let ended = until_store(&memory, stores, || match change {
                Change::Insert(new) => {
                    table.insert(&stored(new)).unwrap();
                }
                Change::Set(old, new) => table.set(before[&old], &stored(new)),
                Change::Remove(old) => table.remove(before[&old]),
                Change::Grow => table.grow(memory.page(2).unwrap()),
            });
            drop(table);
            match change {
                Change::Insert(new) => drop(after.insert(new, RecordId::default())),
                Change::Set(old, new) => {
                    let id = after.remove(&old).unwrap();
                    after.insert(new, id);
                }
                Change::Remove(old) => drop(after.remove(&old)),
                Change::Grow => {}
            }
            let keys =
                |records: &BTreeMap<u64, RecordId>| records.keys().copied().collect::<Vec<_>>();
            // The next instance dies as well, after `again` stores, and then one does not.
            let left = memory.contents();
            for again in 0.. {
                let memory = Heap::with_contents(&left, 8);
                let opened = open(&memory).unwrap();
                let found = keys(&held(&opened));
                assert!(
                    found == keys(&after) || (!ended && found == keys(&before)),
                    "{change:?} after {stores} stores: {found:?}"
                );
                let repaired = until_store(&memory, again, || drop(opened.accept()));
                let memory = memory.next_instance();
                let opened = open(&memory).unwrap();
                assert_eq!(keys(&held(&opened)), found, "{change:?}, {stores}, {again}");
                deaths += 1;
                if repaired {
                    // And it can be used.
                    let mut table = opened.accept();
                    let id = table.insert(&stored(77)).unwrap();
                    table.set(id, &stored(78));
                    break;
                }
            }
            if ended {
                break;
            }
        }
    }
    assert!(deaths > 100, "{deaths}");
}

/// The first instance dies before there is a table, and the next one makes it.
#[test]
fn a_death_at_any_store_of_the_making_leaves_no_table_or_an_empty_one() {
    for stores in 0.. {
        let memory = Heap::new(8);
        let ended = until_store(&memory, stores, || {
            drop(Small::new(memory.clone(), memory.page(0).unwrap()));
        });
        let found = open(&memory.next_instance()).map(|opened| held(&opened).len());
        assert!(found == Some(0) || (!ended && found.is_none()));
        if ended {
            return;
        }
    }
}

/// Numbers that a seed determines (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Writes by mistake, of all sizes: every record is as it was, or said to be lost. None is as it was at
/// some earlier time, though the table still has those versions.
#[test]
fn what_is_overwritten_by_mistake_is_lost_and_never_older() {
    let original = Heap::new(8);
    let (left, records) = table(&original);
    drop(left);
    let contents = original.contents();
    let by_id: BTreeMap<RecordId, u64> = records.iter().map(|(&n, &id)| (id, n)).collect();
    let (mut lost, mut hints, mut gone, mut intact) = (0, 0, 0, 0);
    for seed in 0..3_000 {
        let mut random = Random(seed);
        let memory = Heap::with_contents(&contents, 8);
        for _ in 0..=random.below(3) {
            let len = [1, 8, 40, 400][random.below(4) as usize];
            let offset = random.below(4096 - len) as usize;
            let from = random.below(4096 - len) as usize;
            let bytes: Vec<u8> = match random.below(4) {
                0 => vec![0; len as usize],
                1 => vec![0xff; len as usize],
                // A piece of the table in another place, as a loop that goes too far writes it.
                2 => contents[random.below(2) as usize][from..from + len as usize].to_vec(),
                _ => (0..len).map(|_| random.below(256) as u8).collect(),
            };
            assert!(memory.write_wild(random.below(2) as usize, offset, &bytes));
        }
        let Some(opened) = open(&memory) else {
            gone += 1;
            continue;
        };
        let mut found: BTreeMap<RecordId, Found<WORDS>> = opened.records.iter().copied().collect();
        let all_of_a_page = opened.pages_lost > 0;
        for (id, &n) in &by_id {
            match found.remove(id) {
                Some(Found::Held(held)) => {
                    assert_eq!(held, payload(n), "seed {seed}");
                    intact += 1;
                }
                Some(Found::Lost(hint)) => {
                    lost += 1;
                    hints += usize::from(hint.is_some());
                }
                None => assert!(all_of_a_page, "seed {seed}: {n} is missing without a word"),
            }
        }
        for (id, found) in found {
            let is_lost = matches!(found, Found::Lost(_));
            assert!(is_lost, "seed {seed}: {id:?} holds {found:?}");
        }
        // What is said to be lost stays lost, and what is not is still there when this was made good.
        let before: Vec<_> = opened.records.clone();
        drop(opened.accept());
        let opened = open(&memory.next_instance()).expect("all is well now");
        let kept: Vec<_> = before
            .into_iter()
            .filter(|(_, found)| matches!(found, Found::Held(_)))
            .collect();
        assert_eq!(opened.records, kept, "seed {seed}");
    }
    println!("{lost} lost ({hints} with a hint), {intact} intact, {gone} tables gone");
    assert!(lost > 1_500 && hints > 700 && gone > 15 && intact > 50_000);
}

/// A death in the middle of making good what was lost: it is lost still, or free, never back.
#[test]
fn a_death_while_losses_are_made_good_brings_nothing_back() {
    let memory = Heap::new(8);
    let (left, _) = table(&memory);
    drop(left);
    let contents = memory.contents();
    let mut deaths = 0;
    for seed in 0..20 {
        let mut random = Random(seed);
        let memory = Heap::with_contents(&contents, 8);
        let (page, offset) = (random.below(2) as usize, 16 + random.below(4000) as usize);
        memory.write_wild(page, offset, &random.below(u64::MAX).to_le_bytes());
        let left = memory.contents();
        let held = |opened: &Opened<Heap, WORDS>| -> Vec<(RecordId, Found<WORDS>)> {
            let held = |record: &&(_, Found<WORDS>)| matches!(record.1, Found::Held(_));
            opened.records.iter().filter(held).copied().collect()
        };
        for stores in 0.. {
            let memory = Heap::with_contents(&left, 8);
            let Some(opened) = open(&memory) else { break };
            let before = held(&opened);
            let ended = until_store(&memory, stores, || drop(opened.accept()));
            let opened = open(&memory.next_instance()).expect("still a table");
            assert_eq!(held(&opened), before, "seed {seed}, {stores} stores");
            deaths += 1;
            if ended {
                break;
            }
        }
    }
    assert!(deaths > 100, "{deaths}");
}

#[test]
fn memory_grows_up_to_its_bound_and_a_page_is_held_once() {
    let memory = Heap::new(4);
    let first = memory.page(2).unwrap();
    assert!(memory.page(2).is_none(), "somebody holds it");
    assert!(memory.page(4).is_none(), "there is no more");
    assert_eq!((memory.left(), memory.len()), (0, 3));
    drop(first);
    let next = memory.next_instance();
    assert_eq!(next.left(), 3);
    assert!(next.page(2).is_some());
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    next.before_each_store(move |stores| log.borrow_mut().push(stores));
    let mut page = next.page(0).unwrap();
    next.store(&mut page, 511, 7);
    memory.store(&mut page, 511, 8);
    assert_eq!(page[4088], 7, "the dead store nothing");
    assert_eq!(*seen.borrow(), [0]);
}
