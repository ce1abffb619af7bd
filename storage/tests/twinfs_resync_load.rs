//! Loading a TwinFS that was overwritten in place, where there is no room and where the disk fails: whatever can be
//! kept is kept.

mod twinfs_support;

use std::{cell::Cell, rc::Rc};

use futures_executor::block_on;
use storage::{
    Error,
    block::ram::Operation,
    file::{FileNumber, FileStore, Timestamp},
};
use twinfs_support::*;

/// More than the reserve of a volume of 8 MiB has blocks.
const FILES: u64 = 40;
/// Bytes of each file in the checkpoint, and now.
const SIZE: u64 = 1000;
const LONGER: u64 = 3000;

fn content(file: FileNumber, version: u64, size: u64) -> Vec<u8> {
    let mut bytes = Random(file.0 << 8 | version).bytes(4096);
    bytes[size as usize..].fill(0);
    bytes
}

/// A volume without a free block, and files of one block that were continued within it since the checkpoint.
fn full() -> (Disk, Store, Vec<FileNumber>) {
    let disk = disk(8);
    let store = fresh(&disk, in_place(), 16);
    let create = |protected| block_on(store.create(&attributes(protected))).unwrap();
    let files: Vec<FileNumber> = (0..FILES).map(|_| create(false)).collect();
    for &file in &files {
        block_on(write(&store, file, 0, &content(file, 0, SIZE), SIZE)).unwrap();
    }
    for protected in [false, true] {
        let filler = create(protected);
        let fill = |block: u64| write(&store, filler, block, &[7; 4096], (block + 1) * BLOCK);
        let result = (0..)
            .map(|block| block_on(fill(block)))
            .find(Result::is_err);
        assert_eq!(result, Some(Err(Error::NoSpace)));
    }
    block_on(store.sync(checkpoint(2))).unwrap();
    append(&store, &files);
    (disk, store, files)
}

fn append(store: &Store, files: &[FileNumber]) {
    for &file in files {
        block_on(write(store, file, 0, &content(file, 1, LONGER), LONGER)).unwrap();
    }
}

/// What a file has that was continued and not synced.
fn is_as_written(store: &Store, file: FileNumber, version: u64) -> Result<bool, Error> {
    let mut expected = content(file, version, LONGER);
    expected[SIZE as usize..].fill(0);
    let (len, data) = block_on(read(store, file, 0, 1))?;
    Ok((len as u64, data) == (SIZE, expected))
}

#[test]
fn a_full_volume_is_loaded_and_what_was_written_finds_the_room_that_it_had() {
    let (disk, store, files) = full();
    drop(store);
    let store = store_of(&disk);
    let before = disk.counters();
    block_on(store.load(Timestamp(2))).unwrap();
    let flushes = disk.counters().flushes - before.flushes;
    assert!(flushes <= 3, "{flushes} flushes");
    for &file in &files {
        assert_eq!(is_as_written(&store, file, 1), Ok(true), "file {}", file.0);
        let times = block_on(store.getattr(file)).unwrap();
        assert_eq!((times.size, times.blocks), (SIZE, 1));
    }
    // The same again, in the middle of which it ends again; then what is longer than in the checkpoint is gone.
    append(&store, &files);
    let store = store_of(&disk);
    block_on(store.load(Timestamp(2))).unwrap();
    append(&store, &files);
    block_on(store.sync(checkpoint(3))).unwrap();
    let store = store_of(&disk);
    block_on(store.load(Timestamp(3))).unwrap();
    for &file in &files {
        let data = block_on(read(&store, file, 0, 1)).unwrap();
        assert_eq!(data, (LONGER as usize, content(file, 1, LONGER)));
    }
}

/// Loads the checkpoint while no block of the log can be written.
fn load_while_the_log_fails(disk: &Disk) -> Store {
    disk.fault(|operation| match operation {
        Operation::Write { sector, .. } if (8..256 * 8).contains(&sector) => Err(Error::Device),
        _ => Ok(()),
    });
    let store = store_of(disk);
    block_on(store.load(Timestamp(2))).unwrap();
    disk.heal();
    store
}

/// Neither the log nor the volume has room: some blocks are lost, and the volume is not.
#[test]
fn where_nothing_can_be_cleared_a_block_is_lost_and_said_so() {
    let (disk, store, files) = full();
    drop(store);
    let store = load_while_the_log_fails(&disk);
    let found = |store: &Store| -> Vec<Result<bool, Error>> {
        let files = files.iter();
        files.map(|&file| is_as_written(store, file, 1)).collect()
    };
    let before = found(&store);
    assert!(before.contains(&Ok(true)) && before.contains(&Err(Error::Corrupt)));
    assert!(!before.contains(&Ok(false)));
    block_on(store.sync(checkpoint(3))).unwrap();
    let store = store_of(&disk);
    block_on(store.load(Timestamp(3))).unwrap();
    assert!(found(&store) == before);
    // Nothing comes back with a file that grows.
    for (&file, before) in files.iter().zip(before) {
        block_on(store.truncate(file, LONGER, 7)).unwrap();
        let data = block_on(read(&store, file, 0, 1)).map(|(_, data)| data);
        match before {
            Ok(_) => assert!(data.unwrap()[SIZE as usize..].iter().all(|&byte| byte == 0)),
            Err(error) => assert_eq!(data, Err(error)),
        }
    }
}

#[test]
fn a_damaged_bitmap_beside_a_log_that_fails_loses_blocks_and_not_the_volume() {
    const BITMAP: u64 = 257 + 2 * 16;
    let (disk, store, files) = full();
    drop(store);
    for twin in [BITMAP, BITMAP + 16] {
        disk.poke(twin * 8, &[0x55; 4096]);
    }
    let store = load_while_the_log_fails(&disk);
    block_on(store.sync(checkpoint(3))).unwrap();
    for &file in &files {
        assert_eq!(is_as_written(&store, file, 1), Err(Error::Corrupt));
        block_on(write(&store, file, 0, &content(file, 2, SIZE), SIZE)).unwrap();
    }
    block_on(store.sync(checkpoint(4))).unwrap();
    let store = store_of(&disk);
    block_on(store.load(Timestamp(4))).unwrap();
    for &file in &files {
        let data = block_on(read(&store, file, 0, 1)).unwrap();
        assert_eq!(data, (SIZE as usize, content(file, 2, SIZE)));
    }
}

/// Whichever read fails, and only once: it is tried again, or nothing is loaded. The log is not given up for it.
#[test]
fn a_read_that_fails_while_loading_costs_nothing() {
    let disk = disk(8);
    let store = fresh(&disk, in_place(), 16);
    // In inodes of several blocks, and below indirect blocks.
    let files: Vec<FileNumber> = (0..20)
        .map(|_| block_on(store.create(&attributes(false))).unwrap())
        .collect();
    let blocks = [0, 25, 300];
    let write_all = |store: &Store, version: u64| {
        for &file in &files {
            for block in blocks {
                let data = content(file, version << 16 | block, BLOCK);
                block_on(write(store, file, block, &data, 301 * BLOCK)).unwrap();
            }
        }
    };
    write_all(&store, 0);
    block_on(store.sync(checkpoint(2))).unwrap();
    write_all(&store, 1);
    drop(store);
    let (mut failed, mut loaded) = (0, 0);
    for after in 0.. {
        let disk = Rc::new(disk.snapshot());
        let reads = Rc::new(Cell::new(0));
        let seen = reads.clone();
        disk.fault(move |operation| {
            let is_read = matches!(operation, Operation::Read { .. });
            seen.set(seen.get() + u64::from(is_read));
            if is_read && seen.get() == after + 1 {
                Err(Error::Device)
            } else {
                Ok(())
            }
        });
        let store = store_of(&disk);
        match block_on(store.load(Timestamp(2))) {
            Ok(()) => loaded += 1,
            Err(error) => {
                assert_eq!(error, Error::Device, "read {after}");
                failed += 1;
                block_on(store.load(Timestamp(2))).unwrap();
            }
        }
        disk.heal();
        // The log ends here.
        block_on(store.sync(checkpoint(3))).unwrap();
        for &file in &files {
            for block in blocks {
                let found = block_on(read(&store, file, block, 1)).map(|(_, data)| data);
                let expected = content(file, 1 << 16 | block, BLOCK);
                assert!(
                    found == Ok(expected),
                    "read {after}: file {}, block {block}",
                    file.0
                );
            }
        }
        if reads.get() <= after {
            break;
        }
    }
    assert!(
        failed > 20 && loaded > 3,
        "{failed} failed, {loaded} loaded"
    );
}

fn store_of(disk: &Disk) -> Store {
    store(disk, in_place())
}
