//! Random operations, on naming and on the model, must have the same answers; and so must restarts
//! and power failures.

use std::collections::BTreeMap;

use futures_executor::block_on;
use storage::{
    Error, Result,
    buffer::Sink,
    naming::{Limits, Naming},
    vfs::{Descriptor, FileSystem, Kind, OpenFlags, SeekFrom},
};

use crate::{
    fake::Fake,
    model::{Body, Id, Model, ROOT},
    support::{CLIENT, FORMAT, Random, TestNaming, Ticks, get, list, list_open, read, write},
};

const SEEDS: u64 = 30;
const STEPS: usize = 400;

/// What an operation answers, so that both sides can be compared.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Nothing,
    Number(u64),
    Bytes(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Stat(Kind, u32, u32, (u32, u32), u64),
}

/// Few names, so that they meet; one that fills much of a block.
fn name(random: &mut Random) -> Vec<u8> {
    match random.below(12) {
        0 => b".".to_vec(),
        1 => b"..".to_vec(),
        2 => vec![b'n'; 255],
        3 => vec![b'm'; 200 + random.below(57) as usize],
        pick => vec![b'a' + (pick % 5) as u8],
    }
}

fn path(random: &mut Random) -> Vec<u8> {
    let mut path = Vec::new();
    if random.below(4) == 0 {
        path.push(b'/');
    }
    for _ in 0..random.below(3) {
        path.extend(name(random));
        path.push(b'/');
    }
    path.extend(name(random));
    if random.below(10) == 0 {
        path.push(b'/');
    }
    path
}

fn flags(random: &mut Random) -> OpenFlags {
    *random.pick(&[
        OpenFlags::READ,
        OpenFlags::WRITE,
        OpenFlags::READ | OpenFlags::WRITE,
        OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE,
        OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE,
        OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE,
        OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE,
        OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::APPEND,
    ])
}

fn stat(stat: storage::vfs::Stat) -> Answer {
    // The length of a directory is the format's business.
    let size = if stat.kind() == Kind::Directory {
        0
    } else {
        stat.size
    };
    Answer::Stat(
        stat.kind(),
        stat.mode & 0o7777,
        stat.links,
        (stat.uid, stat.gid),
        size,
    )
}

fn model_stat(model: &Model, id: Id) -> Answer {
    let node = &model.nodes[&id];
    Answer::Stat(
        model.kind(id),
        node.mode,
        model.links(id),
        node.owner,
        model.size(id),
    )
}

fn names(entries: Vec<(Vec<u8>, u64, Kind)>) -> Answer {
    let mut names: Vec<_> = entries.into_iter().map(|(name, ..)| name).collect();
    names.sort();
    Answer::Names(names)
}

fn model_names(model: &Model, id: Id) -> Result<Answer> {
    if model.kind(id) == Kind::Directory && id != ROOT && model.links(id) == 0 {
        return Ok(Answer::Names(Vec::new()));
    }
    let mut names = vec![b".".to_vec(), b"..".to_vec()];
    names.extend(model.entries(id)?.keys().cloned());
    names.sort();
    Ok(Answer::Names(names))
}

/// One operation on both; what it was, and both answers.
pub async fn step(
    random: &mut Random,
    system: &impl FileSystem,
    model: &mut Model,
) -> (String, Result<Answer>, Result<Answer>) {
    let first = path(random);
    let second = path(random);
    let (first_text, second_text) = (
        String::from_utf8_lossy(&first).to_string(),
        String::from_utf8_lossy(&second).to_string(),
    );
    let number = random.below(6) as u32;
    let descriptor = Descriptor(number);
    let mode = random.below(0o1000) as u32;
    let offset = random.below(6000);
    let at = (random.below(2) == 0).then_some(offset);
    let data = vec![b'0' + random.below(10) as u8; random.below(5000) as usize];
    let done = |(): ()| Answer::Nothing;
    let count = |count: usize| Answer::Number(count as u64);
    match random.below(24) {
        0..=3 => {
            let flags = flags(random);
            let ours = system.open(&first, flags, mode).await;
            let theirs = model.open(&first, flags, mode);
            // Few descriptors, so that they meet as well.
            if let Ok(opened) = ours
                && opened.0 > 5
            {
                system.close(opened).await.unwrap();
                model.close(opened.0).unwrap();
            }
            (
                format!("open {first_text} {flags:?}"),
                ours.map(|descriptor| Answer::Number(descriptor.0.into())),
                theirs.map(|descriptor| Answer::Number(descriptor.into())),
            )
        }
        4 => (
            format!("close {number}"),
            system.close(descriptor).await.map(done),
            model.close(number).map(done),
        ),
        5 => (
            format!("read {number} {at:?}"),
            read(system, descriptor, at, 3000).await.map(Answer::Bytes),
            model.read(number, at, 3000).map(Answer::Bytes),
        ),
        6 | 7 => (
            format!("write {number} {at:?} {}", data.len()),
            write(system, descriptor, at, &data).await.map(count),
            model.write(number, at, &data).map(count),
        ),
        8 => (
            format!("ftruncate {number} {offset}"),
            system.truncate(descriptor, offset).await.map(done),
            model.truncate(number, offset).map(done),
        ),
        9 => {
            let by = offset as i64 - 3000;
            let to = *random.pick(&[
                SeekFrom::Start(0),
                SeekFrom::Start(offset),
                SeekFrom::Current(by),
                SeekFrom::End(by),
            ]);
            let (ours, theirs) = (system.seek(descriptor, to).await, model.seek(number, to));
            (
                format!("seek {to:?}"),
                ours.map(Answer::Number),
                theirs.map(Answer::Number),
            )
        }
        10 => (
            format!("fstat {number}"),
            system.fstat(descriptor).await.map(stat),
            model.opened(number).map(|id| model_stat(model, id)),
        ),
        11 => {
            let ours = match system.seek(descriptor, SeekFrom::Start(0)).await {
                Ok(_) => list_open(system, descriptor, 600).await.map(names),
                Err(error) => Err(error),
            };
            let _ = system.seek(descriptor, SeekFrom::Start(0)).await;
            let _ = model.seek(number, SeekFrom::Start(0));
            let theirs = model.opened(number).and_then(|id| model_names(model, id));
            (format!("readdir {number}"), ours, theirs)
        }
        12 | 13 => (
            format!("mkdir {first_text}"),
            system.mkdir(&first, mode).await.map(done),
            model.mkdir(&first, mode).map(done),
        ),
        14 => (
            format!("rmdir {first_text}"),
            system.rmdir(&first).await.map(done),
            model.rmdir(&first).map(done),
        ),
        15 => (
            format!("unlink {first_text}"),
            system.unlink(&first).await.map(done),
            model.unlink(&first).map(done),
        ),
        16..=18 => (
            format!("rename {first_text} {second_text}"),
            system.rename(&first, &second).await.map(done),
            model.rename(&first, &second).map(done),
        ),
        19 => (
            format!("link {first_text} {second_text}"),
            system.link(&first, &second).await.map(done),
            model.link(&first, &second).map(done),
        ),
        20 => (
            format!("symlink {first_text} {second_text}"),
            system.symlink(&first, &second).await.map(done),
            model.symlink(&first, &second).map(done),
        ),
        21 => {
            let mut buffer = vec![0; 4096];
            let ours = system.readlink(&first, Sink::local(&mut buffer)).await;
            (
                format!("readlink {first_text}"),
                ours.map(|len| Answer::Bytes(buffer[..len].to_vec())),
                model.readlink(&first).map(Answer::Bytes),
            )
        }
        22 => {
            let follow = random.below(2) == 0;
            (
                format!("stat {first_text} {follow}"),
                system.stat(&first, follow).await.map(stat),
                model.look(&first, follow).map(|id| model_stat(model, id)),
            )
        }
        _ if random.below(2) == 0 => (
            format!("chmod {first_text}"),
            system.chmod(&first, mode).await.map(done),
            model.chmod(&first, mode).map(done),
        ),
        _ => (
            format!("chown {first_text}"),
            system.chown(&first, mode, number).await.map(done),
            model.chown(&first, (mode, number)).map(done),
        ),
    }
}

/// The whole tree is the same, read through naming.
pub async fn compare(system: &impl FileSystem, model: &Model, what: &str) {
    let mut inodes: BTreeMap<Id, u64> = BTreeMap::new();
    let mut queue = vec![(ROOT, b"/".to_vec())];
    while let Some((id, path)) = queue.pop() {
        let text = String::from_utf8_lossy(&path).to_string();
        let found = system.stat(&path, false).await;
        let found = found.unwrap_or_else(|error| panic!("{what}: {text}: {error}"));
        assert_eq!(
            *inodes.entry(id).or_insert(found.inode),
            found.inode,
            "{what}: {text}"
        );
        assert_eq!(stat(found), model_stat(model, id), "{what}: {text}");
        match &model.nodes[&id].body {
            Body::File(bytes) => {
                assert_eq!(
                    get(system, &path).await.as_ref(),
                    Ok(bytes),
                    "{what}: {text}"
                );
            }
            Body::Link(_) => {}
            Body::Directory { entries, .. } => {
                let listed = names(list(system, &path).await.unwrap());
                assert_eq!(Ok(listed), model_names(model, id), "{what}: {text}");
                for (name, &child) in entries {
                    queue.push((child, [&path[..], b"/", &name[..]].concat()));
                }
            }
        }
    }
}

/// Little memory, so that things are thrown out and read again all the time.
const TIGHT: Limits = Limits {
    inodes: 24,
    directory_bytes: 40 << 10,
    descriptors_per_client: 8,
    descriptors: 8,
};

fn naming_over(fake: &Fake, limits: Limits) -> TestNaming {
    Naming::new(fake.clone(), Ticks::default(), limits)
}

fn run(seed: u64, limits: Limits) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut fake = Fake::new(seed);
    let mut naming = naming_over(&fake, limits);
    let mut model = Model::new();
    block_on(naming.client(CLIENT).format(&FORMAT)).unwrap();
    let mut synced = model.clone();
    let mut log = Vec::new();
    for index in 0..STEPS {
        let syncs = fake.0.borrow().syncs;
        let (what, ours, theirs) = block_on(step(&mut random, &naming.client(CLIENT), &mut model));
        log.push(what);
        assert_eq!(
            fake.0.borrow().syncs,
            syncs,
            "seed {seed}, step {index}: a sync nobody asked for"
        );
        if ours != theirs {
            let tail = &log[log.len().saturating_sub(40)..];
            panic!(
                "seed {seed}, step {index}: {ours:?}, not {theirs:?}, after\n{}",
                tail.join("\n")
            );
        }
        let tail = log[log.len().saturating_sub(40)..].join("\n");
        let what = format!("seed {seed}, step {index}, after\n{tail}\n");
        match random.below(60) {
            0 | 1 => {
                block_on(naming.client(CLIENT).sync()).unwrap();
                synced = model.clone();
            }
            2 => {
                // Naming starts again, and what is below went on. Which numbers were freed since
                // the last checkpoint only the old instance knew, so every other time it syncs.
                if random.below(2) == 0 {
                    block_on(naming.client(CLIENT).sync()).unwrap();
                    synced = model.clone();
                }
                fake = fake.restarted();
                fake.0.borrow_mut().freed.clear();
                naming = naming_over(&fake, limits);
                model.restart();
                log.push("restart".into());
                block_on(compare(&naming.client(CLIENT), &model, &what));
            }
            3 => {
                fake = fake.after_power_failure();
                naming = naming_over(&fake, limits);
                model = synced.clone();
                model.restart();
                log.push("power failure".into());
                block_on(compare(&naming.client(CLIENT), &model, &what));
            }
            4 => block_on(compare(&naming.client(CLIENT), &model, &what)),
            _ => {}
        }
    }
    block_on(naming.client(CLIENT).sync()).unwrap();
    block_on(compare(
        &naming.client(CLIENT),
        &model,
        &format!("seed {seed}, end"),
    ));
}

#[test]
fn random_operations_answer_as_the_model_does() {
    for seed in 1..=SEEDS {
        run(seed, Limits::default());
    }
}

#[test]
fn random_operations_with_little_memory_answer_as_the_model_does() {
    for seed in 1000..1000 + SEEDS {
        run(seed, TIGHT);
    }
}

#[test]
fn a_bound_on_descriptors_is_an_error_and_not_the_end() {
    let fake = Fake::new(1);
    let naming = naming_over(&fake, TIGHT);
    let system = naming.client(CLIENT);
    block_on(async {
        system.format(&FORMAT).await.unwrap();
        let create = OpenFlags::CREATE | OpenFlags::WRITE;
        for index in 0..8 {
            system
                .open(format!("{index}").as_bytes(), create, 0o644)
                .await
                .unwrap();
        }
        assert_eq!(
            system.open(b"one", create, 0o644).await,
            Err(Error::TooManyOpen)
        );
        assert_eq!(system.stat(b"one", true).await.err(), Some(Error::NotFound));
        system.close(Descriptor(3)).await.unwrap();
        assert_eq!(system.open(b"one", create, 0o644).await, Ok(Descriptor(3)));
    });
}
