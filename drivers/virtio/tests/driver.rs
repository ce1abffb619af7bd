//! The driver against a simulated device that does right; clients need not.

mod simulated;

use std::{collections::VecDeque, pin::pin, task::Poll};

use futures_util::future::join_all;
use simulated::{
    Rig,
    device::{self, ALL, Fault},
};
use storage::{
    Error,
    block::BlockDevice,
    buffer::{Side, Sink, Source},
};
use virtio::Turn;

const DISK: usize = 4096;

#[test]
fn data_go_both_ways_from_scattered_pages() {
    let rig = Rig::new(DISK, ALL);
    // 5 × 512 bytes in pieces that end anywhere, one of them across a page.
    let from = rig.lend(&[100, 3, 1500, 957], 3000);
    from.fill(&Rig::pattern(2560, 1));
    rig.run(rig.write(10, &from)).unwrap();
    let disk = rig.device.borrow().disk.clone();
    assert!(disk[10 * 512..10 * 512 + 2560] == Rig::pattern(2560, 1));
    assert!(
        disk[..5120]
            .iter()
            .chain(&disk[7680..])
            .all(|&byte| byte == 0xee),
        "beside it"
    );

    let into = rig.lend(&[1, 2559], 4095);
    rig.run(rig.read(10, &into)).unwrap();
    assert!(into.bytes() == Rig::pattern(2560, 1));
    assert_eq!(rig.machine.pinned_tokens(), 0, "memory stays pinned");
}

#[test]
fn a_driver_that_hears_no_interrupts_looks_by_itself_and_soon_often() {
    let rig = Rig::new(DISK, ALL);
    let loan = rig.lend(&[512], 0);
    rig.run(rig.read(0, &loan)).unwrap();
    rig.is_deaf.set(true);
    let began_ns = rig.now_ns.get();
    for sector in 0..50 {
        rig.run(rig.read(sector, &loan)).unwrap();
    }
    // Two looks a tenth of a second apart, and from then on one each millisecond.
    let took_ns = rig.now_ns.get() - began_ns;
    assert!(took_ns < 300_000_000, "{took_ns} ns");

    // Interrupts that come again make looks rare again.
    rig.is_deaf.set(false);
    rig.run(rig.read(0, &loan)).unwrap();
    let Some(Turn::Until(until_ns)) = rig.last_turn.get() else {
        panic!("{:?}", rig.last_turn.get());
    };
    assert!(until_ns - rig.now_ns.get() <= 100_000_000, "a look is due");
    rig.now_ns.set(until_ns);
    rig.settle();
    assert!(
        matches!(rig.last_turn.get(), Some(Turn::Until(next_ns)) if next_ns > rig.now_ns.get() + 1_000_000_000),
        "nothing is looked for while the device has nothing: {:?}",
        rig.last_turn.get()
    );
}

#[test]
fn a_part_of_a_grant_is_read_and_the_rest_left() {
    let rig = Rig::new(DISK, ALL);
    let loan = rig.lend(&[8192], 0);
    loan.fill(&Rig::pattern(8192, 9));
    let part = Sink::lent(loan.lent(Side::Receive, 1000, 512));
    rig.run(rig.driver.read(0, part)).unwrap();
    let mut expected = Rig::pattern(8192, 9);
    expected[1000..1512].fill(0xee);
    assert!(loan.bytes() == expected);
}

#[test]
fn requests_larger_than_the_device_takes_are_split() {
    for (seg_max, size_max, features) in [
        (4, 1000, ALL),
        (1, 512, ALL),
        (2, 65536, ALL),
        (126, 4096, ALL & !device::INDIRECT),
    ] {
        let rig = Rig::new(DISK, features);
        rig.device.borrow_mut().seg_max = seg_max;
        rig.device.borrow_mut().size_max = size_max;
        let from = rig.lend(&[65536], 77);
        from.fill(&Rig::pattern(65536, 5));
        rig.run(rig.write(64, &from))
            .unwrap_or_else(|error| panic!("{seg_max} {size_max}: {error}"));
        let into = rig.lend(&[30000, 35536], 0);
        rig.run(rig.read(64, &into)).unwrap();
        assert_eq!(
            into.bytes(),
            Rig::pattern(65536, 5),
            "{seg_max} segments of {size_max}"
        );
    }
}

#[test]
fn local_memory_goes_through_the_bounce_buffer() {
    let rig = Rig::new(DISK, ALL);
    let data = Rig::pattern(4096, 3);
    rig.run(rig.driver.write(8, Source::local(&data))).unwrap();
    let mut first = vec![0; 2048];
    let mut second = vec![0; 2048];
    let (one, two) = rig.run(async {
        // Both at a time: there is one buffer, and each must wait for it.
        futures_util::join!(
            rig.driver.read(8, Sink::local(&mut first)),
            rig.driver.read(12, Sink::local(&mut second))
        )
    });
    assert_eq!((one, two), (Ok(()), Ok(())));
    assert!([first, second].concat() == data);
}

#[test]
fn a_burst_costs_one_notification_and_fills_the_device() {
    let rig = Rig::new(DISK, ALL);
    let loans: Vec<_> = (0..300).map(|_| rig.lend(&[512], 0)).collect();
    rig.run(rig.driver.attach()).unwrap();
    rig.device.borrow_mut().paused = true;
    let mut all = pin!(join_all(
        loans.iter().zip(0..).map(|(loan, at)| rig.read(at, loan))
    ));
    assert!(Rig::poll(all.as_mut()).is_pending());
    rig.settle();
    assert_eq!(
        rig.device.borrow().notifications,
        1,
        "one for the whole burst"
    );
    assert_eq!(rig.machine.pinned_tokens(), 300);
    rig.device.borrow_mut().paused = false;
    assert!(rig.run(all).into_iter().all(|result| result.is_ok()));
    assert_eq!(rig.device.borrow().served.len(), 300);
    assert_eq!(rig.machine.pinned_tokens(), 0);
}

#[test]
fn bad_requests_never_reach_the_device() {
    for features in [ALL, ALL | device::RO] {
        let rig = Rig::new(DISK, features);
        rig.device.borrow_mut().block = 4096;
        let loan = rig.lend(&[8192], 0);
        let read = |sector, len| {
            let data = Sink::lent(loan.lent(Side::Receive, 0, len));
            rig.run(rig.driver.read(sector, data))
        };
        let end = DISK as u64;
        for (sector, len) in [
            (0, 0),
            (0, 512),
            (0, 4095),
            (0, 4097),
            (1, 4096),
            (end, 4096),
            (end - 8, 8192),
            (u64::MAX, 4096),
            (u64::MAX - 7, 4096),
            (u64::MAX / 512 + 1, 4096),
        ] {
            assert_eq!(
                read(sector, len),
                Err(Error::BadArgument),
                "{len} at {sector}"
            );
        }
        for (sector, count) in [(0, 0), (1, 8), (0, 1), (end, 8), (8, u64::MAX - 7)] {
            let zeroes = rig.run(rig.driver.write_zeroes(sector, count));
            assert_eq!(zeroes, Err(Error::BadArgument), "{count} at {sector}");
            let discard = rig.run(rig.driver.discard(sector, count));
            assert_eq!(discard, Err(Error::BadArgument), "{count} at {sector}");
        }
        if features & device::RO != 0 {
            assert_eq!(rig.run(rig.write(0, &loan)), Err(Error::ReadOnly));
            assert_eq!(rig.run(rig.driver.discard(0, 8)), Err(Error::ReadOnly));
            assert_eq!(rig.run(rig.driver.write_zeroes(0, 8)), Err(Error::ReadOnly));
        }
        assert!(
            rig.device.borrow().served.is_empty(),
            "the device was asked"
        );
        assert_eq!(rig.machine.pinned_tokens(), 0, "memory stays pinned");
    }
}

#[test]
fn the_geometry_is_what_was_negotiated() {
    let rig = Rig::new(4099, ALL & !device::DISCARD & !device::FLUSH);
    rig.device.borrow_mut().block = 4096;
    let geometry = rig.run(rig.driver.attach()).unwrap();
    assert_eq!(geometry.sectors, 4096, "whole blocks only");
    assert_eq!(geometry.alignment_sectors, 8);
    assert!(geometry.write_zeroes && !geometry.discard && !geometry.flush && !geometry.read_only);
    // Without a cache a flush has nothing to do, and the device must not see one.
    assert_eq!(rig.run(rig.driver.flush()), Ok(()));
    assert_eq!(rig.run(rig.driver.discard(0, 8)), Err(Error::BadArgument));
    assert!(rig.device.borrow().served.is_empty());
}

#[test]
fn ranges_are_cut_to_what_the_device_takes() {
    let rig = Rig::new(DISK, ALL);
    rig.device.borrow_mut().range_max = 100;
    rig.run(rig.driver.write_zeroes(50, 950)).unwrap();
    rig.run(rig.driver.discard(2000, 101)).unwrap();
    let device = rig.device.borrow();
    let filled = |first: usize, end: usize, byte| {
        device.disk[first * 512..end * 512]
            .iter()
            .all(|&found| found == byte)
    };
    assert!(filled(0, 50, 0xee) && filled(50, 1000, 0) && filled(1000, 2000, 0xee));
    assert!(filled(2000, 2101, 0xdd) && filled(2101, DISK, 0xee));
    assert_eq!(device.served, [[13; 10].as_slice(), &[11; 2]].concat());
}

#[test]
fn ranges_are_cut_at_blocks() {
    let rig = Rig::new(DISK, ALL);
    rig.device.borrow_mut().range_max = 101;
    rig.device.borrow_mut().block = 4096;
    rig.run(rig.driver.write_zeroes(0, 200)).unwrap();
    assert_eq!(rig.device.borrow().served.len(), 3, "96 + 96 + 8 sectors");
    // A device that takes less than a block at a time offers nothing that we could use.
    let rig = Rig::new(DISK, ALL);
    rig.device.borrow_mut().range_max = 7;
    rig.device.borrow_mut().block = 4096;
    let geometry = rig.run(rig.driver.attach()).unwrap();
    assert!(!geometry.discard && !geometry.write_zeroes);
}

#[test]
fn attach_waits_for_what_was_accepted_before_and_no_more() {
    let rig = Rig::new(DISK, ALL);
    rig.run(rig.driver.attach()).unwrap();
    rig.device.borrow_mut().paused = true;
    let old = rig.lend(&[4096], 0);
    old.fill(&Rig::pattern(4096, 1));
    {
        // The writer dies while its write is under way.
        let mut write = pin!(rig.write(0, &old));
        assert!(Rig::poll(write.as_mut()).is_pending());
        rig.settle();
    }
    assert_eq!(
        rig.machine.pinned_tokens(),
        1,
        "the device still reads this memory"
    );
    let mut attach = pin!(rig.driver.attach());
    assert!(Rig::poll(attach.as_mut()).is_pending());
    let new = rig.lend(&[4096], 0);
    let mut later = pin!(rig.write(64, &new));
    assert!(Rig::poll(later.as_mut()).is_pending());
    rig.settle();
    assert!(
        Rig::poll(attach.as_mut()).is_pending(),
        "a write of the dead is under way"
    );

    rig.device.borrow_mut().paused = false;
    rig.device.borrow_mut().in_order = true;
    rig.device.borrow_mut().faults = VecDeque::from([None, Some(Fault::Silence)]);
    rig.run(attach).unwrap();
    assert!(
        rig.now_ns.get() < 1_000_000_000,
        "attach waited for a later request"
    );
    assert_eq!(
        rig.device.borrow().disk[..4096],
        Rig::pattern(4096, 1),
        "it has landed"
    );
    assert!(rig.run(later).is_ok());
    assert_eq!(rig.machine.pinned_tokens(), 0);
}

#[test]
fn requests_of_the_dead_that_the_device_has_not_got_are_dropped() {
    let rig = Rig::new(DISK, ALL);
    rig.run(rig.driver.attach()).unwrap();
    let loan = rig.lend(&[512], 0);
    {
        let mut write = pin!(rig.write(0, &loan));
        assert!(Rig::poll(write.as_mut()).is_pending());
    }
    rig.run(rig.driver.attach()).unwrap();
    assert!(
        rig.device.borrow().served.is_empty(),
        "the device got a write of the dead"
    );
    assert_eq!(rig.machine.pinned_tokens(), 0);

    // And one that ended before its memory could be pinned.
    loan.ended.set(true);
    assert_eq!(rig.run(rig.write(0, &loan)), Err(Error::PeerDied));
    assert_eq!(rig.machine.pinned_tokens(), 0);
}

#[test]
fn a_write_of_the_dead_is_not_repeated_after_a_reset() {
    let rig = Rig::new(DISK, ALL);
    rig.run(rig.driver.attach()).unwrap();
    rig.device.borrow_mut().always = Some(Fault::Silence);
    let loan = rig.lend(&[512], 0);
    {
        let mut write = pin!(rig.write(0, &loan));
        assert!(Rig::poll(write.as_mut()).is_pending());
        rig.settle();
    }
    rig.run(rig.driver.attach()).unwrap();
    assert!(rig.device.borrow().served.is_empty());
    assert_eq!(rig.device.borrow().disk[..512], [0xee; 512]);
    assert_eq!(rig.machine.pinned_tokens(), 0);
}

#[test]
fn nothing_is_released_before_the_first_reset_is_seen() {
    let rig = Rig::new(DISK, ALL);
    rig.device.borrow_mut().reset_looks = 50;
    let mut attach = pin!(rig.driver.attach());
    assert_eq!(Rig::poll(attach.as_mut()), Poll::Pending);
    for _ in 0..20 {
        rig.step();
        rig.now_ns.set(rig.now_ns.get() + 1_000_000);
        assert!(!rig.machine.quiesced.get());
    }
    rig.run(attach).unwrap();
    assert!(rig.machine.quiesced.get());
}
