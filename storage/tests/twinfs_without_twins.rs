//! Stores without twins, which only measure what twins cost: that they are what they say, and that
//! nobody gets one by mistake.

mod twinfs_support;

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use futures_executor::block_on;
use storage::{
    Error,
    block::ram::Operation,
    checksum::Algorithm,
    file::{Checkpoint, FileStore, StoreFormat, Timestamp},
    twinfs::Config,
};
use twinfs_support::*;

/// A checkpoint of one store, which never returns to the one before.
fn alone(timestamp: u64) -> Checkpoint {
    Checkpoint {
        present: 1,
        ..checkpoint(timestamp)
    }
}

/// Blocks that ten checkpoints, each with the same change, write to.
fn places(config: Config) -> usize {
    let disk = disk(32);
    let store = fresh(&disk, config, 16);
    let file = block_on(store.create(&attributes(true))).unwrap();
    block_on(store.sync(alone(2))).unwrap();
    let places = Rc::new(RefCell::new(BTreeSet::new()));
    let seen = places.clone();
    disk.fault(move |operation| {
        if let Operation::Write { sector, sectors } = operation {
            seen.borrow_mut().extend(sector / 8..(sector + sectors) / 8);
        }
        Ok(())
    });
    for timestamp in 3..13 {
        block_on(store.truncate(file, timestamp, 0)).unwrap();
        block_on(store.sync(alone(timestamp))).unwrap();
    }
    places.take().len()
}

#[test]
fn every_block_but_the_root_has_one_place() {
    // The inode's block, the block that points to it, the two roots.
    assert_eq!(places(without_twins()), 4);
    assert_eq!(places(Config::default()), 6);
}

#[test]
fn what_comes_after_a_checkpoint_and_is_not_in_one_spoils_it() {
    let disk = disk(32);
    let store_of = |config| {
        let store = fresh(&disk, config, 16);
        let file = block_on(store.create(&attributes(true))).unwrap();
        block_on(store.sync(alone(2))).unwrap();
        block_on(store.truncate(file, 5, 0)).unwrap();
        // The power fails when the blocks of the third are written, and its root is not.
        disk.fault(|operation| match operation {
            Operation::Write {
                sector: 0 | 2048, ..
            } => Err(Error::Device),
            _ => Ok(()),
        });
        assert!(block_on(store.sync(alone(3))).is_err());
        disk.fault(|_| Ok(()));
        let store = self::store(&disk, config);
        let newest = block_on(store.info()).unwrap().newest.timestamp;
        block_on(store.load(newest)).unwrap();
        block_on(store.getattr(file)).map(|attributes| attributes.size)
    };
    assert_eq!(store_of(Config::default()), Ok(0));
    assert_eq!(store_of(without_twins()), Err(Error::Corrupt));
}

#[test]
fn a_store_takes_no_volume_of_the_other_kind() {
    for (made, found) in [
        (without_twins(), Config::default()),
        (Config::default(), without_twins()),
    ] {
        let disk = disk(32);
        fresh(&disk, made, 16);
        let other = store(&disk, found);
        assert_eq!(block_on(other.info()), Err(Error::WrongVersion));
        assert_eq!(block_on(other.load(Timestamp(1))), Err(Error::WrongVersion));
        // Nothing has become of it.
        block_on(store(&disk, made).load(Timestamp(1))).unwrap();
    }
}

#[test]
fn a_volume_without_twins_is_not_made_by_what_format_is_told() {
    let disk = disk(32);
    let format = StoreFormat {
        twin_offset: 0,
        ..format_of(16, Algorithm::Xxh64)
    };
    let refused = block_on(store(&disk, Config::default()).format(&format));
    assert_eq!((refused, disk.pages()), (Err(Error::BadArgument), 0));
}
