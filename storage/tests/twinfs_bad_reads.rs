//! TwinFS on a device that reads wrong for a while: what is on the medium is sound all the time, and nothing may be
//! lost but the calls that came in between.

mod twinfs_support;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use futures_executor::block_on;
use storage::{
    Error, Result,
    block::{BlockDevice, Geometry},
    buffer::{Sink, Source},
    file::{Checkpoint, FileNumber, FileStore, Timestamp},
    twinfs::{Config, TwinFs},
};
use twinfs_support::*;

/// A disk of which a read of some blocks comes out wrong some times.
struct Lying {
    disk: Disk,
    /// How often still, by block.
    lies: RefCell<BTreeMap<u64, u32>>,
    told: Cell<u32>,
}

impl Lying {
    fn new(disk: &Disk) -> Rc<Self> {
        Rc::new(Self {
            disk: disk.clone(),
            lies: RefCell::default(),
            told: Cell::new(0),
        })
    }

    fn lie(&self, block: u64, times: u32) {
        self.lies.borrow_mut().insert(block, times);
    }

    fn tell_the_truth(&self) {
        self.lies.borrow_mut().clear();
    }
}

impl BlockDevice for Lying {
    async fn attach(&self) -> Result<Geometry> {
        self.disk.attach().await
    }
    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        let mut bytes = vec![0; data.len()];
        self.disk.read(sector, Sink::local(&mut bytes)).await?;
        for (block, bytes) in (sector / 8..).zip(bytes.chunks_mut(4096)) {
            if let Some(left @ 1..) = self.lies.borrow_mut().get_mut(&block) {
                *left -= 1;
                self.told.set(self.told.get() + 1);
                bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
        }
        data.copy_from(0, &bytes)
    }
    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        self.disk.write(sector, data).await
    }
    async fn flush(&self) -> Result<()> {
        self.disk.flush().await
    }
    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        self.disk.discard(sector, sectors).await
    }
    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        self.disk.write_zeroes(sector, sectors).await
    }
}

type LyingStore = TwinFs<Rc<Lying>, NoClock>;

fn lying_store(disk: &Rc<Lying>, config: Config) -> LyingStore {
    TwinFs::with_config(disk.clone(), NoClock, config)
}

/// Nobody else has the checkpoint.
fn alone(timestamp: u64) -> Checkpoint {
    Checkpoint {
        timestamp: Timestamp(timestamp),
        present: 0b010,
    }
}

/// Checkpoint 2 with two files of 40 blocks, one of them protected.
fn with_files(config: Config) -> (Disk, Vec<(FileNumber, Vec<u8>)>) {
    let disk = disk(8);
    let store = fresh(&disk, config, 16);
    let mut files = Vec::new();
    for (seed, protected) in [(1, false), (2, true)] {
        let data = Random(seed).bytes(40 * 4096);
        let file = block_on(store.create(&attributes(protected))).unwrap();
        block_on(write(&store, file, 0, &data, 40 * BLOCK)).unwrap();
        files.push((file, data));
    }
    block_on(store.sync(alone(2))).unwrap();
    (disk, files)
}

fn use_all(store: &LyingStore, files: &[(FileNumber, Vec<u8>)], what: &str) {
    for (file, data) in files {
        let found = block_on(read(store, *file, 0, 40));
        assert!(found.as_ref().is_ok_and(|it| it.1 == *data), "{what}");
    }
    let new = block_on(store.create(&attributes(false)));
    let new = new.unwrap_or_else(|error| panic!("{what}: {error}"));
    block_on(write(store, new, 0, &[7; 4096], BLOCK)).unwrap_or_else(|e| panic!("{what}: {e}"));
    block_on(store.sync(alone(3))).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(block_on(read(store, new, 0, 1)).unwrap().1, [7; 4096]);
}

#[test]
fn a_block_that_is_read_wrong_twice_is_read_again() {
    let (disk, files) = with_files(Config::default());
    let image = disk.peek(0, 8 << 20);
    let is_live = |at: &u64| image[*at as usize * 4096..][..4096].iter().any(|&b| b != 0);
    let mut told = 0;
    for block in (0..2048).filter(is_live) {
        let lying = Lying::new(&Rc::new(disk.snapshot()));
        lying.lie(block, 2);
        let store = lying_store(&lying, Config::default());
        let what = format!("block {block}");
        let info = block_on(store.info()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(info.newest.timestamp, Timestamp(2), "{what}");
        block_on(store.load(Timestamp(2))).unwrap_or_else(|error| panic!("{what}: {error}"));
        use_all(&store, &files, &what);
        told += lying.told.get();
    }
    // 80 blocks of data, and the metadata.
    assert!(told > 2 * 85, "{told}");
}

#[test]
fn both_roots_may_be_read_wrong_twice() {
    let (disk, files) = with_files(Config::default());
    let lying = Lying::new(&disk);
    lying.lie(0, 2);
    lying.lie(256, 2);
    let store = lying_store(&lying, Config::default());
    assert_eq!(
        block_on(store.info()).map(|it| it.newest.timestamp),
        Ok(Timestamp(2))
    );
    block_on(store.load(Timestamp(2))).unwrap();
    use_all(&store, &files, "both roots");
}

/// Whichever block is read wrong for how long: once it is not, all is well, without loading anew.
#[test]
fn what_was_read_wrong_is_looked_at_again_by_the_next_call() {
    let (disk, files) = with_files(Config::default());
    let image = disk.peek(0, 8 << 20);
    let is_live = |at: &u64| image[*at as usize * 4096..][..4096].iter().any(|&b| b != 0);
    let mut failed = 0;
    for block in (257..2048).filter(is_live) {
        let what = format!("block {block}");
        let lying = Lying::new(&Rc::new(disk.snapshot()));
        let store = lying_store(&lying, Config::default());
        block_on(store.load(Timestamp(2))).unwrap();
        lying.lie(block, 1000);
        for (file, data) in &files {
            match block_on(read(&store, *file, 0, 40)) {
                Ok(found) => assert!(found.1 == *data, "{what}"),
                Err(error) => assert_eq!(error, Error::Corrupt, "{what}"),
            }
        }
        let file = files[0].0;
        let result = block_on(write(&store, file, 45, &[9; 4096], 46 * BLOCK));
        failed += u32::from(result.is_err());
        lying.tell_the_truth();
        use_all(&store, &files, &what);
    }
    // An inode block, a bitmap block, an indirect block, at least.
    assert!(failed >= 3, "{failed}");
}

#[test]
fn room_that_no_bitmap_tells_of_is_a_failure_of_the_store() {
    let (disk, files) = with_files(Config::default());
    let lying = Lying::new(&disk);
    let store = lying_store(&lying, Config::default());
    block_on(store.load(Timestamp(2))).unwrap();
    const BITMAP: u64 = 257 + 2 * 16;
    lying.lie(BITMAP, 1000);
    lying.lie(BITMAP + 16, 1000);
    let result = block_on(write(&store, files[0].0, 45, &[9; 4096], 46 * BLOCK));
    assert_eq!(result, Err(Error::Device));
    lying.tell_the_truth();
    use_all(&store, &files, "the bitmap");
}

/// Clearing what lies behind the new end takes a block, for which there is no bitmap.
#[test]
fn a_cut_within_a_block_for_which_there_is_no_room_is_not_half_done() {
    const BITMAP: u64 = 257 + 2 * 16;
    let (disk, files) = with_files(Config::default());
    let lying = Lying::new(&disk);
    let store = lying_store(&lying, Config::default());
    block_on(store.load(Timestamp(2))).unwrap();
    lying.lie(BITMAP, 1000);
    lying.lie(BITMAP + 16, 1000);
    let (file, data) = &files[0];
    let cut = || block_on(store.truncate(*file, 10 * BLOCK + 7, 1));
    assert_eq!(cut(), Err(Error::Device));
    assert_eq!(
        block_on(store.getattr(*file)).unwrap().size,
        data.len() as u64
    );
    assert!(block_on(read(&store, *file, 0, 40)).unwrap().1 == *data);
    lying.tell_the_truth();
    cut().unwrap();
    let (len, found) = block_on(read(&store, *file, 10, 1)).unwrap();
    assert!(len == 7 && found[..7] == data[10 * 4096..][..7] && found[7..] == [0; 4089]);
    block_on(store.sync(alone(3))).unwrap();
}

/// Two blocks of inodes, both in use, and number 4 free. With the twins of the two.
fn with_two_blocks_of_inodes() -> (Disk, Config, [u64; 4]) {
    const TABLE: u64 = 257 + 4 * 16;
    let config = Config {
        blocks_per_inode: 128,
        ..Config::default()
    };
    let disk = disk(8);
    let store = fresh(&disk, config, 16);
    let create = || block_on(store.create(&attributes(false))).unwrap().0;
    assert!((0..10).map(|_| create()).any(|it| it == 8));
    block_on(store.delete(FileNumber(4))).unwrap();
    block_on(store.sync(alone(2))).unwrap();
    (disk, config, [TABLE, TABLE + 16, TABLE + 1, TABLE + 17])
}

#[test]
fn a_corrupt_block_of_inodes_is_passed_over() {
    let (disk, config, inodes) = with_two_blocks_of_inodes();
    let lying = Lying::new(&disk);
    let store = lying_store(&lying, config);
    block_on(store.load(Timestamp(2))).unwrap();
    inodes[..2].iter().for_each(|&block| lying.lie(block, 1000));
    let create = || block_on(store.create(&attributes(false))).map(|it| it.0);
    assert!(create().is_ok_and(|it| it >= 8));
    assert!(lying.told.get() > 0);
    // It was not for ever: the number that was passed over comes up again.
    lying.tell_the_truth();
    let rest: Vec<u64> = std::iter::from_fn(|| create().ok()).collect();
    assert!(rest.contains(&4), "{rest:?}");
}

#[test]
fn without_a_usable_inode_the_store_fails() {
    let (disk, config, inodes) = with_two_blocks_of_inodes();
    let lying = Lying::new(&disk);
    let store = lying_store(&lying, config);
    block_on(store.load(Timestamp(2))).unwrap();
    inodes.iter().for_each(|&block| lying.lie(block, 1000));
    let create = || block_on(store.create(&attributes(false)));
    assert_eq!(create(), Err(Error::Device));
    lying.tell_the_truth();
    assert!(create().is_ok());
}

#[test]
fn a_log_that_is_read_wrong_twice_is_read_again() {
    let (disk, files) = with_files(in_place());
    let store = store(&disk, in_place());
    block_on(store.load(Timestamp(2))).unwrap();
    let file = files[0].0;
    block_on(write(&store, file, 3, &[9; 4096], 40 * BLOCK)).unwrap();
    drop(store);
    let place = (257..2048u64)
        .find(|at| disk.peek(at * 8, 4096) == [9; 4096])
        .unwrap();
    for wrong in [&[1][..], &[place], &[1, place]] {
        let lying = Lying::new(&Rc::new(disk.snapshot()));
        wrong.iter().for_each(|&block| lying.lie(block, 2));
        let store = lying_store(&lying, in_place());
        block_on(store.load(Timestamp(2))).unwrap();
        let found = block_on(read(&store, file, 3, 1)).map(|it| it.1);
        assert!(found == Ok(vec![9; 4096]), "{wrong:?}");
    }
}
