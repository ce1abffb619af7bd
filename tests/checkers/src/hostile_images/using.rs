//! Everything that one can do with a volume, whatever comes of it.

use std::{cell::Cell, collections::HashSet, rc::Rc};

use storage::{
    Error, Result,
    buffer::{Sink, Source},
    cache, file, naming,
    twinfs::{self, Overwrite, TwinFs},
    vfs::{Entries, FileSystem, Kind, OpenFlags},
};
use storage_host::{Group, LogicalLink, System};
use tests::{
    random::Random,
    stack::{Tasks, TestClock},
};

use super::volume::File;
use crate::rig::Disks;

/// Requests to all disks for one image, both times that it is mounted; a sound volume needs a few thousand.
const REQUESTS_MAX: u64 = 300_000;
/// Bytes read of a file at once.
const READ_BYTES: usize = 64 << 10;
/// Entries looked at in a walk: a forged tree may be a graph.
const ENTRIES_MAX: usize = 300;

/// Has the disks count their requests together, and bear only so many.
fn limit_requests(disks: &Disks, max: u64) {
    let requests = Rc::new(Cell::new(0));
    for disk in disks.iter().flatten() {
        let requests = requests.clone();
        disk.fault(move |_| {
            requests.set(requests.get() + 1);
            let within = requests.get() <= max;
            assert!(within, "more than {max} requests to the disks");
            Ok(())
        });
    }
}

/// The stack over disks, its lower layers as tasks that may ask to be started again.
fn stack(disks: &Disks, overwrite: Overwrite) -> Tasks {
    let clock = TestClock::default();
    clock.set(1_000_000);
    let config = twinfs::Config {
        overwrite,
        ..twinfs::Config::default()
    };
    let time = clock.clone();
    let make = move |disk| TwinFs::with_config(disk, time.clone(), config);
    let below = file::Client(LogicalLink(Group::new(disks.clone(), make)));
    let config = cache::Config {
        pages: 512,
        ..cache::Config::default()
    };
    System::new(below, clock, config, naming::Limits::default())
}

/// What a run found out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// The volume could be mounted.
    pub mounted: bool,
    /// Parts of files that were right.
    pub right: u64,
    /// Calls that failed.
    pub errors: u64,
}

struct User<'a, F> {
    system: &'a F,
    found: Found,
    bounds: &'a dyn Fn(),
}

impl<F: FileSystem> User<'_, F> {
    /// Takes any error that a bad disk may be a reason for.
    fn tolerate<T>(&mut self, result: Result<T>) -> Option<T> {
        (self.bounds)();
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let ours = matches!(
                    error,
                    Error::BadDescriptor | Error::Protocol | Error::TooManyOpen
                );
                assert!(!ours, "a disk with bad contents is no reason for: {error}");
                self.found.errors += 1;
                None
            }
        }
    }

    async fn open(&mut self, path: &[u8], flags: OpenFlags) -> Option<storage::vfs::Descriptor> {
        let opened = self.system.open(path, flags, 0o644).await;
        self.tolerate(opened)
    }

    async fn read(&mut self, path: &[u8], offset: u64, len: usize) -> Option<Vec<u8>> {
        let file = self.open(path, OpenFlags::READ).await?;
        let mut bytes = vec![0; len];
        let read = self
            .system
            .read(file, Some(offset), Sink::local(&mut bytes))
            .await;
        let read = self.tolerate(read);
        let closed = self.system.close(file).await;
        self.tolerate(closed);
        bytes.truncate(read?);
        Some(bytes)
    }

    async fn write(&mut self, path: &[u8], flags: OpenFlags, offset: Option<u64>, data: &[u8]) {
        let Some(file) = self.open(path, flags | OpenFlags::WRITE).await else {
            return;
        };
        let written = self.system.write(file, offset, Source::local(data)).await;
        self.tolerate(written);
        let closed = self.system.close(file).await;
        self.tolerate(closed);
    }

    /// Compares what can be read of files; each block has one of the contents that it had.
    async fn compare(&mut self, files: &[&File]) {
        for file in files {
            for (offset, contents) in &file.parts {
                let len = contents[0].len();
                let Some(found) = self.read(file.path.as_bytes(), *offset, len).await else {
                    continue;
                };
                assert_eq!(
                    found.len(),
                    len,
                    "{}: too short, without an error",
                    file.path
                );
                for (block, part) in found.chunks(4096).enumerate() {
                    let at = block * 4096;
                    let right = contents.iter().any(|it| it[at..at + part.len()] == *part);
                    assert!(
                        right,
                        "{}, byte {}: wrong data without an error",
                        file.path,
                        offset + at as u64
                    );
                }
                self.found.right += 1;
            }
        }
    }

    /// Lists and reads everything that has a name.
    async fn walk(&mut self) {
        let mut left: Vec<Vec<u8>> = vec![b"/".to_vec()];
        let mut seen = 0;
        while let Some(path) = left.pop() {
            let flags = OpenFlags::READ | OpenFlags::DIRECTORY;
            let Some(directory) = self.open(&path, flags).await else {
                continue;
            };
            let mut buffer = [0; 2000];
            loop {
                let len = self
                    .system
                    .readdir(directory, Sink::local(&mut buffer))
                    .await;
                let Some(len @ 1..) = self.tolerate(len) else {
                    break;
                };
                for entry in Entries(&buffer[..len]) {
                    if entry.name == b"." || entry.name == b".." || seen >= ENTRIES_MAX {
                        continue;
                    }
                    seen += 1;
                    let path = [&path[..], b"/", entry.name].concat();
                    if entry.kind == Kind::Directory {
                        left.push(path.clone());
                    }
                    let stat = self.system.stat(&path, false).await;
                    let size = self.tolerate(stat).map_or(0, |stat| stat.size);
                    self.read(&path, 0, READ_BYTES).await;
                    self.read(&path, size.saturating_sub(5000), READ_BYTES)
                        .await;
                }
                if seen >= ENTRIES_MAX {
                    break;
                }
            }
            let closed = self.system.close(directory).await;
            self.tolerate(closed);
        }
    }

    /// Changes things.
    async fn change(&mut self, files: &[File], random: &mut Random) {
        let none = OpenFlags::empty();
        for number in 0..12 {
            let file = &files[random.below(files.len() as u64) as usize];
            let (path, new) = (file.path.as_bytes(), format!("d/new-{number}"));
            let data = vec![number as u8; 1 + random.below(20_000) as usize];
            let result = match random.below(9) {
                0 => {
                    self.write(path, none, Some(random.below(file.size + 9000)), &data)
                        .await;
                    Ok(())
                }
                1 => {
                    self.write(path, OpenFlags::APPEND, None, &data).await;
                    Ok(())
                }
                2 => {
                    self.write(path, OpenFlags::TRUNCATE, None, &data).await;
                    Ok(())
                }
                3 => {
                    self.write(new.as_bytes(), OpenFlags::CREATE, None, &data)
                        .await;
                    Ok(())
                }
                4 => self.system.rename(path, new.as_bytes()).await,
                5 => self.system.link(path, new.as_bytes()).await,
                6 => self.system.unlink(path).await,
                7 => self.system.mkdir(new.as_bytes(), 0o755).await,
                _ => {
                    self.system
                        .rmdir(random.pick(&[&b"empty"[..], b"d/e/f", b"d"]))
                        .await
                }
            };
            self.tolerate(result);
            if random.one_in(5) {
                let synced = self.system.sync().await;
                self.tolerate(synced);
            }
        }
    }
}

/// Mounts and uses the disks. `believed` are files that must be right if they can be read; `bounds` panics when
/// too much of anything was taken.
///
/// # Panics
/// If something does not hold.
pub fn exercise(
    disks: &Disks,
    overwrite: Overwrite,
    (files, believed): (&[File], &HashSet<usize>),
    seed: u64,
    bounds: &dyn Fn(),
) -> Found {
    limit_requests(disks, REQUESTS_MAX);
    let mut found = Found::default();
    for round in 0..2 {
        let system = stack(disks, overwrite);
        found = system.run(async {
            let system = system.client(0);
            let mut user = User {
                system: &system,
                found,
                bounds,
            };
            let mounted = user.system.mount().await;
            if user.tolerate(mounted).is_none() {
                return user.found;
            }
            user.found.mounted = true;
            if round == 0 {
                let believed: Vec<&File> = believed.iter().map(|&file| &files[file]).collect();
                user.compare(&believed).await;
            }
            user.walk().await;
            user.change(files, &mut Random::new(seed)).await;
            let synced = user.system.sync().await;
            user.tolerate(synced);
            user.found
        });
    }
    found
}
