//! A model of a file store, and a store beside it that must do the same.
#![allow(dead_code, reason = "each test uses its part")]

pub mod overwriting;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use futures_executor::block_on;
use storage::{
    BLOCK_BYTES, Error, Result,
    block::ram::RamDisk,
    buffer::{Sink, Source},
    checksum::{Algorithm, Checksum},
    clock::Clock,
    file::{
        AttributeChange, Attributes, Checkpoint, Class, FileNumber, FileStore, MAPPING_FILE,
        StoreFormat, Timestamp, Write,
    },
    twinfs::{Config, Overwrite, TwinFs},
};

pub const BLOCK: u64 = BLOCK_BYTES as u64;

pub struct NoClock;

impl Clock for NoClock {
    fn now_ns(&self) -> u64 {
        0
    }
}

pub type Disk = Rc<RamDisk>;
pub type Store = TwinFs<Disk, NoClock>;

/// Numbers that look random and are the same every time.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

pub fn format_of(twin_offset: u32, algorithm: Algorithm) -> StoreFormat {
    StoreFormat {
        volume: 0x1234_5678_9abc,
        index: 1,
        stores: 3,
        algorithm,
        twin_offset,
    }
}

pub fn disk(mebibytes: u64) -> Disk {
    Rc::new(RamDisk::new(mebibytes << 11))
}

pub fn small_cache() -> Config {
    Config {
        cache_blocks: 0,
        ..Config::default()
    }
}

pub fn in_place() -> Config {
    Config {
        overwrite: Overwrite::InPlace,
        ..Config::default()
    }
}

pub fn without_twins() -> Config {
    Config {
        twins: false,
        ..Config::default()
    }
}

pub fn store(disk: &Disk, config: Config) -> Store {
    TwinFs::with_config(disk.clone(), NoClock, config)
}

/// A formatted store with checkpoint 1 loaded.
pub fn fresh(disk: &Disk, config: Config, twin_offset: u32) -> Store {
    let store = store(disk, config);
    block_on(store.format(&format_of(twin_offset, Algorithm::Xxh64))).unwrap();
    block_on(store.load(Timestamp(1))).unwrap();
    store
}

pub fn checkpoint(timestamp: u64) -> Checkpoint {
    Checkpoint {
        timestamp: Timestamp(timestamp),
        present: 0b101,
    }
}

pub fn attributes(protected: bool) -> Attributes {
    Attributes {
        class: Class {
            protected,
            ..Class::default()
        },
        mode: 0o100_644,
        links: 1,
        ..Attributes::default()
    }
}

pub fn checksums(data: &[u8]) -> Vec<Checksum> {
    data.chunks(BLOCK_BYTES)
        .map(|block| Algorithm::Xxh64.of(block))
        .collect()
}

/// Writes whole blocks; the file is `size` bytes long afterwards.
pub async fn write(
    store: &impl FileStore,
    file: FileNumber,
    block: u64,
    data: &[u8],
    size: u64,
) -> Result<()> {
    write_of(store, Algorithm::Xxh64, file, block, data, size).await
}

/// The same, on a volume with another algorithm.
pub async fn write_of(
    store: &impl FileStore,
    algorithm: Algorithm,
    file: FileNumber,
    block: u64,
    data: &[u8],
    size: u64,
) -> Result<()> {
    let checksums: Vec<_> = data
        .chunks(BLOCK_BYTES)
        .map(|block| algorithm.of(block))
        .collect();
    let write = Write {
        file,
        offset: block * BLOCK,
        data: Source::local(data),
        checksums: &checksums,
        size,
        modified_ns: 7,
    };
    store.write(write).await
}

pub async fn read(
    store: &impl FileStore,
    file: FileNumber,
    block: u64,
    blocks: u64,
) -> Result<(usize, Vec<u8>)> {
    let mut data = vec![0xee; (blocks * BLOCK) as usize];
    let len = store
        .read(file, block * BLOCK, Sink::local(&mut data))
        .await?;
    Ok((len, data))
}

/// What a file is supposed to be.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    pub attributes: Attributes,
    pub blocks: BTreeMap<u64, Rc<Vec<u8>>>,
}

/// What a store is supposed to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub files: BTreeMap<u64, ModelFile>,
    /// Numbers that were in use once.
    pub gone: BTreeSet<u64>,
}

impl Model {
    pub fn new() -> Self {
        let mut model = Self::default();
        let class = Class {
            protected: true,
            ..Class::default()
        };
        model.create(
            MAPPING_FILE,
            Attributes {
                class,
                ..Attributes::default()
            },
        );
        model
    }

    pub fn create(&mut self, file: FileNumber, attributes: Attributes) {
        self.gone.remove(&file.0);
        let file_of = ModelFile {
            attributes,
            blocks: BTreeMap::new(),
        };
        assert!(
            self.files.insert(file.0, file_of).is_none(),
            "file {} twice",
            file.0
        );
    }

    pub fn delete(&mut self, file: FileNumber) {
        self.files.remove(&file.0);
        self.gone.insert(file.0);
    }

    pub fn write(&mut self, file: FileNumber, block: u64, data: &[u8], size: u64) {
        let file = self.files.get_mut(&file.0).unwrap();
        for (at, bytes) in (block..).zip(data.chunks(BLOCK_BYTES)) {
            file.blocks.insert(at, Rc::new(bytes.to_vec()));
        }
        file.attributes.size = file.attributes.size.max(size);
        file.attributes.blocks = file.blocks.len() as u64;
        file.attributes.modified_ns = 7;
        file.attributes.changed_ns = 7;
    }

    pub fn truncate(&mut self, file: FileNumber, size: u64, now_ns: u64) {
        let file = self.files.get_mut(&file.0).unwrap();
        if size < file.attributes.size {
            file.blocks.retain(|&at, _| at * BLOCK < size);
            if let Some(last) = file.blocks.get_mut(&(size / BLOCK)) {
                Rc::make_mut(last)[(size % BLOCK) as usize..].fill(0);
            }
        }
        file.attributes.size = size;
        file.attributes.blocks = file.blocks.len() as u64;
        file.attributes.modified_ns = now_ns;
        file.attributes.changed_ns = now_ns;
    }

    /// Everything that the store says and holds, against this model.
    pub fn compare(&self, store: &impl FileStore, what: &str) {
        for (&number, file) in &self.files {
            self.compare_file(store, FileNumber(number), file, what);
        }
        for &number in &self.gone {
            let gone = block_on(store.getattr(FileNumber(number)));
            assert_eq!(gone, Err(Error::NotFound), "{what}: file {number}");
        }
        let usage = block_on(store.usage()).unwrap();
        assert_eq!(
            usage.files - usage.files_free,
            self.files.len() as u64,
            "{what}: files in use"
        );
    }

    fn compare_file(
        &self,
        store: &impl FileStore,
        number: FileNumber,
        file: &ModelFile,
        what: &str,
    ) {
        let found = block_on(store.getattr(number)).unwrap();
        assert_eq!(found, file.attributes, "{what}: file {}", number.0);
        // The blocks there are, with the holes beside them.
        let mut places: BTreeSet<u64> = file
            .blocks
            .keys()
            .flat_map(|&at| [at.saturating_sub(1), at, at + 1])
            .collect();
        places.insert(file.attributes.size / BLOCK);
        let mut places = places.into_iter().peekable();
        while let Some(first) = places.next() {
            let mut count = 1;
            while count < 32 && places.next_if_eq(&(first + count)).is_some() {
                count += 1;
            }
            let (len, data) = block_on(read(store, number, first, count)).unwrap_or_else(|error| {
                panic!("{what}: file {}, block {first}: {error}", number.0)
            });
            let expected = file
                .attributes
                .size
                .saturating_sub(first * BLOCK)
                .min(count * BLOCK);
            assert_eq!(
                len as u64, expected,
                "{what}: file {}, block {first}",
                number.0
            );
            for (at, bytes) in (first..).zip(data.chunks(BLOCK_BYTES)) {
                let same = match file.blocks.get(&at) {
                    Some(block) => bytes == &block[..],
                    None => bytes.iter().all(|&byte| byte == 0),
                };
                assert!(same, "{what}: file {}, block {at}: wrong data", number.0);
            }
        }
    }
}

/// A store and its model, changed by the same random operations.
pub struct Pair {
    pub store: Store,
    pub model: Model,
    pub random: Random,
    /// The file's blocks are within this many, but for a few far out.
    pub blocks_max: u64,
}

impl Pair {
    pub fn files(&self) -> Vec<FileNumber> {
        self.model
            .files
            .keys()
            .map(|&number| FileNumber(number))
            .collect()
    }

    fn pick(&mut self) -> FileNumber {
        let files = self.files();
        files[self.random.below(files.len() as u64) as usize]
    }

    /// One operation on both. What the store refuses for lack of space must change nothing.
    pub fn step(&mut self) {
        match self.random.below(20) {
            0..=3 => self.create(),
            4..=5 => self.delete(),
            6..=8 => self.truncate(),
            9 => self.setattr(),
            _ => self.write(),
        }
    }

    /// Makes files with so many indirect blocks that a small cache cannot hold half of them.
    pub fn spread(&mut self) {
        for number in 0..60 {
            let attributes = attributes(number % 4 == 0);
            let file = block_on(self.store.create(&attributes)).unwrap();
            self.model.create(file, attributes);
            for block in [3, 270, 65_800, (1 << 24) + 65_800, (1 << 28) - 4] {
                let data = self.random.bytes(4096 * 2);
                let size = (block + 2) * BLOCK;
                block_on(write(&self.store, file, block, &data, size)).unwrap();
                self.model.write(file, block, &data, size);
            }
        }
    }

    fn create(&mut self) {
        let attributes = Attributes {
            logical: FileNumber(self.random.next()),
            uid: self.random.next() as u32,
            ..attributes(self.random.below(3) == 0)
        };
        match block_on(self.store.create(&attributes)) {
            Ok(file) => self.model.create(file, attributes),
            Err(error) => assert_eq!(error, Error::NoSpace),
        }
    }

    fn delete(&mut self) {
        let file = self.pick();
        if file == MAPPING_FILE {
            assert_eq!(block_on(self.store.delete(file)), Err(Error::BadArgument));
            return;
        }
        block_on(self.store.delete(file)).unwrap();
        self.model.delete(file);
    }

    fn truncate(&mut self) {
        let file = self.pick();
        let size = match self.random.below(3) {
            0 => 0,
            1 => self.random.below(self.blocks_max) * BLOCK,
            _ => self.random.below(self.blocks_max * BLOCK),
        };
        block_on(self.store.truncate(file, size, 9)).unwrap();
        self.model.truncate(file, size, 9);
    }

    fn setattr(&mut self) {
        let file = self.pick();
        let change = AttributeChange {
            mode: Some(self.random.next() as u32),
            gid: Some(self.random.next() as u32),
            links: Some(self.random.next() as u32),
            accessed_ns: Some(self.random.next()),
            ..AttributeChange::default()
        };
        block_on(self.store.setattr(file, &change)).unwrap();
        change.apply(&mut self.model.files.get_mut(&file.0).unwrap().attributes);
    }

    fn write(&mut self) {
        let file = self.pick();
        let far = [
            0,
            0,
            0,
            0,
            0,
            19,
            270,
            65_800,
            (1 << 24) + 65_800,
            (1 << 28) - 4,
        ];
        let base = far[self.random.below(far.len() as u64) as usize];
        let first = base + self.random.below(self.blocks_max);
        let count = 1 + self.random.below(24);
        let padding = self.random.below(2) * self.random.below(BLOCK);
        let mut data = self.random.bytes((count * BLOCK) as usize);
        let size = (first + count) * BLOCK - padding;
        // Zeros beyond the end of the file, as the cache writes them.
        let end = size
            .max(self.model.files[&file.0].attributes.size)
            .saturating_sub(first * BLOCK);
        if let Some(beyond) = data.get_mut(end as usize..) {
            beyond.fill(0);
        }
        match block_on(write(&self.store, file, first, &data, size)) {
            Ok(()) => self.model.write(file, first, &data, size),
            Err(error) => assert_eq!(error, Error::NoSpace),
        }
    }
}
