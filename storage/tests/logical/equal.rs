//! Copies that differ for a while: after a change that one of them refused, and after a crash of the machine.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use futures_executor::block_on;
use futures_util::FutureExt;
use storage::{
    Error, Result,
    buffer::{Sink, Source},
    file::{FileService, Write},
    logical::RestartReason,
};

use crate::{disk::Call, *};

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Two copies of a file whose blocks hold this, synced.
fn pair(blocks: &[u8]) -> (Vec<Rc<Disk>>, Layer) {
    let disks = disks(2);
    let layer = formatted(&disks);
    create(&layer, 1);
    try_write(&layer, 1, 0, blocks, blocks.len() as u64 * BLOCK).unwrap();
    sync(&layer);
    (disks, layer)
}

fn poll<T>(call: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    let mut context = Context::from_waker(Waker::noop());
    call.as_mut().poll(&mut context)
}

/// Writes one block of file 1, to be polled beside other calls.
async fn write_block(layer: &Layer, block: u64, fill: u8, size: u64) -> Result<()> {
    let bytes = [fill; BLOCK_BYTES];
    let write = Write {
        file: n(1),
        offset: block * BLOCK,
        data: Source::local(&bytes),
        checksums: &[FORMAT.algorithm.of(&bytes)],
        size: size * BLOCK,
        modified_ns: 7,
    };
    layer.write(write).await.map(|_| ())
}

/// The cache has several writes of one file under way, all of the same new size. One store has taken the
/// second and refuses the first; the other has not got to the second yet.
#[test]
fn a_write_that_is_refused_takes_nothing_from_one_beside_it() {
    for (refuses, late) in [(0, 1), (1, 1), (0, 0), (1, 0)] {
        let (disks, layer) = pair(&[1]);
        disks[late].hold(Call::Write);
        let mut taken = pin!(write_block(&layer, 2, 9, 3));
        assert!(poll(&mut taken).is_pending());
        disks[refuses].fail(Call::Write, Error::NoSpace, 1);
        let mut refused = pin!(write_block(&layer, 1, 8, 3));
        let early = poll(&mut refused);
        disks[late].release();
        assert_eq!(poll(&mut taken), Poll::Ready(Ok(())));
        let answer = match early {
            Poll::Pending => poll(&mut refused),
            answer => answer,
        };
        assert_eq!(answer, Poll::Ready(Err(Error::NoSpace)));
        let alone = each_alone(&layer, &disks, 1);
        assert_eq!(alone, [[1, 0, 9], [1, 0, 9]], "{refuses} {late}");
    }
}

/// A truncation frees blocks that a read may be at.
#[test]
fn nothing_is_taken_back_beside_a_read() {
    let (disks, layer) = pair(&[1]);
    disks.iter().for_each(|disk| disk.hold(Call::Read));
    let mut bytes = [0; BLOCK_BYTES];
    let mut read = pin!(layer.read(n(1), 0, Sink::local(&mut bytes)));
    assert!(poll(&mut read).is_pending());
    disks[0].fail(Call::Write, Error::NoSpace, 1);
    let mut refused = pin!(write_block(&layer, 1, 2, 2));
    let calls = disks[1].calls.borrow().len();
    assert!(poll(&mut refused).is_pending());
    assert_eq!(disks[1].calls.borrow()[calls..], [Call::Write]);
    disks.iter().for_each(|disk| disk.release());
    assert_eq!(poll(&mut read), Poll::Ready(Ok(BLOCK_BYTES)));
    assert_eq!(poll(&mut refused), Poll::Ready(Err(Error::NoSpace)));
    assert_eq!(each_alone(&layer, &disks, 1), [[1], [1]]);
}

/// Each of two writes beside each other is taken by the store that fails the other.
#[test]
fn a_write_that_no_store_at_work_has_is_an_error() {
    for (error, stores) in [(Error::Device, 1), (Error::Corrupt, 2)] {
        let (disks, layer) = pair(&[1, 1]);
        disks[1].hold(Call::Write);
        let mut late = pin!(write_block(&layer, 0, 8, 2));
        assert!(poll(&mut late).is_pending());
        disks[0].fail(Call::Write, error, 1);
        let mut first = pin!(write_block(&layer, 1, 9, 2));
        let early = poll(&mut first);
        disks[1].fail(Call::Write, error, 1);
        disks[1].release();
        let answer = poll(&mut late);
        if early.is_pending() {
            assert_eq!(poll(&mut first), Poll::Ready(Ok(())));
        }
        let answer = match answer {
            Poll::Pending => poll(&mut late),
            answer => answer,
        };
        assert_eq!(answer, Poll::Ready(Err(error)));
        let present = block_on(layer.attach()).unwrap().stores_present;
        assert_eq!(present, stores);
        assert_eq!(read(&layer, 1), [1, 9], "{error}");
    }
}

/// What cannot be read, or refuses in its turn, is not what the others are made equal to.
#[test]
fn any_copy_that_can_be_read_will_do_to_make_them_equal() {
    type Harm = fn(&Disk);
    let harms: [Harm; 4] = [
        |disk| disk.corrupt.borrow_mut().extend(1..100),
        |disk| disk.fail(Call::Read, Error::Device, 2),
        |disk| disk.fail(Call::Getattr, Error::Device, 1),
        |_| {},
    ];
    for refuses in [0, 1] {
        for harmed in [0, 1] {
            for (number, harm) in harms.iter().enumerate() {
                let (disks, layer) = pair(&[1]);
                create(&layer, 2);
                disks[refuses].fail(Call::Write, Error::NoSpace, 1);
                harm(&disks[harmed]);
                let refused = try_write(&layer, 1, 0, &[2], BLOCK);
                assert_eq!(refused, Err(Error::NoSpace));
                sync(&layer);
                disks[harmed].heal();
                let what = format!("{number}: {refuses} refuses, {harmed} is harmed");
                assert_eq!(
                    block_on(layer.attach()).unwrap().stores_present,
                    2,
                    "{what}"
                );
                let alone = each_alone(&layer, &disks, 1);
                assert_eq!(alone[0], alone[1], "{what}");
                assert!([[1], [2]].contains(&[alone[0][0]]), "{what}");
            }
        }
    }
}

#[test]
fn copies_that_cannot_be_made_equal_are_in_no_checkpoint() {
    let (disks, layer) = pair(&[1]);
    disks[0].fail(Call::Write, Error::NoSpace, 10);
    disks[1].fail_after(Call::Write, Error::NoSpace, 1, 10);
    let refused = write_block(&layer, 0, 2, 1).now_or_never();
    assert_eq!(refused, None);
    assert_eq!(layer.needs_restart(), Some(RestartReason::Unequal));
    let (layer, _) = attached(crate::layer(&disks));
    assert_eq!([read(&layer, 1), read(&layer, 1)], [[1], [1]]);
}

/// A store stops a long truncation anywhere. What one has cut off is cut off, and no block is written for it.
#[test]
fn a_truncation_that_stops_half_way_stops_at_the_same_size_everywhere() {
    let blocks = [1, 2, 3, 4, 5, 6];
    for (stops, left) in [
        ([Some(5), Some(3)], 3),
        ([Some(2), Some(4)], 2),
        ([Some(4), None], 1),
        ([None, Some(4)], 1),
    ] {
        let (disks, layer) = pair(&blocks);
        for (disk, stop) in disks.iter().zip(stops) {
            disk.stop_at.set(stop);
        }
        let room = block_on(layer.usage()).unwrap().blocks_free;
        let cut = block_on(layer.truncate(n(1), BLOCK, 3));
        assert_eq!(cut, Err(Error::NoMemory), "{stops:?}");
        let usage = block_on(layer.usage()).unwrap();
        assert_eq!(usage.blocks_free, room + 6 - left as u64, "{stops:?}");
        let alone = each_alone(&layer, &disks, 1);
        assert_eq!(alone, [&blocks[..left], &blocks[..left]], "{stops:?}");
    }
}

/// A file longer than what is in it: what was never written takes no room when copies are made equal.
#[test]
fn holes_stay_holes_when_copies_are_made_equal() {
    let (disks, layer) = pair(&[1]);
    block_on(layer.truncate(n(1), 40 * BLOCK, 3)).unwrap();
    let room = block_on(layer.usage()).unwrap().blocks_free;
    disks[0].stop_at.set(Some(30));
    disks[1].stop_at.set(Some(20));
    let cut = block_on(layer.truncate(n(1), 10 * BLOCK, 3));
    assert_eq!(cut, Err(Error::NoMemory));
    assert_eq!(block_on(layer.getattr(n(1))).unwrap().size, 20 * BLOCK);
    assert_eq!(block_on(layer.usage()).unwrap().blocks_free, room);
}

/// Two copies that a crash has left differing in a block, as both stores report.
fn torn() -> (Vec<Rc<Disk>>, Vec<u8>) {
    let (disks, layer) = pair(&[1, 1]);
    drop(layer);
    disks[0].overwrite(1, 1, 2);
    disks[1].overwrite(1, 1, 3);
    disks.iter().for_each(|disk| disk.report(1, 1));
    (disks, vec![1, 2])
}

/// The source of what is written fails, before or after it was read: the others stay copies.
#[test]
fn a_source_that_fails_costs_the_others_nothing() {
    for (call, calls) in [(Call::Getattr, 4), (Call::Read, 4)] {
        for (spared, bad) in (0..calls).flat_map(|spared| [(spared, 0), (spared, 1)]) {
            let (disks, first) = torn();
            disks[bad].fail_after(call, Error::Device, spared, 1);
            let (layer, attachment) = attached(crate::layer(&disks));
            let what = format!("{call:?} after {spared} on {bad}");
            disks[bad].heal();
            if attachment.stores_present == 1 {
                // It could not say whose file it has overwritten.
                assert_eq!(call, Call::Getattr, "{what}");
                continue;
            }
            let alone = each_alone(&layer, &disks, 1);
            assert_eq!(alone[0], alone[1], "{what}");
            assert!(alone[0] == first || alone[0] == [1, 3], "{what}");
        }
    }
}

/// A death below would undo what was rewritten on one disk, and nobody would compare again.
#[test]
fn copies_that_were_made_equal_are_used_once_they_are_in_a_checkpoint() {
    let (disks, first) = torn();
    let fail = || {
        let fail = |disk: &Rc<Disk>| disk.fail(Call::Sync, Error::Device, 1);
        disks.iter().for_each(fail);
    };
    fail();
    let layer = crate::layer(&disks);
    assert_eq!(block_on(layer.attach()), Err(Error::Device));
    assert_eq!(block_on(layer.sync()), Err(Error::NotLoaded));
    block_on(layer.attach()).unwrap();
    let alone = each_alone(&layer, &disks, 1);
    assert_eq!(alone, [&first[..], &first[..]]);
    // Where nothing differs nothing was rewritten: disks that take no writes can still be read.
    disks.iter().for_each(|disk| disk.report(1, 1));
    fail();
    let (layer, _) = attached(crate::layer(&disks));
    assert_eq!(read(&layer, 1), first);
}
