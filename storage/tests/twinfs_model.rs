//! TwinFS against a model: the same operations, the same answers, before and after every reload.

mod twinfs_support;

use futures_executor::block_on;
use storage::{
    file::{FileStore, Timestamp},
    twinfs::{Config, Overwrite},
};
use twinfs_support::*;

fn run(seed: u64, mebibytes: u64, twin_offset: u32, config: Config, steps: u32) {
    let disk = disk(mebibytes);
    let mut pair = Pair {
        store: fresh(&disk, config, twin_offset),
        model: Model::new(),
        random: Random(seed),
        blocks_max: 40,
    };
    if config.cache_blocks == 0 && mebibytes > 64 {
        pair.spread();
    }
    let mut timestamp = 1;
    let mut durable = Model::new();
    for step in 0..steps {
        pair.step();
        let what = format!("seed {seed}, step {step}");
        match pair.random.below(60) {
            0 => {
                timestamp += 1;
                block_on(pair.store.sync(checkpoint(timestamp))).unwrap();
                durable = pair.model.clone();
                if pair.random.below(2) == 0 {
                    // Another instance finds the same, by what is on the disk alone.
                    pair.store = store(&disk, config);
                    let info = block_on(pair.store.info()).unwrap();
                    assert_eq!(info.newest, checkpoint(timestamp), "{what}");
                    block_on(pair.store.load(Timestamp(timestamp))).unwrap();
                }
                pair.model.compare(&pair.store, &what);
            }
            // What a crash leaves of overwrites in place is another test's affair, and without twins it
            // leaves nothing.
            1 if config.overwrite == Overwrite::Relocate && config.twins => {
                // A crash: all since the checkpoint is gone.
                pair.store = store(&disk, config);
                block_on(pair.store.load(Timestamp(timestamp))).unwrap();
                durable.gone.extend(pair.model.files.keys());
                durable.gone.extend(pair.model.gone.iter());
                durable
                    .gone
                    .retain(|number| !durable.files.contains_key(number));
                pair.model = durable.clone();
                pair.model.compare(&pair.store, &what);
            }
            2 => pair.model.compare(&pair.store, &what),
            _ => {}
        }
    }
    pair.model
        .compare(&pair.store, &format!("seed {seed}, end"));
}

#[test]
fn random_operations_on_a_roomy_disk() {
    for seed in 0..6 {
        run(
            seed,
            128,
            [16, 1, 256, 7, 32, 64][seed as usize],
            Config::default(),
            600,
        );
    }
}

#[test]
fn random_operations_with_a_cache_that_is_too_small() {
    // In the last, the only clean block but one is, at some time, the parent of the next to be read.
    for seed in (10..14).chain([108]) {
        run(seed, 128, 16, small_cache(), 900);
    }
}

#[test]
fn random_operations_on_a_disk_that_is_too_small() {
    for seed in 20..26 {
        run(seed, 6, 16, small_cache(), 900);
    }
}

#[test]
fn random_operations_without_twins() {
    for (seed, mebibytes, cache_blocks, steps) in
        [(40, 128, 0, 200), (41, 6, 0, 600), (42, 64, 4096, 300)]
    {
        let config = Config {
            cache_blocks,
            ..without_twins()
        };
        run(seed, mebibytes, 16, config, steps);
    }
}

#[test]
fn random_operations_that_overwrite_in_place() {
    for (seed, mebibytes) in [(30, 128), (31, 6), (32, 6)] {
        for overwrite in [Overwrite::InPlace, Overwrite::Unlogged] {
            let config = Config {
                overwrite,
                ..small_cache()
            };
            run(seed, mebibytes, 16, config, 400);
        }
    }
}
