//! The whole stack in one process on disks that fail, lie and run full.

#![recursion_limit = "256"]

use std::{cell::Cell, rc::Rc};

use storage::{
    Error,
    block::ram::{Operation, RamDisk},
    buffer::{Sink, Source},
    vfs::{FileSystem, OpenFlags},
};
use tests::{
    random::{Random, seeds},
    session::{Session, volume},
    stack::{CacheSize, TestClock, collapsed, disks, format, on_a_large_stack, tasks},
};

/// One of two disks begins to fail all writes, or everything, in the middle of work.
#[test]
fn a_disk_that_dies_is_not_noticed() {
    on_a_large_stack(|| seeds(6).for_each(goes_on_when_a_disk_dies));
}

fn goes_on_when_a_disk_dies(seed: u64) {
    let (disks, clock, mut session) = volume("dying", seed);
    let mut random = Random::new(!seed);
    let dying = disks[(seed / 2 % 2) as usize].clone().unwrap();
    let only_writes = random.one_in(2);
    let system = collapsed(&disks, &clock, CacheSize::of(seed));
    system.run(async {
        let client = system.client(0);
        session.check(&client).await;
        let mut left = random.below(12);
        dying.fault(move |operation| {
            let hit = !only_writes || !matches!(operation, Operation::Read { .. });
            left = left.saturating_sub(u64::from(hit));
            if hit && left == 0 {
                Err(Error::Device)
            } else {
                Ok(())
            }
        });
        for step in 0..120 {
            session.step(&client).await;
            if step % 40 == 39 {
                session.sync(&client).await;
            }
        }
        session.check(&client).await;
        let checkpoint = session.sync(&client).await;
        let status = client.statfs().await.unwrap();
        let what = session.what();
        assert_eq!((status.stores, status.stores_present), (2, 1), "{what}");
        session.crashed(checkpoint);
    });
    drop(system);
    // It comes back as if nothing had been, and must not be believed.
    dying.heal();
    let system = collapsed(&disks, &clock, CacheSize::Ample);
    system.run(async {
        let client = system.client(0);
        let status = client.statfs().await.unwrap();
        let what = session.what();
        assert_eq!((status.stores, status.stores_present), (2, 1), "{what}");
        session.check(&client).await;
    });
}

/// A flush of a sync fails once on the only disk: nobody but the disk knows whether the checkpoint is
/// there. The layers below are started again, the sync is issued again, nobody notices.
#[test]
fn a_flush_that_fails_once_is_not_noticed() {
    on_a_large_stack(|| {
        for failing in 1..=3 {
            survives_a_failed_flush(failing);
        }
    });
}

fn survives_a_failed_flush(failing: u32) {
    let (disks, clock) = (disks(1), TestClock::default());
    let (system, group) = tasks(&disks, &clock, CacheSize::Ample);
    let mut session = Session::new("flush", failing.into(), &clock);
    let failed = Rc::new(Cell::new(0));
    system.run(async {
        let client = system.client(0);
        format(&client, &session.what()).await;
        for _ in 0..50 {
            session.step(&client).await;
        }
        let count = failed.clone();
        disks[0].as_ref().unwrap().fault(move |operation| {
            let flush = u32::from(operation == Operation::Flush);
            count.set(count.get() + flush);
            if flush == 1 && count.get() == failing {
                return Err(Error::Device);
            }
            Ok(())
        });
        for _ in 0..3 {
            session.sync(&client).await;
            for _ in 0..50 {
                session.step(&client).await;
            }
        }
        session.check(&client).await;
        session.close_all(&client).await;
        session.sync(&client).await;
    });
    assert!(failed.get() > failing && group.restarts() > 0);
    drop(system);
    let system = collapsed(&disks, &clock, CacheSize::Ample);
    system.run(session.check(&system.client(0)));
}

/// One disk of a mirror comes back as it was before the last sync, which had ended: a lost write of
/// the root, or an old copy. What was synced is not undone for it.
#[test]
fn a_disk_that_lost_the_last_sync_is_left_out() {
    on_a_large_stack(|| seeds(4).for_each(keeps_what_one_disk_lost));
}

fn keeps_what_one_disk_lost(seed: u64) {
    let (mut disks, clock, mut session) = volume("forgetful", seed);
    let forgetful = (seed % 2) as usize;
    let old = Rc::new(disks[forgetful].as_ref().unwrap().snapshot());
    let other = disks[1 - forgetful].clone().unwrap();
    let system = collapsed(&disks, &clock, CacheSize::Tiny);
    let mut checkpoint = 0;
    system.run(async {
        let client = system.client(0);
        for _ in 0..100 {
            session.step(&client).await;
        }
        checkpoint = session.sync(&client).await;
        let before = other.counters().writes;
        // Goes where the checkpoint before had something, and is in no checkpoint.
        for file in 1000..1010 {
            write_file(&client, file).await.unwrap();
        }
        assert!(other.counters().writes > before, "seed {seed}: no write");
    });
    drop(system);
    session.crashed(checkpoint);
    disks[forgetful] = Some(old);
    let system = collapsed(&disks, &clock, CacheSize::Ample);
    system.run(async {
        let client = system.client(0);
        let status = client.statfs().await.unwrap();
        let what = session.what();
        assert_eq!(
            (status.checkpoint, status.stores_present),
            (checkpoint, 1),
            "{what}"
        );
        session.check(&client).await;
    });
}

/// A third of one disk's blocks are overwritten with anything.
#[test]
fn a_corrupt_disk_is_not_noticed() {
    on_a_large_stack(|| seeds(6).for_each(reads_around_corruption));
}

fn reads_around_corruption(seed: u64) {
    let (disks, clock, session) = volume("corrupt", seed);
    let mut random = Random::new(!seed);
    let disk = disks[(seed % 2) as usize].as_ref().unwrap();
    let mut hit = 0;
    for block in 0..tests::stack::SECTORS / 8 {
        let bytes = disk.peek(block * 8, 4096);
        if bytes.iter().any(|&byte| byte != 0) && random.one_in(3) {
            let noise: Vec<u8> = bytes
                .iter()
                .map(|byte| byte ^ random.number() as u8)
                .collect();
            disk.poke(block * 8, &noise);
            hit += 1;
        }
    }
    assert!(hit > 3, "seed {seed}: only {hit} blocks");
    let system = collapsed(&disks, &clock, CacheSize::of(seed / 2));
    system.run(session.check(&system.client(0)));
}

const FILE_BYTES: usize = 50_000;

fn bytes_of(file: u64) -> Vec<u8> {
    let mut random = Random::new(file);
    (0..FILE_BYTES).map(|_| random.number() as u8).collect()
}

async fn write_file<F: FileSystem>(client: &F, file: u64) -> storage::Result<()> {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let path = format!("/{file}");
    let descriptor = client.open(path.as_bytes(), flags, 0o644).await?;
    let bytes = bytes_of(file);
    let mut done = 0;
    let result = loop {
        if done == bytes.len() {
            break Ok(());
        }
        match client
            .write(descriptor, None, Source::local(&bytes[done..]))
            .await
        {
            Ok(written) => done += written,
            Err(error) => break Err(error),
        }
    };
    client.close(descriptor).await?;
    result
}

async fn check_file<F: FileSystem>(client: &F, file: u64) {
    let path = format!("/{file}");
    let descriptor = client
        .open(path.as_bytes(), OpenFlags::READ, 0)
        .await
        .unwrap();
    let mut bytes = vec![0; FILE_BYTES + 1];
    let mut done = 0;
    loop {
        match client
            .read(descriptor, None, Sink::local(&mut bytes[done..]))
            .await
            .unwrap()
        {
            0 => break,
            read => done += read,
        }
    }
    assert!(
        done == FILE_BYTES && bytes[..done] == bytes_of(file),
        "file {file}: {done} bytes"
    );
    client.close(descriptor).await.unwrap();
}

/// Files are written until there is no room; what was written is there, and what is deleted makes
/// room again.
#[test]
fn a_full_volume_says_so_and_loses_nothing() {
    on_a_large_stack(|| {
        for size in [CacheSize::Ample, CacheSize::Tiny] {
            fills_up(size);
        }
    });
}

fn fills_up(size: CacheSize) {
    let clock = TestClock::default();
    let small = |sectors| Some(Rc::new(RamDisk::new(sectors)));
    // One is smaller than the other.
    let disks = vec![small(24_000), small(20_000)];
    let system = collapsed(&disks, &clock, size);
    let mut written = Vec::new();
    system.run(async {
        let client = system.client(0);
        format(&client, "full").await;
        let mut file = 0;
        for _ in 0..2 {
            let error = loop {
                file += 1;
                match write_file(&client, file).await {
                    Ok(()) => written.push(file),
                    Err(error) => break error,
                }
                assert!(file < 10_000, "a small disk takes everything");
            };
            assert_eq!(error, Error::NoSpace);
            client.unlink(format!("/{file}").as_bytes()).await.unwrap();
            client.sync().await.unwrap();
            assert!(written.len() > 50, "{} files", written.len());
            for &file in &written {
                check_file(&client, file).await;
            }
            for file in written.extract_if(.., |file| *file % 2 == 0) {
                client.unlink(format!("/{file}").as_bytes()).await.unwrap();
            }
            client.sync().await.unwrap();
        }
    });
    drop(system);
    for missing in [None, Some(0), Some(1)] {
        let mut disks = disks.clone();
        if let Some(missing) = missing {
            disks[missing] = None;
        }
        let system = collapsed(&disks, &clock, size);
        system.run(async {
            let client = system.client(0);
            let status = client.statfs().await.unwrap();
            assert_eq!(status.stores_present, if missing.is_some() { 1 } else { 2 });
            for &file in &written {
                check_file(&client, file).await;
            }
        });
    }
}

/// Much more is written between two syncs than the cache can remember: it asks for syncs, and the
/// writer does not notice.
#[test]
fn a_cache_that_cannot_remember_more_is_not_noticed() {
    on_a_large_stack(|| {
        let (disks, clock) = (disks(2), TestClock::default());
        let system = collapsed(&disks, &clock, CacheSize::Forgetful);
        system.run(async {
            let client = system.client(0);
            format(&client, "forgetful").await;
            for file in 0..150 {
                write_file(&client, file).await.unwrap();
            }
            for file in 0..150 {
                check_file(&client, file).await;
            }
            assert!(
                client.statfs().await.unwrap().checkpoint > 3,
                "nobody has synced"
            );
        });
    });
}

/// Fills a volume to its last block: a file that grows by less and less, then directories, with a
/// sync after each round. No sync fails.
async fn fill_to_the_last_block<F: FileSystem>(client: &F) {
    let flags = OpenFlags::WRITE | OpenFlags::CREATE;
    let big = client.open(b"/big", flags, 0o644).await.unwrap();
    let (mut pieces, mut directories) = (0, 0);
    for round in 0..20 {
        for bytes in [1 << 16, 4096] {
            let piece = vec![7; bytes];
            let write = async || client.write(big, None, Source::local(&piece)).await;
            while write().await.is_ok() {
                pieces += 1;
                assert!(pieces < 100_000, "a small disk takes everything");
            }
        }
        loop {
            match client
                .mkdir(format!("/full{directories}").as_bytes(), 0o755)
                .await
            {
                Ok(()) => directories += 1,
                Err(error) => break assert_eq!(error, Error::NoSpace, "round {round}"),
            }
            assert!(directories < 10_000, "a small disk takes all directories");
        }
        client.sync().await.unwrap();
    }
    client.close(big).await.unwrap();
}

/// On a volume that is full to the last block everything can still be removed by name, and it can be
/// mounted even if files that had no name are to be deleted first.
#[test]
fn a_volume_full_to_the_last_block_can_be_emptied() {
    on_a_large_stack(|| {
        for again in [false, true] {
            let (disks, clock) = (
                vec![Some(Rc::new(RamDisk::new(20_000)))],
                TestClock::default(),
            );
            let system = collapsed(&disks, &clock, CacheSize::Ample);
            let before = system.run(async {
                let client = system.client(0);
                format(&client, "full").await;
                let before = client.statfs().await.unwrap();
                client.mkdir(b"/d", 0o755).await.unwrap();
                let flags = OpenFlags::WRITE | OpenFlags::CREATE;
                for name in [&b"/empty"[..], b"/other", b"/nameless"] {
                    let file = client.open(name, flags, 0o644).await.unwrap();
                    if name != b"/nameless" {
                        client.close(file).await.unwrap();
                    }
                }
                client.unlink(b"/nameless").await.unwrap();
                fill_to_the_last_block(&client).await;
                before
            });
            let system = if again {
                drop(system);
                collapsed(&disks, &clock, CacheSize::Ample)
            } else {
                system
            };
            system.run(async {
                let client = system.client(0);
                client.mount().await.unwrap();
                client.unlink(b"/empty").await.unwrap();
                client.rmdir(b"/d").await.unwrap();
                client.rename(b"/other", b"/big").await.unwrap();
                client.sync().await.unwrap();
                write_file(&client, 1).await.unwrap();
                client.sync().await.unwrap();
                check_file(&client, 1).await;
                let mut directory = 0;
                let error = loop {
                    match client.rmdir(format!("/full{directory}").as_bytes()).await {
                        Ok(()) => directory += 1,
                        Err(error) => break error,
                    }
                };
                assert_eq!(error, Error::NotFound);
                let after = client.statfs().await.unwrap();
                // "/1", "/big", and before the restart the file without a name.
                let left = 2 + u64::from(!again);
                assert_eq!(after.files_free + left, before.files_free);
            });
        }
    });
}

/// An append that is larger than what the cache can take at once is in the file once, also when the
/// cache could not take all of it before a sync.
#[test]
fn an_append_that_runs_out_of_memory_is_made_once() {
    on_a_large_stack(|| {
        let (disks, clock) = (disks(1), TestClock::default());
        let system = collapsed(&disks, &clock, CacheSize::Forgetful);
        system.run(async {
            let client = system.client(0);
            format(&client, "append").await;
            let flags = OpenFlags::WRITE | OpenFlags::CREATE;
            let other = client.open(b"/other", flags, 0o644).await.unwrap();
            let log = client
                .open(b"/log", flags | OpenFlags::APPEND | OpenFlags::READ, 0o644)
                .await
                .unwrap();
            let mut expected = Vec::new();
            for round in 0..8 {
                let noise = vec![1; (1 + round) * 4096];
                let written = client.write(other, Some(0), Source::local(&noise)).await;
                assert_eq!(written, Ok(noise.len()));
                let bytes: Vec<u8> = bytes_of(round as u64).repeat(5);
                let taken = client
                    .write(log, None, Source::local(&bytes))
                    .await
                    .unwrap();
                assert!(taken > 0);
                expected.extend_from_slice(&bytes[..taken]);
                assert_eq!(client.fstat(log).await.unwrap().size, expected.len() as u64);
            }
            let mut found = vec![0; expected.len()];
            let read = client.read(log, Some(0), Sink::local(&mut found)).await;
            assert_eq!(read, Ok(expected.len()));
            assert!(found == expected, "the log is not what was appended");
        });
    });
}

/// Names are made while the volume is synced and formatted: each is on the old volume or on the
/// new one, and the new one is whole.
#[test]
fn a_format_beside_other_operations_makes_a_whole_volume() {
    on_a_large_stack(|| {
        for delay in [1, 3] {
            let (disks, clock) = (disks(1), TestClock::default());
            let system = collapsed(&disks, &clock, CacheSize::Ample);
            system.run(async {
                let client = system.client(0);
                format(&client, "format").await;
                for number in 0..600 {
                    let path = format!("/a-rather-long-directory-name-{number}");
                    client.mkdir(path.as_bytes(), 0o755).await.unwrap();
                }
                let disk = disks[0].as_ref().unwrap();
                disk.delay(delay);
                let clients = [1, 2, 3, 4].map(|role| system.client(role));
                let [one, two, three, four] = &clients;
                let (synced, formatted, first, second) = futures_util::join!(
                    one.sync(),
                    two.format(&tests::stack::FORMAT),
                    three.mkdir(b"/b", 0o755),
                    four.mkdir(b"/c", 0o755),
                );
                synced.unwrap();
                formatted.unwrap();
                first.unwrap();
                second.unwrap();
                for path in [&b"/b"[..], b"/c"] {
                    assert!(client.stat(path, true).await.unwrap().links == 2);
                }
                let old = client.stat(b"/a-rather-long-directory-name-7", true).await;
                assert_eq!(old.err(), Some(Error::NotFound));
                client.mkdir(b"/d", 0o755).await.unwrap();
                assert_eq!(client.stat(b"/", true).await.unwrap().links, 5);
                client.sync().await.unwrap();
            });
            drop(system);
            let system = collapsed(&disks, &clock, CacheSize::Ample);
            system.run(async {
                let client = system.client(0);
                assert_eq!(client.stat(b"/", true).await.unwrap().links, 5);
                client.rmdir(b"/b").await.unwrap();
            });
        }
    });
}

/// A format that no store takes leaves everything as it was, what is not synced too.
#[test]
fn a_format_that_is_refused_costs_nothing() {
    on_a_large_stack(|| {
        let (disks, clock) = (disks(1), TestClock::default());
        let system = collapsed(&disks, &clock, CacheSize::Ample);
        system.run(async {
            let client = system.client(0);
            format(&client, "refused").await;
            write_file(&client, 1).await.unwrap();
            for twin_offset in [0, 257, 4096] {
                let refused = storage::file::VolumeFormat {
                    twin_offset,
                    ..tests::stack::FORMAT
                };
                assert_eq!(client.format(&refused).await, Err(Error::BadArgument));
                check_file(&client, 1).await;
            }
        });
    });
}
