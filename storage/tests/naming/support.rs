//! What the tests share: a clock, a small generator, and shorthands.

use std::cell::Cell;

use futures_executor::block_on;
use storage::{
    Result,
    buffer::{Sink, Source},
    checksum::Algorithm,
    clock::Clock,
    file::VolumeFormat,
    naming::{ClientId, Limits, Naming},
    vfs::{Descriptor, Entries, FileSystem, Kind, OpenFlags},
};

use crate::fake::Fake;

/// A clock that goes on by one with every look.
#[derive(Default)]
pub struct Ticks(Cell<u64>);

impl Clock for Ticks {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

pub type TestNaming = Naming<Fake, Ticks>;

pub const CLIENT: ClientId = ClientId {
    role: 1,
    generation: 1,
};

pub const FORMAT: VolumeFormat = VolumeFormat {
    volume: 7,
    algorithm: Algorithm::Xxh64,
    twin_offset: 16,
};

/// Naming over this volume, not mounted.
pub fn naming_over(fake: &Fake) -> TestNaming {
    Naming::new(fake.clone(), Ticks::default(), Limits::default())
}

/// Naming over a new, empty volume.
pub fn fresh(seed: u64) -> (Fake, TestNaming) {
    let fake = Fake::new(seed);
    let naming = naming_over(&fake);
    block_on(naming.client(CLIENT).format(&FORMAT)).expect("format");
    fake.take_calls();
    (fake, naming)
}

/// Small, fixed, and good enough to pick test cases.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

pub const READ_WRITE: OpenFlags = OpenFlags::READ.union(OpenFlags::WRITE);
pub const CREATE: OpenFlags = READ_WRITE.union(OpenFlags::CREATE);

pub async fn read(
    system: &impl FileSystem,
    descriptor: Descriptor,
    offset: Option<u64>,
    len: usize,
) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let count = system
        .read(descriptor, offset, Sink::local(&mut bytes))
        .await?;
    bytes.truncate(count);
    Ok(bytes)
}

pub async fn write(
    system: &impl FileSystem,
    descriptor: Descriptor,
    offset: Option<u64>,
    bytes: &[u8],
) -> Result<usize> {
    system.write(descriptor, offset, Source::local(bytes)).await
}

/// Creates a file with this content.
pub async fn put(system: &impl FileSystem, path: &[u8], content: &[u8]) -> Result<()> {
    let descriptor = system
        .open(path, CREATE | OpenFlags::TRUNCATE, 0o644)
        .await?;
    write(system, descriptor, None, content).await?;
    system.close(descriptor).await
}

/// The content of a file.
pub async fn get(system: &impl FileSystem, path: &[u8]) -> Result<Vec<u8>> {
    let descriptor = system.open(path, OpenFlags::READ, 0).await?;
    let size = system.fstat(descriptor).await?.size as usize;
    let bytes = read(system, descriptor, Some(0), size).await;
    system.close(descriptor).await?;
    bytes
}

/// What `readdir` tells from where the descriptor is, with a buffer of this size.
pub async fn list_open(
    system: &impl FileSystem,
    descriptor: Descriptor,
    buffer_bytes: usize,
) -> Result<Vec<(Vec<u8>, u64, Kind)>> {
    let mut all = Vec::new();
    loop {
        let mut buffer = vec![0; buffer_bytes];
        let count = system.readdir(descriptor, Sink::local(&mut buffer)).await?;
        if count == 0 {
            return Ok(all);
        }
        for entry in Entries(&buffer[..count]) {
            all.push((entry.name.to_vec(), entry.inode, entry.kind));
        }
    }
}

/// All entries of a directory, `.` and `..` included.
pub async fn list(system: &impl FileSystem, path: &[u8]) -> Result<Vec<(Vec<u8>, u64, Kind)>> {
    let descriptor = system
        .open(path, OpenFlags::READ | OpenFlags::DIRECTORY, 0)
        .await?;
    let entries = list_open(system, descriptor, 4096).await;
    system.close(descriptor).await?;
    entries
}
