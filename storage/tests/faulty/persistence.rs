//! What faults make of what is stored: the same, whether it is written or lies over a pristine disk.

use futures_executor::block_on;
use storage::faulty::{Action, Direction, Persistence, Place, Rule};

use crate::{both, faulty, numbered, read, run_of, write};

/// The disk must hold the truth if the outcome is only laid over it.
fn pristine(persistence: &Persistence) -> bool {
    matches!(persistence, Persistence::Overlay(_))
}

#[test]
fn a_lost_write_leaves_what_was_there_until_the_next() {
    for persistence in both() {
        let pristine = pristine(&persistence);
        let (disk, filter, _) = faulty(64, persistence);
        block_on(filter.add(None, Rule::new(Action::LostWrite))).unwrap();
        write(&filter, 8, &run_of(8, 8, 1)).unwrap();
        assert_eq!(read(&filter, 8, 8).unwrap(), run_of(8, 8, 0));
        let truth = if pristine { 1 } else { 0 };
        assert_eq!(disk.peek(8, 512), numbered(8, truth));
        write(&filter, 8, &run_of(8, 4, 2)).unwrap();
        let mut expected = run_of(8, 4, 2);
        expected.extend(run_of(12, 4, 0));
        assert_eq!(read(&filter, 8, 8).unwrap(), expected);
    }
}

#[test]
fn a_torn_write_keeps_its_first_sectors() {
    for persistence in both() {
        let (_, filter, _) = faulty(64, persistence);
        let rule = Rule::new(Action::TornWrite { sectors: 3 });
        block_on(filter.add(None, rule)).unwrap();
        write(&filter, 8, &run_of(8, 8, 1)).unwrap();
        let mut expected = run_of(8, 3, 1);
        expected.extend(run_of(11, 5, 0));
        assert_eq!(read(&filter, 8, 8).unwrap(), expected);
    }
}

#[test]
fn a_torn_write_of_chance_is_neither_whole_nor_nothing() {
    for seed in 0..50 {
        let (_, filter, _) = faulty(64, Persistence::Written);
        let rule = Rule {
            seed,
            ..Rule::new(Action::TornWrite { sectors: 0 })
        };
        block_on(filter.add(None, rule)).unwrap();
        write(&filter, 8, &run_of(8, 8, 1)).unwrap();
        let data = read(&filter, 8, 8).unwrap();
        assert_eq!(data[..512], numbered(8, 1), "seed {seed}");
        assert_eq!(data[7 * 512..], numbered(15, 0), "seed {seed}");
    }
}

#[test]
fn a_misdirected_write_lands_within_its_range_and_nowhere_else() {
    for persistence in both() {
        let (_, filter, _) = faulty(64, persistence);
        let action = Action::MisdirectedWrite { to: Some((32, 47)) };
        block_on(filter.add(None, Rule::new(action))).unwrap();
        write(&filter, 8, &run_of(8, 8, 1)).unwrap();
        let data = read(&filter, 0, 64).unwrap();
        let strays: Vec<usize> = (0..64)
            .filter(|&at| data[at * 512..][..512] != numbered(at as u64, 0))
            .collect();
        assert_eq!(strays.len(), 8);
        assert!(strays[0] >= 32 && strays[7] <= 47, "{strays:?}");
        let from = strays[0] * 512;
        assert_eq!(data[from..from + 8 * 512], run_of(8, 8, 1));
    }
}

#[test]
fn corruption_changes_so_many_bytes_of_each_block() {
    for persistence in both() {
        let (_, filter, _) = faulty(64, persistence);
        let rule = Rule {
            direction: Direction::Writes,
            place: Place::Sectors { first: 8, last: 23 },
            ..Rule::new(Action::Corrupt { bytes: 1 })
        };
        block_on(filter.add(None, rule)).unwrap();
        write(&filter, 0, &run_of(0, 32, 1)).unwrap();
        let data = read(&filter, 0, 32).unwrap();
        let wrong = |block: usize| {
            let range = block * 4096..(block + 1) * 4096;
            let truth = run_of(0, 32, 1);
            let pairs = data[range.clone()].iter().zip(&truth[range]);
            pairs.filter(|(a, b)| a != b).count()
        };
        assert_eq!([0, 1, 2, 3].map(wrong), [0, 1, 1, 0]);
        assert_eq!(data, read(&filter, 0, 32).unwrap(), "it stays as it is");
    }
}

#[test]
fn corruption_of_a_read_leaves_the_disk_alone() {
    for persistence in both() {
        let (_, filter, _) = faulty(64, persistence);
        let rule = Rule {
            direction: Direction::Reads,
            ..Rule::new(Action::Corrupt { bytes: 5 })
        };
        block_on(filter.add(None, rule)).unwrap();
        assert_ne!(read(&filter, 8, 8).unwrap(), run_of(8, 8, 0));
        assert_eq!(read(&filter, 8, 8).unwrap(), run_of(8, 8, 0));
    }
}

/// Many faults in a row: an overlay and a disk that is really written agree, and the disk below an
/// overlay holds what was meant.
#[test]
fn both_ways_agree() {
    let [written, overlay] = both();
    let (_, real, _) = faulty(64, written);
    let (disk, over, _) = faulty(64, overlay);
    for (seed, action) in (1..).zip([
        Action::LostWrite,
        Action::TornWrite { sectors: 0 },
        Action::MisdirectedWrite { to: None },
        Action::Corrupt { bytes: 3 },
    ]) {
        let rule = Rule {
            times: None,
            one_in: 3,
            seed,
            direction: Direction::Writes,
            ..Rule::new(action)
        };
        block_on(real.add(None, rule)).unwrap();
        block_on(over.add(None, rule)).unwrap();
    }
    let mut truth = run_of(0, 64, 0);
    let mut place = 7_u64;
    for version in 1..500 {
        place = place
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(version);
        let (sector, count) = ((place >> 33) % 56, 1 + (place >> 21) % 8);
        let data = run_of(sector, count, version);
        truth[sector as usize * 512..][..data.len()].copy_from_slice(&data);
        write(&real, sector, &data).unwrap();
        write(&over, sector, &data).unwrap();
        let (a, b) = (read(&real, 0, 64).unwrap(), read(&over, 0, 64).unwrap());
        assert!(a == b, "version {version}");
    }
    assert!(
        disk.peek(0, 64 * 512) == truth,
        "the disk below stays pristine"
    );
}
