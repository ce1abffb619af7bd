//! Copies on several TwinFS that overwrite in place, and crashes of the machine that leave them
//! differing.

mod twinfs_support;

use std::rc::Rc;

use futures_executor::block_on;
use storage::{
    Error, Result,
    block::ram::{Event, History, RamDisk},
    buffer::{Sink, Source},
    checksum::Algorithm,
    file::{
        AttributeChange, Attributes, Class, FileNumber, FileService, Redundancy, Resume, Timestamp,
        VolumeFormat, Write,
    },
    logical::Logical,
    twinfs::TwinFs,
};
use twinfs_support::{BLOCK, Disk, NoClock, Random, in_place};

type Layer = Logical<TwinFs<Disk, NoClock>>;

const FORMAT: VolumeFormat = VolumeFormat {
    volume: 0xabc,
    algorithm: Algorithm::Xxh64,
    twin_offset: 16,
};
const FILE: FileNumber = FileNumber(9);

/// The times of change of the data and of the attributes, in the checkpoint.
const MODIFIED_NS: u64 = 5;
const CHANGED_NS: u64 = 7;

fn layer(disks: &[Disk]) -> Layer {
    let store = |disk: &Disk| Some(TwinFs::with_config(disk.clone(), NoClock, in_place()));
    Logical::new(disks.iter().map(store).collect())
}

fn overwrite(layer: &Layer, file: FileNumber, block: u64, data: &[u8]) {
    let checksums: Vec<_> = data
        .chunks(BLOCK as usize)
        .map(|block| FORMAT.algorithm.of(block))
        .collect();
    let write = Write {
        file,
        offset: block * BLOCK,
        data: Source::local(data),
        checksums: &checksums,
        size: block * BLOCK + data.len() as u64,
        modified_ns: MODIFIED_NS,
    };
    assert_eq!(block_on(layer.write(write)), Ok(data.len()));
}

fn read(layer: &Layer, file: FileNumber, block: u64) -> Result<Vec<u8>> {
    let mut data = vec![0xee; BLOCK as usize];
    block_on(layer.read(file, block * BLOCK, Sink::local(&mut data)))?;
    Ok(data)
}

fn attributes(redundancy: Redundancy) -> Attributes {
    Attributes {
        class: Class {
            redundancy,
            protected: false,
        },
        mode: 0o100_644,
        ..Attributes::default()
    }
}

/// A volume with one file of some blocks, synced; what its blocks hold.
struct Volume {
    disks: Vec<Disk>,
    layer: Layer,
    random: Random,
    first: Vec<Vec<u8>>,
    checkpoint: u64,
}

impl Volume {
    fn new(disks: usize, redundancy: Redundancy) -> Self {
        let disks: Vec<Disk> = (0..disks).map(|_| twinfs_support::disk(8)).collect();
        let layer = layer(&disks);
        block_on(layer.format(&FORMAT)).unwrap();
        block_on(layer.create(FILE, &attributes(redundancy))).unwrap();
        let mut volume = Self {
            disks,
            layer,
            random: Random(1),
            first: Vec::new(),
            checkpoint: 0,
        };
        for block in 0..4 {
            let data = volume.data();
            overwrite(&volume.layer, FILE, block, &data);
            volume.first.push(data);
        }
        let changed = AttributeChange {
            changed_ns: Some(CHANGED_NS),
            ..AttributeChange::default()
        };
        block_on(volume.layer.setattr(FILE, &changed)).unwrap();
        volume.checkpoint = block_on(volume.layer.sync()).unwrap().0;
        for disk in &volume.disks {
            disk.record();
        }
        volume
    }

    fn data(&mut self) -> Vec<u8> {
        self.random.bytes(BLOCK as usize)
    }

    fn histories(&self) -> Vec<History> {
        self.disks
            .iter()
            .map(|disk| disk.history().unwrap())
            .collect()
    }
}

/// The place where this content was written, on a disk.
fn place_of(history: &History, content: &[u8]) -> u64 {
    let found = history.events().iter().find_map(|event| match event {
        Event::Write { sector, data } if data[..] == *content => Some(*sector),
        _ => None,
    });
    found.expect("it was written")
}

/// Where in a disk's events its first checkpoint is on the medium. It goes on when all disks are there.
fn checkpointed(history: &History) -> usize {
    // At its own place: a copy is at the other.
    let is_root = |event: &Event| match event {
        Event::Write { sector, data } if data[..8] == *b"GalTwnFS" => {
            (data[56] % 2 == 0) == (*sector == 0)
        }
        _ => false,
    };
    let root = history.events().iter().position(is_root);
    root.map_or(usize::MAX, |root| root + 2)
}

/// Every disk alone says the same of each block as all together, and nothing of the file has changed but its blocks.
fn all_agree(disks: &[Disk], what: &str) -> Vec<Result<Vec<u8>>> {
    let blocks = |disks: &[Disk]| {
        let copies: Vec<Disk> = disks.iter().map(|disk| Rc::new(disk.snapshot())).collect();
        let layer = layer(&copies);
        block_on(layer.attach()).unwrap();
        let found = block_on(layer.getattr(FILE)).unwrap();
        let times = (found.modified_ns, found.changed_ns);
        assert_eq!(times, (MODIFIED_NS, CHANGED_NS), "{what}");
        (0..4)
            .map(|block| read(&layer, FILE, block))
            .collect::<Vec<_>>()
    };
    let together = blocks(disks);
    for (number, disk) in disks.iter().enumerate() {
        assert!(
            blocks(std::slice::from_ref(disk)) == together,
            "{what}: disk {number} differs"
        );
    }
    together
}

/// Each disk stops after any of its events, with any part of the last one: the copies are made equal,
/// to something that was written, and lost only if no disk has it whole.
#[test]
fn copies_are_equal_after_any_crash_and_lost_only_if_torn_everywhere() {
    let mut volume = Volume::new(2, Redundancy::Mirror);
    let mut written: Vec<Vec<Vec<u8>>> =
        volume.first.iter().map(|data| vec![data.clone()]).collect();
    for block in [1, 2, 1] {
        let data = volume.data();
        overwrite(&volume.layer, FILE, block, &data);
        written[block as usize].push(data);
    }
    let histories = volume.histories();
    let events: Vec<usize> = histories.iter().map(|it| it.events().len()).collect();
    let (mut lost, mut states, mut healed) = (0, 0, 0);
    for first in 2..=events[0] {
        // The disks are told the same, each when it answers.
        for second in first.saturating_sub(3).max(2)..=(first + 3).min(events[1]) {
            for (tear_first, tear_second) in [(8, 8), (3, 8), (8, 5), (3, 5), (0, 8), (8, 0)] {
                let crash = |history: &History, taken: usize, sectors: u64| {
                    let last = taken - 1;
                    Rc::new(
                        history.crash(taken, |event, sector| event != last || sector % 8 < sectors),
                    )
                };
                let disks = vec![
                    crash(&histories[0], first, tear_first),
                    crash(&histories[1], second, tear_second),
                ];
                let what = format!("events {first} {second}, torn {tear_first} {tear_second}");
                let medium: Vec<RamDisk> = disks.iter().map(|disk| disk.snapshot()).collect();
                let layer = layer(&disks);
                let found = block_on(layer.attach()).unwrap();
                assert_eq!(found.stores_present, 2, "{what}");
                let together = all_agree(&disks, &what);
                for (block, found) in together.iter().enumerate() {
                    let whole: Vec<Vec<u8>> = medium
                        .iter()
                        .zip(&histories)
                        .filter_map(|(disk, history)| {
                            let there = match &written[block][..] {
                                [only] => only.clone(),
                                [_, second, ..] => disk.peek(place_of(history, second), 4096),
                                [] => unreachable!(),
                            };
                            written[block].contains(&there).then_some(there)
                        })
                        .collect();
                    match found {
                        Ok(data) => assert!(whole.contains(data), "{what}, block {block}"),
                        Err(error) => {
                            assert_eq!(*error, Error::Corrupt, "{what}");
                            assert!(whole.is_empty(), "{what}, block {block}");
                            lost += 1;
                        }
                    }
                    healed += usize::from(whole.len() == 1);
                }
                states += 1;
                // What is lost is so after a sync and a remount, and heals when it is written.
                block_on(layer.sync()).unwrap();
                assert!(all_agree(&disks, &what) == together, "{what}: after a sync");
                let again = self::layer(&disks);
                block_on(again.attach()).unwrap();
                for (block, found) in (0..).zip(&together) {
                    assert!(read(&again, FILE, block) == *found, "{what}");
                    if found.is_err() {
                        overwrite(&again, FILE, block, &volume.first[block as usize]);
                        assert!(
                            read(&again, FILE, block) == Ok(volume.first[block as usize].clone())
                        );
                    }
                }
            }
        }
    }
    assert!(
        states > 200 && lost >= 3 && healed > 50,
        "{states} {lost} {healed}"
    );
}

#[test]
fn a_checkpoint_ends_resynchronisation_and_nothing_is_resynchronised_without_cause() {
    let mut volume = Volume::new(2, Redundancy::Mirror);
    let disks = volume.disks.clone();
    let attached = |disks: &[Disk]| block_on(layer(disks).attach()).unwrap().checkpoint.0;
    assert_eq!(attached(&disks), volume.checkpoint, "a clean volume");
    let data = volume.data();
    overwrite(&volume.layer, FILE, 1, &data);
    // One of two disks had the overwrite.
    disks[1].poke(place_of(&volume.histories()[1], &data), &volume.first[1]);
    let resumed = layer(&disks);
    let from = Resume {
        base: Timestamp(volume.checkpoint),
        syncing: false,
    };
    let attachment = block_on(resumed.resume(&from)).unwrap();
    assert_eq!(attachment.checkpoint.0, volume.checkpoint, "for the cache");
    let reads: Vec<_> = (0..2).map(|_| read(&resumed, FILE, 1).unwrap()).collect();
    assert!(
        reads.contains(&data) && reads.contains(&volume.first[1]),
        "as they are"
    );
    assert_eq!(attached(&disks), volume.checkpoint + 1);
    assert_eq!(attached(&disks), volume.checkpoint + 1, "once");
    let together = all_agree(&disks, "after it");
    assert!(together[1] == Ok(data) || together[1] == Ok(volume.first[1].clone()));
    // Nothing else of the file has changed.
    let layer = layer(&disks);
    block_on(layer.attach()).unwrap();
    let found = block_on(layer.getattr(FILE)).unwrap();
    assert_eq!(
        (found.size, found.mode, found.blocks),
        (4 * BLOCK, 0o100_644, 4)
    );
}

#[test]
fn a_file_with_one_copy_loses_what_is_torn_and_says_so() {
    let mut volume = Volume::new(2, Redundancy::Single);
    let data = volume.data();
    overwrite(&volume.layer, FILE, 2, &data);
    for (disk, history) in volume.disks.iter().zip(volume.histories()) {
        let written = history
            .events()
            .iter()
            .any(|event| matches!(event, Event::Write { data: it, .. } if it[..] == data[..]));
        if written {
            disk.poke(place_of(&history, &data), &[0x11; 512]);
        }
    }
    let layer = layer(&volume.disks);
    block_on(layer.attach()).unwrap();
    for block in 0..4 {
        let found = read(&layer, FILE, block);
        if block == 2 {
            assert_eq!(found, Err(Error::Corrupt));
        } else {
            assert!(found == Ok(volume.first[block as usize].clone()));
        }
    }
}

/// A crash in the middle of resynchronisation, at any write, and another one in that of the next.
#[test]
fn resynchronisation_can_be_interrupted_anywhere() {
    let mut volume = Volume::new(2, Redundancy::Mirror);
    let (one, two) = (volume.data(), volume.data());
    overwrite(&volume.layer, FILE, 0, &one);
    overwrite(&volume.layer, FILE, 3, &two);
    let histories = volume.histories();
    volume.disks[0].poke(place_of(&histories[0], &one), &[0x22; 1024]);
    volume.disks[1].poke(place_of(&histories[1], &two), &[0x33; 1024]);
    let start: Vec<Disk> = volume
        .disks
        .iter()
        .map(|disk| Rc::new(disk.snapshot()))
        .collect();
    let mut rounds = vec![start];
    for depth in 0..2 {
        let mut next = Vec::new();
        for disks in rounds {
            for disk in &disks {
                disk.record();
            }
            block_on(layer(&disks).attach()).unwrap();
            let histories: Vec<History> = disks.iter().map(|it| it.history().unwrap()).collect();
            let events = histories[0].events().len().max(histories[1].events().len());
            for taken in 0..=events {
                for skew in [0, 1, 2] {
                    let mut random = Random(taken as u64 * 3 + skew as u64);
                    let [first, second] = [&histories[0], &histories[1]].map(checkpointed);
                    let late = taken.saturating_sub(skew);
                    let late = if taken > first {
                        late.max(second)
                    } else {
                        late
                    };
                    let crashed: Vec<Disk> = histories
                        .iter()
                        .zip([taken, late])
                        .map(|(it, taken)| Rc::new(it.crash(taken, |_, _| random.below(2) == 0)))
                        .collect();
                    next.push(crashed);
                }
            }
        }
        for disks in &next {
            let copies: Vec<Disk> = disks.iter().map(|disk| Rc::new(disk.snapshot())).collect();
            block_on(layer(&copies).attach()).unwrap();
            let together = all_agree(&copies, &format!("depth {depth}"));
            let expected = [&one, &volume.first[1], &volume.first[2], &two];
            for (block, (found, expected)) in together.iter().zip(expected).enumerate() {
                assert!(
                    *found == Ok(expected.clone()),
                    "depth {depth}, block {block}"
                );
            }
        }
        // A part of them is enough for the second round.
        rounds = next.into_iter().step_by(5).collect();
    }
}
