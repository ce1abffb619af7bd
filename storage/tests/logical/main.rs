//! The logical layer over file stores in memory: what it promises about copies, checkpoints,
//! missing and failing stores.

mod checkpoints;
mod copies;
mod disk;
mod equal;
mod failures;
mod memory;
mod random;

use std::rc::Rc;

use disk::Disk;
use futures_executor::block_on;
use memory::Memory;
use storage::{
    BLOCK_BYTES, Result,
    buffer::{Sink, Source},
    checksum::Algorithm,
    file::{
        Attachment, Attributes, Class, FileNumber, FileService, Redundancy, VolumeFormat, Write,
    },
    logical::Logical,
};

pub(crate) type Layer = Logical<Memory>;

pub(crate) const FORMAT: VolumeFormat = VolumeFormat {
    volume: 0xabc,
    algorithm: Algorithm::Crc32c,
    twin_offset: 16,
};

pub(crate) fn disks(count: usize) -> Vec<Rc<Disk>> {
    (0..count).map(|_| Disk::new()).collect()
}

/// A fresh instance of the layer and its stores over these disks.
pub(crate) fn layer(disks: &[Rc<Disk>]) -> Layer {
    Logical::new(disks.iter().map(|disk| Some(Memory::new(disk))).collect())
}

/// As [`layer`], with one disk missing.
pub(crate) fn layer_without(disks: &[Rc<Disk>], missing: usize) -> Layer {
    let store = |(i, disk): (usize, &Rc<Disk>)| (i != missing).then(|| Memory::new(disk));
    Logical::new(disks.iter().enumerate().map(store).collect())
}

pub(crate) fn formatted(disks: &[Rc<Disk>]) -> Layer {
    let layer = layer(disks);
    block_on(layer.format(&FORMAT)).unwrap();
    layer
}

pub(crate) fn attached(layer: Layer) -> (Layer, Attachment) {
    let attachment = block_on(layer.attach()).unwrap();
    (layer, attachment)
}

/// A file number.
pub(crate) fn n(number: u64) -> FileNumber {
    FileNumber(number)
}

pub(crate) fn mirrored() -> Attributes {
    Attributes {
        mode: 0o100_644,
        ..Attributes::default()
    }
}

pub(crate) fn single() -> Attributes {
    let class = Class {
        redundancy: Redundancy::Single,
        protected: false,
    };
    Attributes {
        class,
        ..mirrored()
    }
}

/// Writes whole blocks of `fill`; the file then is `size` bytes long.
pub(crate) fn try_write(
    layer: &Layer,
    file: u64,
    block: u64,
    fill: &[u8],
    size: u64,
) -> Result<()> {
    let bytes: Vec<u8> = fill.iter().flat_map(|&byte| [byte; BLOCK_BYTES]).collect();
    let checksums: Vec<_> = bytes
        .chunks(BLOCK_BYTES)
        .map(|block| FORMAT.algorithm.of(block))
        .collect();
    block_on(layer.write(Write {
        file: n(file),
        offset: block * BLOCK_BYTES as u64,
        data: Source::local(&bytes),
        checksums: &checksums,
        size,
        modified_ns: size + 1,
    }))
    .map(|taken| assert_eq!(taken, bytes.len()))
}

/// Writes one block at the beginning of a file of one block.
pub(crate) fn write(layer: &Layer, file: u64, fill: u8) {
    try_write(layer, file, 0, &[fill], BLOCK_BYTES as u64).unwrap();
}

/// The first byte of each block of the file.
pub(crate) fn try_read(layer: &Layer, file: u64) -> Result<Vec<u8>> {
    let size = block_on(layer.getattr(n(file)))?.size;
    let mut bytes = vec![0xee; size.next_multiple_of(BLOCK_BYTES as u64) as usize];
    let read = block_on(layer.read(n(file), 0, Sink::local(&mut bytes)))?;
    assert_eq!(read as u64, size);
    for block in bytes.chunks(BLOCK_BYTES) {
        assert!(
            block.iter().all(|byte| *byte == block[0]),
            "one block, two contents"
        );
    }
    Ok(bytes.chunks(BLOCK_BYTES).map(|block| block[0]).collect())
}

pub(crate) fn read(layer: &Layer, file: u64) -> Vec<u8> {
    try_read(layer, file).unwrap()
}

pub(crate) fn create(layer: &Layer, file: u64) {
    block_on(layer.create(n(file), &mirrored())).unwrap();
}

pub(crate) fn sync(layer: &Layer) -> u64 {
    block_on(layer.sync()).unwrap().0
}

/// What each store alone says of a file after the next checkpoint.
pub(crate) fn each_alone(layer: &Layer, disks: &[Rc<Disk>], file: u64) -> Vec<Vec<u8>> {
    sync(layer);
    let alone = |disk: &Rc<Disk>| read(&attached(self::layer(&[disk.image()])).0, file);
    disks.iter().map(alone).collect()
}
