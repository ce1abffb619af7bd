//! TwinFS when the disk is full, when it is huge, and what it does with blocks that were freed.

mod twinfs_support;

use std::{collections::BTreeSet, rc::Rc};

use futures_executor::block_on;
use storage::{
    Error,
    block::ram::{Event, RamDisk},
    file::{FileNumber, FileStore, Timestamp},
    twinfs::Config,
};
use twinfs_support::*;

/// Appends to a file until nothing fits any more; returns its blocks.
fn fill(store: &Store, file: FileNumber, random: &mut Random) -> u64 {
    let mut block = 0;
    let mut step = 16;
    while step > 0 {
        let data = random.bytes(step as usize * 4096);
        match block_on(write(store, file, block, &data, (block + step) * BLOCK)) {
            Ok(()) => block += step,
            Err(error) => {
                assert_eq!(error, Error::NoSpace);
                step /= 2;
            }
        }
    }
    block
}

#[test]
fn a_full_disk_says_so_and_works_again_after_a_delete() {
    let disk = disk(16);
    let store = fresh(&disk, Config::default(), 16);
    let empty = block_on(store.usage()).unwrap();
    let mut random = Random(1);
    let big = block_on(store.create(&attributes(false))).unwrap();
    let small = block_on(store.create(&attributes(false))).unwrap();
    let directory = block_on(store.create(&attributes(true))).unwrap();
    block_on(write(&store, small, 0, &[3; 4096 * 3], 4096 * 3)).unwrap();
    block_on(write(&store, directory, 0, &[4; 4096], 4096)).unwrap();
    let blocks = fill(&store, big, &mut random);
    assert!(blocks * BLOCK > 13 << 20, "only {blocks} blocks fit");
    let full = block_on(store.usage()).unwrap();
    assert!(full.blocks_free < 32, "{full:?}");
    assert_eq!(block_on(store.getattr(big)).unwrap().size, blocks * BLOCK);

    // Stack metadata still grows, in-place changes and checkpoints still work.
    block_on(write(&store, directory, 1, &[5; 4096], 8192)).unwrap();
    block_on(write(&store, directory, 0, &[6; 4096], 8192)).unwrap();
    block_on(store.sync(checkpoint(2))).unwrap();
    assert_eq!(
        block_on(write(&store, big, 0, &[0; 4096 * 64], 0)),
        Err(Error::NoSpace)
    );
    // Making shorter needs a block for the tail, and gets it.
    block_on(store.truncate(small, 5000, 1)).unwrap();
    block_on(store.sync(checkpoint(3))).unwrap();
    let (len, tail) = block_on(read(&store, small, 1, 1)).unwrap();
    assert_eq!(len, 904);
    assert!(tail[..904].iter().all(|&b| b == 3) && tail[904..].iter().all(|&b| b == 0));

    block_on(store.delete(big)).unwrap();
    // The checkpoint still has the blocks.
    let early = block_on(write(&store, small, 0, &[0; 4096 * 64], 64 * BLOCK));
    assert_eq!(early, Err(Error::NoSpace));
    block_on(store.sync(checkpoint(4))).unwrap();
    let again = block_on(store.create(&attributes(false))).unwrap();
    let refilled = fill(&store, again, &mut random);
    assert!(
        refilled + 64 > blocks,
        "{refilled} of {blocks} blocks came back"
    );
    for file in [again, small, directory] {
        block_on(store.delete(file)).unwrap();
    }
    block_on(store.sync(checkpoint(5))).unwrap();
    assert_eq!(block_on(store.usage()).unwrap(), empty);
}

#[test]
fn inodes_run_out_and_come_back() {
    let disk = disk(8);
    let store = fresh(
        &disk,
        Config {
            blocks_per_inode: 64,
            ..Config::default()
        },
        16,
    );
    let usage = block_on(store.usage()).unwrap();
    assert_eq!((usage.files, usage.files_free), (31, 30));
    let files: Vec<_> = (0..30)
        .map(|_| block_on(store.create(&attributes(false))).unwrap())
        .collect();
    assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), 30);
    assert_eq!(
        block_on(store.create(&attributes(false))),
        Err(Error::NoSpace)
    );
    block_on(store.delete(files[7])).unwrap();
    assert_eq!(block_on(store.create(&attributes(true))), Ok(files[7]));
    assert_eq!(
        block_on(store.create(&attributes(false))),
        Err(Error::NoSpace)
    );
}

#[test]
fn nothing_leaks_whatever_was_done() {
    for seed in 0..6 {
        let disk = disk(if seed % 2 == 0 { 64 } else { 6 });
        let store = fresh(&disk, small_cache(), 16);
        let empty = block_on(store.usage()).unwrap();
        let mut pair = Pair {
            store,
            model: Model::new(),
            random: Random(seed),
            blocks_max: 40,
        };
        for timestamp in 2..6 {
            for _ in 0..120 {
                pair.step();
            }
            block_on(pair.store.sync(checkpoint(timestamp))).unwrap();
        }
        for file in pair.files() {
            if file == FileNumber(1) {
                block_on(pair.store.truncate(file, 0, 0)).unwrap();
            } else {
                block_on(pair.store.delete(file)).unwrap();
            }
        }
        block_on(pair.store.sync(checkpoint(6))).unwrap();
        assert_eq!(block_on(pair.store.usage()).unwrap(), empty, "seed {seed}");
        let other = twinfs_support::store(&disk, Config::default());
        block_on(other.load(Timestamp(6))).unwrap();
        assert_eq!(
            block_on(other.usage()).unwrap(),
            empty,
            "seed {seed}, reloaded"
        );
    }
}

/// Blocks of the disk that hold data beginning with one of these bytes, eight times.
fn blocks_with(disk: &RamDisk, blocks: u64, bytes: &[u8]) -> BTreeSet<u64> {
    (257..blocks)
        .filter(|block| {
            let data = disk.peek(block * 8, 512);
            bytes
                .iter()
                .any(|byte| data.iter().all(|other| other == byte))
        })
        .collect()
}

#[test]
fn what_the_checkpoint_refers_to_is_not_written_before_the_next() {
    for protected in [false, true] {
        let disk = disk(8);
        let store = fresh(&disk, Config::default(), 16);
        let files: Vec<_> = (0..4)
            .map(|_| block_on(store.create(&attributes(protected))).unwrap())
            .collect();
        for (&file, byte) in files.iter().zip(0xa0u8..) {
            block_on(write(&store, file, 0, &[byte; 4096 * 100], 100 * BLOCK)).unwrap();
        }
        block_on(store.sync(checkpoint(2))).unwrap();
        let precious = blocks_with(&disk, 2048, &[0xa0, 0xa1, 0xa2, 0xa3]);
        assert_eq!(precious.len(), 400);

        // Delete one, cut one, overwrite one twice, then use up all the room there is.
        disk.record();
        block_on(store.delete(files[0])).unwrap();
        block_on(store.truncate(files[1], 5000, 1)).unwrap();
        for byte in [0xb0, 0xb1] {
            block_on(write(&store, files[2], 0, &[byte; 4096 * 100], 0)).unwrap();
        }
        let fillers = [false, true].map(|protected| {
            let filler = block_on(store.create(&attributes(protected))).unwrap();
            fill(&store, filler, &mut Random(9));
            filler
        });
        block_on(store.sync(checkpoint(3))).unwrap();
        let written: BTreeSet<u64> = disk
            .history()
            .unwrap()
            .events()
            .iter()
            .flat_map(|event| match event {
                Event::Write { sector, data } => sector / 8..sector / 8 + data.len() as u64 / BLOCK,
                Event::Flush { .. } => 0..0,
            })
            .collect();
        assert_eq!(
            written.intersection(&precious).count(),
            0,
            "protected: {protected}"
        );

        // Afterwards they are used again.
        for filler in fillers {
            block_on(store.delete(filler)).unwrap();
        }
        block_on(store.sync(checkpoint(4))).unwrap();
        let filler = block_on(store.create(&attributes(protected))).unwrap();
        fill(&store, filler, &mut Random(10));
        // Not all: a reserve is kept, and of a pair only one twin is written.
        let left = blocks_with(&disk, 2048, &[0xa0]).len();
        assert!(
            left <= if protected { 80 } else { 40 },
            "protected: {protected}, {left} left"
        );
    }
}

#[test]
fn blocks_that_no_checkpoint_knows_are_used_again_at_once() {
    let disk = disk(8);
    let store = fresh(&disk, Config::default(), 16);
    for round in 0..10 {
        let file = block_on(store.create(&attributes(false))).unwrap();
        let blocks = fill(&store, file, &mut Random(round));
        assert!(blocks > 1000, "round {round}: {blocks}");
        block_on(store.delete(file)).unwrap();
    }
}

#[test]
fn a_disk_of_16_tib_is_formatted_at_once_and_used_throughout() {
    let disk: Disk = Rc::new(RamDisk::new(1 << 35));
    let store = fresh(&disk, Config::default(), 16);
    assert!(disk.counters().writes < 32, "{:?}", disk.counters());
    assert!(disk.pages() < 64);
    disk.record();
    let usage = block_on(store.usage()).unwrap();
    assert!(usage.blocks > 3 << 30 && usage.blocks < 1 << 32);
    let mut model = Model::new();
    for protected in [false, true] {
        let file = block_on(store.create(&attributes(protected))).unwrap();
        model.create(file, attributes(protected));
        for block in [0, 300, 1 << 20, 1 << 28, (1 << 32) - 8] {
            let data = Random(block).bytes(4096 * 8);
            block_on(write(&store, file, block, &data, (block + 8) * BLOCK)).unwrap();
            model.write(file, block, &data, (block + 8) * BLOCK);
        }
    }
    block_on(store.sync(checkpoint(2))).unwrap();
    let other = twinfs_support::store(&disk, Config::default());
    block_on(other.load(Timestamp(2))).unwrap();
    model.compare(&other, "reloaded");
    // Pairs are taken from the last eighth: block numbers of 32 bits.
    let far = |event: &Event| matches!(event, Event::Write { sector, .. } if *sector > 1 << 34);
    assert!(disk.history().unwrap().events().iter().any(far));
    assert!(disk.pages() < 400, "{} pages", disk.pages());
}

#[test]
fn a_sparse_file_of_a_tebibyte_is_read_cut_and_deleted() {
    let disk = disk(64);
    let store = fresh(&disk, Config::default(), 16);
    let empty = block_on(store.usage()).unwrap();
    let file = block_on(store.create(&attributes(false))).unwrap();
    let mut model = Model::new();
    model.create(file, attributes(false));
    let tebibyte = 1 << 40;
    for block in [5, 70_000, (1 << 28) - 1] {
        let data = Random(block).bytes(4096);
        let size = (block + 1) * BLOCK;
        block_on(write(&store, file, block, &data, size)).unwrap();
        model.write(file, block, &data, size);
    }
    assert_eq!(block_on(store.getattr(file)).unwrap().size, tebibyte);
    assert_eq!(block_on(store.getattr(file)).unwrap().blocks, 3);
    model.compare(&store, "sparse");
    for size in [
        tebibyte - 100,
        tebibyte + 5 * BLOCK,
        70_000 * BLOCK + 7,
        1 << 43,
        0,
    ] {
        block_on(store.truncate(file, size, 3)).unwrap();
        model.truncate(file, size, 3);
        model.compare(&store, &format!("cut to {size}"));
    }
    block_on(store.delete(file)).unwrap();
    block_on(store.sync(checkpoint(2))).unwrap();
    assert_eq!(block_on(store.usage()).unwrap(), empty);
}

#[test]
fn many_small_files_are_written_in_long_runs() {
    let disk = disk(64);
    let store = fresh(&disk, Config::default(), 16);
    // The first write ends the way back to the checkpoint before.
    let first = block_on(store.create(&attributes(false))).unwrap();
    block_on(write(&store, first, 0, &[1; 4096], BLOCK)).unwrap();
    let before = disk.counters();
    for seed in 0..400 {
        let file = block_on(store.create(&attributes(false))).unwrap();
        let data = Random(seed).bytes(4096 * 4);
        block_on(write(&store, file, 0, &data, 4 * BLOCK)).unwrap();
    }
    let data_writes = disk.counters().writes - before.writes;
    assert_eq!(data_writes, 400, "one request a file");
    block_on(store.sync(checkpoint(2))).unwrap();
    let sync_writes = disk.counters().writes - before.writes - data_writes;
    // 50 blocks of inodes, in runs of the twin offset, their parents, two bitmaps, the root.
    assert!(sync_writes < 16, "{sync_writes} requests");
}

/// Each block of the file is below an indirect block of its own: more than one step may read.
#[test]
fn a_file_of_many_indirect_blocks_can_be_cut_and_deleted() {
    const SPREAD: u64 = 256;
    let disk = disk(128);
    let store = fresh(&disk, small_cache(), 16);
    let empty = block_on(store.usage()).unwrap();
    let file = block_on(store.create(&attributes(false))).unwrap();
    for block in (0..9_000 * SPREAD).step_by(SPREAD as usize) {
        block_on(write(&store, file, block, &[7; 4096], (block + 1) * BLOCK)).unwrap();
    }
    block_on(store.sync(checkpoint(2))).unwrap();
    block_on(store.load(Timestamp(2))).unwrap();
    block_on(store.truncate(file, 4_400 * SPREAD * BLOCK, 1)).unwrap();
    let left = block_on(store.getattr(file)).unwrap();
    assert_eq!((left.size, left.blocks), (4_400 * SPREAD * BLOCK, 4_400));
    block_on(store.delete(file)).unwrap();
    block_on(store.sync(checkpoint(3))).unwrap();
    assert_eq!(block_on(store.usage()).unwrap(), empty);
}
