//! The block-device suite over the driver and a simulated device, with every choice of features.

mod simulated;

use conformance::Options;
use simulated::{
    Rig,
    device::{
        ALL, BLK_SIZE, DISCARD, EVENT_IDX, FLUSH, Fault, INDIRECT, RO, SEG_MAX, WRITE_ZEROES,
    },
};

fn options() -> Options {
    Options {
        window_sectors: 512,
        blocks_max: 5,
        rounds: 4,
        ..Options::default()
    }
}

fn passes(name: &str, rig: &Rig) {
    let passed = rig.run(conformance::run(&rig.driver, &options()));
    let passed = passed.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    assert!(passed > 100, "{name}: only {passed} checks");
    assert_eq!(
        rig.machine.pinned_tokens(),
        0,
        "{name}: memory stays pinned"
    );
}

#[test]
fn with_any_choice_of_features() {
    for (name, features) in [
        ("all", ALL),
        ("no event index", ALL & !EVENT_IDX),
        ("no indirect tables", ALL & !INDIRECT),
        ("neither", ALL & !INDIRECT & !EVENT_IDX),
        ("no bound on segments", ALL & !SEG_MAX),
        ("no flush", ALL & !FLUSH),
        ("no discard, no zeroes", ALL & !DISCARD & !WRITE_ZEROES),
        ("no block size", ALL & !BLK_SIZE),
        ("read-only", ALL | RO),
    ] {
        passes(name, &Rig::new(4096, features));
    }
}

#[test]
fn with_large_blocks_and_a_short_queue() {
    for (block, queue_max, seg_max, size_max) in [
        (4096, 256, 126, 65536),
        (1024, 4, 2, 512),
        (512, 8, 1, 512),
        (4096, 100, 9, 600),
    ] {
        let rig = Rig::new(8192, ALL);
        {
            let mut device = rig.device.borrow_mut();
            device.block = block;
            device.queue_max = queue_max;
            device.seg_max = seg_max;
            device.size_max = size_max;
        }
        passes(&format!("block {block}, queue {queue_max}"), &rig);
    }
}

#[test]
fn while_the_device_fails_now_and_then() {
    for fault in [
        Fault::Status(1),
        Fault::Length(3),
        Fault::Silence,
        Fault::Head(77),
        Fault::Twice,
        Fault::Jump(3),
        Fault::NeedsReset,
    ] {
        let rig = Rig::new(4096, ALL);
        // Every 41st request: a request that a reset hits three times in a row would fail.
        rig.device.borrow_mut().faults = (0..4000)
            .map(|index| (index % 41 == 40).then_some(fault))
            .collect();
        passes(&format!("{fault:?}"), &rig);
    }
}
