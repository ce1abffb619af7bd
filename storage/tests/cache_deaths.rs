//! The cache dies: at every store to the memory that outlives it, at random points, and after writes by
//! mistake into that memory. The layer below forgets with it, back to its checkpoint.

mod cache_support;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use cache_support::{Mortal, PAGE, Random, SyncPoint, write_all, write_of, yield_now};
use futures_executor::LocalPool;
use futures_util::{FutureExt, pin_mut, select_biased};
use storage::{
    Error,
    buffer::Sink,
    cache::{Config, Trust},
    file::{AttributeChange, Attributes, FileNumber, FileService, Resume, Resuming, Timestamp},
    surviving::Heap,
};

fn small() -> Config {
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
struct Expected {
    data: Vec<u8>,
    mode: u32,
}

type Model = BTreeMap<FileNumber, Expected>;

#[derive(Clone, Copy, Debug)]
enum Step {
    Create(u64),
    Write(u64, usize, usize),
    Truncate(u64, usize),
    Mode(u64, u32),
    Delete(u64),
    Sync,
}

/// Does a step, twice if room wants a sync first, and does it to the model.
async fn step(service: &impl FileService, model: &mut Model, step: Step, time: u64) {
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
fn run<T>(mortal: &Mortal, name: &str, work: impl Future<Output = T>) -> T {
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
async fn check(service: &impl FileService, model: &Model, name: &str) {
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

fn check_below(mortal: &Mortal, model: &Model, name: &str) {
    let state = mortal.below.state();
    assert_eq!(state.violations, Vec::<String>::new(), "{name}");
    let found: Vec<_> = state.checkpoint.files.keys().copied().collect();
    let wanted: Vec<_> = model.keys().copied().collect();
    assert_eq!(found, wanted, "{name}");
    for (file, expected) in model {
        let stored = &state.checkpoint.files[file];
        assert!(stored.data == expected.data, "{name}: {file:?} as stored");
        assert_eq!(stored.attributes.mode, expected.mode, "{name}: {file:?}");
    }
}

/// Every kind of change to files that the checkpoint has, that it has not, and that it has another of.
const SCRIPT: [Step; 32] = [
    Step::Create(1),
    Step::Write(1, 0, 3 * PAGE),
    Step::Create(2),
    Step::Write(2, 0, 2 * PAGE + 100),
    Step::Create(3),
    Step::Write(3, 0, 5000),
    Step::Create(4),
    Step::Sync,
    Step::Write(1, 10, 20),
    Step::Write(1, PAGE, PAGE),
    Step::Write(1, PAGE + 5, 100),
    Step::Write(1, 3 * PAGE - 7, 1000),
    Step::Truncate(2, PAGE + 50),
    Step::Truncate(2, 2 * PAGE),
    Step::Write(2, PAGE + 60, 10),
    Step::Truncate(2, PAGE + 62),
    Step::Mode(3, 0o755),
    Step::Delete(4),
    Step::Create(5),
    Step::Write(5, 100, 4 * PAGE),
    Step::Truncate(5, 2 * PAGE + 1),
    Step::Delete(3),
    Step::Create(3),
    Step::Write(3, 0, 17),
    Step::Create(6),
    Step::Write(6, 0, PAGE),
    Step::Delete(6),
    Step::Sync,
    Step::Truncate(1, 0),
    Step::Write(1, 3 * PAGE, 3),
    Step::Delete(5),
    Step::Write(2, 0, PAGE),
];

/// Runs the script with deaths at these stores; returns how many stores there were, and deaths.
fn script(deaths_at: Vec<u64>) -> (u64, u64) {
    let name = format!("deaths at {deaths_at:?}");
    let mortal = Mortal::new(3, small());
    mortal.below.state().delay_max = 1;
    mortal.die_at(deaths_at);
    let service = Resuming::new(mortal.clone());
    let mut model = Model::new();
    run(&mortal, &name, async {
        service.attach().await.expect("nothing is in the way");
        for (time, &what) in SCRIPT.iter().enumerate() {
            step(&service, &mut model, what, time as u64).await;
        }
        check(&service, &model, &name).await;
        service.sync().await.expect("a checkpoint");
        check(&service, &model, &name).await;
    });
    check_below(&mortal, &model, &name);
    (mortal.stores(), mortal.deaths())
}

#[test]
fn a_death_at_any_store_is_never_seen() {
    let (stores, deaths) = script(vec![]);
    assert_eq!(deaths, 0);
    let mut died = 0;
    for store in first_of_the_volume()..stores {
        died += script(vec![store]).1;
    }
    assert!(died > 1000, "{died} deaths");
}

/// Before there is a table, there is nothing to lose; what is said then is another test's.
fn first_of_the_volume() -> u64 {
    let mortal = Mortal::new(3, small());
    run(&mortal, "the first", async {
        mortal.history().await.unwrap();
    });
    mortal.stores()
}

/// The instance that recovers dies in the middle of that, and the one after it.
#[test]
fn deaths_while_recovering_are_never_seen() {
    let (stores, _) = script(vec![]);
    let mut died = 0;
    for (round, store) in (first_of_the_volume()..stores).step_by(47).enumerate() {
        for again in (1..40).step_by(3) {
            let later = again + 1 + round as u64 % 5;
            died += script(vec![store, store + again, store + again + later]).1;
        }
    }
    assert!(died > 500, "{died} deaths");
}

/// A file that is larger than the cache is written, with deaths at random points: pages under way, kept
/// by the log alone, dirty.
#[test]
fn deaths_at_random_points_are_never_seen() {
    let mut deaths = 0;
    for seed in 0..25 {
        let name = format!("seed {seed}");
        let mut random = Random::new(seed);
        let mortal = Mortal::new(seed, small());
        let service = Resuming::new(mortal.clone());
        let mut model = Model::new();
        let ended = RefCell::new(false);
        let mut killer = random.clone();
        let killing = async {
            while !*ended.borrow() {
                for _ in 0..killer.below(600) {
                    yield_now().await;
                }
                mortal.kill();
                for _ in 0..killer.below(3) {
                    // Sometimes before it has done anything.
                    yield_now().await;
                    mortal.kill();
                }
                yield_now().await;
            }
        };
        let working = async {
            service.attach().await.expect("nothing is in the way");
            for time in 0..120 {
                let what = any_step(&mut random, &model);
                step(&service, &mut model, what, time).await;
                if time % 10 == 0 {
                    check(&service, &model, &name).await;
                }
            }
            *ended.borrow_mut() = true;
            check(&service, &model, &name).await;
            service.sync().await.expect("a checkpoint");
        };
        run(&mortal, &name, async {
            futures_util::join!(working, killing)
        });
        check_below(&mortal, &model, &name);
        deaths += mortal.deaths();
    }
    assert!(deaths > 100, "{deaths} deaths");
}

/// A step that the model allows.
fn any_step(random: &mut Random, model: &Model) -> Step {
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

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        LINES.with_borrow_mut(|lines| lines.push(line));
    }
    fn flush(&self) {}
}

/// What was said since the last time, in this thread.
fn said() -> Vec<String> {
    static ALL: Lines = Lines;
    // Another test may have been first.
    let _ = log::set_logger(&ALL);
    log::set_max_level(log::LevelFilter::Info);
    LINES.with_borrow_mut(std::mem::take)
}

/// Writes somewhere in the memory: noise, zeros, ones, or a piece of it from another place.
fn write_wild(memory: &Heap, random: &mut Random) {
    let pages = memory.len() as u64;
    let contents = memory.contents();
    for _ in 0..=random.below(2) {
        let len = [8, 8, 32, 200, 1500][random.below(5) as usize];
        let offset = random.below((PAGE - len) as u64 / 8) as usize * 8;
        let from = random.below((PAGE - len) as u64 / 8) as usize * 8;
        let page = random.below(pages) as usize;
        let bytes = match random.below(4) {
            0 => vec![0; len],
            1 => vec![0xff; len],
            2 => contents[random.below(pages) as usize][from..from + len].to_vec(),
            _ => random.bytes(len),
        };
        assert!(memory.write_wild(page, offset, &bytes));
    }
}

/// Files whose content differs from the model's, each page told apart.
async fn differences(
    service: &impl FileService,
    model: &Model,
    name: &str,
) -> BTreeSet<(u64, u64)> {
    let mut lost = BTreeSet::new();
    for (&file, expected) in model {
        let found = service.getattr(file).await.unwrap();
        assert_eq!(found.size, expected.data.len() as u64, "{name}: {file:?}");
        assert_eq!(found.mode, expected.mode, "{name}: {file:?}");
        for (index, wanted) in expected.data.chunks(PAGE).enumerate() {
            let mut bytes = vec![0xaa; wanted.len()];
            let offset = (index * PAGE) as u64;
            match service.read(file, offset, Sink::local(&mut bytes)).await {
                Ok(_) => assert!(
                    bytes == wanted,
                    "{name}: wrong data in {file:?}, page {index}"
                ),
                Err(Error::Corrupt) => drop(lost.insert((file.0, index as u64))),
                Err(error) => panic!("{name}: {file:?}: {error}"),
            }
        }
    }
    lost
}

/// Writes by mistake into the memory of a cache that died: what it serves then is right, or an error, or
/// a state as of the last checkpoint that naming is told of. Whatever is lost was named.
#[test]
fn nothing_wrong_is_served_after_wild_writes() {
    let (mut intact, mut pages, mut all) = (0, 0, 0);
    for seed in 0..250 {
        let name = format!("seed {seed}");
        let mut random = Random::new(seed + 5000);
        let mortal = Mortal::new(seed, small());
        let service = Resuming::new(mortal.clone());
        let mut model = Model::new();
        let mut checkpoint = Model::new();
        run(&mortal, &name, async {
            service.attach().await.unwrap();
            for time in 0..60 {
                let what = any_step(&mut random, &model);
                let syncs = mortal.below.calls("sync");
                step(&service, &mut model, what, time).await;
                if mortal.below.calls("sync") != syncs {
                    // By itself, or because a step wanted it first: then it is made whole by another.
                    service.sync().await.unwrap();
                    checkpoint = model.clone();
                }
            }
            said();
            mortal
                .kill_and(|memory| write_wild(memory, &mut random))
                .await;
            let asked = service.usage().fuse();
            let lost = service.lost().fuse();
            pin_mut!(asked, lost);
            let is_lost = select_biased! { _ = asked => false, () = lost => true };
            let words = said();
            if is_lost {
                all += 1;
                let told = |line: &String| {
                    line.starts_with("ERROR") && line.contains("what was not synced is lost")
                };
                assert!(words.iter().any(told), "{name}: {words:?}");
                let service = Resuming::new(mortal.clone());
                service.attach().await.unwrap();
                check(&service, &checkpoint, &name).await;
                return;
            }
            let lost = differences(&service, &model, &name).await;
            let named: BTreeSet<_> = words.iter().filter_map(|line| page_named(line)).collect();
            assert_eq!(lost, named, "{name}: {words:?}");
            match lost.len() {
                0 => intact += 1,
                _ => pages += 1,
            }
            // What is lost is lost for good: also after a checkpoint, and for a cache that knows nothing.
            service.sync().await.unwrap();
            mortal.trust(Trust::Discard);
            mortal.kill();
            let service = Resuming::new(mortal.clone());
            service.attach().await.unwrap();
            mark_what_does_not_match(&mortal);
            assert_eq!(differences(&service, &model, &name).await, lost, "{name}");
            // Until it is written again.
            for &(file, index) in &lost {
                let data = &mut model.get_mut(&FileNumber(file)).unwrap().data;
                let at = index as usize * PAGE;
                let end = data.len().min(at + PAGE);
                data[at..end].fill(9);
                let write = write_of(FileNumber(file), at as u64, &data[at..end], 99);
                write_all(&service, write).await.unwrap();
            }
            check(&service, &model, &name).await;
        });
    }
    println!("{intact} intact, {pages} with lost pages, {all} with all lost");
    assert!(
        intact > 30 && pages > 20 && all > 5,
        "{intact} {pages} {all}"
    );
}

/// Writes by mistake into the memory of a cache that lives: nothing of it is served, nor merged with what is
/// written next, nor stored as if it were good. Pages that are the same below are read again.
#[test]
fn nothing_wrong_is_served_by_a_cache_that_was_hit_and_lives() {
    let (mut lost_pages, mut read_again, mut back) = (0, 0, 0);
    for seed in 0..150 {
        let name = format!("seed {seed}");
        let mut random = Random::new(seed + 9000);
        let mortal = Mortal::new(seed, small());
        let service = Resuming::new(mortal.clone());
        let mut model = Model::new();
        run(&mortal, &name, async {
            service.attach().await.unwrap();
            for time in 0..60 {
                let what = any_step(&mut random, &model);
                step(&service, &mut model, what, time).await;
            }
            if seed % 3 == 0 {
                service.sync().await.unwrap();
            }
            said();
            mortal.strike_pages(&mut random);
            let mut lost = BTreeSet::new();
            // Before anybody has read it: a byte here, a cut there.
            for (&file, expected) in &mut model {
                let len = expected.data.len();
                for at in (0..len).step_by(PAGE) {
                    let at = at + random.below(PAGE.min(len - at) as u64) as usize;
                    match service
                        .write(write_of(file, at as u64, &[at as u8], 70))
                        .await
                    {
                        Ok(_) => expected.data[at] = at as u8,
                        Err(Error::Corrupt) => drop(lost.insert((file.0, (at / PAGE) as u64))),
                        Err(error) => panic!("{name}: {error}"),
                    }
                }
                if len > 0 && random.one_in(3) {
                    let to = random.below(len as u64);
                    service.truncate(file, to, 71).await.unwrap();
                    expected.data.truncate(to as usize);
                    lost.retain(|&(of, page)| of != file.0 || page * (PAGE as u64) < to);
                }
            }
            lost.extend(differences(&service, &model, &name).await);
            let words = said();
            let named: BTreeSet<_> = words.iter().filter_map(|line| page_named(line)).collect();
            assert!(named.is_superset(&lost), "{name}: {lost:?} and {words:?}");
            lost_pages += lost.len();
            read_again += words
                .iter()
                .filter(|line| line.contains("read again"))
                .count();
            service.sync().await.unwrap();
            mortal.trust(Trust::Discard);
            mortal.kill();
            let service = Resuming::new(mortal.clone());
            service.attach().await.unwrap();
            mark_what_does_not_match(&mortal);
            // Those that had been written down before they were hit are there again.
            let after = differences(&service, &model, &name).await;
            assert!(lost.is_superset(&after), "{name}: {after:?}, were {lost:?}");
            back += lost.len() - after.len();
        });
    }
    println!("{back} back, {lost_pages} pages lost, {read_again} read again");
    assert!(
        lost_pages > 30 && read_again > 30,
        "{lost_pages} {read_again}"
    );
}

/// The file and the page that a line says are lost.
fn page_named(line: &str) -> Option<(u64, u64)> {
    let event: String = line.strip_prefix("INFO ")?.to_owned();
    let rest = event.strip_prefix(r#"{"event":"loss","file":"#)?;
    let (file, page) = rest.strip_suffix('}')?.split_once(r#","page":"#)?;
    Some((file.parse().ok()?, page.parse().ok()?))
}

/// The layer below keeps what it is sent, and does not look at it again: this has it find out, as a store
/// does, which blocks are not what their checksums say.
fn mark_what_does_not_match(mortal: &Mortal) {
    let mut state = mortal.below.state();
    let mismatched = std::mem::take(&mut state.mismatched);
    state.bad = mismatched;
}

/// The last restart before the end: what is there is given up, loudly, and the checkpoint is served.
#[test]
fn memory_that_is_not_trusted_is_given_up_loudly() {
    let mortal = Mortal::new(1, small());
    let service = Resuming::new(mortal.clone());
    let mut model = Model::new();
    run(&mortal, "discard", async {
        service.attach().await.unwrap();
        step(&service, &mut model, Step::Create(1), 1).await;
        step(&service, &mut model, Step::Write(1, 0, 9000), 2).await;
        step(&service, &mut model, Step::Sync, 3).await;
        let checkpoint = model.clone();
        step(&service, &mut model, Step::Write(1, 0, 5000), 4).await;
        step(&service, &mut model, Step::Create(2), 5).await;
        let history = service.history().await;
        said();
        mortal.trust(Trust::Discard);
        mortal.kill();
        let attributes = Attributes::default();
        let create = service.create(FileNumber(3), &attributes).fuse();
        let lost = service.lost().fuse();
        pin_mut!(create, lost);
        select_biased! {
            done = create => panic!("naming goes on as if nothing had happened: {done:?}"),
            () = lost => {}
        }
        let words = said().join("\n");
        assert!(
            words.contains("files that had changed since: 1,2")
                && words.contains(r#"{"event":"reverted","files":[1,2]}"#),
            "{words}"
        );
        let service = Resuming::new(mortal.clone());
        service.attach().await.unwrap();
        assert_ne!(service.history().await, history);
        check(&service, &checkpoint, "discarded").await;
        // And from here on it is written down again.
        let mut model = checkpoint;
        step(&service, &mut model, Step::Write(1, 0, 100), 6).await;
        mortal.kill();
        check(&service, &model, "afterwards").await;
    });
}

/// Calls that find what their first attempt has done.
#[test]
fn a_repeated_call_finds_its_own_effect() {
    let mortal = Mortal::new(1, small());
    let service = Resuming::new(mortal.clone());
    run(&mortal, "repeated", async {
        service.attach().await.unwrap();
        let (file, attributes) = (FileNumber(9), Attributes::default());
        mortal.create(file, &attributes).await.unwrap();
        assert_eq!(service.create(file, &attributes).await, Err(Error::Exists));
        mortal.delete(file).await.unwrap();
        assert_eq!(service.delete(file).await, Err(Error::NotFound));
        let history = service.history().await.unwrap();
        mortal.kill();
        assert_eq!(service.history().await, Ok(history), "nothing was lost");
    });
}

/// A sync that was given up must not be thought to be under way when the log has more: what one store may have
/// of it would be taken for all of the log.
#[test]
fn a_sync_that_was_given_up_is_not_under_way() {
    let mortal = Mortal::new(1, small());
    let service = Resuming::new(mortal.clone());
    let mut model = Model::new();
    run(&mortal, "given up", async {
        service.attach().await.unwrap();
        step(&service, &mut model, Step::Create(1), 1).await;
        step(&service, &mut model, Step::Sync, 2).await;
        step(&service, &mut model, Step::Write(1, 0, 100), 3).await;
        // The cache dies in a sync, and who asked for it is gone.
        let base = mortal.below.state().timestamp;
        let crashes = mortal.below.state().crashes;
        mortal.below.state().crash_in_sync = vec![SyncPoint::Before];
        {
            let sync = service.sync().fuse();
            let begun = async {
                while mortal.below.state().crashes == crashes {
                    yield_now().await;
                }
            }
            .fuse();
            pin_mut!(sync, begun);
            select_biased! {
                () = begun => mortal.kill(),
                _ = sync => panic!("it has ended"),
            }
        }
        check(&service, &model, "gone back").await;
        let resumed = |syncing| {
            let base = Timestamp(base);
            Some(Resume { base, syncing })
        };
        assert_eq!(mortal.below.state().resumed, resumed(true));
        step(&service, &mut model, Step::Write(1, 50, 100), 4).await;
        mortal.below.crash();
        step(&service, &mut model, Step::Create(2), 5).await;
        assert_eq!(mortal.below.state().resumed, resumed(false));
        check(&service, &model, "given up").await;
    });
}

/// Without a log there is nothing to go on with, above or below.
#[test]
fn without_a_log_a_crash_ends_the_stack() {
    let config = Config {
        roll_forward: false,
        ..small()
    };
    let mortal = Mortal::new(1, config);
    let service = Resuming::new(mortal.clone());
    let mut model = Model::new();
    run(&mortal, "no log", async {
        service.attach().await.unwrap();
        step(&service, &mut model, Step::Create(1), 1).await;
        step(&service, &mut model, Step::Write(1, 0, 9000), 2).await;
        step(&service, &mut model, Step::Sync, 3).await;
        assert_eq!(mortal.statistics().map(|it| it.log_pages), Some(0));
        mortal.below.crash();
        assert_eq!(service.usage().await, Err(Error::PeerGone));
    });
}
