//! What the driver does about a device that does wrong: it fails, lies, stays silent or hangs.

mod simulated;

use std::{collections::VecDeque, pin::pin};

use futures_util::future::join_all;
use simulated::{
    Rig,
    device::{self, ALL, Fault},
};
use storage::{Error, block::BlockDevice};
use virtio::Turn;

const DISK: usize = 4096;

#[test]
fn a_failed_request_is_tried_again_and_then_fails() {
    for fault in [
        Fault::Status(1),
        Fault::Status(77),
        Fault::Status(0xfe),
        Fault::Length(-1),
        Fault::Length(1),
    ] {
        for failures in [1, 2, 3, 4] {
            let rig = Rig::new(DISK, ALL);
            let loan = rig.lend(&[512], 0);
            rig.device.borrow_mut().faults = VecDeque::from(vec![Some(fault); failures]);
            let expected = if failures < 3 {
                Ok(())
            } else {
                Err(Error::Device)
            };
            assert_eq!(
                rig.run(rig.read(3, &loan)),
                expected,
                "{fault:?}, {failures} times"
            );
            assert_eq!(rig.device.borrow().served.len(), failures.min(2) + 1);
            assert_eq!(rig.machine.pinned_tokens(), 0);
        }
    }
    // What the device does not know it will not learn.
    let rig = Rig::new(DISK, ALL);
    rig.device.borrow_mut().faults = VecDeque::from([Some(Fault::Status(2))]);
    assert_eq!(rig.run(rig.driver.flush()), Err(Error::Device));
    assert_eq!(rig.device.borrow().served.len(), 1);
}

#[test]
fn a_broken_ring_costs_a_reset_and_no_data() {
    for fault in [
        Fault::Head(5000),
        Fault::Head(127),
        Fault::Head(u32::MAX),
        Fault::Twice,
        Fault::Jump(1),
        Fault::Jump(40000),
        Fault::Status(0xff),
        Fault::Silence,
        Fault::NeedsReset,
    ] {
        let rig = Rig::new(DISK, ALL);
        rig.run(rig.driver.attach()).unwrap();
        let loans: Vec<_> = (0..20).map(|_| rig.lend(&[512], 0)).collect();
        for (loan, seed) in loans.iter().zip(0..) {
            loan.fill(&Rig::pattern(512, seed));
        }
        rig.device.borrow_mut().faults = VecDeque::from([None, None, Some(fault)]);
        let writes = join_all(loans.iter().zip(0..).map(|(loan, at)| rig.write(at, loan)));
        let results = rig.run(writes);
        assert!(results.iter().all(Result::is_ok), "{fault:?}: {results:?}");
        assert_eq!(
            rig.device.borrow().resets,
            2,
            "{fault:?}: one at the start, one now"
        );
        let waited = rig.now_ns.get() > 1_000_000_000;
        let silent = fault == Fault::Silence;
        assert_eq!(waited, silent, "{fault:?}: until {} ns", rig.now_ns.get());
        for (at, seed) in (0..20).zip(0..) {
            let found = &rig.device.borrow().disk[at * 512..(at + 1) * 512];
            assert!(found == Rig::pattern(512, seed), "{fault:?}: sector {at}");
        }
        assert_eq!(
            rig.machine.pinned_tokens(),
            0,
            "{fault:?}: memory stays pinned"
        );
    }
}

#[test]
fn a_device_that_never_answers_fails_its_requests_in_bounded_time() {
    for fault in [Fault::Silence, Fault::NeedsReset, Fault::Head(99)] {
        let rig = Rig::new(DISK, ALL);
        rig.device.borrow_mut().always = Some(fault);
        let loan = rig.lend(&[4096], 0);
        assert_eq!(rig.run(rig.read(0, &loan)), Err(Error::Device), "{fault:?}");
        assert_eq!(
            rig.device.borrow().resets,
            4,
            "{fault:?}: once at the start, once a try"
        );
        assert!(
            rig.now_ns.get() < 31_000_000_000,
            "{fault:?}: {} ns",
            rig.now_ns.get()
        );
        rig.settle();
        assert_eq!(rig.machine.pinned_tokens(), 0, "{fault:?}");
        // And it serves again as soon as the device does.
        rig.device.borrow_mut().always = None;
        assert_eq!(rig.run(rig.read(0, &loan)), Ok(()), "{fault:?}");
    }
}

#[test]
fn a_device_that_does_not_finish_its_reset_is_given_up() {
    let rig = Rig::new(DISK, ALL);
    rig.device.borrow_mut().hangs_in_reset = true;
    assert_eq!(rig.run(rig.driver.attach()), Err(Error::Device));
    assert_eq!(
        rig.last_turn.get(),
        Some(Turn::Failed(virtio::Fault::ResetUnfinished))
    );
    assert!(
        !rig.machine.quiesced.get(),
        "memory of the earlier instance was released"
    );

    // The same while requests are under way: what the device has stays pinned, because it may
    // still write there. The rest fails.
    let rig = Rig::new(DISK, ALL);
    rig.run(rig.driver.attach()).unwrap();
    rig.device.borrow_mut().always = Some(Fault::Silence);
    let loan = rig.lend(&[512], 0);
    let mut held = pin!(rig.read(0, &loan));
    assert!(Rig::poll(held.as_mut()).is_pending());
    rig.settle();
    rig.device.borrow_mut().hangs_in_reset = true;
    rig.now_ns.set(rig.now_ns.get() + 10_000_000_000);
    let late = rig.lend(&[512], 0);
    rig.step();
    assert_eq!(rig.run(rig.read(1, &late)), Err(Error::Device));
    assert!(Rig::poll(held.as_mut()).is_pending());
    assert_eq!(rig.machine.pinned_tokens(), 1);
    assert_eq!(
        rig.last_turn.get(),
        Some(Turn::Failed(virtio::Fault::ResetUnfinished))
    );
}

#[test]
fn devices_that_cannot_be_driven_are_refused_with_the_reason() {
    let refused = |prepare: &dyn Fn(&mut device::Device), reason| {
        let rig = Rig::new(DISK, ALL);
        prepare(&mut rig.device.borrow_mut());
        assert_eq!(
            rig.run(rig.driver.attach()),
            Err(Error::Device),
            "{reason:?}"
        );
        assert_eq!(rig.last_turn.get(), Some(Turn::Failed(reason)));
    };
    refused(
        &|device| device.features &= !device::VERSION_1,
        virtio::Fault::NotModern,
    );
    refused(
        &|device| device.refuses_features = true,
        virtio::Fault::FeaturesRefused,
    );
    refused(
        &|device| device.refuses_queue = true,
        virtio::Fault::QueueRefused,
    );
    refused(&|device| device.queue_max = 0, virtio::Fault::NoQueue);
    refused(&|device| device.queue_max = 2, virtio::Fault::NoQueue);
    refused(&|device| device.block = 0, virtio::Fault::BlockSize(0));
    refused(&|device| device.block = 520, virtio::Fault::BlockSize(520));
    refused(
        &|device| device.block = 8192,
        virtio::Fault::BlockSize(8192),
    );
    refused(
        &|device| device.size_max = 0,
        virtio::Fault::NoRoomForABlock,
    );
    refused(&|device| device.seg_max = 0, virtio::Fault::NoRoomForABlock);

    let rig = Rig::new(DISK, ALL);
    rig.machine.pages_left.set(3);
    assert_eq!(rig.run(rig.driver.attach()), Err(Error::Device));
    assert_eq!(
        rig.last_turn.get(),
        Some(Turn::Failed(virtio::Fault::OutOfMemory))
    );
}

#[test]
fn a_device_that_becomes_another_one_is_given_up() {
    let rig = Rig::new(DISK, ALL);
    rig.run(rig.driver.attach()).unwrap();
    let loan = rig.lend(&[512], 0);
    rig.device.borrow_mut().disk.truncate(512 * 100);
    rig.device.borrow_mut().faults = VecDeque::from([Some(Fault::NeedsReset)]);
    assert_eq!(rig.run(rig.read(0, &loan)), Err(Error::Device));
    assert_eq!(
        rig.last_turn.get(),
        Some(Turn::Failed(virtio::Fault::Changed))
    );
    assert_eq!(
        rig.machine.pinned_tokens(),
        0,
        "the device was reset and has nothing"
    );
}
