//! Random calls against a map: with restarts, crashes in the middle of syncs, copies that go bad
//! and stores that run full.

use std::collections::BTreeMap;

use futures_executor::block_on;
use futures_util::FutureExt;
use storage::{Error, file::FileService};

use crate::{disk::Call, *};

/// Numbers that look random: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

type Model = BTreeMap<u64, Vec<u8>>;

fn check(layer: &Layer, model: &Model, what: &str) {
    for file in (0..40).map(number) {
        let expected = model.get(&file).cloned().ok_or(Error::NotFound);
        assert_eq!(try_read(layer, file), expected, "{what}: file {file}");
    }
}

/// Numbers in several blocks of the mapping.
fn number(i: u64) -> u64 {
    1 + i * 37
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let disks = disks(2);
    let mut layer = formatted(&disks);
    let mut model = Model::new();
    let mut synced = Model::new();
    for step in 0..400 {
        let what = format!("seed {seed} step {step}");
        let file = number(random.below(40));
        let victim = &disks[random.below(2) as usize];
        match random.below(16) {
            0..4 => {
                let created = block_on(layer.create(n(file), &mirrored()));
                let expected = if model.contains_key(&file) {
                    Err(Error::Exists)
                } else {
                    Ok(())
                };
                assert_eq!(created, expected, "{what}");
                model.entry(file).or_default();
            }
            4..9 => {
                let Some(content) = model.get_mut(&file) else {
                    continue;
                };
                let (at, len) = (random.below(4), 1 + random.below(3));
                let fill: Vec<u8> = (0..len).map(|_| random.below(255) as u8 + 1).collect();
                let size = (content.len() as u64).max(at + len);
                let refused = random.below(8) == 0;
                if refused {
                    victim.fail(Call::Write, Error::NoSpace, 1);
                }
                let written = try_write(&layer, file, at, &fill, size * 4096);
                if refused {
                    assert_eq!(written, Err(Error::NoSpace), "{what}");
                } else {
                    written.expect(&what);
                    content.resize(size as usize, 0);
                    content[at as usize..(at + len) as usize].copy_from_slice(&fill);
                }
            }
            9 => {
                let Some(content) = model.get_mut(&file) else {
                    continue;
                };
                let size = random.below(5);
                block_on(layer.truncate(n(file), size * 4096, 1)).expect(&what);
                content.resize(size as usize, 0);
            }
            10 => {
                let deleted = block_on(layer.delete(n(file)));
                assert_eq!(deleted.is_ok(), model.remove(&file).is_some(), "{what}");
            }
            11 => {
                sync(&layer);
                synced.clone_from(&model);
            }
            12 => {
                layer = attached(crate::layer(&disks)).0;
                model.clone_from(&synced);
                check(&layer, &model, &what);
            }
            13 => {
                // One store dies while it takes the checkpoint, the other may have taken it.
                victim.fail(Call::Sync, Error::PeerDied, 1);
                assert!(layer.sync().now_or_never().is_none(), "{what}");
                layer = attached(crate::layer(&disks)).0;
                model.clone_from(&synced);
                check(&layer, &model, &what);
            }
            14 => {
                victim.corrupt.borrow_mut().extend(2..200);
                check(&layer, &model, &what);
                victim.heal();
            }
            _ => check(&layer, &model, &what),
        }
    }
    sync(&layer);
    for disk in &disks {
        check(
            &attached(crate::layer(&[disk.image()])).0,
            &model,
            &format!("seed {seed}, alone"),
        );
    }
}

#[test]
fn random_calls_behave_like_a_map() {
    let seeds = std::env::var("GALAGO_SEEDS")
        .ok()
        .and_then(|it| it.parse().ok())
        .unwrap_or(30);
    for seed in 0..seeds {
        run(seed);
    }
}
