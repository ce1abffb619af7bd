//! Stores that fail, run full, or die while the layer runs.

use futures_executor::block_on;
use futures_util::FutureExt;
use storage::{
    Error,
    buffer::Sink,
    file::{AttributeChange, FileService},
    logical::RestartReason,
};

use crate::{disk::Call, *};

fn pair() -> (Vec<Rc<Disk>>, Layer) {
    let disks = disks(2);
    let layer = formatted(&disks);
    create(&layer, 1);
    write(&layer, 1, 1);
    sync(&layer);
    (disks, layer)
}

fn corrupt_all(disk: &Disk) {
    disk.corrupt.borrow_mut().extend(1..100);
}

#[test]
fn a_bad_checksum_is_not_seen_while_another_copy_is_good() {
    let (disks, layer) = pair();
    for bad in [0, 1] {
        corrupt_all(&disks[bad]);
        for _ in 0..4 {
            assert_eq!(read(&layer, 1), [1]);
        }
        disks[bad].heal();
    }
    corrupt_all(&disks[0]);
    corrupt_all(&disks[1]);
    assert_eq!(try_read(&layer, 1), Err(Error::Corrupt));
}

/// The mapping itself is read from the other store too.
#[test]
fn a_mapping_with_a_bad_checksum_is_read_from_another_store() {
    let (disks, _) = pair();
    for bad in [0, 1] {
        corrupt_all(&disks[bad]);
        let (layer, _) = attached(crate::layer(&disks));
        assert_eq!(read(&layer, 1), [1]);
        disks[bad].heal();
    }
}

#[test]
fn a_read_error_is_not_seen_while_another_copy_is_good() {
    let (disks, layer) = pair();
    disks[0].fail(Call::Read, Error::Device, 100);
    for _ in 0..4 {
        assert_eq!(read(&layer, 1), [1]);
    }
    disks[1].fail(Call::Read, Error::Device, 100);
    assert_eq!(try_read(&layer, 1), Err(Error::Device));
    disks[0].heal();
    disks[1].heal();
    let attachment = block_on(layer.attach()).unwrap();
    assert_eq!(
        attachment.stores_present, 2,
        "a read error alone takes no store out"
    );
}

/// Each kind of change goes on without a store that fails, and the store never comes back.
#[test]
fn a_store_that_fails_a_change_is_taken_out() {
    type Change = fn(&Layer) -> storage::Result<()>;
    let changes: [(Call, Change); 5] = [
        (Call::Write, |layer| try_write(layer, 1, 0, &[2], 4096)),
        (Call::Create, |layer| {
            block_on(layer.create(n(7), &mirrored()))
        }),
        (Call::Setattr, |layer| {
            block_on(layer.setattr(n(1), &AttributeChange::default()))
        }),
        (Call::Delete, |layer| block_on(layer.delete(n(2)))),
        (Call::Sync, |layer| block_on(layer.sync()).map(|_| ())),
    ];
    for bad in [0, 1] {
        for (call, change) in changes {
            let (disks, layer) = pair();
            create(&layer, 2);
            disks[bad].fail(call, Error::Device, 1);
            change(&layer).unwrap();
            assert_eq!(
                block_on(layer.attach()).unwrap().stores_present,
                1,
                "{call:?}"
            );
            let usage = block_on(layer.usage()).unwrap();
            assert_eq!((usage.stores, usage.stores_present), (2, 1), "{call:?}");
            write(&layer, 1, 3);
            let synced = sync(&layer);
            drop(layer);
            let (layer, attachment) = attached(crate::layer(&disks));
            assert_eq!(attachment.checkpoint.0, synced, "{call:?}");
            assert_eq!(attachment.stores_present, 1, "{call:?}");
            assert_eq!([read(&layer, 1), read(&layer, 1)], [[3], [3]], "{call:?}");
        }
    }
}

/// A store whose metadata are too damaged to create a file creates none from then on: every new file would
/// have one copy, and nobody would know.
#[test]
fn a_store_that_cannot_create_is_taken_out() {
    for bad in [0, 1] {
        let (disks, layer) = pair();
        disks[bad].fail(Call::Create, Error::Corrupt, 1);
        create(&layer, 7);
        let usage = block_on(layer.usage()).unwrap();
        assert_eq!((usage.stores, usage.stores_present), (2, 1));
        write(&layer, 7, 7);
        sync(&layer);
        let (layer, attachment) = attached(crate::layer(&disks));
        assert_eq!(attachment.stores_present, 1);
        assert_eq!((read(&layer, 1), read(&layer, 7)), (vec![1], vec![7]));
    }
}

/// A checkpoint that a store failed to take names it as a participant; a second one must follow.
#[test]
fn a_sync_that_one_store_fails_is_still_a_sync() {
    let (disks, layer) = pair();
    write(&layer, 1, 2);
    disks[1].fail(Call::Sync, Error::Device, 1);
    sync(&layer);
    drop(layer);
    let (layer, _) = attached(crate::layer(&disks));
    assert_eq!(read(&layer, 1), [2]);
}

#[test]
fn the_last_copy_failing_is_an_error() {
    let (disks, layer) = pair();
    for disk in &disks {
        disk.fail(Call::Write, Error::Device, 1);
    }
    assert_eq!(try_write(&layer, 1, 0, &[2], 4096), Err(Error::Device));
    write(&layer, 1, 3);
    assert_eq!(
        each_alone(&layer, &disks, 1),
        [[3], [3]],
        "nobody was taken out for it"
    );
    // They know that they have no new checkpoint: nothing is in doubt.
    for disk in &disks {
        disk.fail(Call::Sync, Error::Device, 1);
    }
    assert_eq!(block_on(layer.sync()), Err(Error::Device));
    assert_eq!(layer.needs_restart(), None);
    sync(&layer);
}

/// A sync whose outcome no store knows is not answered: only those who read the disks can tell
/// whether the checkpoint is there.
#[test]
fn a_sync_in_doubt_is_left_to_the_next_instance() {
    let (disks, layer) = pair();
    write(&layer, 1, 3);
    disks[0].fail(Call::Sync, Error::Device, 1);
    disks[1].fail(Call::Sync, Error::NotLoaded, 1);
    assert_eq!(layer.sync().now_or_never(), None);
    assert_eq!(layer.needs_restart(), Some(RestartReason::SyncFailed));
    let (layer, attachment) = attached(crate::layer(&disks));
    assert_eq!(attachment.stores_present, 2);
    write(&layer, 1, 4);
    assert_eq!(each_alone(&layer, &disks, 1), [[4], [4]]);
}

/// The first checkpoint names a store that lacks it; that the second one failed is no answer.
#[test]
fn a_sync_that_fails_in_its_second_round_is_left_to_the_next_instance() {
    let (disks, layer) = pair();
    write(&layer, 1, 3);
    disks[1].fail(Call::Sync, Error::Device, 1);
    disks[0].fail_after(Call::Sync, Error::Device, 1, 1);
    assert_eq!(layer.sync().now_or_never(), None);
    assert_eq!(layer.needs_restart(), Some(RestartReason::SyncFailed));
    let (layer, attachment) = attached(crate::layer(&disks));
    assert_eq!(attachment.stores_present, 2);
    write(&layer, 1, 4);
    assert_eq!(each_alone(&layer, &disks, 1), [[4], [4]]);
}

/// One copy cannot be changed any more (a bad block of its metadata): the other goes on.
#[test]
fn a_copy_that_cannot_be_kept_up_is_never_read_again() {
    let (disks, layer) = pair();
    create(&layer, 2);
    disks[0].fail(Call::Write, Error::Corrupt, 1);
    write(&layer, 1, 2);
    for _ in 0..4 {
        assert_eq!(read(&layer, 1), [2]);
    }
    write(&layer, 2, 8);
    sync(&layer);
    let (layer, attachment) = attached(crate::layer(&disks));
    assert_eq!(
        attachment.stores_present, 2,
        "the store is good for other files"
    );
    for _ in 0..4 {
        assert_eq!((read(&layer, 1), read(&layer, 2)), (vec![2], vec![8]));
    }
}

#[test]
fn a_full_store_refuses_for_all_copies() {
    for full in [0, 1] {
        let (disks, layer) = pair();
        create(&layer, 2);
        try_write(&layer, 2, 0, &[1, 2, 3], 3 * 4096).unwrap();
        sync(&layer);
        // The store is full: not another block.
        let used = block_on(layer.usage()).unwrap();
        disks[full].capacity.set(used.blocks - used.blocks_free);
        let extended = try_write(&layer, 2, 2, &[4, 5, 6], 6 * 4096);
        assert_eq!(extended, Err(Error::NoSpace));
        assert_eq!(read(&layer, 2), [1, 2, 3]);
        assert_eq!(block_on(layer.getattr(n(2))).unwrap().size, 3 * 4096);
        assert_eq!(block_on(layer.attach()).unwrap().stores_present, 2);
        assert_eq!(each_alone(&layer, &disks, 2), [[1, 2, 3], [1, 2, 3]]);
        // What fits is taken; when there is room again, all is.
        try_write(&layer, 2, 0, &[9], 3 * 4096).unwrap();
        disks[full].capacity.set(100_000);
        try_write(&layer, 2, 2, &[4, 5], 4 * 4096).unwrap();
        assert_eq!(each_alone(&layer, &disks, 2), [[9, 2, 4, 5], [9, 2, 4, 5]]);
    }
}

#[test]
fn a_create_that_one_store_refuses_leaves_nothing() {
    for full in [0, 1] {
        let (disks, layer) = pair();
        disks[full].fail(Call::Create, Error::NoSpace, 1);
        assert_eq!(
            block_on(layer.create(n(2), &mirrored())),
            Err(Error::NoSpace)
        );
        assert_eq!(block_on(layer.getattr(n(2))), Err(Error::NotFound));
        sync(&layer);
        assert_eq!([disks[0].files(), disks[1].files()], [1, 1]);
        create(&layer, 2);
        sync(&layer);
        assert_eq!([disks[0].files(), disks[1].files()], [2, 2]);
    }
}

/// Room for the mapping is taken when a file is created, not found missing at the sync.
#[test]
fn a_mapping_that_cannot_grow_is_no_surprise_at_the_sync() {
    let (disks, layer) = pair();
    let used = block_on(layer.usage()).unwrap();
    disks[1].capacity.set(used.blocks - used.blocks_free);
    assert_eq!(
        block_on(layer.create(n(64_000), &mirrored())),
        Err(Error::NoSpace)
    );
    create(&layer, 2);
    sync(&layer);
    let (layer, attachment) = attached(crate::layer(&disks));
    assert_eq!(attachment.stores_present, 2);
    assert_eq!(read(&layer, 2), []);
    assert_eq!(block_on(layer.getattr(n(64_000))), Err(Error::NotFound));
}

#[test]
fn the_death_of_a_store_is_never_an_error_above() {
    type Use = fn(&Layer) -> bool;
    let uses: [(Call, Use); 5] = [
        (Call::Read, |it| {
            it.read(n(1), 0, Sink::local(&mut [0; 4096]))
                .now_or_never()
                .is_some()
        }),
        (Call::Create, |it| {
            it.create(n(7), &mirrored()).now_or_never().is_some()
        }),
        (Call::Delete, |it| it.delete(n(1)).now_or_never().is_some()),
        (Call::Sync, |it| it.sync().now_or_never().is_some()),
        (Call::Info, |it| it.format(&FORMAT).now_or_never().is_some()),
    ];
    for (call, run) in uses {
        let (disks, layer) = pair();
        assert_eq!(layer.restart_needed().now_or_never(), None);
        disks[0].fail(call, Error::PeerDied, 1);
        disks[1].fail(call, Error::PeerDied, 1);
        assert!(!run(&layer), "{call:?} returned");
        let reason = layer.restart_needed().now_or_never();
        assert!(
            matches!(reason, Some(RestartReason::StoreDied { .. })),
            "{call:?}: {reason:?}"
        );
    }
}

/// A change that its caller gave up may have reached one copy and not the other.
#[test]
fn a_change_given_up_halfway_restarts_from_the_checkpoint() {
    let (disks, layer) = pair();
    create(&layer, 2);
    let _ = layer
        .read(n(1), 0, Sink::local(&mut [0; 4096]))
        .now_or_never();
    assert_eq!(
        layer.restart_needed().now_or_never(),
        None,
        "calls that ended need nothing"
    );
    let held = disks
        .iter()
        .map(|disk| disk.fail(Call::Delete, Error::PeerBusy, 1))
        .count();
    assert_eq!(held, 2);
    assert!(
        layer.delete(n(2)).now_or_never().is_none(),
        "waits for room in the mailbox"
    );
    assert_eq!(
        layer.restart_needed().now_or_never(),
        Some(RestartReason::Abandoned)
    );
}

/// A read needs a block of the mapping, and room for it, and so writes changed ones.
#[test]
fn a_read_given_up_while_it_writes_the_mapping_restarts_from_the_checkpoint() {
    const ENTRIES_PER_BLOCK: u64 = 64;
    let (disks, layer) = pair();
    for block in 0..1024 {
        create(&layer, block * ENTRIES_PER_BLOCK + 7);
    }
    disks[0].fail(Call::Write, Error::PeerBusy, 1);
    let call = layer.getattr(n(1024 * ENTRIES_PER_BLOCK + 7));
    assert_eq!(call.now_or_never(), None, "waits for room in the mailbox");
    assert_eq!(
        layer.restart_needed().now_or_never(),
        Some(RestartReason::Abandoned)
    );
}

#[test]
fn a_full_mailbox_is_waited_for() {
    let (disks, layer) = pair();
    disks[1].fail(Call::Write, Error::PeerBusy, 3);
    write(&layer, 1, 2);
    assert_eq!(block_on(layer.attach()).unwrap().stores_present, 2);
    assert_eq!(each_alone(&layer, &disks, 1), [[2], [2]]);
}
