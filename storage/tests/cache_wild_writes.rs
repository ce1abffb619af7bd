//! Writes by mistake into the memory that outlives the cache, dead or alive: nothing wrong is served, and what is
//! lost is named.

mod cache_support;

use std::{cell::RefCell, collections::BTreeSet};

use cache_support::{
    Model, Mortal, PAGE, Random, Step, any_step, check, run, small, step, write_all, write_of,
};
use futures_util::{FutureExt, pin_mut, select_biased};
use storage::{
    Error,
    buffer::Sink,
    cache::Trust,
    file::{Attributes, FileNumber, FileService, Resuming},
    surviving::Heap,
};

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
    let (mut intact, mut pages, mut all, mut complete) = (0, 0, 0, 0);
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
                complete += u64::from(all_are_named(&words, &checkpoint, &model, &name));
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
        intact > 30 && pages > 20 && all > 5 && all > complete,
        "{intact} {pages} {all} {complete}"
    );
}

/// Whether it was said that the files are named that went back to the checkpoint, without a reservation: then they are
/// all of those that had changed.
fn all_are_named(words: &[String], checkpoint: &Model, model: &Model, name: &str) -> bool {
    let is_partial = words.iter().any(|line| line.contains(r#""more":true"#));
    let reserved = ["at least these files", "cannot be named any more"];
    let is_said = words
        .iter()
        .any(|line| line.starts_with("ERROR") && reserved.iter().any(|it| line.contains(it)));
    assert_eq!(is_partial, is_said, "{name}: {words:?}");
    if is_partial {
        return false;
    }
    let named: BTreeSet<u64> = words
        .iter()
        .filter_map(|line| line.split_once(r#"{"event":"reverted","files":["#))
        .flat_map(|(_, rest)| rest.trim_end_matches("]}").split(','))
        .map(|number| number.parse().unwrap())
        .collect();
    for file in checkpoint.keys().chain(model.keys()) {
        let has_changed = checkpoint.get(file) != model.get(file);
        assert!(
            !has_changed || named.contains(&file.0),
            "{name}: {file:?}: {words:?}"
        );
    }
    true
}

/// A record that is overwritten is of a file that nobody can name, or of one that may be another.
#[test]
fn files_whose_records_are_overwritten_are_not_passed_over() {
    let (mut all, mut complete) = (0, 0);
    for seed in 0..40 {
        let name = format!("seed {seed}");
        let mut random = Random::new(seed + 9000);
        let mortal = Mortal::new(seed, small());
        let service = Resuming::new(mortal.clone());
        let mut model = Model::new();
        run(&mortal, &name, async {
            service.attach().await.unwrap();
            step(&service, &mut model, Step::Create(1), 1).await;
            step(&service, &mut model, Step::Sync, 2).await;
            let checkpoint = model.clone();
            for number in 2..12 {
                step(&service, &mut model, Step::Create(number), 3).await;
                step(&service, &mut model, Step::Write(number, 0, 100), 4).await;
            }
            said();
            mortal
                .kill_and(|memory| {
                    for _ in 0..100 {
                        write_wild(memory, &mut random);
                    }
                })
                .await;
            let asked = service.usage().fuse();
            let lost = service.lost().fuse();
            pin_mut!(asked, lost);
            let is_lost = select_biased! { _ = asked => false, () = lost => true };
            if is_lost {
                all += 1;
                complete += u64::from(all_are_named(&said(), &checkpoint, &model, &name));
            }
        });
    }
    assert!(all > 30 && complete < all, "{all} {complete}");
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

/// What is hit and sent down before anybody reads it is named when it goes: a sync answers well, and what was lost is
/// known.
#[test]
fn what_is_hit_before_it_is_written_down_is_named() {
    let mut all = 0;
    for seed in 0..40 {
        let name = format!("seed {seed}");
        let mut random = Random::new(seed + 12000);
        let mortal = Mortal::new(seed, small());
        let service = Resuming::new(mortal.clone());
        let mut model = Model::new();
        run(&mortal, &name, async {
            service.attach().await.unwrap();
            for time in 0..30 {
                let what = any_step(&mut random, &model);
                step(&service, &mut model, what, time).await;
            }
            said();
            mortal.strike_pages(&mut random);
            service.sync().await.unwrap();
            let words = said();
            let named: BTreeSet<_> = words.iter().filter_map(|line| page_named(line)).collect();
            // A cache that knows nothing reads what is below.
            mortal.trust(Trust::Discard);
            mortal.kill();
            let service = Resuming::new(mortal.clone());
            service.attach().await.unwrap();
            mark_what_does_not_match(&mortal);
            let lost = differences(&service, &model, &name).await;
            assert_eq!(lost, named, "{name}: {words:?}");
            all += lost.len();
        });
    }
    assert!(all > 20, "{all}");
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
