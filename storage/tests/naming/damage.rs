//! Damaged and hostile contents: typed errors, and nothing that is not in the format is accepted.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_executor::block_on;
use storage::{
    Error, Result,
    file::{AttributeChange, FileNumber, FileService},
    vfs::{FileSystem, OpenFlags},
};

use crate::{
    fake::{Fake, Fault, File},
    fsck::read_directory,
    support::{CLIENT, CREATE, Random, TestNaming, fresh, get, list, naming_over, put},
};

/// A volume with something of everything; returns it and the number of directory `d`.
fn volume() -> (Fake, u64) {
    let (fake, naming) = fresh(1);
    let system = naming.client(CLIENT);
    let number = block_on(async {
        system.mkdir(b"d", 0o755).await.unwrap();
        for name in ["d/one", "d/two", "d/three"] {
            put(&system, name.as_bytes(), name.as_bytes())
                .await
                .unwrap();
        }
        system.mkdir(b"d/sub", 0o755).await.unwrap();
        system.mkdir(b"d/sub/sub", 0o755).await.unwrap();
        system.symlink(b"one", b"d/link").await.unwrap();
        system.unlink(b"d/two").await.unwrap();
        put(&system, b"outside", b"outside").await.unwrap();
        system.sync().await.unwrap();
        system.stat(b"d", true).await.unwrap().inode
    });
    (fake, number)
}

/// The volume with a change, and naming that sees it for the first time.
fn damaged(fake: &Fake, damage: impl FnOnce(&mut File), number: u64) -> (Fake, TestNaming) {
    let fake = fake.restarted();
    {
        let mut state = fake.0.borrow_mut();
        state.lenient = true;
        state.unchecked = true;
        damage(state.files.get_mut(&number).unwrap());
    }
    let naming = naming_over(&fake);
    (fake, naming)
}

/// Does everything one can do in `d`. It need not work; it must end.
async fn use_it(system: &impl FileSystem) -> Vec<Result<()>> {
    let mut results = Vec::new();
    for name in [
        "d/one",
        "d/two",
        "d/three",
        "d/sub",
        "d/sub/sub",
        "d/link",
        "d/..",
        "d/x/y",
    ] {
        results.push(system.stat(name.as_bytes(), true).await.map(drop));
        results.push(get(system, name.as_bytes()).await.map(drop));
    }
    results.push(system.rename(b"d/one", b"d/moved").await);
    results.push(system.rename(b"d/sub", b"d/sub2").await);
    results.push(system.rename(b"d/sub2", b"sub3").await);
    results.push(system.rename(b"outside", b"d/one").await);
    results.push(system.mkdir(b"d/new", 0o755).await);
    results.push(system.link(b"d/three", b"d/four").await);
    for name in ["d/one", "d/three", "d/link", "d/moved"] {
        results.push(system.unlink(name.as_bytes()).await);
    }
    for name in ["d/new", "d/sub/sub", "d/sub2", "d"] {
        results.push(system.rmdir(name.as_bytes()).await);
    }
    results.push(system.sync().await.map(drop));
    results
}

fn check(fake: &Fake, number: u64, what: &str, damage: impl FnOnce(&mut File)) {
    let (fake, naming) = damaged(fake, damage, number);
    let system = naming.client(CLIENT);
    let listed = block_on(list(&system, b"d"));
    match listed {
        Ok(entries) => {
            let file = fake.files()[&number].clone();
            let parsed = catch_unwind(AssertUnwindSafe(|| read_directory(number, &file)));
            let (_, parsed) = parsed.unwrap_or_else(|_| panic!("{what}: damage was accepted"));
            let mut ours: Vec<_> = entries
                .into_iter()
                .skip(2)
                .map(|(name, id, _)| (name, id))
                .collect();
            let mut theirs: Vec<_> = parsed.into_iter().map(|(name, id, _)| (name, id)).collect();
            ours.sort();
            theirs.sort();
            assert_eq!(ours, theirs, "{what}");
        }
        Err(Error::Corrupt | Error::WrongVersion) => {}
        Err(other) => panic!("{what}: {other}"),
    }
    block_on(use_it(&system));
}

#[test]
fn no_damaged_byte_of_a_directory_does_more_than_an_error() {
    std::panic::set_hook(Box::new(|info| {
        // The parser's own complaints are an answer here.
        if !info
            .location()
            .is_some_and(|place| place.file().ends_with("fsck.rs"))
        {
            eprintln!("{info}");
        }
    }));
    let (fake, number) = volume();
    for at in 0..130 {
        for value in [0, 1, 12, 47, 255] {
            let what = format!("byte {at} = {value}");
            check(&fake, number, &what, |file| file.write(at, &[value]));
        }
    }
    let mut random = Random(0x00da_3a6e);
    for round in 0..250 {
        let changes: Vec<(u64, u8)> = (0..1 + random.below(4))
            .map(|_| (random.below(220), random.below(256) as u8))
            .collect();
        check(
            &fake,
            number,
            &format!("round {round}: {changes:?}"),
            |file| {
                for &(at, value) in &changes {
                    file.write(at, &[value]);
                }
            },
        );
    }
    for round in 0..50 {
        check(&fake, number, &format!("noise {round}"), |file| {
            let noise: Vec<u8> = (0..4064).map(|_| random.below(256) as u8).collect();
            file.write(32, &noise);
        });
    }
}

#[test]
fn directories_of_wrong_lengths_are_corrupt() {
    let (fake, number) = volume();
    for size in [0, 1, 4095, 4097, 4096 * 4097] {
        let (_fake, naming) = damaged(&fake, |file| file.attributes.size = size, number);
        let listed = block_on(list(&naming.client(CLIENT), b"d"));
        assert_eq!(listed.err(), Some(Error::Corrupt), "{size} bytes");
    }
}

#[test]
fn a_later_version_is_told_apart_from_damage() {
    let (fake, number) = volume();
    let (_fake, naming) = damaged(&fake, |file| file.write(4, &[2]), number);
    let listed = block_on(list(&naming.client(CLIENT), b"d"));
    assert_eq!(listed.err(), Some(Error::WrongVersion));
}

#[test]
fn a_name_twice_is_corrupt() {
    let (fake, number) = volume();
    let second = |file: &mut File| {
        // "one" and "three" lie one after the other but for the hole that "two" left.
        let bytes = file.contents();
        let at = bytes
            .windows(5)
            .position(|window| window == b"three")
            .unwrap();
        file.write(at as u64 - 1, &[3]);
        file.write(at as u64, b"one");
    };
    let (_fake, naming) = damaged(&fake, second, number);
    assert_eq!(
        block_on(list(&naming.client(CLIENT), b"d")).err(),
        Some(Error::Corrupt)
    );
}

#[test]
fn an_entry_of_no_file_can_be_cleared_away() {
    let (fake, number) = volume();
    let inode = read_directory(number, &fake.files()[&number]).1[0].1;
    let (fake, naming) = damaged(&fake, |_| {}, number);
    fake.0.borrow_mut().files.remove(&inode);
    let system = naming.client(CLIENT);
    block_on(async {
        assert_eq!(get(&system, b"d/one").await.err(), Some(Error::NotFound));
        assert_eq!(list(&system, b"d").await.unwrap().len(), 6);
        system.unlink(b"d/one").await.unwrap();
        assert_eq!(list(&system, b"d").await.unwrap().len(), 5);
        put(&system, b"d/one", b"again").await.unwrap();
        assert_eq!(get(&system, b"d/one").await.unwrap(), b"again");
    });
}

#[test]
fn a_subdirectory_of_no_file_can_be_cleared_away() {
    let (fake, number) = volume();
    let (_, entries) = read_directory(number, &fake.files()[&number]);
    let sub = entries.iter().find(|entry| entry.0 == b"sub").unwrap().1;
    let (fake, naming) = damaged(&fake, |_| {}, number);
    fake.0.borrow_mut().files.remove(&sub);
    let system = naming.client(CLIENT);
    block_on(async {
        assert_eq!(list(&system, b"d/sub").await.err(), Some(Error::NotFound));
        system.rmdir(b"d/sub").await.unwrap();
        assert_eq!(
            system.stat(b"d/sub", true).await.err(),
            Some(Error::NotFound)
        );
    });
}

#[test]
fn an_entry_of_the_wrong_kind_is_corrupt() {
    let (fake, number) = volume();
    let (fake, naming) = damaged(&fake, |_| {}, number);
    let system = naming.client(CLIENT);
    block_on(async {
        let file = FileNumber(system.stat(b"d/one", true).await.unwrap().inode);
        let change = AttributeChange {
            mode: Some(0o040_755),
            ..AttributeChange::default()
        };
        fake.setattr(file, &change).await.unwrap();
        let fresh = naming_over(&fake);
        let system = fresh.client(CLIENT);
        assert_eq!(
            system.stat(b"d/one", true).await.err(),
            Some(Error::Corrupt)
        );
        assert_eq!(get(&system, b"d/one").await.err(), Some(Error::Corrupt));
        assert_eq!(system.unlink(b"d/one").await.err(), Some(Error::Corrupt));
    });
}

#[test]
fn parents_in_a_circle_do_not_trap_a_rename() {
    let (fake, number) = volume();
    let (_, entries) = read_directory(number, &fake.files()[&number]);
    let sub = entries.iter().find(|entry| entry.0 == b"sub").unwrap().1;
    // `d` is below `d/sub`, which is below `d`.
    let (_fake, naming) = damaged(&fake, |file| file.write(16, &sub.to_le_bytes()), number);
    let system = naming.client(CLIENT);
    block_on(async {
        system.mkdir(b"other", 0o755).await.unwrap();
        let renamed = system.rename(b"other", b"d/sub/other").await;
        assert_eq!(renamed, Err(Error::Corrupt));
        // Dots go round as well, but only as often as the path says.
        let path = [&b"d"[..], &b"/..".repeat(1000)[..]].concat();
        assert!(system.stat(&path, true).await.is_ok());
    });
}

#[test]
fn symbolic_links_with_impossible_targets_are_corrupt() {
    let (fake, number) = volume();
    let (_, entries) = read_directory(number, &fake.files()[&number]);
    let link = entries.iter().find(|entry| entry.0 == b"link").unwrap().1;
    let targets = [
        Vec::new(),
        vec![b'x'; 4096],
        vec![b'x'; 10_000],
        b"o\0e".to_vec(),
    ];
    for target in targets {
        let damage = |file: &mut File| {
            file.attributes.size = 0;
            file.blocks.clear();
            file.write(0, &target);
        };
        let (_fake, naming) = damaged(&fake, damage, link);
        let system = naming.client(CLIENT);
        let found = block_on(system.stat(b"d/link", true));
        assert_eq!(found.err(), Some(Error::Corrupt), "{} bytes", target.len());
        // It can be taken away.
        block_on(system.unlink(b"d/link")).unwrap();
    }
}

#[test]
fn a_volume_without_its_top_directories_does_not_mount() {
    let (fake, _) = volume();
    let mount = |damage: &dyn Fn(&mut std::collections::BTreeMap<u64, File>)| {
        let fake = fake.restarted();
        damage(&mut fake.0.borrow_mut().files);
        block_on(naming_over(&fake).mount())
    };
    assert_eq!(mount(&|_| {}), Ok(()));
    assert_eq!(
        mount(&|files| drop(files.remove(&1))),
        Err(Error::NotFormatted)
    );
    assert_eq!(mount(&|files| drop(files.remove(&2))), Err(Error::Corrupt));
    let file = |files: &mut std::collections::BTreeMap<u64, File>| {
        files.get_mut(&1).unwrap().attributes.mode = 0o100_644;
    };
    assert_eq!(mount(&file), Err(Error::Corrupt));
}

#[test]
fn nothing_is_there_before_a_format() {
    let naming = naming_over(&Fake::new(1));
    let system = naming.client(CLIENT);
    block_on(async {
        assert_eq!(naming.mount().await, Err(Error::NotFormatted));
        assert_eq!(
            system.open(b"f", CREATE, 0o644).await.err(),
            Some(Error::NotFormatted)
        );
        assert_eq!(system.sync().await.err(), Some(Error::NotFormatted));
        assert_eq!(naming.sync_periodic().await, Ok(false));
    });
}

#[test]
fn an_orphan_entry_of_a_file_that_has_a_name_only_goes_itself() {
    let (fake, naming) = fresh(1);
    let system = naming.client(CLIENT);
    let inode = block_on(async {
        let file = system.open(b"f", CREATE, 0o644).await.unwrap();
        system.unlink(b"f").await.unwrap();
        system.fstat(file).await.unwrap().inode
    });
    let mounted = |links: u32| {
        let fake = fake.restarted();
        fake.0
            .borrow_mut()
            .files
            .get_mut(&inode)
            .unwrap()
            .attributes
            .links = links;
        block_on(naming_over(&fake).mount()).unwrap();
        let files = fake.files();
        assert!(read_directory(2, &files[&2]).1.is_empty());
        files.contains_key(&inode)
    };
    assert!(!mounted(0), "an orphan outlived the mount");
    assert!(mounted(1), "a file with a name was deleted");
}

#[test]
fn what_was_open_and_had_no_name_is_gone_after_a_power_failure() {
    let (fake, naming) = fresh(1);
    let system = naming.client(CLIENT);
    block_on(async {
        let file = system.open(b"f", CREATE, 0o644).await.unwrap();
        system.mkdir(b"d", 0o755).await.unwrap();
        system.open(b"d", OpenFlags::READ, 0).await.unwrap();
        system.unlink(b"f").await.unwrap();
        system.rmdir(b"d").await.unwrap();
        system.fsync(file).await.unwrap();
    });
    let fake = fake.after_power_failure();
    assert_eq!(fake.files().len(), 4, "root, orphans, and two orphans");
    let naming = naming_over(&fake);
    block_on(naming.mount()).unwrap();
    assert_eq!(fake.files().len(), 2);
    block_on(naming.client(CLIENT).sync()).unwrap();
}

/// Whatever fails while orphans are looked through, the volume is mounted, and what could not be
/// deleted then is deleted later.
#[test]
fn an_orphan_that_cannot_be_deleted_does_not_keep_the_volume_from_being_mounted() {
    let (fake, naming) = fresh(1);
    let system = naming.client(CLIENT);
    block_on(async {
        let mut names = Vec::new();
        for name in [b"a", b"b", b"c"] {
            names.push(system.open(name, CREATE, 0o644).await.unwrap());
            system.unlink(name).await.unwrap();
        }
        system.sync().await.unwrap();
    });
    for error in [Error::NoMemory, Error::Corrupt, Error::Device] {
        for call in 0..8 {
            let fake = fake.after_power_failure();
            let naming = naming_over(&fake);
            fake.set_fault(call, Fault::Fail(error));
            block_on(async {
                naming.mount().await.unwrap();
                let struck = !fake.clear_fault();
                assert_eq!(struck, call < 6, "call {call}");
                naming.sync_periodic().await.unwrap();
            });
            assert_eq!(fake.files().len(), 2, "{error} at call {call}");
            let files = fake.files();
            assert!(read_directory(2, &files[&2]).1.is_empty());
        }
    }
}
