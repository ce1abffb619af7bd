//! Errors from below: none is lost, none takes data with it.

mod cache_support;

use cache_support::{PAGE, Random, Rig, write_of};
use storage::{
    Error,
    buffer::Sink,
    cache::Config,
    file::{Attributes, Class, FileNumber, FileService},
};

fn small() -> Config {
    Config {
        pages: 64,
        log_pages: 64,
        ..Config::default()
    }
}

#[test]
fn a_full_volume_is_told_to_the_writer() {
    let mut rig = Rig::new(small());
    rig.below.state().blocks_max = 100;
    rig.run(async |cache| cache.sync().await.unwrap());
    let file = FileNumber(9);
    let data = Random::new(1).bytes(PAGE);
    let written = rig.run(async |cache| {
        cache.create(file, &Attributes::default()).await.unwrap();
        let mut written = 0u64;
        loop {
            match cache
                .write(write_of(file, written * PAGE as u64, &data, 1))
                .await
            {
                Ok(_) => written += 1,
                Err(Error::NoMemory) => drop(cache.sync().await.unwrap()),
                Err(error) => break assert_eq!(error, Error::NoSpace),
            }
            assert!(written < 100, "the volume has no more");
        }
        written
    });
    assert!(written > 80, "only {written} blocks of 100 could be used");
    // All that was accepted arrives.
    rig.sync();
    assert_eq!(rig.stored(file).unwrap(), data.repeat(written as usize));
    // Room that a delete makes can be used, at the latest after a sync.
    rig.run(async |cache| {
        cache.delete(file).await.unwrap();
        cache.sync().await.unwrap();
        cache.create(file, &Attributes::default()).await.unwrap();
        cache.write(write_of(file, 0, &data, 1)).await.unwrap();
    });
    rig.no_violations();
}

/// A write that finds no room halfway says how far it came, and the next one why.
#[test]
fn a_write_that_is_too_large_for_the_volume_ends_short() {
    let mut rig = Rig::new(Config::default());
    rig.below.state().blocks_max = 100;
    rig.sync();
    let file = FileNumber(9);
    let data = Random::new(1).bytes(150 * PAGE);
    let taken = rig.run(async |cache| {
        cache.create(file, &Attributes::default()).await.unwrap();
        let taken = cache.write(write_of(file, 0, &data, 1)).await.unwrap();
        let rest = write_of(file, taken as u64, &data[taken..], 1);
        assert_eq!(cache.write(rest).await, Err(Error::NoSpace));
        assert_eq!(cache.getattr(file).await.unwrap().size, taken as u64);
        taken
    });
    assert!((1..100 * PAGE).contains(&taken), "{taken} bytes");
    rig.sync();
    assert_eq!(rig.stored(file).unwrap(), data[..taken]);
    rig.no_violations();
}

#[test]
fn a_failed_write_back_keeps_the_data_and_is_told_at_sync() {
    for error in [Error::Device, Error::NoSpace] {
        let mut rig = Rig::new(small());
        let file = rig.file(9, &[3; 8 * PAGE]);
        rig.below.state().write_errors = vec![error];
        assert_eq!(rig.run(async |cache| cache.sync().await), Err(error));
        assert_eq!(rig.content(file).unwrap(), [3; 8 * PAGE]);
        assert_eq!(rig.cache.statistics().dirty_pages, 8);
        rig.sync();
        assert_eq!(rig.stored(file).unwrap(), [3; 8 * PAGE]);
        rig.no_violations();
    }
}

#[test]
fn a_failed_sync_keeps_the_log() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, &[3; 8 * PAGE]);
    rig.below.state().sync_errors = vec![Error::Device];
    assert_eq!(
        rig.run(async |cache| cache.sync().await),
        Err(Error::Device)
    );
    assert_eq!(rig.cache.statistics().log_pages, 8);
    rig.below.crash();
    assert_eq!(rig.content(file).unwrap(), [3; 8 * PAGE]);
    rig.sync();
    assert_eq!(rig.stored(file).unwrap(), [3; 8 * PAGE]);
}

/// With the cache full of data that cannot be written, a writer gets the reason; nothing hangs and
/// nothing is dropped.
#[test]
fn a_writer_that_finds_no_room_is_told_why() {
    let mut rig = Rig::new(small());
    rig.below.state().write_errors = vec![Error::Device; 10_000];
    let file = FileNumber(9);
    let mut written = 0u64;
    rig.run(async |cache| {
        cache.create(file, &Attributes::default()).await.unwrap();
        loop {
            let data = [written as u8; PAGE];
            match cache
                .write(write_of(file, written * PAGE as u64, &data, 1))
                .await
            {
                Ok(_) => written += 1,
                Err(error) => break assert_eq!(error, Error::Device),
            }
            assert!(written <= 64);
        }
    });
    assert!(written > 16);
    rig.below.state().write_errors.clear();
    rig.sync();
    let expected: Vec<u8> = (0..written).flat_map(|page| [page as u8; PAGE]).collect();
    assert_eq!(rig.stored(file).unwrap(), expected);
}

/// With the cache full of data that there is no room for, a name can still be taken out of a directory: its page is
/// there already. So a full volume can be emptied.
#[test]
fn a_directory_can_be_changed_while_nothing_can_be_written_back() {
    let mut rig = Rig::new(small());
    let (directory, file) = (FileNumber(8), FileNumber(9));
    let class = Class {
        protected: true,
        ..Class::default()
    };
    rig.run(async |cache| {
        let attributes = Attributes {
            class,
            ..Attributes::default()
        };
        cache.create(directory, &attributes).await.unwrap();
        let names = [1; PAGE];
        let write = write_of(directory, 0, &names, 1);
        cache.write(write).await.unwrap();
        cache.sync().await.unwrap();
        cache.create(file, &Attributes::default()).await.unwrap();
    });
    rig.below.state().write_errors = vec![Error::NoSpace; 10_000];
    rig.run(async |cache| {
        let mut page = 0;
        while cache
            .write(write_of(file, page * PAGE as u64, &[2; PAGE], 1))
            .await
            .is_ok()
        {
            page += 1;
        }
        let taken_out = cache.write(write_of(directory, 40, &[0; 20], 2)).await;
        assert_eq!(taken_out, Ok(20), "a name is taken out");
        cache.delete(file).await.unwrap();
    });
    rig.below.state().write_errors.clear();
    rig.sync();
    let mut expected = [1; PAGE];
    expected[40..60].fill(0);
    assert_eq!(rig.stored(directory).unwrap(), expected);
    rig.no_violations();
}

/// A bad block hurts those who ask for it, and no reader before it.
#[test]
fn a_bad_block_ahead_of_a_reader_does_not_stop_him() {
    let mut rig = Rig::new(small());
    let data = Random::new(2).bytes(20 * PAGE);
    let file = rig.file(9, &data);
    rig.sync();
    let mut other = Rig::new(small());
    other.below.state().now = rig.below.state().checkpoint.clone();
    other.below.state().bad = vec![(file, 3)];
    let mut page = vec![0; PAGE];
    other.run(async |cache| {
        for index in [0, 1, 2, 3, 4, 5u64] {
            let got = cache
                .read(file, index * PAGE as u64, Sink::local(&mut page))
                .await;
            if index == 3 {
                assert_eq!(got, Err(Error::Corrupt));
            } else {
                assert_eq!(
                    (got, &page[..]),
                    (Ok(PAGE), &data[index as usize * PAGE..][..PAGE])
                );
            }
        }
        // Part of it cannot be rewritten, as the rest is not known; all of it can.
        let at = 3 * PAGE as u64;
        assert_eq!(
            cache.write(write_of(file, at + 1, b"x", 1)).await,
            Err(Error::Corrupt)
        );
        cache
            .write(write_of(file, at, &data[..PAGE], 1))
            .await
            .unwrap();
        assert_eq!(cache.read(file, at, Sink::local(&mut page)).await, Ok(PAGE));
        assert_eq!(page, data[..PAGE]);
    });
}

#[test]
fn arguments_out_of_range_are_refused() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, b"x");
    rig.run(async |cache| {
        let far = write_of(file, u64::MAX - 1, b"abc", 1);
        assert_eq!(cache.write(far).await, Err(Error::TooBig));
        assert_eq!(cache.truncate(file, u64::MAX, 1).await, Err(Error::TooBig));
        let mut byte = [0];
        assert_eq!(
            cache.read(file, u64::MAX, Sink::local(&mut byte)).await,
            Ok(0)
        );
        let missing = FileNumber(404);
        assert_eq!(
            cache.write(write_of(missing, 0, b"x", 1)).await,
            Err(Error::NotFound)
        );
        assert_eq!(cache.truncate(missing, 0, 1).await, Err(Error::NotFound));
        assert_eq!(cache.delete(missing).await, Err(Error::NotFound));
        assert_eq!(
            cache.create(file, &Attributes::default()).await,
            Err(Error::Exists)
        );
    });
}

/// A file that claims to be as long as a number can say is read like any other.
#[test]
fn an_absurd_size_below_does_no_harm() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, &[1; PAGE]);
    rig.sync();
    let mut other = Rig::new(small());
    let mut volume = rig.below.state().checkpoint.clone();
    volume.files.get_mut(&file).unwrap().attributes.size = u64::MAX;
    other.below.state().now = volume;
    other.run(async |cache| {
        let mut bytes = [9; 2 * PAGE];
        let end = cache
            .read(file, u64::MAX - 100, Sink::local(&mut bytes))
            .await;
        assert_eq!((end, &bytes[..100]), (Ok(100), &[0; 100][..]));
        let start = cache.read(file, 0, Sink::local(&mut bytes)).await;
        assert_eq!((start, bytes[0], bytes[PAGE]), (Ok(2 * PAGE), 1, 0));
        assert_eq!(cache.truncate(file, 10, 1).await, Ok(()));
    });
}

/// A truncation that fails halfway has cut what it has cut: readers see that, and so does whoever
/// comes after a crash.
#[test]
fn a_truncation_that_fails_halfway_is_adopted() {
    for (crash, dirty) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut rig = Rig::new(Config::default());
        let data = Random::new(3).bytes(20 * PAGE);
        let file = rig.file(9, &data);
        rig.sync();
        if dirty {
            let more = write_of(file, 20 * PAGE as u64, &data[..PAGE], 1);
            assert_eq!(rig.run(async |cache| cache.write(more).await), Ok(PAGE));
        }
        rig.below.state().truncate_error = Some((7 * PAGE as u64, Error::NoMemory));
        let cut = rig.run(async |cache| cache.truncate(file, 0, 2).await);
        assert_eq!(cut, Err(Error::NoMemory));
        if crash {
            rig.below.crash();
        }
        assert!(rig.content(file).unwrap() == data[..7 * PAGE]);
        rig.sync();
        assert!(rig.stored(file).unwrap() == data[..7 * PAGE]);
        rig.no_violations();
    }
}

/// How far a truncation came that failed cannot be asked at first: until it can, nothing of the file is read as the zeros
/// of a hole, nor written down.
#[test]
fn a_truncation_of_which_nobody_knows_how_far_it_came_is_settled_before_anything_else() {
    let mut rig = Rig::new(Config::default());
    let data = Random::new(5).bytes(20 * PAGE);
    let file = rig.file(9, &data);
    rig.sync();
    rig.below.state().truncate_error = Some((7 * PAGE as u64, Error::Device));
    rig.below.state().getattr_errors = vec![Error::Device; 3];
    let cut = rig.run(async |cache| cache.truncate(file, 0, 2).await);
    assert_eq!(cut, Err(Error::Device));
    assert!(rig.content(file) == Err(Error::Device));
    let byte = write_of(file, 15 * PAGE as u64, &[1], 3);
    let written = rig.run(async |cache| cache.write(byte).await);
    assert_eq!(written, Err(Error::Device));
    assert!(rig.below.state().getattr_errors.is_empty());
    assert!(rig.content(file).unwrap() == data[..7 * PAGE]);
    rig.sync();
    assert!(rig.stored(file).unwrap() == data[..7 * PAGE]);
    rig.no_violations();
}

/// A write-back that failed did not make the file longer below. A truncation does not take what never came there for
/// cut off.
#[test]
fn a_truncation_after_a_failed_write_back_loses_no_data() {
    let mut rig = Rig::new(small());
    let data = Random::new(4).bytes(8 * PAGE);
    let file = rig.file(9, &data);
    rig.below.state().write_errors = vec![Error::Device; 100];
    let synced = rig.run(async |cache| cache.sync().await);
    assert_eq!(synced, Err(Error::Device));
    rig.below.state().truncate_error = Some((0, Error::Device));
    // Nothing is cut below, as nothing is there.
    let cut = rig.run(async |cache| cache.truncate(file, 3106, 2).await);
    assert_eq!(cut, Ok(()));
    assert!(rig.content(file).unwrap() == data[..3106]);
    rig.below.state().write_errors.clear();
    rig.below.state().truncate_error = None;
    rig.sync();
    assert!(rig.stored(file).unwrap() == data[..3106]);
    rig.no_violations();
}

/// One call asks in vain for a file that another then finds: what further calls write to it is the
/// same file's.
#[test]
fn a_file_that_was_asked_for_in_vain_is_one_file() {
    let mut rig = Rig::new(small());
    let file = rig.file(9, &[1; 3 * PAGE]);
    rig.sync();
    let mut other = Rig::new(small());
    other.below.state().now = rig.below.state().checkpoint.clone();
    other.below.state().getattr_errors = vec![Error::Device];
    other.run(async |cache| {
        let one = cache.write(write_of(file, 0, &[2; PAGE], 2));
        let two = cache.write(write_of(file, PAGE as u64, &[3; PAGE], 3));
        let (one, two) = futures_util::join!(one, two);
        assert_eq!((one, two), (Err(Error::Device), Ok(PAGE)));
        let three = write_of(file, 2 * PAGE as u64, &[4; PAGE], 4);
        assert_eq!(cache.write(three).await, Ok(PAGE));
    });
    other.sync();
    let expected = [[1; PAGE], [3; PAGE], [4; PAGE]].concat();
    assert!(other.stored(file).unwrap() == expected, "data were lost");
}
