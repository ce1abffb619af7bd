//! A forgery has to get past the checksums, a truth has to be compared, and bounds have to hold.

use std::{
    collections::HashSet,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use storage::vfs::FileSystem as _;
use tests::stack::{TestClock, on_a_large_stack};

use super::{
    fuzz::{Memory, Options, fuzz, one},
    image::Image,
    mutate::MUTATIONS,
    using::exercise,
    volume::Volume,
};
use crate::{
    caught::caught,
    format::Kind,
    rig::{Cache, Disks, stack},
};

/// Runs that found something once: what was mended stays so.
const FOUND_ONCE: [u64; 0] = [];

/// One run of each kind of mutation, at least.
const RUNS: std::ops::Range<u64> = 0..60;

#[test]
fn images_of_fixed_seeds_do_no_harm() {
    on_a_large_stack(|| {
        let volumes = Volume::all();
        let (mut done, mut mounted, mut right, mut errors) = (Vec::new(), 0, 0, 0);
        for run in RUNS.chain(FOUND_ONCE) {
            let (case, result) = one(&volumes, run, &|| {});
            let found = result.unwrap_or_else(|what| panic!("image {run}, {case}: {what}"));
            mounted += u64::from(found.mounted);
            right += found.right;
            errors += found.errors;
            done.extend(case.done);
        }
        for mutation in MUTATIONS {
            assert!(done.contains(&mutation), "{mutation:?} is in no image");
        }
        let told = format!("{mounted} mounted, {right} parts compared, {errors} errors");
        assert!(mounted > 30 && right > 100 && errors > 100, "{told}");
    });
}

/// The first block of a file's data.
fn first_block(image: &Image, logical: u64) -> usize {
    let physical = image.physical(logical).expect("a file");
    image.of(|kind| kind == Kind::Data(physical, 0))[0]
}

#[test]
fn forged_data_are_believed_and_damaged_data_are_an_error() {
    on_a_large_stack(|| {
        let volume = &Volume::all()[0];
        let index = volume.files.iter().position(|file| file.path == "d/e/f/a");
        let index = index.expect("a file of the volume");
        let logical = *volume.files[index].logical.last().expect("itself");
        let believed = HashSet::from([index]);
        for forged in [false, true] {
            let mut image = Image::new(volume.copy().remove(0));
            let (untouched, node) = (image.needs(logical), first_block(&image, logical));
            let place = image.nodes[node].place;
            assert!(untouched.contains(&place));
            if forged {
                image.forge(node, |block| block[5] ^= 1);
            } else {
                image.damage(place, |block| block[5] ^= 1);
            }
            let disks: Disks = vec![Some(image.disk)];
            let files = (&volume.files[..], &believed);
            let result = caught(|| exercise(&disks, volume.overwrite, files, 1, &|| {}));
            match result {
                Ok(found) => {
                    assert!(!forged && found.mounted && found.right == 0, "{found:?}");
                    assert!(found.errors > 0);
                }
                Err(what) => assert!(forged && what.contains("wrong data without"), "{what}"),
            }
        }
    });
}

#[test]
fn sound_volumes_are_right_in_every_part() {
    on_a_large_stack(|| {
        for volume in Volume::all() {
            let parts: usize = volume.files.iter().map(|file| file.parts.len()).sum();
            let disks: Disks = volume.copy().into_iter().map(Some).collect();
            let all: HashSet<usize> = (0..volume.files.len()).collect();
            let found = exercise(&disks, volume.overwrite, (&volume.files, &all), 1, &|| {});
            assert_eq!(found.right, parts as u64);
        }
    });
}

/// The third volume has to have what it is there for.
#[test]
fn a_volume_has_overwrites_that_no_checkpoint_knows() {
    on_a_large_stack(|| {
        let volume = &Volume::all()[2];
        let disks: Disks = volume.copy().into_iter().map(Some).collect();
        let image = Image::new(disks[0].clone().expect("a disk"));
        let newer = image.nodes.iter().filter(|node| {
            let parent = node
                .parent
                .map(|parent| image.block(image.nodes[parent].place));
            parent.is_some_and(|block| {
                let sum = crate::format::u64_at(&block, node.at);
                image.root.algorithm.of(&image.block(node.place)) != sum
            })
        });
        assert!(newer.count() > 20);
        let clock = TestClock::default();
        let system = stack(&disks, &clock, Cache::Ample, volume.overwrite);
        let status = system.run(async { system.client(0).statfs().await });
        assert_eq!(status.expect("it can be mounted").stores_present, 2);
    });
}

#[test]
fn memory_without_bound_is_found() {
    static BYTES: OnceLock<AtomicUsize> = OnceLock::new();
    on_a_large_stack(|| {
        static LIMIT: AtomicUsize = AtomicUsize::new(0);
        let memory = Memory {
            allocated: || {
                BYTES
                    .get_or_init(AtomicUsize::default)
                    .fetch_add(1 << 20, Ordering::Relaxed)
            },
            limit: |bytes| LIMIT.store(bytes, Ordering::Relaxed),
        };
        let options = Options {
            seed: 0,
            runs: Some(1),
            minutes: None,
        };
        let mut told = Vec::new();
        let outcome = fuzz(&options, memory, |event| told.push(format!("{event:?}")));
        assert_eq!(outcome.failures, 1, "{told:?}");
        // Before it is tried, should the allocator end it.
        assert!(told[0].contains("image 0, 0 failed"), "{told:?}");
        assert_eq!(LIMIT.load(Ordering::Relaxed), 192 << 20);
        assert!(
            told[1].contains("MiB for one image") && told[1].contains("--seed 0"),
            "{told:?}"
        );
    });
}
