//! The rule for degraded volumes, case by case.

use alloc::{vec, vec::Vec};
use core::ops::RangeInclusive;

use super::*;

fn at(timestamp: u64, present: u32) -> Checkpoint {
    Checkpoint {
        timestamp: Timestamp(timestamp),
        present,
    }
}

/// A part of volume 1 of two stores, in the slot of its index.
fn part(index: u32, newest: Checkpoint, previous: Option<Checkpoint>) -> Part {
    let info = StoreInfo {
        volume: 1,
        index,
        stores: 2,
        algorithm: Algorithm::Xxh64,
        newest,
        previous,
        // As it was told to forget the one before.
        finished: previous.is_none(),
    };
    Part {
        slot: index as usize,
        info,
    }
}

/// As after a crash of the machine, when any checkpoint may be the last.
fn choose(parts: &[Part]) -> Result<Choice> {
    choose_from(parts, 0..=u64::MAX)
}

fn choose_from(parts: &[Part], allowed: RangeInclusive<u64>) -> Result<Choice> {
    super::choose(
        parts,
        &(Timestamp(*allowed.start())..=Timestamp(*allowed.end())),
    )
}

fn slots(choice: &Choice) -> Vec<usize> {
    choice.members.iter().map(|part| part.slot).collect()
}

#[test]
fn all_stores_at_the_same_checkpoint_load_it() {
    let both = at(7, 0b11);
    let choice = choose(&[part(0, both, Some(at(6, 0b11))), part(1, both, None)]).unwrap();
    assert_eq!(choice.checkpoint, both);
    assert_eq!(slots(&choice), [0, 1]);
    assert!(choice.left_out.is_empty());
}

#[test]
fn a_crash_in_the_middle_of_a_sync_goes_back_one_on_all() {
    let (old, new) = (at(6, 0b11), at(7, 0b11));
    let choice = choose(&[part(0, old, Some(at(5, 0b11))), part(1, new, Some(old))]).unwrap();
    assert_eq!(choice.checkpoint, old);
    assert_eq!(slots(&choice), [0, 1]);
}

/// One bad block, or one old copy of a disk, must not undo a sync that has returned: who was told that it
/// has is a better witness than who lacks it.
#[test]
fn a_checkpoint_that_somebody_knows_to_be_finished_counts() {
    let (old, new) = (at(6, 0b111), at(7, 0b111));
    let mut parts = [
        part(0, old, None),
        part(1, new, None),
        part(2, new, Some(old)),
    ];
    for part in &mut parts {
        part.info.stores = 3;
    }
    let choice = choose(&parts).unwrap();
    assert_eq!((choice.checkpoint, slots(&choice)), (new, vec![1, 2]));
    assert_eq!(choice.left_out, vec![(0, LeftOut::RolledBack)]);
    // One that cannot go back for another reason knows nothing.
    parts[1].info.finished = false;
    let choice = choose(&parts).unwrap();
    assert_eq!((choice.checkpoint, slots(&choice)), (old, vec![0, 2]));
    assert_eq!(choice.left_out, vec![(1, LeftOut::RolledBack)]);
    // Who lacks it is not here: nobody says that it was not finished.
    let choice = choose(&parts[1..]).unwrap();
    assert_eq!((choice.checkpoint, slots(&choice)), (new, vec![1, 2]));
}

#[test]
fn a_store_that_was_away_is_stale_however_often_it_is_asked() {
    let parts = [
        part(0, at(9, 0b01), Some(at(8, 0b01))),
        part(1, at(7, 0b11), None),
    ];
    let choice = choose(&parts).unwrap();
    assert_eq!(choice.checkpoint, at(9, 0b01));
    assert_eq!(slots(&choice), [0]);
    assert_eq!(choice.left_out, vec![(1, LeftOut::Stale)]);
}

/// The first degraded checkpoint: the store that went away is only one behind.
#[test]
fn one_degraded_checkpoint_is_enough_to_be_stale() {
    let parts = [
        part(0, at(7, 0b11), None),
        part(1, at(8, 0b10), Some(at(7, 0b11))),
    ];
    let choice = choose(&parts).unwrap();
    assert_eq!(choice.checkpoint, at(8, 0b10));
    assert_eq!(slots(&choice), [1]);
}

#[test]
fn a_missing_store_is_not_waited_for() {
    let choice = choose(&[part(1, at(7, 0b11), None)]).unwrap();
    assert_eq!(choice.checkpoint, at(7, 0b11));
    assert_eq!(slots(&choice), [1]);
}

/// Store 0 finished an interrupted sync, went away, and store 1 went on alone to the same time.
#[test]
fn of_two_checkpoints_of_one_time_the_finished_one_counts() {
    let before = at(6, 0b11);
    let parts = [
        part(0, at(7, 0b11), Some(before)),
        part(1, at(7, 0b10), Some(before)),
    ];
    let choice = choose(&parts).unwrap();
    assert_eq!(choice.checkpoint, at(7, 0b10));
    assert_eq!(slots(&choice), [1]);
    assert_eq!(choice.left_out, vec![(0, LeftOut::Stale)]);
}

/// Each store went on without the other: they must never be mixed.
#[test]
fn parted_stores_are_not_mixed() {
    let parts = [part(0, at(7, 0b01), None), part(1, at(7, 0b10), None)];
    let choice = choose(&parts).unwrap();
    assert_eq!(slots(&choice), [0]);
}

#[test]
fn a_store_that_lost_a_durable_checkpoint_is_left_out() {
    let far_behind = [
        part(0, at(7, 0b11), Some(at(6, 0b11))),
        part(1, at(3, 0b11), None),
    ];
    let no_way_back = [part(0, at(7, 0b11), None), part(1, at(6, 0b11), None)];
    for parts in [far_behind, no_way_back] {
        let choice = choose(&parts).unwrap();
        assert_eq!(choice.checkpoint, at(7, 0b11));
        assert_eq!(slots(&choice), [0]);
        assert_eq!(choice.left_out, vec![(1, LeftOut::RolledBack)]);
    }
}

/// The next checkpoint is begun when all have the last, so who lacks that too has lost it. What the others
/// can go back to does not depend on him.
#[test]
fn a_store_that_lost_a_durable_checkpoint_is_no_witness_of_an_interruption() {
    let (old, new) = (at(7, 0b111), at(8, 0b111));
    let mut parts = [
        part(0, at(6, 0b111), None),
        part(1, new, Some(old)),
        part(2, old, None),
    ];
    for part in &mut parts {
        part.info.stores = 3;
    }
    let choice = choose(&parts).unwrap();
    assert_eq!((choice.checkpoint, slots(&choice)), (old, vec![1, 2]));
    assert_eq!(choice.left_out, vec![(0, LeftOut::RolledBack)]);
}

/// A disk that lost the root of a sync, or shows an older one, looks as after an interrupted sync. Who
/// knows that the sync has returned knows better.
#[test]
fn nobody_goes_back_behind_what_the_caller_goes_on_from() {
    let (old, new) = (at(6, 0b11), at(7, 0b11));
    let parts = [part(0, new, Some(old)), part(1, old, None)];
    for allowed in [7..=7, 7..=u64::MAX] {
        let choice = choose_from(&parts, allowed).unwrap();
        assert_eq!((choice.checkpoint, slots(&choice)), (new, vec![0]));
        assert_eq!(choice.left_out, vec![(1, LeftOut::RolledBack)]);
    }
    // Of a sync that has not returned, either may be the last.
    let choice = choose_from(&parts, 6..=u64::MAX).unwrap();
    assert_eq!((choice.checkpoint, slots(&choice)), (old, vec![0, 1]));
    assert_eq!(choose_from(&parts, 8..=8).unwrap_err(), Error::NoCheckpoint);
}

/// A store finished an interrupted sync alone and could not go back, so the other went on without it.
#[test]
fn a_checkpoint_that_was_given_up_does_not_come_back() {
    let (kept, given_up) = (at(7, 0b11), at(8, 0b11));
    let mut parts = [part(0, kept, None), part(1, given_up, None)];
    parts[1].info.finished = false;
    for allowed in [7..=7, 7..=u64::MAX, 0..=u64::MAX] {
        let choice = choose_from(&parts, allowed).unwrap();
        assert_eq!((choice.checkpoint, slots(&choice)), (kept, vec![0]));
        assert_eq!(choice.left_out, vec![(1, LeftOut::RolledBack)]);
    }
    // It can go back: all is well again.
    let parts = [part(0, kept, None), part(1, given_up, Some(kept))];
    let choice = choose_from(&parts, 7..=7).unwrap();
    assert_eq!((choice.checkpoint, slots(&choice)), (kept, vec![0, 1]));
}

#[test]
fn a_disk_of_another_volume_is_left_out_wherever_it_is() {
    let mut wrong = part(0, at(99, 0b11), None);
    wrong.info.volume = 2;
    let mut first = part(0, at(7, 0b11), None);
    let mut second = part(1, at(7, 0b11), None);
    (first.slot, second.slot) = (1, 2);
    let choice = choose(&[wrong, first, second]).unwrap();
    assert_eq!(slots(&choice), [1, 2]);
    assert_eq!(choice.checkpoint, at(7, 0b11));
    assert_eq!(choice.left_out, vec![(0, LeftOut::OtherVolume)]);
}

#[test]
fn swapped_disks_are_told_apart_by_their_index() {
    let mut parts = [part(1, at(7, 0b11), None), part(0, at(7, 0b11), None)];
    (parts[0].slot, parts[1].slot) = (0, 1);
    let choice = choose(&parts).unwrap();
    assert_eq!(
        choice
            .members
            .iter()
            .map(|it| it.info.index)
            .collect::<Vec<_>>(),
        [1, 0]
    );
}

#[test]
fn of_two_disks_that_claim_one_place_the_newer_is_used() {
    let mut copy = part(0, at(9, 0b11), None);
    copy.slot = 2;
    let choice = choose(&[part(0, at(7, 0b11), None), part(1, at(9, 0b11), None), copy]).unwrap();
    assert_eq!(slots(&choice), [1, 2]);
    assert_eq!(choice.left_out, vec![(0, LeftOut::Duplicate)]);
}

#[test]
fn nonsense_is_left_out() {
    let mut index = part(0, at(7, 0b11), None);
    index.info.index = 40;
    let mut stores = part(0, at(7, 0b11), None);
    stores.info.stores = 33;
    let not_itself = part(1, at(7, 0b01), None);
    for wrong in [index, stores, not_itself] {
        assert_eq!(choose(&[wrong]).unwrap_err(), Error::NotFormatted);
        let mut good = part(0, at(7, 0b11), None);
        good.slot = 5;
        let choice = choose(&[wrong, good]).unwrap();
        assert_eq!(slots(&choice), [5]);
        assert_eq!(choice.left_out, vec![(wrong.slot, LeftOut::Nonsense)]);
    }
    assert_eq!(choose(&[]).unwrap_err(), Error::NotFormatted);
}

/// Every state that two stores can reach by syncs, crashes in the middle of them, and either store
/// being away, leads to members whose checkpoint is one and the same.
#[test]
fn members_always_agree() {
    let marks = [0b01, 0b10, 0b11];
    let mut seen = 0;
    for newest in [(3, 3), (3, 4), (4, 3)] {
        for masks in 0..81u32 {
            let mask = |i: u32| marks[(masks / 3u32.pow(i) % 3) as usize];
            let parts = [
                part(0, at(newest.0, mask(0)), Some(at(newest.0 - 1, mask(1)))),
                part(1, at(newest.1, mask(2)), Some(at(newest.1 - 1, mask(3)))),
            ];
            for allowed in [0..=u64::MAX, 3..=u64::MAX, 3..=3] {
                let Ok(choice) = choose_from(&parts, allowed.clone()) else {
                    continue;
                };
                assert!(!choice.members.is_empty());
                assert!(allowed.contains(&choice.checkpoint.timestamp.0));
                for member in &choice.members {
                    assert!(member.has(choice.checkpoint) && member.took_part(choice.checkpoint));
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 300, "{seen}");
}
