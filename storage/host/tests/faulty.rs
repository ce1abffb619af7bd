//! Rules by type hit blocks of that type: the filter knows a store's structures.

#![recursion_limit = "256"]

use std::rc::Rc;

use storage::{
    block::{BlockDevice, ram::RamDisk},
    buffer::Source,
    checksum::Algorithm,
    faulty::{Action, Direction, Faulty, Kind, Persistence, Place, Rule, Timer},
    file::VolumeFormat,
    vfs::{FileSystem, OpenFlags},
};
use storage_host::{SystemClock, stack};

struct NoTimer;

impl Timer for NoTimer {
    async fn sleep_ms(&self, _: u32) {}
}

type Disk = Rc<Faulty<Rc<RamDisk>, NoTimer>>;

const FORMAT: VolumeFormat = VolumeFormat {
    volume: 1,
    algorithm: Algorithm::Xxh64,
    twin_offset: 16,
};

/// What a block holds, by the marks that this test puts into it: it shares no code with the filter.
fn truth(content: &[u8]) -> Option<Kind> {
    match content {
        [b'D', b'a', b't', b'a', b'!', ..] => Some(Kind::Data),
        [b'G', b'D', b'I', b'R', ..] => Some(Kind::Directory),
        [b'L', b'i', b'n', b'k', b'/', ..] => Some(Kind::Link),
        [b'G', b'a', b'l', b'T', b'w', b'n', b'F', b'S', ..] => Some(Kind::Root),
        [b'G', b'a', b'l', b'a', b'g', b'o', b'M', b'a', ..] => Some(Kind::Mapping),
        _ => None,
    }
}

async fn fill(client: &impl FileSystem, round: u32) {
    for folder in 0..20 {
        let path = format!("/folder-{round}-{folder}");
        client.mkdir(path.as_bytes(), 0o755).await.unwrap();
        for file in 0..4_usize {
            let path = format!("{path}/{file}");
            let flags = OpenFlags::WRITE | OpenFlags::CREATE;
            let handle = client.open(path.as_bytes(), flags, 0o644).await.unwrap();
            let bytes: Vec<u8> = b"Data!123".repeat(512 * (1 + 10 * file));
            client
                .write(handle, None, Source::local(&bytes))
                .await
                .unwrap();
            client.close(handle).await.unwrap();
        }
        let target = "Link/".repeat(40);
        client
            .symlink(target.as_bytes(), format!("{path}/link").as_bytes())
            .await
            .unwrap();
    }
    client.sync().await.unwrap();
}

/// Compares all blocks that a mark tells the type of; how many of each type there were.
fn compare(ram: &RamDisk, disk: &Disk, what: &str) -> Vec<(Kind, u32)> {
    let mut seen: Vec<(Kind, u32)> = Vec::new();
    for block in 0..(64 << 20) / 4096 {
        let Some(kind) = truth(&ram.peek(block * 8, 4096)) else {
            continue;
        };
        assert_eq!(disk.kind(block), kind, "{what}: block {block}");
        match seen.iter_mut().find(|(it, _)| *it == kind) {
            Some((_, count)) => *count += 1,
            None => seen.push((kind, 1)),
        }
    }
    seen
}

fn filter(ram: &Rc<RamDisk>) -> Disk {
    Rc::new(Faulty::new(ram.clone(), NoTimer, Persistence::Written))
}

/// A rule by type that never acts: the filter follows the types from then on.
async fn watch(disk: &Disk) {
    let rule = Rule {
        place: Place::Kind(Kind::Inode),
        skip: u64::MAX,
        ..Rule::new(Action::ReadError)
    };
    disk.add(None, rule).await.unwrap();
}

fn types_are_learned_from_the_disk_and_from_what_is_written() {
    let ram = Rc::new(RamDisk::new((64 << 20) / 512));
    let following = filter(&ram);
    let system = stack([Some(following.clone())], SystemClock);
    system.run(async {
        watch(&following).await;
        let client = system.client(0);
        client.format(&FORMAT).await.unwrap();
        fill(&client, 0).await;
        fill(&client, 1).await;
    });
    let seen = compare(&ram, &following, "followed");
    for kind in [
        Kind::Root,
        Kind::Data,
        Kind::Directory,
        Kind::Link,
        Kind::Mapping,
    ] {
        assert!(
            seen.iter().any(|&(it, _)| it == kind),
            "{kind:?} in {seen:?}"
        );
    }
    drop(system);
    let reading = filter(&ram);
    futures_executor::block_on(async {
        reading.attach().await.unwrap();
        watch(&reading).await;
    });
    compare(&ram, &reading, "read");
    for block in 0..(64 << 20) / 4096 {
        let kinds = (following.kind(block), reading.kind(block));
        if kinds.1 == Kind::Indirect {
            assert_eq!(kinds.0, Kind::Indirect, "block {block}");
        }
    }
}

/// Reads of one type fail, and only what needs that type suffers.
fn a_rule_by_type_hits_that_type() {
    let ram = Rc::new(RamDisk::new((64 << 20) / 512));
    let disk = filter(&ram);
    let system = stack([Some(disk.clone())], SystemClock);
    system.run(async {
        let client = system.client(0);
        client.format(&FORMAT).await.unwrap();
        fill(&client, 0).await;
    });
    drop(system);
    for kind in [Kind::Directory, Kind::Data] {
        let disk = filter(&Rc::new(ram.snapshot()));
        let system = stack([Some(disk.clone())], SystemClock);
        let (listed, opened) = system.run(async {
            let client = system.client(0);
            client.mount().await.unwrap();
            let rule = Rule {
                place: Place::Kind(kind),
                direction: Direction::Reads,
                times: None,
                ..Rule::new(Action::Corrupt { bytes: 4 })
            };
            disk.add(None, rule).await.unwrap();
            let listed = client.stat(b"/folder-0-3/0", true).await.is_ok();
            let opened = client.open(b"/folder-0-3/2", OpenFlags::READ, 0).await;
            let read = match opened {
                Ok(file) => {
                    let mut bytes = vec![0; 4096];
                    let sink = storage::buffer::Sink::local(&mut bytes);
                    client.read(file, None, sink).await.is_ok()
                }
                Err(_) => false,
            };
            (listed, read)
        });
        assert_eq!(listed, kind == Kind::Data, "{kind:?}");
        assert!(
            !opened,
            "{kind:?}: neither a directory nor data is readable"
        );
        assert!(disk.rules()[0].acted > 0);
    }
}

/// An unoptimised build nests the futures of all layers one inside the other.
#[test]
fn types() {
    for test in [
        types_are_learned_from_the_disk_and_from_what_is_written as fn(),
        a_rule_by_type_hits_that_type,
    ] {
        let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test);
        thread.unwrap().join().unwrap();
    }
}
