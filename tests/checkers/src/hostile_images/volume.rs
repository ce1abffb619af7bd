//! The volumes that are mutated: something of everything that the format has, in little room.

use std::rc::Rc;

use storage::{
    block::ram::RamDisk,
    buffer::Source,
    twinfs::Overwrite,
    vfs::{FileSystem, OpenFlags},
};
use tests::{
    random::Random,
    stack::{FORMAT, TestClock},
};

use crate::rig::{Cache, Disks, stack, yield_once};

/// Sectors of a disk: 6 MiB.
const SECTORS: u64 = 12_288;
/// Polls in which the cache writes everything back.
const WRITE_BACK_POLLS: u32 = 200;
/// Blocks of a file before its double indirect ones.
const BEFORE_DOUBLE: u64 = 20 + 256;

/// A file that was written, and what must be read of it.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Its length.
    pub size: u64,
    /// What it contains at some places; a file may have had either of several contents.
    pub parts: Vec<(u64, Vec<Vec<u8>>)>,
    /// The logical files on the way to it, and itself.
    pub logical: Vec<u64>,
}

/// A volume at rest, or as a power failure left it.
pub struct Volume {
    disks: Vec<Rc<RamDisk>>,
    /// Files that are in every checkpoint that can be loaded.
    pub files: Vec<File>,
    /// How its stores overwrite.
    pub overwrite: Overwrite,
}

impl Volume {
    /// One disk, a mirror, and a mirror with overwrites in its log.
    #[must_use]
    pub fn all() -> Vec<Self> {
        vec![
            Self::new(1, Overwrite::Relocate),
            Self::new(2, Overwrite::Relocate),
            Self::new(2, Overwrite::InPlace),
        ]
    }

    fn new(count: usize, overwrite: Overwrite) -> Self {
        let disks: Vec<Rc<RamDisk>> = (0..count).map(|_| Rc::new(RamDisk::new(SECTORS))).collect();
        let (held, clock): (Disks, _) = (
            disks.iter().cloned().map(Some).collect(),
            TestClock::default(),
        );
        clock.set(1);
        let mut files = Vec::new();
        let system = stack(&held, &clock, Cache::Ample, overwrite);
        system.run(async {
            let client = system.client(0);
            client.format(&FORMAT).await.expect("a new volume");
            for directory in ["d", "d/e", "d/e/f", "empty"] {
                client
                    .mkdir(directory.as_bytes(), 0o755)
                    .await
                    .expect("a directory");
            }
            let short: Vec<(String, u64)> = (0..24)
                .map(|number| (format!("d/file-{number}"), 100 + number * 700))
                .collect();
            let long = [
                ("long", 40 * 4096),
                ("d/e/long", 30 * 4096 + 5),
                ("d/e/f/a", 9000),
            ];
            let long = long.map(|(path, size)| (path.to_owned(), size));
            for (path, size) in short.into_iter().chain(long) {
                let parts = vec![(0, vec![contents(&path, size as usize)])];
                make(&client, &path, &parts).await;
                files.push(File {
                    path,
                    size,
                    parts,
                    logical: Vec::new(),
                });
            }
            let far = (BEFORE_DOUBLE + 5) * 4096;
            let parts = vec![
                (0, vec![contents("s", 4096)]),
                (far, vec![contents("t", 5000)]),
            ];
            make(&client, "sparse", &parts).await;
            let (path, size) = ("sparse".to_owned(), far + 5000);
            files.push(File {
                path,
                size,
                parts,
                logical: Vec::new(),
            });
            client.link(b"long", b"d/link").await.expect("a link");
            client
                .symlink(b"../long", b"d/symlink")
                .await
                .expect("a symbolic link");
            client.sync().await.expect("a sync");
            // Another checkpoint, so that there are twins of both sides.
            client.unlink(b"d/file-3").await.expect("it is there");
            client
                .rename(b"d/file-4", b"d/e/moved")
                .await
                .expect("it is there");
            client.sync().await.expect("a sync");
            files.retain(|file| file.path != "d/file-3" && file.path != "d/file-4");
            for file in &mut files {
                file.logical = way(&client, &file.path).await;
            }
        });
        drop(system);
        if overwrite == Overwrite::InPlace {
            // On the disks, but in no checkpoint.
            let system = stack(&held, &clock, Cache::Eager, overwrite);
            system.run(overwrite_some(&system.client(0), &mut files));
        }
        Self {
            disks,
            files,
            overwrite,
        }
    }

    /// The disks, to be changed.
    #[must_use]
    pub fn copy(&self) -> Vec<Rc<RamDisk>> {
        self.disks
            .iter()
            .map(|disk| Rc::new(disk.snapshot()))
            .collect()
    }
}

/// Bytes that tell whose they are.
fn contents(name: &str, len: usize) -> Vec<u8> {
    let salt = name
        .bytes()
        .fold(7, |salt: u64, byte| salt.wrapping_mul(31) + u64::from(byte));
    let mut random = Random::new(salt);
    let words = std::iter::repeat_with(|| random.number().to_le_bytes());
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}

async fn make<F: FileSystem>(system: &F, path: &str, parts: &[(u64, Vec<Vec<u8>>)]) {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let file = system
        .open(path.as_bytes(), flags, 0o644)
        .await
        .expect("a new file");
    for (offset, contents) in parts {
        let write = system.write(file, Some(*offset), Source::local(&contents[0]));
        write.await.expect("there is room");
    }
    system.close(file).await.expect("it is open");
}

/// The numbers of what a path leads through.
async fn way<F: FileSystem>(system: &F, path: &str) -> Vec<u64> {
    let mut way = vec![system.stat(b"/", true).await.expect("a root").inode];
    for (end, _) in path.match_indices('/').chain([(path.len(), "")]) {
        let stat = system.stat(&path.as_bytes()[..end], true).await;
        way.push(stat.expect("it is there").inode);
    }
    way
}

/// Overwrites whole blocks of long files and has them written back, without a checkpoint.
async fn overwrite_some<F: FileSystem>(system: &F, files: &mut [File]) {
    for file in files.iter_mut().filter(|file| file.path.ends_with("long")) {
        let other = contents("other", file.parts[0].1[0].len());
        let open = system.open(file.path.as_bytes(), OpenFlags::WRITE, 0).await;
        let open = open.expect("it is there");
        let write = system.write(open, Some(0), Source::local(&other));
        write.await.expect("there is room");
        system.close(open).await.expect("it is open");
        file.parts[0].1.push(other);
        for _ in 0..WRITE_BACK_POLLS {
            yield_once().await;
        }
    }
}
