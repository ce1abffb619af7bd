//! Many operations at a time. The fake gives way within every call, so that they interleave, and
//! fails the test if a rule of `FileService` is broken; every checkpoint must be whole.

use std::{
    cell::Cell,
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use futures_executor::block_on;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, join_all},
};
use storage::{
    Error,
    vfs::{FileSystem, OpenFlags},
};

use crate::{
    crashes::views_agree,
    fake::Fault,
    fsck::check_whole,
    support::{
        CLIENT, CREATE, FORMAT, READ_WRITE, Random, fresh, list, list_open, put, read, write,
    },
};

#[test]
fn appends_never_land_on_one_another() {
    for seed in 1..20 {
        let (_fake, naming) = fresh(seed);
        let system = naming.client(CLIENT);
        block_on(async {
            put(&system, b"log", b"").await.unwrap();
            let writer = async |letter: u8| {
                let flags = OpenFlags::WRITE | OpenFlags::APPEND;
                let file = system.open(b"log", flags, 0).await.unwrap();
                for _ in 0..5 {
                    write(&system, file, None, &[letter; 700]).await.unwrap();
                }
            };
            join_all((b'a'..b'h').map(writer)).await;
            let file = system.open(b"log", OpenFlags::READ, 0).await.unwrap();
            let all = read(&system, file, Some(0), 100_000).await.unwrap();
            assert_eq!(all.len(), 7 * 5 * 700, "seed {seed}");
            for record in all.chunks(700) {
                assert!(
                    record.iter().all(|byte| *byte == record[0]),
                    "seed {seed}: a torn record"
                );
            }
        });
    }
}

/// An append that runs out of memory or room halfway is made once: whole after a checkpoint, or as
/// far as there was room.
#[test]
fn an_append_that_is_made_by_halves_is_made_once() {
    for (error, for_good) in [
        (Error::NoMemory, false),
        (Error::NoSpace, false),
        (Error::NoMemory, true),
        (Error::NoSpace, true),
    ] {
        let (fake, naming) = fresh(1);
        let system = naming.client(CLIENT);
        let bytes: Vec<u8> = (0..9000).map(|at| (at % 251) as u8).collect();
        block_on(async {
            let file = system
                .open(b"log", CREATE | OpenFlags::APPEND, 0o644)
                .await
                .unwrap();
            fake.set_fault(0, Fault::Half(error));
            fake.0.borrow_mut().short_for_good = for_good;
            let wanted = if for_good { 4500 } else { 9000 };
            assert_eq!(write(&system, file, None, &bytes).await, Ok(wanted));
            assert!(!fake.clear_fault());
            assert_eq!(system.fstat(file).await.unwrap().size, wanted as u64);
            let found = read(&system, file, Some(0), 100_000).await.unwrap();
            assert_eq!(found, bytes[..wanted]);
            if for_good {
                let rest = write(&system, file, None, &bytes[wanted..]).await;
                assert_eq!(rest, Err(error));
            }
        });
    }
}

/// The cache may die over an append, and the next one have no room for all of it: what is there of it counts.
#[test]
fn an_append_that_fails_after_its_effect_is_made_once() {
    for error in [Error::NoMemory, Error::NoSpace, Error::Device] {
        let (fake, naming) = fresh(1);
        let system = naming.client(CLIENT);
        block_on(async {
            let flags = CREATE | OpenFlags::APPEND;
            let file = system.open(b"log", flags, 0).await.unwrap();
            fake.set_fault(0, Fault::FailAfter(error));
            assert_eq!(write(&system, file, None, &[b'a'; 700]).await, Ok(700));
            assert!(!fake.clear_fault());
            let found = read(&system, file, Some(0), 10_000).await.unwrap();
            assert!(found == [b'a'; 700], "{error}: {} bytes", found.len());
        });
    }
}

/// Nor does another append come between its halves: it then ends short.
#[test]
fn nothing_comes_between_the_halves_of_an_append() {
    let mut short = 0;
    for seed in 1..40 {
        let (fake, naming) = fresh(seed);
        let system = naming.client(CLIENT);
        block_on(async {
            put(&system, b"log", b"").await.unwrap();
            fake.set_fault(0, Fault::Half(Error::NoMemory));
            let writer = async |letter: u8| {
                let flags = OpenFlags::WRITE | OpenFlags::APPEND;
                let file = system.open(b"log", flags, 0).await.unwrap();
                // One byte is not made by halves: it comes through while memory is short.
                let len = if letter == b'a' { 700 } else { 1 };
                let taken = write(&system, file, None, &vec![letter; len])
                    .await
                    .unwrap();
                (letter, taken)
            };
            let taken = join_all((b'a'..b'e').map(writer)).await;
            short += usize::from(taken[0].1 < 700);
            let file = system.open(b"log", OpenFlags::READ, 0).await.unwrap();
            let all = read(&system, file, Some(0), 100_000).await.unwrap();
            let mut found: Vec<_> = all
                .chunk_by(|a, b| a == b)
                .map(|run| (run[0], run.len()))
                .collect();
            found.sort_unstable();
            assert_eq!(found, taken, "seed {seed}");
        });
    }
    assert!(short > 0, "no append was interrupted");
}

#[test]
fn a_read_sees_a_write_whole_or_not_at_all() {
    for seed in 1..20 {
        let (_fake, naming) = fresh(seed);
        let system = naming.client(CLIENT);
        block_on(async {
            put(&system, b"f", &[b'0'; 9000]).await.unwrap();
            let file = system.open(b"f", READ_WRITE, 0).await.unwrap();
            let writer = async {
                for letter in b'1'..b'9' {
                    write(&system, file, Some(0), &[letter; 9000])
                        .await
                        .unwrap();
                }
            };
            let reader = async || {
                for _ in 0..10 {
                    let seen = read(&system, file, Some(0), 9000).await.unwrap();
                    assert!(
                        seen.iter().all(|byte| *byte == seen[0]),
                        "seed {seed}: torn"
                    );
                }
            };
            futures_util::join!(writer, reader(), reader());
        });
    }
}

#[test]
fn reads_on_one_descriptor_share_out_what_is_there() {
    let (_fake, naming) = fresh(5);
    let system = naming.client(CLIENT);
    block_on(async {
        let content: Vec<u8> = (0..200).collect();
        put(&system, b"f", &content).await.unwrap();
        let file = system.open(b"f", OpenFlags::READ, 0).await.unwrap();
        let reads = join_all((0..20).map(|_| read(&system, file, None, 10))).await;
        let mut all: Vec<u8> = reads.into_iter().flat_map(Result::unwrap).collect();
        all.sort_unstable();
        assert_eq!(all, content);
    });
}

#[test]
fn a_file_that_is_replaced_is_always_there() {
    for seed in 1..20 {
        let (_fake, naming) = fresh(seed);
        let system = naming.client(CLIENT);
        block_on(async {
            put(&system, b"f", b"version").await.unwrap();
            let writer = async {
                for _ in 0..10 {
                    put(&system, b"new", b"version").await.unwrap();
                    system.rename(b"new", b"f").await.unwrap();
                }
            };
            let reader = async {
                for _ in 0..30 {
                    let file = system.open(b"f", OpenFlags::READ, 0).await;
                    let file = file.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                    // Even if it is replaced now, it is read whole.
                    let seen = read(&system, file, Some(0), 100).await.unwrap();
                    assert_eq!(seen, b"version", "seed {seed}");
                    system.close(file).await.unwrap();
                }
            };
            futures_util::join!(writer, reader);
            system.sync().await.unwrap();
        });
    }
}

#[test]
fn readdir_misses_nothing_that_stays_and_tells_nothing_twice() {
    for seed in 1..12 {
        let (_fake, naming) = fresh(seed);
        let system = naming.client(CLIENT);
        block_on(async {
            system.mkdir(b"d", 0o755).await.unwrap();
            let stays: Vec<Vec<u8>> = (0..150)
                .map(|index| format!("d/stays-{index}-{:060}", index).into_bytes())
                .collect();
            for (index, path) in stays.iter().enumerate() {
                put(&system, path, b"").await.unwrap();
                put(&system, format!("d/goes-{index}").as_bytes(), b"")
                    .await
                    .unwrap();
            }
            let directory = system.open(b"d", OpenFlags::READ, 0).await.unwrap();
            let changes = async {
                for index in 0..150 {
                    system
                        .unlink(format!("d/goes-{index}").as_bytes())
                        .await
                        .unwrap();
                    let new = format!("d/new-{index}-{:0width$}", 0, width = 1 + index);
                    put(&system, new.as_bytes(), b"").await.unwrap();
                }
            };
            let (listed, ()) = futures_util::join!(list_open(&system, directory, 300), changes);
            let names: Vec<_> = listed.unwrap().into_iter().map(|(name, ..)| name).collect();
            for path in &stays {
                let count = names.iter().filter(|name| path[2..] == name[..]).count();
                assert_eq!(count, 1, "seed {seed}: {}", String::from_utf8_lossy(path));
            }
        });
    }
}

/// One of several tasks that do as they please on the same few names.
async fn anything(system: &impl FileSystem, mut random: Random, steps: usize) {
    let name = |random: &mut Random| {
        let depth = random.below(3);
        let part = |random: &mut Random| ["a", "b", "c", "d"][random.below(4) as usize];
        (0..=depth)
            .map(|_| part(random))
            .collect::<Vec<_>>()
            .join("/")
            .into_bytes()
    };
    let mut open = Vec::new();
    for _ in 0..steps {
        let (first, second) = (name(&mut random), name(&mut random));
        // Errors are answers like any other here: what counts is that the volume stays whole.
        match random.below(14) {
            0 | 1 => system.mkdir(&first, 0o755).await.map(drop).unwrap_or(()),
            2..=4 => {
                if let Ok(file) = system.open(&first, CREATE, 0o644).await {
                    open.push(file);
                }
            }
            5 => system.unlink(&first).await.map(drop).unwrap_or(()),
            6 => system.rmdir(&first).await.map(drop).unwrap_or(()),
            7..=9 => system.rename(&first, &second).await.map(drop).unwrap_or(()),
            10 => system.link(&first, &second).await.map(drop).unwrap_or(()),
            11 => {
                if let Some(&file) = open.last() {
                    write(system, file, None, b"0123456789").await.unwrap();
                    read(system, file, Some(0), 20).await.unwrap();
                }
            }
            12 => system.stat(&first, true).await.map(drop).unwrap_or(()),
            _ => {
                if random.below(4) == 0 {
                    system.sync().await.unwrap();
                } else if let Some(file) = open.pop() {
                    system.close(file).await.unwrap();
                }
            }
        }
    }
    for file in open {
        system.close(file).await.unwrap();
    }
}

#[test]
fn tasks_that_do_as_they_please_leave_the_volume_whole() {
    for seed in 1..80 {
        let (fake, naming) = fresh(seed);
        let system = naming.client(CLIENT);
        let tasks = (0..6).map(|task| anything(&system, Random(seed * 100 + task + 1), 60));
        // `block_on` would wait for ever on a deadlock; nobody gives way this often without one.
        let mut all = pin!(join_all(tasks));
        let mut context = Context::from_waker(Waker::noop());
        let done = (0..1_000_000).any(|_| all.as_mut().poll(&mut context).is_ready());
        assert!(done, "seed {seed}: the tasks wait for one another");
        block_on(system.sync()).unwrap();
        check_whole(&fake.files());
    }
}

/// Names made, moved and removed while somebody formats again and again: each operation is on the
/// old volume or the new one, whole.
#[test]
fn operations_beside_a_format_leave_the_new_volume_whole() {
    for seed in 1..60 {
        let (fake, naming) = fresh(seed);
        let system = naming.client(CLIENT);
        let names = async |mut random: Random| {
            for _ in 0..40 {
                let first = [b'a' + random.below(6) as u8];
                let second = [b'a' + random.below(6) as u8];
                let answer = match random.below(6) {
                    0 | 1 => system.mkdir(&first, 0o755).await,
                    2 => system.symlink(b"target", &first).await,
                    3 => system.rename(&first, &second).await,
                    4 => system.rmdir(&first).await,
                    _ => system.stat(&first, false).await.map(drop),
                };
                let damage = [Error::Corrupt, Error::Protocol, Error::NotFormatted];
                let error = answer.err();
                assert!(
                    error.is_none_or(|error| !damage.contains(&error)),
                    "seed {seed}: {error:?}"
                );
            }
        };
        let formats = async {
            for _ in 0..6 {
                system.sync().await.unwrap();
                system.format(&FORMAT).await.unwrap();
            }
        };
        block_on(async {
            let tasks = (0..4).map(|task| names(Random(seed * 100 + task + 1)));
            futures_util::join!(join_all(tasks), formats);
            system.sync().await.unwrap();
        });
        check_whole(&fake.files());
        views_agree(&fake, &naming, &format!("seed {seed}"));
    }
}

#[test]
fn those_who_wait_for_a_checkpoint_share_it() {
    let (fake, naming) = fresh(3);
    let system = naming.client(CLIENT);
    block_on(async {
        let mut files = Vec::new();
        for index in 0..20 {
            let name = format!("f{index}");
            files.push(system.open(name.as_bytes(), CREATE, 0o644).await.unwrap());
        }
        let before = fake.0.borrow().syncs;
        let tasks = files.iter().map(async |&file| {
            write(&system, file, None, b"text").await.unwrap();
            system.fsync(file).await.unwrap();
            // It must not lie: what was written is in the last checkpoint.
            let inode = system.fstat(file).await.unwrap().inode;
            assert_eq!(fake.0.borrow().checkpoint[&inode].contents(), b"text");
        });
        join_all(tasks).await;
        let syncs = fake.0.borrow().syncs - before;
        assert!(
            (1..=10).contains(&syncs),
            "{syncs} checkpoints for 20 fsyncs"
        );
    });
}

#[test]
fn reads_and_lookups_do_not_wait_for_a_checkpoint() {
    let (fake, naming) = fresh(4);
    let system = naming.client(CLIENT);
    let file = block_on(async {
        system.mkdir(b"d", 0o755).await.unwrap();
        put(&system, b"d/f", b"text").await.unwrap();
        system.open(b"d/f", READ_WRITE, 0).await.unwrap()
    });
    // The checkpoint never ends.
    fake.set_fault(0, Fault::Hang);
    let ends = |future: &mut LocalBoxFuture<'_, ()>| {
        let mut context = Context::from_waker(Waker::noop());
        (0..10_000).any(|_| future.poll_unpin(&mut context).is_ready())
    };
    let mut sync = async { system.sync().await.map(drop).unwrap_or(()) }.boxed_local();
    assert!(!ends(&mut sync), "the sync was to hang");
    let reads = Cell::new(0);
    let mut reading = async {
        assert_eq!(read(&system, file, Some(0), 10).await.unwrap(), b"text");
        reads.set(1);
        assert_eq!(system.stat(b"d/f", true).await.unwrap().size, 4);
        assert_eq!(system.stat(b"d/g", true).await.err(), Some(Error::NotFound));
        assert_eq!(list(&system, b"d").await.unwrap().len(), 3);
        let other = system.open(b"d/f", OpenFlags::READ, 0).await.unwrap();
        assert_eq!(read(&system, other, None, 10).await.unwrap(), b"text");
        system.close(other).await.unwrap();
    }
    .boxed_local();
    assert!(
        ends(&mut reading),
        "a read waits for the checkpoint (after {} reads)",
        reads.get()
    );
    let mut writing = async {
        write(&system, file, Some(0), b"x")
            .await
            .map(drop)
            .unwrap_or(())
    }
    .boxed_local();
    assert!(
        !ends(&mut writing),
        "a write did not wait for the checkpoint"
    );
}
