//! TwinFS and power failures: whatever part of the unflushed writes reaches the medium, one of the
//! checkpoints is there, whole.

mod twinfs_support;

use futures_executor::block_on;
use storage::{
    block::ram::{Event, History},
    file::{FileStore, Timestamp},
    twinfs::Config,
};
use twinfs_support::*;

const ROOT_SECTORS: [u64; 2] = [0, 256 * 8];

/// Two checkpoints with operations before, between and after them, and what the disk did meanwhile.
struct Run {
    id: String,
    history: History,
    /// Events when the second `sync` began and when it had returned.
    sync: std::ops::Range<usize>,
    empty: Model,
    first: Model,
    second: Model,
}

fn run(seed: u64, config: Config, files: u32) -> Run {
    let disk = disk(64);
    // Requests overlap, so that a flush which does not wait for what it is to cover shows.
    disk.delay(1);
    let mut pair = Pair {
        store: fresh(&disk, config, 16),
        model: Model::new(),
        random: Random(seed),
        blocks_max: 30,
    };
    if files == 0 {
        pair.spread();
    }
    for _ in 0..files {
        pair.step();
    }
    block_on(pair.store.sync(checkpoint(2))).unwrap();
    let first = pair.model.clone();
    disk.record();
    for _ in 0..if files == 0 { 150 } else { 30 } {
        pair.step();
    }
    let begin = disk.history().unwrap().events().len();
    block_on(pair.store.sync(checkpoint(3))).unwrap();
    let end = disk.history().unwrap().events().len();
    let second = pair.model.clone();
    for _ in 0..20 {
        pair.step();
    }
    let history = disk.history().unwrap();
    Run {
        id: format!("seed {seed}"),
        history,
        sync: begin..end,
        empty: Model::new(),
        first,
        second,
    }
}

fn check(run: &Run, taken: usize, what: &str, survives: impl FnMut(usize, u64) -> bool) {
    let disk = std::rc::Rc::new(run.history.crash(taken, survives));
    let what = format!("{}, {what}, after {taken} events", run.id);
    let store = store(&disk, Config::default());
    let info = block_on(store.info()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let newest = info.newest.timestamp.0;
    if taken < run.sync.end - 1 {
        assert_eq!(newest, 2, "{what}: a root before its flush");
    }
    if taken >= run.sync.end {
        assert_eq!(newest, 3, "{what}: sync had returned");
    }
    block_on(store.load(Timestamp(newest))).unwrap();
    let model = if newest == 3 { &run.second } else { &run.first };
    assert!(newest == 3 || newest == 2, "{what}");
    model.compare(&store, &what);
    if newest == 3 && taken <= run.sync.end {
        // Other stores may not have it yet.
        assert_eq!(info.previous, Some(checkpoint(2)), "{what}");
    }
    // What is offered is there, whatever was written since.
    if let Some(previous) = info.previous {
        block_on(store.load(previous.timestamp)).unwrap();
        let model = if newest == 3 { &run.first } else { &run.empty };
        model.compare(&store, &format!("{what}, previous"));
    }
}

#[test]
fn a_checkpoint_is_whole_after_a_crash_at_any_point() {
    for (seed, config) in [
        (1, Config::default()),
        (2, small_cache()),
        (3, Config::default()),
    ] {
        let run = run(seed, config, 60);
        let events = run.history.events().len();
        for taken in 0..=events {
            let mut random = Random(seed << 32 | taken as u64);
            check(&run, taken, "nothing survives", |_, _| false);
            check(&run, taken, "everything survives", |_, _| true);
            check(&run, taken, "half of the sectors", |_, _| {
                random.below(2) == 0
            });
            check(&run, taken, "the last write only", |event, _| {
                event + 1 == taken
            });
        }
    }
}

#[test]
fn a_checkpoint_is_whole_although_metadata_is_written_before_it() {
    let run = run(11, small_cache(), 0);
    let begin = run.sync.start;
    let near_the_sync = begin - 10..=run.sync.end;
    for taken in (0..=run.history.events().len())
        .step_by(23)
        .chain(near_the_sync)
    {
        let mut random = Random(taken as u64);
        check(&run, taken, "everything survives", |_, _| true);
        check(&run, taken, "half of the sectors", |_, _| {
            random.below(2) == 0
        });
    }
}

#[test]
fn a_torn_root_block_is_no_checkpoint() {
    let run = run(7, Config::default(), 40);
    // The root has been sent, not flushed: any of its eight sectors may be there.
    let taken = run.sync.end - 1;
    for survivors in 0..256u64 {
        let disk = std::rc::Rc::new(
            run.history
                .crash(taken, |_, sector| survivors >> (sector % 8) & 1 == 1),
        );
        let store = store(&disk, Config::default());
        let newest = block_on(store.info()).unwrap().newest.timestamp.0;
        block_on(store.load(Timestamp(newest))).unwrap();
        let model = if newest == 3 { &run.second } else { &run.first };
        model.compare(&store, &format!("survivors {survivors:#x}"));
    }
}

#[test]
fn the_root_is_written_between_two_flushes_and_never_else() {
    for seed in 30..34 {
        let run = run(seed, small_cache(), 60);
        let events = run.history.events();
        let root = |event: &Event| match event {
            Event::Write { sector, data } => {
                let end = sector + data.len() as u64 / 512;
                ROOT_SECTORS
                    .iter()
                    .any(|&root| *sector < root + 8 && root < end)
            }
            Event::Flush { .. } => false,
        };
        let flush = |event: &Event| matches!(event, Event::Flush { .. });
        let end = run.sync.end;
        assert!(flush(&events[end - 3]) && root(&events[end - 2]) && flush(&events[end - 1]));
        // Beside that, its copy is written over the one before, before anything else is, and a flush follows.
        let writes = |&event: &usize| root(&events[event]);
        let roots: Vec<usize> = (0..events.len()).filter(writes).collect();
        assert_eq!(roots, [0, end - 2, end], "seed {seed}");
        let flushes = |&event: &usize| flush(&events[event]);
        let flushes: Vec<usize> = (0..events.len()).filter(flushes).collect();
        assert_eq!(flushes, [1, end - 3, end - 1, end + 1], "seed {seed}");
        for (event, place) in [(0, 1), (end - 2, 3), (end, 2)] {
            let Event::Write { sector, data } = &events[event] else {
                unreachable!()
            };
            assert_eq!(*sector, ROOT_SECTORS[place % 2]);
            let timestamp = u64::from(data[56]);
            assert_eq!(
                timestamp,
                [2, 3, 3][roots.iter().position(|&it| it == event).unwrap()]
            );
        }
    }
}
