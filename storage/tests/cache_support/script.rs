//! Steps that are done to a cache that may die, and to a model that says what its files should be.

use std::{collections::BTreeMap, future::Future};

use futures_executor::LocalPool;
use futures_util::{FutureExt, pin_mut, select_biased};
use storage::{
    Error,
    buffer::Sink,
    cache::Config,
    file::{AttributeChange, Attributes, FileNumber, FileService},
};

use super::{Mortal, PAGE, Random, write_all, write_of, yield_now};

/// A cache that soon has more than it can hold.
pub fn small() -> Config {
    Config {
        pages: 64,
        log_pages: 64,
        files: 32,
        dirty_percent: 10,
        ..Config::default()
    }
}

/// What a file should be.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Expected {
    pub data: Vec<u8>,
    pub mode: u32,
}

pub type Model = BTreeMap<FileNumber, Expected>;

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Create(u64),
    Write(u64, usize, usize),
    Truncate(u64, usize),
    Mode(u64, u32),
    Delete(u64),
    Sync,
}

/// Does a step, twice if room wants a sync first, and does it to the model.
pub async fn step(service: &impl FileService, model: &mut Model, step: Step, time: u64) {
    let content = |len: usize| Random::new(time).bytes(len);
    let attributes = Attributes {
        mode: 7,
        ..Attributes::default()
    };
    for _ in 0..3 {
        let done = match step {
            Step::Create(file) => service.create(FileNumber(file), &attributes).await,
            Step::Write(file, offset, len) => {
                let data = content(len);
                write_all(
                    service,
                    write_of(FileNumber(file), offset as u64, &data, time),
                )
                .await
            }
            Step::Truncate(file, size) => {
                service.truncate(FileNumber(file), size as u64, time).await
            }
            Step::Mode(file, mode) => {
                let change = AttributeChange {
                    mode: Some(mode),
                    ..AttributeChange::default()
                };
                service.setattr(FileNumber(file), &change).await
            }
            Step::Delete(file) => service.delete(FileNumber(file)).await,
            Step::Sync => service.sync().await.map(|_| ()),
        };
        match done {
            Ok(()) => break,
            Err(Error::NoMemory) => drop(service.sync().await),
            Err(error) => panic!("{step:?}: {error}"),
        }
    }
    match step {
        Step::Create(file) => {
            let empty = Expected {
                mode: 7,
                ..Expected::default()
            };
            model.insert(FileNumber(file), empty);
        }
        Step::Write(file, offset, len) => {
            let data = &mut model.get_mut(&FileNumber(file)).unwrap().data;
            data.resize(data.len().max(offset + len), 0);
            data[offset..offset + len].copy_from_slice(&content(len));
        }
        Step::Truncate(file, size) => {
            let expected = model.get_mut(&FileNumber(file)).unwrap();
            expected.data.resize(size, 0);
        }
        Step::Mode(file, mode) => model.get_mut(&FileNumber(file)).unwrap().mode = mode,
        Step::Delete(file) => drop(model.remove(&FileNumber(file))),
        Step::Sync => {}
    }
}

/// Runs `work` beside what the cache does in the background.
pub fn run<T>(mortal: &Mortal, name: &str, work: impl Future<Output = T>) -> T {
    let outcome = LocalPool::new().run_until(async {
        let (work, background) = (work.fuse(), mortal.background().fuse());
        let patience = async {
            for _ in 0..200_000 {
                yield_now().await;
            }
        }
        .fuse();
        pin_mut!(work, background, patience);
        select_biased! {
            done = work => Some(done),
            () = background => None,
            () = patience => None,
        }
    });
    outcome.unwrap_or_else(|| panic!("{name}: nothing moves any more"))
}

/// Everything the model has is there, and nothing else of these files.
pub async fn check(service: &impl FileService, model: &Model, name: &str) {
    for number in 1..20 {
        let file = FileNumber(number);
        let found = service.getattr(file).await;
        let Some(expected) = model.get(&file) else {
            assert_eq!(found, Err(Error::NotFound), "{name}, file {number}");
            continue;
        };
        let found = found.unwrap_or_else(|error| panic!("{name}, file {number}: {error}"));
        assert_eq!(
            (found.size, found.mode),
            (expected.data.len() as u64, expected.mode),
            "{name}, file {number}"
        );
        let mut bytes = vec![0xaa; expected.data.len() + 5];
        let got = service.read(file, 0, Sink::local(&mut bytes)).await;
        assert_eq!(got, Ok(expected.data.len()), "{name}, file {number}");
        assert!(
            bytes[..expected.data.len()] == expected.data,
            "{name}: wrong content of file {number}"
        );
    }
}

/// A step that the model allows.
pub fn any_step(random: &mut Random, model: &Model) -> Step {
    let number = 1 + random.below(6);
    let Some(expected) = model.get(&FileNumber(number)) else {
        return Step::Create(number);
    };
    let size = expected.data.len() as u64;
    let any = |random: &mut Random| random.below(size + 1) as usize;
    match random.below(12) {
        0 => Step::Delete(number),
        1 => Step::Truncate(number, any(random)),
        2 => Step::Truncate(number, size as usize + random.below(10_000) as usize),
        3 => Step::Mode(number, random.below(512) as u32),
        4 => Step::Sync,
        5..=7 => Step::Write(number, any(random) / PAGE * PAGE, PAGE),
        8..=9 if size < 120_000 => Step::Write(number, size as usize, 1 + any(random) / 2 + 6000),
        _ => Step::Write(number, any(random), 1 + random.below(6000) as usize),
    }
}
