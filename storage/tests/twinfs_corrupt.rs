//! TwinFS on damaged disks: what does not match its checksum is an error, never data.

mod twinfs_support;

use std::{cell::RefCell, rc::Rc};

use futures_executor::block_on;
use storage::{
    Error,
    block::ram::Operation,
    buffer::{Lent, LentMemory, Side, Sink, SinkSegment},
    file::{Checkpoint, FileNumber, FileStore, Timestamp, Usage},
    twinfs::Config,
};
use twinfs_support::*;

/// Reads everything that the model has; each answer must be right or [`Error::Corrupt`]. Returns how
/// many were the latter.
fn corrupt_answers(model: &Model, store: &Store, what: &str) -> usize {
    let mut corrupt = 0;
    for (&number, file) in &model.files {
        let number = FileNumber(number);
        match block_on(store.getattr(number)) {
            Ok(found) => assert_eq!(found, file.attributes, "{what}: file {}", number.0),
            Err(error) => {
                assert_eq!(error, Error::Corrupt, "{what}: file {}", number.0);
                corrupt += 1;
            }
        }
        for (&at, block) in &file.blocks {
            match block_on(read(store, number, at, 1)) {
                Ok((_, data)) => {
                    assert!(
                        data == **block,
                        "{what}: file {}, block {at}: wrong data",
                        number.0
                    );
                }
                Err(error) => {
                    assert_eq!(error, Error::Corrupt, "{what}: file {}", number.0);
                    corrupt += 1;
                }
            }
        }
    }
    corrupt
}

/// Who takes part in a checkpoint: this store, or all three of the volume.
const ALONE: u32 = 0b010;
const ALL: u32 = 0b111;

/// A disk with two checkpoints of several kinds of files, and what they hold. Of the second all is said that
/// makes it the only one: `present` took part, and have it.
fn damaged_later(present: u32) -> (Disk, Model) {
    let checkpoint = |timestamp| Checkpoint {
        timestamp: Timestamp(timestamp),
        present,
    };
    let disk = disk(8);
    let mut pair = Pair {
        store: fresh(&disk, Config::default(), 16),
        model: Model::new(),
        random: Random(77),
        blocks_max: 30,
    };
    for _ in 0..50 {
        pair.step();
    }
    block_on(pair.store.sync(checkpoint(2))).unwrap();
    for _ in 0..30 {
        pair.step();
    }
    block_on(pair.store.sync(checkpoint(3))).unwrap();
    if checkpoint(3).has_way_back() {
        block_on(pair.store.finish(Timestamp(3))).unwrap();
    }
    let blocks: usize = pair
        .model
        .files
        .values()
        .map(|file| file.blocks.len())
        .sum();
    assert!(blocks > 100, "{blocks}");
    (disk, pair.model)
}

type Damage = fn(&mut [u8], &[u8]);

const DAMAGES: [(&str, Damage); 4] = [
    ("one bit", |block, _| block[2000] ^= 4),
    ("zeros", |block, _| block.fill(0)),
    ("torn", |block, other| {
        block[2048..].copy_from_slice(&other[2048..])
    }),
    ("misdirected", |block, other| block.copy_from_slice(other)),
];

#[test]
fn damage_to_any_block_is_noticed_or_does_not_matter() {
    let (disk, model) = damaged_later(ALONE);
    let image = disk.peek(0, 8 << 20);
    let live: Vec<usize> = (0..2048)
        .filter(|at| image[at * 4096..][..4096].iter().any(|&b| b != 0))
        .collect();
    let data: usize = model.files.values().map(|file| file.blocks.len()).sum();
    for (name, damage) in DAMAGES {
        let mut noticed = 0;
        for (index, &block) in live.iter().enumerate() {
            let other = live[(index + 7) % live.len()];
            let mut bytes = image[block * 4096..][..4096].to_vec();
            damage(&mut bytes, &image[other * 4096..][..4096]);
            let disk = Rc::new(disk.snapshot());
            disk.poke(block as u64 * 8, &bytes);
            let what = format!("{name}, block {block}");
            let store = store(&disk, Config::default());
            let info = block_on(store.info()).unwrap_or_else(|error| panic!("{what}: {error}"));
            // Nobody ever goes back behind a sync that has returned.
            assert_eq!(info.newest.timestamp, Timestamp(3), "{what}");
            block_on(store.load(Timestamp(3))).unwrap();
            noticed += usize::from(corrupt_answers(&model, &store, &what) > 0);
            // Whatever it is, files can be deleted and the store goes on.
            if block % 5 == 0 {
                for &number in model.files.keys().filter(|&&number| number > 1) {
                    match block_on(store.delete(FileNumber(number))) {
                        Ok(()) | Err(Error::Corrupt) => {}
                        Err(error) => panic!("{what}: file {number}: {error}"),
                    }
                }
                let next = checkpoint(4);
                block_on(store.sync(next)).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
        assert!(
            noticed > data,
            "{name}: {noticed} of {} noticed, {data} are data",
            live.len()
        );
    }
}

/// Whatever becomes of one of the two roots, the other is that of the same checkpoint, and it goes on. Whatever
/// becomes of both, it is an error.
#[test]
fn damage_to_a_root_never_undoes_a_sync() {
    for present in [ALONE, ALL] {
        let (disk, model) = damaged_later(present);
        let places = [0, 256];
        for (name, damage) in DAMAGES
            .into_iter()
            .map(|(name, it)| (name, Some(it)))
            .chain([("bad sector", None)])
        {
            for bad in [&places[..1], &places[1..], &places] {
                let disk = Rc::new(disk.snapshot());
                for &place in bad {
                    let mut bytes = disk.peek(place * 8, 4096);
                    let Some(damage) = damage else { continue };
                    damage(&mut bytes, &[0xa5; 4096]);
                    disk.poke(place * 8, &bytes);
                }
                if damage.is_none() {
                    let bad = bad.to_vec();
                    disk.fault(move |operation| match operation {
                        Operation::Read { sector, .. } if bad.contains(&(sector / 8)) => {
                            Err(Error::Device)
                        }
                        _ => Ok(()),
                    });
                }
                let what = format!("{name}, {bad:?}, {present:b} took part");
                let store = store(&disk, Config::default());
                let info = block_on(store.info());
                if bad.len() > 1 {
                    // Nobody is told that there never was a volume, but where nothing is left of one.
                    match name {
                        "zeros" => assert_eq!(info, Err(Error::NotFormatted), "{what}"),
                        "bad sector" => assert_eq!(info, Err(Error::Device), "{what}"),
                        _ => assert_eq!(info, Err(Error::Corrupt), "{what}"),
                    }
                    continue;
                }
                let info = info.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!((info.newest.timestamp, info.previous), (Timestamp(3), None));
                block_on(store.load(Timestamp(3))).unwrap();
                model.compare(&store, &what);
                // A write makes it sound again.
                disk.heal();
                let mut pair = Pair {
                    store,
                    model: model.clone(),
                    random: Random(3),
                    blocks_max: 30,
                };
                (0..20).for_each(|_| pair.step());
                let other = twinfs_support::store(&disk, Config::default());
                let roots = places.map(|place| disk.peek(place * 8, 4096));
                assert!(roots[0] == roots[1], "{what}");
                block_on(other.load(Timestamp(3))).unwrap();
                model.compare(&other, &what);
            }
        }
    }
}

/// Checkpoint 2 with one file, 300 blocks of `data`, whose indirect block is corrupt.
fn with_a_corrupt_indirect_block(data: &[u8]) -> (Disk, FileNumber, Usage) {
    let disk = disk(16);
    let store = fresh(&disk, Config::default(), 16);
    let file = block_on(store.create(&attributes(false))).unwrap();
    block_on(write(&store, file, 0, data, 300 * BLOCK)).unwrap();
    block_on(store.sync(checkpoint(2))).unwrap();
    let before = block_on(store.usage()).unwrap();
    // The inode block has the pointer: file 2 is the third inode of the first block of its area.
    let inode = (257..4096u64)
        .map(|block| disk.peek(block * 8, 4096))
        .find(|block| block[2 * 512 + 16..][..8] == (300 * BLOCK).to_le_bytes())
        .unwrap();
    let mut pointer = [0; 8];
    pointer[..6].copy_from_slice(&inode[2 * 512 + 128 + 20 * 16 + 8..][..6]);
    let left = u64::from_le_bytes(pointer);
    disk.poke(left * 8, &[0x55; 4096]);
    (disk, file, before)
}

/// What it keeps of a file does not turn into zeros where it cannot be read.
#[test]
fn a_file_with_a_corrupt_indirect_block_that_is_cut_still_says_so() {
    let data = Random(1).bytes(4096 * 300);
    let (disk, file, _) = with_a_corrupt_indirect_block(&data);
    let store = twinfs_support::store(&disk, Config::default());
    block_on(store.load(checkpoint(2).timestamp)).unwrap();
    for (blocks, kept) in [(290, 10), (150, 100), (10, 9)] {
        block_on(store.truncate(file, blocks * BLOCK, 7)).unwrap();
        assert_eq!(block_on(read(&store, file, 0, 1)).unwrap().1, data[..4096]);
        let found = block_on(read(&store, file, kept, 1)).map(|_| ());
        let direct = kept < 20;
        assert_eq!(
            found,
            if direct { Ok(()) } else { Err(Error::Corrupt) },
            "block {kept}"
        );
    }
    block_on(store.sync(checkpoint(3))).unwrap();
}

#[test]
fn a_file_with_a_corrupt_indirect_block_can_be_deleted() {
    let data = Random(1).bytes(4096 * 300);
    let (disk, file, before) = with_a_corrupt_indirect_block(&data);
    let store = twinfs_support::store(&disk, Config::default());
    block_on(store.load(checkpoint(2).timestamp)).unwrap();
    assert_eq!(block_on(read(&store, file, 0, 1)).unwrap().1, data[..4096]);
    assert_eq!(
        block_on(read(&store, file, 100, 1)).map(|_| ()),
        Err(Error::Corrupt)
    );
    block_on(store.delete(file)).unwrap();
    assert_eq!(block_on(store.getattr(file)), Err(Error::NotFound));
    block_on(store.sync(checkpoint(3))).unwrap();
    let after = block_on(store.usage()).unwrap();
    // The direct blocks and the double indirect tree came back; what only the corrupt block knew did not.
    assert!(
        after.blocks_free >= before.blocks_free + 20 + 24,
        "{before:?} {after:?}"
    );
    assert!(
        after.blocks_free < before.blocks_free + 300,
        "{before:?} {after:?}"
    );
}

/// Both twins of the first block of the block bitmap are bad, and there is a second one.
#[test]
fn a_corrupt_bitmap_block_costs_the_room_below_it_and_nothing_else() {
    const BITMAP: u64 = 257 + 2 * 16;
    let disk = disk(160);
    let store = fresh(&disk, Config::default(), 16);
    let new = |store: &Store, byte: u8, blocks: usize| {
        let file = block_on(store.create(&attributes(byte == 3))).unwrap();
        let data = vec![byte; blocks * 4096];
        block_on(write(store, file, 0, &data, blocks as u64 * BLOCK)).unwrap();
        file
    };
    let files = [new(&store, 1, 40), new(&store, 2, 40), new(&store, 3, 4)];
    block_on(store.sync(checkpoint(2))).unwrap();
    let used = disk.peek(BITMAP * 8, 4096) != disk.peek((BITMAP + 16) * 8, 4096);
    assert!(used, "not a bitmap block in use");
    for twin in [BITMAP, BITMAP + 16] {
        disk.poke(twin * 8, &[0x55; 4096]);
    }
    let store = twinfs_support::store(&disk, Config::default());
    block_on(store.load(checkpoint(2).timestamp)).unwrap();
    let free = block_on(store.usage()).unwrap().blocks_free;
    block_on(write(&store, files[0], 10, &[9; 4096], 40 * BLOCK)).unwrap();
    block_on(store.truncate(files[0], 20 * BLOCK + 5, 1)).unwrap();
    block_on(store.delete(files[1])).unwrap();
    block_on(store.delete(files[2])).unwrap();
    assert_eq!(block_on(store.getattr(files[2])), Err(Error::NotFound));
    let other = new(&store, 4, 100);
    block_on(store.sync(checkpoint(3))).unwrap();
    assert!(block_on(store.usage()).unwrap().blocks_free < free);
    let store = twinfs_support::store(&disk, Config::default());
    block_on(store.load(checkpoint(3).timestamp)).unwrap();
    let (len, data) = block_on(read(&store, files[0], 9, 2)).unwrap();
    assert_eq!((len, data[0], data[4096]), (8192, 1, 9));
    assert_eq!(
        block_on(read(&store, other, 0, 100)).unwrap().1,
        [4; 409_600]
    );
}

#[test]
fn lost_and_misdirected_writes_of_data_are_noticed() {
    let disk = disk(16);
    let store = fresh(&disk, Config::default(), 16);
    let files: Vec<_> = (0..2)
        .map(|_| block_on(store.create(&attributes(false))).unwrap())
        .collect();
    disk.record();
    for (&file, byte) in files.iter().zip(1u8..) {
        block_on(write(&store, file, 0, &[byte; 4096 * 4], 4 * BLOCK)).unwrap();
    }
    // The second file's data never arrived: what is there is what was there before.
    let lost = (257..4096u64)
        .find(|block| disk.peek(block * 8, 512) == [2; 512])
        .unwrap();
    disk.poke(lost * 8, &[0; 4096]);
    assert_eq!(
        block_on(read(&store, files[1], 0, 4)).map(|_| ()),
        Err(Error::Corrupt)
    );
    assert_eq!(
        block_on(read(&store, files[1], 1, 3)).unwrap().1,
        [2; 4096 * 3]
    );
    // The first file's went there.
    disk.poke(lost * 8, &[1; 4096]);
    assert_eq!(
        block_on(read(&store, files[1], 0, 1)).map(|_| ()),
        Err(Error::Corrupt)
    );
    assert_eq!(
        block_on(read(&store, files[0], 0, 4)).unwrap().1,
        [1; 4096 * 4]
    );
}

/// Another task's memory.
struct Elsewhere(RefCell<Vec<u8>>);

impl LentMemory for Elsewhere {
    fn copy_from(&self, _side: Side, offset: usize, into: &mut [u8]) -> storage::Result<()> {
        into.copy_from_slice(&self.0.borrow()[offset..offset + into.len()]);
        Ok(())
    }
    fn copy_to(&self, offset: usize, from: &[u8]) -> storage::Result<()> {
        self.0.borrow_mut()[offset..offset + from.len()].copy_from_slice(from);
        Ok(())
    }
    fn token(&self) -> u64 {
        0
    }
}

#[test]
fn data_read_into_lent_memory_is_verified_too() {
    let disk = disk(16);
    let store = fresh(&disk, Config::default(), 16);
    let file = block_on(store.create(&attributes(false))).unwrap();
    let data = Random(6).bytes(4096 * 6);
    block_on(write(&store, file, 0, &data, 6 * BLOCK - 100)).unwrap_or_else(|e| panic!("{e}"));
    let memory = Elsewhere(RefCell::new(vec![0; 4096 * 6]));
    let read = || {
        let mut sink = Sink::empty();
        // Segments that are no blocks.
        for (offset, len) in [(0, 1000), (1000, 8000), (9000, 4096 * 6 - 9000)] {
            sink.push(SinkSegment::Lent(Lent {
                memory: &memory,
                side: Side::Receive,
                offset,
                len,
            }));
        }
        block_on(store.read(file, 0, sink))
    };
    assert_eq!(read(), Ok(4096 * 6 - 100));
    assert!(*memory.0.borrow() == data);
    let place = (257..4096u64)
        .find(|at| disk.peek(at * 8, 512) == data[4096 * 4..][..512])
        .unwrap();
    disk.poke(place * 8 + 7, &[0; 512]);
    assert_eq!(read(), Err(Error::Corrupt));
}
