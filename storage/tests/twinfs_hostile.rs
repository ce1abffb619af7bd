//! TwinFS on disks made by someone who knows the format and means harm: every checksum is right, the
//! contents are not. Errors are fine; panics, hangs and memory without bound are not.
//!
//! The format is implemented here a second time, from `docs/formats/twinfs.md`.

mod twinfs_support;

use std::rc::Rc;

use futures_executor::block_on;
use storage::{
    Error,
    file::{AttributeChange, FileNumber, FileStore, Timestamp},
    twinfs::Config,
};
use twinfs_support::*;

fn u64_at(block: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(block[at..at + 8].try_into().unwrap())
}

fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(block[at..at + 4].try_into().unwrap())
}

/// A disk as the document describes it.
struct Image {
    disk: Disk,
}

impl Image {
    fn block(&self, block: u64) -> Vec<u8> {
        self.disk.peek(block * 8, 4096)
    }

    fn root_place(&self) -> u64 {
        let time = |block: u64| u64_at(&self.block(block), 56);
        if time(0) > time(256) { 0 } else { 256 }
    }

    /// Where the pointer at `at` of `block` leads.
    fn follow(&self, block: u64, at: usize) -> Option<u64> {
        let bytes = &self.block(block)[at..at + 16];
        let mut number = [0; 8];
        number[..6].copy_from_slice(&bytes[8..14]);
        let number = u64::from_le_bytes(number);
        let twin_offset = u64::from(u32_at(&self.block(self.root_place()), 48));
        (number != 0).then(|| number + if bytes[14] & 1 == 1 { twin_offset } else { 0 })
    }

    /// The blocks and pointers from the root to block `index` of a static area.
    fn path(&self, tree: usize, index: u64) -> Option<Vec<(u64, usize)>> {
        let root = self.root_place();
        let bytes = self.block(root);
        // A level of more than 8 blocks has a level above it, with one block for each 256.
        let (blocks, inodes) = (u64_at(&bytes, 64), u64_at(&bytes, 72));
        let first = [
            inodes.div_ceil(32768),
            blocks.div_ceil(32768),
            inodes.div_ceil(8),
        ][tree];
        let levels = std::iter::successors(Some(first), |blocks| Some(blocks.div_ceil(256)))
            .take_while(|&blocks| blocks > 8)
            .count() as u32
            + 1;
        let mut path = vec![];
        let mut at = root;
        for level in (0..levels).rev() {
            let number = index / 256u64.pow(level);
            let offset = if at == root {
                112 + tree * 128 + number as usize * 16
            } else {
                (number % 256) as usize * 16
            };
            path.push((at, offset));
            at = self.follow(at, offset)?;
        }
        path.push((at, 0));
        Some(path)
    }

    /// Changes the last block of a path, and every checksum above it.
    fn change(&self, path: &[(u64, usize)], change: impl FnOnce(&mut [u8])) {
        let (target, _) = *path.last().unwrap();
        let mut bytes = self.block(target);
        change(&mut bytes);
        for &(parent, offset) in path.iter().rev().skip(1) {
            let child = path[path.iter().position(|at| at.0 == parent).unwrap() + 1].0;
            self.disk.poke(child * 8, &bytes);
            let sum = xxhash_rust::xxh64::xxh64(&bytes, 0);
            bytes = self.block(parent);
            bytes[offset..offset + 8].copy_from_slice(&sum.to_le_bytes());
        }
        bytes[8..16].fill(0);
        let sum = xxhash_rust::xxh64::xxh64(&bytes, 0);
        bytes[8..16].copy_from_slice(&sum.to_le_bytes());
        self.disk.poke(path[0].0 * 8, &bytes);
    }
}

/// A volume with files of all kinds in checkpoint 3.
fn volume() -> (Disk, Model) {
    let disk = disk(64);
    let mut pair = Pair {
        store: fresh(&disk, Config::default(), 16),
        model: Model::new(),
        random: Random(5),
        blocks_max: 30,
    };
    for timestamp in 2..4 {
        for _ in 0..60 {
            pair.step();
        }
        block_on(pair.store.sync(checkpoint(timestamp))).unwrap();
    }
    (disk, pair.model)
}

fn tolerate<T>(result: storage::Result<T>) -> Option<T> {
    use Error::*;
    match result {
        Ok(value) => Some(value),
        Err(Corrupt | NotFound | NoSpace | TooBig | BadArgument | NotLoaded | NoCheckpoint) => None,
        Err(WrongVersion | NotFormatted) => None,
        // No bitmap or no block of inodes from which anything could be taken.
        Err(Device) => None,
        Err(error) => panic!("a disk with bad contents is no reason for: {error}"),
    }
}

/// Uses everything there is.
fn exercise(disk: &Disk, seed: u64) {
    let store = store(disk, small_cache());
    let mut random = Random(seed);
    let Some(info) = tolerate(block_on(store.info())) else {
        return;
    };
    let Some(()) = tolerate(block_on(store.load(info.newest.timestamp))) else {
        return;
    };
    tolerate(block_on(store.usage()));
    for number in (0..24).map(FileNumber) {
        let found = tolerate(block_on(store.getattr(number)));
        for block in [
            0,
            19,
            20,
            270,
            280,
            65_800,
            (1 << 24) + 65_800,
            (1 << 28) + 3,
        ] {
            tolerate(block_on(read(&store, number, block, 6)));
        }
        let change = AttributeChange {
            links: Some(3),
            ..AttributeChange::default()
        };
        tolerate(block_on(store.setattr(number, &change)));
        let block = random.below(300);
        let data = random.bytes(4096 * 4);
        tolerate(block_on(write(
            &store,
            number,
            block,
            &data,
            (block + 4) * BLOCK,
        )));
        let size = found.map_or(0, |found| found.size);
        match random.below(4) {
            0 => tolerate(block_on(store.truncate(number, size / 2, 1))),
            1 => tolerate(block_on(store.delete(number))),
            _ => None,
        };
        tolerate(block_on(
            store.create(&attributes(number.0.is_multiple_of(2))),
        ));
    }
    let next = info.newest.timestamp.0.wrapping_add(1);
    if tolerate(block_on(store.sync(checkpoint(next)))).is_some() {
        tolerate(block_on(store.load(Timestamp(next))));
    }
}

/// Puts something bad somewhere.
fn spoil(random: &mut Random, bytes: &mut [u8], from: usize, to: usize) {
    for _ in 0..1 + random.below(3) {
        let at = from + random.below((to - from) as u64) as usize;
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            _ => {
                let at = (at / 8 * 8).min(bytes.len() - 8);
                let values = [
                    0,
                    1,
                    255,
                    4096,
                    257,
                    1 << 20,
                    1 << 32,
                    1 << 44,
                    1 << 48,
                    1 << 63,
                ];
                let value = match random.below(3) {
                    0 => u64::MAX - random.below(2),
                    1 => random.below(20_000),
                    _ => values[random.below(10) as usize],
                };
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
        }
    }
}

#[test]
fn the_document_describes_what_is_on_the_disk() {
    let (disk, model) = volume();
    let image = Image { disk: disk.clone() };
    let root = image.block(image.root_place());
    assert_eq!(&root[..8], b"GalTwnFS");
    assert_eq!(
        (u32_at(&root, 16), u32_at(&root, 20), u64_at(&root, 56)),
        (1, 1, 3)
    );
    for (&number, file) in &model.files {
        let path = image.path(2, number / 8).unwrap();
        let (place, _) = *path.last().unwrap();
        let inode = &image.block(place)[number as usize % 8 * 512..][..512];
        assert_eq!(u64_at(inode, 16), file.attributes.size, "file {number}");
        assert_eq!(u64_at(inode, 24), file.attributes.blocks);
        assert_eq!(u64_at(inode, 56), file.attributes.logical.0);
        assert_eq!(
            (inode[64], inode[66]),
            (1, file.attributes.class.protected.into())
        );
        for (&at, block) in file.blocks.range(..20) {
            let offset = number as usize % 8 * 512 + 128 + at as usize * 16;
            let data = image.block(image.follow(place, offset).unwrap());
            assert!(data == **block, "file {number}, block {at}");
        }
        for (&at, block) in file.blocks.range(20..276) {
            let indirect = image
                .follow(place, number as usize % 8 * 512 + 448)
                .unwrap();
            let data = image.block(image.follow(indirect, (at as usize - 20) * 16).unwrap());
            assert!(data == **block, "file {number}, block {at}");
        }
        let bitmap = image.path(0, 0).unwrap().last().unwrap().0;
        assert_eq!(
            image.block(bitmap)[number as usize / 8] >> (number % 8) & 1,
            1
        );
    }
}

#[test]
fn hostile_root_blocks() {
    let (disk, _) = volume();
    for seed in 0..120 {
        let image = Image {
            disk: Rc::new(disk.snapshot()),
        };
        let mut random = Random(seed);
        let path = [(image.root_place(), 0)];
        // Half of them in the fields, half in the pointers.
        let (from, to) = if seed % 2 == 0 { (16, 112) } else { (112, 496) };
        image.change(&path, |bytes| spoil(&mut random, bytes, from, to));
        exercise(&image.disk, seed);
    }
}

#[test]
fn hostile_inodes() {
    let (disk, model) = volume();
    let files: Vec<u64> = model.files.keys().copied().collect();
    for seed in 0..120 {
        let image = Image {
            disk: Rc::new(disk.snapshot()),
        };
        let mut random = Random(seed);
        let file = files[random.below(files.len() as u64) as usize];
        let path = image.path(2, file / 8).unwrap();
        let inode = file as usize % 8 * 512;
        image.change(&path, |bytes| spoil(&mut random, bytes, inode, inode + 512));
        exercise(&image.disk, seed);
    }
}

#[test]
fn hostile_bitmaps_and_pointer_blocks() {
    let (disk, model) = volume();
    let long = |file: &&ModelFile| file.blocks.range(20..276).next().is_some();
    let files: Vec<u64> = model
        .files
        .iter()
        .filter(|(_, file)| long(file))
        .map(|(&number, _)| number)
        .collect();
    let mut indirect = 0;
    for seed in 0..120 {
        let image = Image {
            disk: Rc::new(disk.snapshot()),
        };
        let mut random = Random(seed);
        let mut path = image.path([0, 1, 2, 2][seed as usize % 4], 0).unwrap();
        match seed % 4 {
            // The pointer block above the inode table.
            2 => {
                path.pop();
            }
            // A file's indirect block.
            3 => {
                let file = files[random.below(files.len() as u64) as usize];
                path = image.path(2, file / 8).unwrap();
                let (place, at) = path.last_mut().unwrap();
                *at = file as usize % 8 * 512 + 448;
                let next = image.follow(*place, *at).unwrap();
                path.push((next, 0));
                indirect += 1;
            }
            _ => {}
        }
        image.change(&path, |bytes| spoil(&mut random, bytes, 0, 1024));
        exercise(&image.disk, seed);
    }
    assert!(indirect > 10, "{indirect}");
}

#[test]
fn one_block_in_two_places() {
    let (disk, model) = volume();
    let with_indirect: Vec<u64> = model
        .files
        .iter()
        .filter(|(_, file)| file.blocks.range(20..276).next().is_some())
        .map(|(&number, _)| number)
        .collect();
    let [one, two, ..] = with_indirect[..] else {
        panic!("the volume has too few long files")
    };
    let image = Image {
        disk: Rc::new(disk.snapshot()),
    };
    let pointer = |file: u64| {
        let place = image.path(2, file / 8).unwrap().last().unwrap().0;
        image.block(place)[file as usize % 8 * 512 + 448..][..16].to_vec()
    };
    let shared = pointer(one);
    image.change(&image.path(2, two / 8).unwrap(), |bytes| {
        bytes[two as usize % 8 * 512 + 448..][..16].copy_from_slice(&shared);
        bytes[two as usize % 8 * 512 + 464..][..16].copy_from_slice(&shared);
    });
    for seed in 0..20 {
        exercise(&Rc::new(image.disk.snapshot()), seed);
    }
}
