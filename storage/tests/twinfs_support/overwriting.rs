//! A store that overwrites in place, and what must be there after any crash of it.
//!
//! The oracle looks at the medium. It knows what was written and where the checkpoint had it; what is
//! there after a crash, in one piece, has to be read, and what is not in one piece must not.

use std::{collections::BTreeMap, rc::Rc};

use futures_executor::block_on;
use futures_util::future::join_all;
use storage::{
    Error,
    block::ram::{Event, History, RamDisk},
    checksum::Algorithm,
    file::{FileNumber, FileStore, ResyncRange, Timestamp},
};

use super::*;

/// What was written to a block: in the checkpoint, and since.
pub type Versions = Vec<Vec<u8>>;

/// What the blocks of files are; none if it was lost in a crash.
pub type Blocks = BTreeMap<(FileNumber, u64), Option<Vec<u8>>>;

/// A store that overwrites in place, and everything that was ever written to it.
pub struct Run {
    pub disk: Disk,
    pub store: Store,
    pub algorithm: Algorithm,
    pub random: Random,
    pub versions: BTreeMap<(FileNumber, u64), Versions>,
    /// What a reader must find: what was written last, or what a crash has left.
    pub now: Blocks,
    /// Where the checkpoint has each block, and how long it has each file.
    pub places: BTreeMap<(FileNumber, u64), u64>,
    pub sizes: BTreeMap<FileNumber, u64>,
    pub timestamp: u64,
}

impl Run {
    pub fn new(seed: u64, algorithm: Algorithm) -> Self {
        let disk = disk(8);
        let store = store(&disk, in_place());
        block_on(store.format(&format_of(16, algorithm))).unwrap();
        block_on(store.load(Timestamp(1))).unwrap();
        disk.record();
        Self {
            disk,
            store,
            algorithm,
            random: Random(seed),
            versions: BTreeMap::new(),
            now: Blocks::new(),
            places: BTreeMap::new(),
            sizes: BTreeMap::new(),
            timestamp: 1,
        }
    }

    pub fn file(&mut self, blocks: u64, size: u64) -> FileNumber {
        let file = block_on(self.store.create(&attributes(false))).unwrap();
        self.write(&[(file, 0, blocks, size)]);
        file
    }

    /// Writes at once: file, first block, blocks, size afterwards.
    pub fn write(&mut self, writes: &[(FileNumber, u64, u64, u64)]) {
        let mut all = Vec::new();
        for &(file, first, blocks, size) in writes {
            let mut data = self.random.bytes((blocks * BLOCK) as usize);
            // Zeros beyond the end of the file, as the cache writes them.
            let end = size.max(block_on(self.store.getattr(file)).unwrap().size);
            if let Some(beyond) = data.get_mut(end.saturating_sub(first * BLOCK) as usize..) {
                beyond.fill(0);
            }
            for (block, bytes) in (first..).zip(data.chunks(BLOCK as usize)) {
                let versions = self.versions.entry((file, block)).or_default();
                versions.push(bytes.to_vec());
                self.now.insert((file, block), Some(bytes.to_vec()));
            }
            all.push((file, first, data, size));
        }
        let calls = all.iter().map(|(file, first, data, size)| {
            write_of(&self.store, self.algorithm, *file, *first, data, *size)
        });
        for result in block_on(join_all(calls)) {
            result.unwrap();
        }
    }

    pub fn sync(&mut self) {
        self.timestamp += 1;
        block_on(self.store.sync(checkpoint(self.timestamp))).unwrap();
        let history = self.history();
        for (&(file, block), versions) in &mut self.versions {
            let size = block_on(self.store.getattr(file)).unwrap().size;
            self.sizes.insert(file, size);
            let found = block_on(read(&self.store, file, block, 1)).map(|(_, data)| data);
            let Some(now) = &self.now[&(file, block)] else {
                // It was lost in a crash, and nobody has written it since.
                assert!(found == Err(Error::Corrupt), "a lost block is back");
                versions.clear();
                continue;
            };
            assert!(found.as_ref() == Ok(now), "file {}, block {block}", file.0);
            let place = self.places.entry((file, block)).or_default();
            if *place == 0 || self.disk.peek(*place, 4096) != *now {
                *place = place_of(&history, now);
            }
            *versions = vec![now.clone()];
        }
    }

    pub fn history(&self) -> History {
        self.disk.history().unwrap()
    }

    pub fn events(&self) -> usize {
        self.history().events().len()
    }
}

pub fn ranges(store: &Store) -> Vec<ResyncRange> {
    let mut all = Vec::new();
    loop {
        let more = block_on(store.resync_ranges(all.len() as u64)).unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// Where in the history this was written last.
pub fn place_of(history: &History, content: &[u8]) -> u64 {
    let found = history.events().iter().rev().find_map(|event| {
        let Event::Write { sector, data } = event else {
            return None;
        };
        let at = data.chunks(4096).position(|block| block == content)?;
        Some(sector + at as u64 * 8)
    });
    found.expect("it was written")
}

/// A crashed disk, and what must be there.
pub struct Expected<'a> {
    pub run: &'a Run,
    pub what: String,
}

impl Expected<'_> {
    /// Loads the checkpoint and compares each block with the medium. Returns what they are.
    pub fn check(&self, disk: &Disk, store: &Store) -> Blocks {
        let what = &self.what;
        let newest = block_on(store.info()).unwrap().newest.timestamp;
        assert_eq!(newest.0, self.run.timestamp, "{what}");
        let medium = disk.snapshot();
        block_on(store.load(newest)).unwrap();
        let reported = ranges(store);
        let mut blocks = Blocks::new();
        for (&(file, block), versions) in &self.run.versions {
            let size = self.run.sizes[&file];
            assert_eq!(block_on(store.getattr(file)).unwrap().size, size, "{what}");
            if block * BLOCK >= size {
                continue;
            }
            let there = medium.peek(self.run.places[&(file, block)], 4096);
            let used = (size - block * BLOCK).min(BLOCK) as usize;
            // What is behind the end of the file may have been cleared since.
            let zeros = there[used..].iter().all(|&byte| byte == 0);
            let is_there = |it: &Vec<u8>| *it == there || zeros && it[..used] == there[..used];
            let whole = versions.iter().any(is_there);
            let found = block_on(read(store, file, block, 1));
            if !whole {
                assert!(found == Err(Error::Corrupt), "{what}: torn block {block}");
                blocks.insert((file, block), None);
            } else {
                let (len, data) = found.unwrap_or_else(|error| {
                    panic!("{what}: file {}, block {block}: {error}", file.0)
                });
                assert_eq!(len, used, "{what}");
                assert!(data[..used] == there[..used], "{what}: block {block}");
                assert!(data[used..].iter().all(|&byte| byte == 0), "{what}");
                blocks.insert((file, block), Some(data));
            }
            let is_reported = reported.iter().any(|range| {
                range.file == file
                    && (range.offset..range.offset + range.len).contains(&(block * BLOCK))
            });
            // What is not as in the checkpoint must be compared with the other stores.
            let as_before = versions.first().is_none_or(|first| *first == there);
            assert!(is_reported || as_before, "{what}: block {block}");
        }
        blocks
    }

    /// As `check`; then again, as after another crash at once, and after a checkpoint.
    pub fn check_thrice(&self, crashed: RamDisk) {
        let disk = Rc::new(crashed);
        let blocks = self.check(&disk, &store(&disk, in_place()));
        let again = store(&disk, in_place());
        assert!(self.check(&disk, &again) == blocks, "{}", self.what);
        let next = self.run.timestamp + 1;
        block_on(again.sync(checkpoint(next))).unwrap();
        let after = store(&disk, in_place());
        block_on(after.load(Timestamp(next))).unwrap();
        assert_eq!(ranges(&after), [], "{}", self.what);
        for (&(file, block), found) in &blocks {
            for store in [&again, &after] {
                let now = block_on(read(store, file, block, 1)).map(|(_, data)| data);
                let same = match found {
                    Some(data) => now.as_ref() == Ok(data),
                    None => now == Err(Error::Corrupt),
                };
                assert!(same, "{}: block {block}", self.what);
            }
        }
        // An overwrite heals.
        let lost = blocks.iter().filter(|(_, found)| found.is_none());
        for (&(file, block), _) in lost {
            let data = vec![0x55; 4096];
            let healed = write_of(&after, self.run.algorithm, file, block, &data, 1);
            block_on(healed).unwrap();
            assert_eq!(block_on(read(&after, file, block, 1)).unwrap().1, data);
        }
    }
}

/// Every subset of the unflushed writes, at every point of the history since `from`, and each of them
/// torn.
pub fn every_crash(run: &Run, from: usize) -> u64 {
    let history = run.history();
    let mut states = 0;
    for taken in from..=history.events().len() {
        let unflushed: Vec<usize> = history.unflushed(taken).collect();
        let writes = unflushed.len();
        assert!(writes <= 6, "{writes} writes are too many to try");
        let mut random = Random(taken as u64);
        let mut check = |what: String, survives: &mut dyn FnMut(usize, u64) -> bool| {
            let expected = Expected {
                run,
                what: format!("after {taken} events, {what}"),
            };
            expected.check_thrice(history.crash(taken, survives));
            states += 1;
        };
        for subset in 0..1_u64 << writes {
            check(format!("subset {subset:#b}"), &mut |event, _| {
                let write = unflushed.iter().position(|&it| it == event);
                write.is_some_and(|write| subset >> write & 1 == 1)
            });
        }
        for &torn in &unflushed {
            for sectors in 1..8 {
                check(
                    format!("event {torn} torn at {sectors}"),
                    &mut |event, sector| event != torn || sector % 8 < sectors,
                );
            }
            for time in 0..4 {
                check(format!("event {torn} torn, {time}"), &mut |event, _| {
                    event != torn || random.below(2) == 0
                });
            }
        }
    }
    states
}
