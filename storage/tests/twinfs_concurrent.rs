//! TwinFS with many calls at once, on a disk that takes its time.

mod twinfs_support;

use std::rc::Rc;

use futures_executor::block_on;
use futures_util::future::{join, join_all};
use storage::{
    block::{Geometry, ram::RamDisk},
    checksum::Algorithm,
    file::{FileStore, Timestamp},
    twinfs::Config,
};
use twinfs_support::*;

#[test]
fn calls_on_different_files_overlap_and_all_take_effect() {
    for (seed, config) in [(1, Config::default()), (2, small_cache()), (3, in_place())] {
        let disk = disk(64);
        let store = fresh(&disk, config, 16);
        disk.delay(4);
        let one = async |number: u64| {
            let mut random = Random(seed << 32 | number);
            let attributes = attributes(number.is_multiple_of(4));
            let file = store.create(&attributes).await.unwrap();
            let mut log = vec![];
            for _ in 0..8 {
                let first = random.below(40) + 260 * random.below(2);
                let blocks = 1 + random.below(9) as usize;
                let data = random.bytes(blocks * 4096);
                let size = first * BLOCK + data.len() as u64;
                write(&store, file, first, &data, size).await.unwrap();
                log.push((first, data, size));
            }
            (file, attributes, log)
        };
        let done = block_on(join_all((0..100).map(one)));
        let mut model = Model::new();
        for (file, attributes, log) in done {
            model.create(file, attributes);
            for (first, data, size) in log {
                model.write(file, first, &data, size);
            }
        }
        assert!(disk.counters().in_flight_max > 32, "{:?}", disk.counters());
        model.compare(&store, "in memory");
        block_on(store.sync(checkpoint(2))).unwrap();
        block_on(store.load(Timestamp(2))).unwrap();
        model.compare(&store, "reloaded");
        let deletes = model
            .files
            .keys()
            .filter(|&&number| number > 1)
            .map(|&number| {
                let file = storage::file::FileNumber(number);
                let store = &store;
                async move { store.delete(file).await.unwrap() }
            });
        block_on(join_all(deletes));
        assert_eq!(
            block_on(store.usage()).unwrap().files_free + 1,
            block_on(store.usage()).unwrap().files
        );
    }
}

#[test]
fn a_read_beside_a_write_of_the_same_block_sees_the_old_or_the_new() {
    for protected in [false, true] {
        for reads in 0..12 {
            let disk = disk(16);
            let store = fresh(&disk, Config::default(), 16);
            let file = block_on(store.create(&attributes(protected))).unwrap();
            block_on(write(&store, file, 0, &[1; 4096 * 8], 8 * BLOCK)).unwrap();
            if reads % 2 == 0 {
                block_on(store.sync(checkpoint(2))).unwrap();
            }
            disk.delay(5);
            let writer = async {
                for byte in 2..6u8 {
                    write(&store, file, 0, &vec![byte; 4096 * 8], 8 * BLOCK)
                        .await
                        .unwrap();
                }
            };
            let reader = async {
                for _ in 0..reads {
                    let (_, data) = read(&store, file, 0, 8).await.unwrap();
                    for block in data.chunks(4096) {
                        assert!(block.iter().all(|byte| byte == &block[0] && *byte > 0));
                    }
                }
            };
            block_on(join(writer, reader));
            assert_eq!(block_on(read(&store, file, 0, 1)).unwrap().1, [5; 4096]);
        }
    }
}

#[test]
fn sync_waits_for_writes_and_later_writes_wait_for_it() {
    let disk = disk(32);
    let store = fresh(&disk, Config::default(), 16);
    let files: Vec<_> = (0..20)
        .map(|_| block_on(store.create(&attributes(false))).unwrap())
        .collect();
    disk.delay(6);
    let early = files[..10].iter().map(|&file| {
        let store = &store;
        async move {
            write(store, file, 0, &[1; 4096 * 4], 4 * BLOCK)
                .await
                .unwrap()
        }
    });
    let late = files[10..].iter().map(|&file| {
        let store = &store;
        async move {
            // Only issued when sync is waiting already.
            for _ in 0..2 {
                store.getattr(file).await.unwrap();
            }
            write(store, file, 0, &[2; 4096 * 4], 4 * BLOCK)
                .await
                .unwrap();
        }
    });
    let sync = async { store.sync(checkpoint(2)).await.unwrap() };
    let all = join(join_all(early), join(sync, join_all(late)));
    block_on(all);
    disk.delay(0);
    for &file in &files {
        assert_eq!(block_on(store.getattr(file)).unwrap().size, 4 * BLOCK);
    }
    block_on(store.load(Timestamp(2))).unwrap();
    for (at, &file) in files.iter().enumerate() {
        let size = block_on(store.getattr(file)).unwrap().size;
        assert_eq!(size, if at < 10 { 4 * BLOCK } else { 0 }, "file {at}");
    }
}

#[test]
fn large_files_are_moved_in_large_requests_and_a_small_device_gets_small_ones() {
    for (transfer, largest) in [(1 << 20, 64), (16384, 4), (4096, 1), (6000, 1)] {
        let disk: Disk = Rc::new(RamDisk::with_geometry(Geometry {
            sectors: 128 << 11,
            alignment_sectors: 8,
            transfer_bytes_max: transfer,
            read_only: false,
            flush: true,
            discard: false,
            write_zeroes: false,
        }));
        let store = fresh(&disk, Config::default(), 16);
        let file = block_on(store.create(&attributes(false))).unwrap();
        let data = Random(4).bytes(4096 * 2048);
        let before = disk.counters();
        block_on(write(&store, file, 0, &data, 2048 * BLOCK)).unwrap();
        let writes = disk.counters().writes - before.writes;
        block_on(store.sync(checkpoint(2))).unwrap();
        block_on(store.load(Timestamp(2))).unwrap();
        disk.delay(2);
        let before = disk.counters();
        let (len, found) = block_on(read(&store, file, 0, 2048)).unwrap();
        assert!(len == found.len() && found == data);
        let after = disk.counters();
        let least = 2048 / largest;
        assert!(writes >= least && writes <= least + 2, "{writes} writes");
        let reads = after.reads - before.reads;
        assert!(reads >= least && reads <= least + 16, "{reads} reads");
        assert!(after.in_flight_max >= 8);
    }
}

#[test]
fn crc_volumes_verify_too() {
    let disk = disk(16);
    let store = store(&disk, Config::default());
    block_on(store.format(&format_of(16, Algorithm::Crc32c))).unwrap();
    block_on(store.load(Timestamp(1))).unwrap();
    let file = block_on(store.create(&attributes(false))).unwrap();
    let data = Random(4).bytes(4096);
    let sums = [Algorithm::Crc32c.of(&data)];
    let write = storage::file::Write {
        file,
        offset: 0,
        data: storage::buffer::Source::local(&data),
        checksums: &sums,
        size: 4096,
        modified_ns: 1,
    };
    block_on(store.write(write)).unwrap();
    block_on(store.sync(checkpoint(2))).unwrap();
    block_on(store.load(Timestamp(2))).unwrap();
    assert_eq!(block_on(read(&store, file, 0, 1)).unwrap().1, data);
    assert_eq!(block_on(read(&store, file, 0, 1)).unwrap().0, 4096);
}
