//! What a user may count on for files: contents, attributes, numbers, policies.

use futures_executor::block_on;
use storage::{
    Error,
    buffer::Sink,
    file::{AttributeChange, Attributes, FileService},
};

use crate::*;

#[test]
fn a_file_keeps_its_contents_and_attributes() {
    let disks = disks(2);
    let layer = formatted(&disks);
    let attributes = Attributes {
        mode: 0o100_600,
        uid: 5,
        gid: 6,
        links: 1,
        ..mirrored()
    };
    block_on(layer.create(n(10), &attributes)).unwrap();
    try_write(&layer, 10, 0, &[1, 2, 3], 9000).unwrap();
    try_write(&layer, 10, 1, &[9], 9000).unwrap();
    let change = AttributeChange {
        uid: Some(77),
        ..AttributeChange::default()
    };
    block_on(layer.setattr(n(10), &change)).unwrap();
    sync(&layer);

    let (layer, _) = attached(crate::layer(&disks));
    let found = block_on(layer.getattr(n(10))).unwrap();
    assert_eq!(
        (
            found.mode,
            found.uid,
            found.gid,
            found.links,
            found.size,
            found.modified_ns
        ),
        (0o100_600, 77, 6, 1, 9000, 9001)
    );
    assert_eq!(found.logical, n(0), "physical matters stay below");
    let mut bytes = vec![0; 3 * 4096];
    assert_eq!(
        block_on(layer.read(n(10), 0, Sink::local(&mut bytes))),
        Ok(9000)
    );
    assert_eq!((bytes[0], bytes[4096], bytes[8999]), (1, 9, 3));
}

#[test]
fn calls_on_what_is_not_there_say_so() {
    let layer = formatted(&disks(2));
    create(&layer, 5);
    assert_eq!(
        block_on(layer.create(n(5), &mirrored())),
        Err(Error::Exists)
    );
    for file in [0, 4, 6, 1 << 40, u64::MAX] {
        assert_eq!(
            block_on(layer.getattr(n(file))),
            Err(Error::NotFound),
            "{file}"
        );
        assert_eq!(
            block_on(layer.delete(n(file))),
            Err(Error::NotFound),
            "{file}"
        );
        assert_eq!(
            try_write(&layer, file, 0, &[1], 4096),
            Err(Error::NotFound),
            "{file}"
        );
    }
    for file in [0, 1 << 32, u64::MAX] {
        let created = block_on(layer.create(n(file), &mirrored()));
        assert_eq!(created, Err(Error::BadArgument), "{file}");
    }
    create(&layer, (1 << 32) - 1);
    block_on(layer.delete(n(5))).unwrap();
    assert_eq!(block_on(layer.getattr(n(5))), Err(Error::NotFound));
    create(&layer, 5);
    assert_eq!(read(&layer, 5), []);
}

#[test]
fn a_write_that_is_not_whole_blocks_is_refused() {
    let layer = formatted(&disks(1));
    create(&layer, 5);
    let bytes = [0; 8192];
    let sums = [FORMAT.algorithm.of(&bytes[..4096]); 2];
    for (offset, len, checksums) in [
        (0, 100, 1),
        (1, 4096, 1),
        (0, 8192, 1),
        (0, 0, 0),
        (u64::MAX - 4095, 4096, 1),
    ] {
        let write = Write {
            file: n(5),
            offset,
            data: Source::local(&bytes[..len]),
            checksums: &sums[..checksums],
            size: 8192,
            modified_ns: 0,
        };
        assert_eq!(
            block_on(layer.write(write)),
            Err(Error::BadArgument),
            "{offset} {len}"
        );
    }
}

#[test]
fn each_store_of_a_mirror_alone_has_everything() {
    let disks = disks(3);
    let layer = formatted(&disks);
    for file in 1..200 {
        create(&layer, file);
        write(&layer, file, file as u8);
    }
    sync(&layer);
    for disk in &disks {
        let (alone, attachment) = attached(crate::layer(std::slice::from_ref(disk)));
        assert_eq!((attachment.stores, attachment.stores_present), (3, 1));
        for file in 1..200 {
            assert_eq!(read(&alone, file), [file as u8]);
        }
    }
}

#[test]
fn reads_are_spread_over_the_copies() {
    let disks = disks(2);
    let layer = formatted(&disks);
    create(&layer, 1);
    write(&layer, 1, 1);
    let before: Vec<u32> = disks.iter().map(|disk| disk.reads.get()).collect();
    for _ in 0..100 {
        block_on(layer.read(n(1), 0, Sink::local(&mut [0; 4096]))).unwrap();
    }
    for (disk, before) in disks.iter().zip(before) {
        assert_eq!(disk.reads.get() - before, 50);
    }
}

#[test]
fn a_single_file_is_on_the_store_with_most_room() {
    let disks = disks(3);
    disks[1].capacity.set(200_000);
    let layer = formatted(&disks);
    block_on(layer.create(n(1), &single())).unwrap();
    write(&layer, 1, 1);
    create(&layer, 2);
    sync(&layer);
    assert_eq!(
        disks.iter().map(|disk| disk.files()).collect::<Vec<_>>(),
        [1, 2, 1]
    );

    let (layer, _) = attached(layer_without(&disks, 1));
    assert_eq!(
        block_on(layer.getattr(n(1))),
        Err(Error::Device),
        "its only copy is away"
    );
    assert_eq!(try_write(&layer, 1, 0, &[1], 4096), Err(Error::Device));
    assert_eq!(read(&layer, 2), [], "the others are not concerned");
    // Only the others say whether announcements are of use, and these stores say that they are not.
    let announced = |file| block_on(layer.prewrite(n(file), 0, &[]));
    assert_eq!([announced(1), announced(2)], [Ok(true), Ok(false)]);
    block_on(layer.delete(n(1))).unwrap();
}

#[test]
fn usage_is_what_a_mirror_can_count_on() {
    let disks = disks(2);
    disks[1].capacity.set(500);
    let layer = formatted(&disks);
    let usage = block_on(layer.usage()).unwrap();
    assert_eq!(usage.blocks, 500);
    assert!(usage.blocks_free <= 500);
}

/// What `numbers` says, by asking in pieces of `step` bytes.
fn numbers(layer: &Layer, step: usize) -> Vec<u64> {
    let mut used = Vec::new();
    let mut first = 0;
    loop {
        let mut bitmap = vec![0xff; step];
        let bytes = block_on(layer.numbers(n(first), Sink::local(&mut bitmap))).unwrap();
        for i in 0..bytes as u64 * 8 {
            if bitmap[(i / 8) as usize] & (1 << (i % 8)) != 0 {
                used.push(first + i);
            }
        }
        if bytes < step {
            return used;
        }
        first += bytes as u64 * 8;
    }
}

/// More blocks of the mapping than are kept in memory: what is dropped is found again.
#[test]
fn numbers_tells_exactly_which_files_there_are() {
    let disks = disks(2);
    let layer = formatted(&disks);
    let mut files: Vec<u64> = (1..20).chain((0..1500).map(|i| 100 + i * 61)).collect();
    for &file in &files {
        create(&layer, file);
    }
    for file in files.extract_if(.., |file| *file % 5 == 0) {
        block_on(layer.delete(n(file))).unwrap();
    }
    for step in [1, 7, 8, 1000, 100_000] {
        assert_eq!(numbers(&layer, step), files, "{step}");
    }
    sync(&layer);
    let (layer, _) = attached(layer_without(&disks, 0));
    assert_eq!(numbers(&layer, 512), files);
    for file in files {
        assert_eq!(
            block_on(layer.getattr(n(file))).unwrap().mode,
            mirrored().mode
        );
    }
    let odd = block_on(layer.numbers(n(4), Sink::local(&mut [0])));
    assert_eq!(odd, Err(Error::BadArgument));
}
