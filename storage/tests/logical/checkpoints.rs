//! Global checkpoints: what is loaded after a crash, a power cut, with disks missing or changed.

use std::rc::Rc;

use futures_executor::block_on;
use futures_util::FutureExt;
use storage::{
    Error,
    file::{FileService, Resume, Timestamp},
};

use crate::{disk::Call, *};

/// A volume on two disks whose file 1 holds 1; the checkpoint that has it.
fn stored(disks: &[Rc<Disk>]) -> (Layer, u64) {
    let layer = formatted(disks);
    create(&layer, 1);
    write(&layer, 1, 1);
    let synced = sync(&layer);
    (layer, synced)
}

/// A disk dies under a call of the next sync, and all layers with it.
fn dies_in_sync(layer: Layer, disk: &Disk, call: Call) {
    disk.fail(call, Error::PeerDied, 1);
    assert!(layer.sync().now_or_never().is_none());
}

/// What comes back of the disks: this checkpoint, on so many of them, and file 1 with this in every copy.
fn comes_back(disks: &[Rc<Disk>], checkpoint: u64, stores: u32, holds: u8) -> Layer {
    let (layer, attachment) = attached(layer(disks));
    let found = (attachment.checkpoint.0, attachment.stores_present);
    assert_eq!(found, (checkpoint, stores));
    assert_eq!([read(&layer, 1), read(&layer, 1)], [[holds], [holds]]);
    layer
}

#[test]
fn without_a_volume_there_is_nothing_to_attach_to() {
    let disks = disks(2);
    let layer = layer(&disks);
    assert_eq!(block_on(layer.attach()), Err(Error::NotFormatted));
    assert_eq!(
        block_on(layer.create(n(1), &mirrored())),
        Err(Error::NotLoaded)
    );
    assert_eq!(block_on(layer.sync()), Err(Error::NotLoaded));
    assert_eq!(
        block_on(Layer::new(vec![None, None]).attach()),
        Err(Error::NotFormatted)
    );
    assert_eq!(
        block_on(Layer::new(vec![None]).format(&FORMAT)),
        Err(Error::Device)
    );
    disks[0].fail(Call::Info, Error::Device, 1);
    let unreadable = block_on(layer.attach());
    assert_eq!(
        unreadable,
        Err(Error::Device),
        "nobody must take it for an empty disk"
    );
}

#[test]
fn attaching_again_only_reports() {
    let disks = disks(2);
    let layer = formatted(&disks);
    create(&layer, 1);
    write(&layer, 1, 7);
    let before = block_on(layer.attach()).unwrap();
    assert_eq!(read(&layer, 1), [7]);
    assert_eq!(sync(&layer), before.checkpoint.0 + 1);
    assert_eq!(
        block_on(layer.attach()).unwrap().checkpoint.0,
        before.checkpoint.0 + 1
    );
}

#[test]
fn what_was_not_synced_is_gone_and_what_was_is_there() {
    let disks = disks(2);
    let layer = formatted(&disks);
    create(&layer, 1);
    create(&layer, 2);
    write(&layer, 1, 1);
    let synced = sync(&layer);
    write(&layer, 1, 2);
    block_on(layer.delete(n(2))).unwrap();
    create(&layer, 3);
    drop(layer);
    let (layer, attachment) = attached(crate::layer(&disks));
    assert_eq!(attachment.checkpoint.0, synced);
    assert_eq!(read(&layer, 1), [1]);
    assert_eq!(read(&layer, 2), []);
    assert_eq!(block_on(layer.getattr(n(3))), Err(Error::NotFound));
}

/// A volume that was made but never synced is an empty one.
#[test]
fn a_new_volume_is_there_before_the_first_sync() {
    let disks = disks(2);
    let layer = formatted(&disks);
    create(&layer, 1);
    drop(layer);
    let (layer, attachment) = attached(crate::layer(&disks));
    assert_eq!((attachment.checkpoint.0, attachment.stores_present), (1, 2));
    assert_eq!(block_on(layer.getattr(n(1))), Err(Error::NotFound));
}

#[test]
fn a_crash_in_the_middle_of_a_sync_loads_the_one_before_on_all() {
    let disks = disks(2);
    let (layer, synced) = stored(&disks);
    write(&layer, 1, 2);
    dies_in_sync(layer, &disks[1], Call::Sync);
    for _ in 0..2 {
        comes_back(&disks, synced, 2, 1);
    }
    let layer = comes_back(&disks, synced, 2, 1);
    write(&layer, 1, 3);
    assert_eq!(each_alone(&layer, &disks, 1), [[3], [3]]);
}

/// A disk that lost the newest checkpoint looks as after an interrupted sync. But the other has been told
/// that the sync was finished.
#[test]
fn a_sync_that_has_returned_is_not_undone_for_a_disk_that_lost_it() {
    for lost in [0, 1] {
        let mut disks = disks(2);
        let (layer, _) = stored(&disks);
        write(&layer, 1, 2);
        let before = disks[lost].image();
        let synced = sync(&layer);
        disks[lost] = before;
        comes_back(&disks, synced, 1, 2);
    }
}

/// Who has seen a checkpoint must not find it gone when a disk comes back that lacks it.
#[test]
fn what_was_loaded_is_not_undone_for_a_disk_that_lacks_it() {
    let disks = disks(2);
    let (layer, synced) = stored(&disks);
    write(&layer, 1, 2);
    dies_in_sync(layer, &disks[1], Call::Sync);
    assert_eq!(read(&attached(layer_without(&disks, 1)).0, 1), [2]);
    comes_back(&disks, synced + 1, 1, 2);
}

#[test]
fn a_crash_before_all_know_that_the_sync_is_finished_keeps_it() {
    let disks = disks(2);
    let (layer, before) = stored(&disks);
    write(&layer, 1, 2);
    dies_in_sync(layer, &disks[1], Call::Finish);
    comes_back(&disks, before + 1, 2, 2);
}

/// A store that cannot forget the checkpoint before would be a witness of an interruption: it is taken out,
/// and a checkpoint without it follows.
#[test]
fn a_store_that_cannot_be_told_that_a_sync_is_finished_is_stale() {
    let disks = disks(2);
    let (layer, before) = stored(&disks);
    write(&layer, 1, 2);
    disks[0].fail(Call::Finish, Error::Device, 1);
    assert_eq!(sync(&layer), before + 2);
    assert_eq!([read(&layer, 1), read(&layer, 1)], [[2], [2]]);
    drop(layer);
    let layer = comes_back(&disks, before + 2, 1, 2);
    write(&layer, 1, 3);
    // If no store can be told, the checkpoint is on all of them all the same.
    let disks = crate::disks(2);
    let layer = formatted(&disks);
    create(&layer, 1);
    write(&layer, 1, 1);
    disks
        .iter()
        .for_each(|disk| disk.fail(Call::Finish, Error::Device, 1));
    let synced = sync(&layer);
    drop(layer);
    comes_back(&disks, synced, 2, 1);
}

/// A store that fails to take the mapping is no participant: if it were, the sync of the other would be
/// undone when it comes back, as nobody could say that it was finished.
#[test]
fn a_store_that_fails_before_the_checkpoint_takes_no_part_in_it() {
    let disks = disks(2);
    let (layer, before) = stored(&disks);
    write(&layer, 1, 2);
    create(&layer, 2);
    disks[1].fail(Call::Write, Error::Device, 1);
    disks[0].fail(Call::Finish, Error::Device, 1);
    assert_eq!(sync(&layer), before + 1);
    drop(layer);
    comes_back(&disks, before + 1, 1, 2);
}

/// One disk is here and has what the other may lack; nobody sees it before that is settled.
#[test]
fn what_may_be_gone_back_behind_is_not_loaded() {
    let disks = disks(2);
    let (layer, synced) = stored(&disks);
    write(&layer, 1, 2);
    dies_in_sync(layer, &disks[1], Call::Sync);
    disks[0].fail(Call::Finish, Error::Device, 1);
    let alone = layer_without(&disks, 1);
    assert_eq!(block_on(alone.attach()), Err(Error::Device));
    comes_back(&disks, synced, 2, 1);
    // If it knows that the checkpoint is finished, it need not be told.
    disks[0].fail(Call::Finish, Error::Device, 1);
    assert_eq!(read(&attached(layer_without(&disks, 1)).0, 1), [1]);
}

/// After a sync that was interrupted, the only store that finished it cannot load the one before: the other
/// goes on without it. What that one then has must never count again for who went on.
#[test]
fn who_resumes_is_given_his_checkpoint_or_none() {
    let disks = disks(2);
    let (layer, synced) = stored(&disks);
    write(&layer, 1, 2);
    dies_in_sync(layer, &disks[0], Call::Sync);
    disks[1].fail(Call::Load, Error::Device, 1);
    let resume = |base, syncing| {
        let layer = crate::layer(&disks);
        let base = Timestamp(base);
        let attachment = block_on(layer.resume(&Resume { base, syncing }))?;
        Ok((layer, attachment.checkpoint.0, attachment.stores_present))
    };
    let (layer, checkpoint, stores) = resume(synced, true).unwrap();
    assert_eq!((checkpoint, stores), (synced, 1));
    assert_eq!(read(&layer, 1), [1]);
    write(&layer, 1, 3);
    disks[1].lose_the_one_before();
    let (layer, checkpoint, stores) = resume(synced, false).unwrap();
    assert_eq!((checkpoint, stores), (synced, 1));
    assert_eq!(read(&layer, 1), [1]);
    // Nothing is loaded, and so nothing forgotten, if it is not there.
    let loads = |disk: &Disk| {
        let calls = disk.calls.borrow();
        calls.iter().filter(|call| **call == Call::Load).count()
    };
    let before = [loads(&disks[0]), loads(&disks[1])];
    for missing in [synced - 1, synced + 2] {
        let refused = resume(missing, false).map(|it| it.1);
        assert_eq!(refused, Err(Error::NoCheckpoint));
    }
    assert_eq!([loads(&disks[0]), loads(&disks[1])], before);
}

#[test]
fn a_disk_that_was_away_is_left_out_when_it_comes_back() {
    for away in [0, 1] {
        let disks = disks(2);
        stored(&disks);
        let (layer, attachment) = attached(layer_without(&disks, away));
        assert_eq!((attachment.stores, attachment.stores_present), (2, 1));
        assert_eq!(read(&layer, 1), [1]);
        write(&layer, 1, 2);
        create(&layer, 2);
        sync(&layer);
        for _ in 0..3 {
            let (layer, attachment) = attached(crate::layer(&disks));
            assert_eq!(attachment.stores_present, 1);
            assert_eq!(
                [read(&layer, 1), read(&layer, 1)],
                [[2], [2]],
                "never the stale copy"
            );
            assert_eq!(read(&layer, 2), []);
            sync(&layer);
        }
    }
}

/// Nothing was synced while it was away, so it missed nothing.
#[test]
fn a_disk_that_missed_nothing_is_welcome() {
    let disks = disks(2);
    let layer = formatted(&disks);
    create(&layer, 1);
    sync(&layer);
    let (alone, _) = attached(layer_without(&disks, 1));
    write(&alone, 1, 5);
    drop(alone);
    let (layer, attachment) = attached(crate::layer(&disks));
    assert_eq!(attachment.stores_present, 2);
    assert_eq!([read(&layer, 1), read(&layer, 1)], [[], []]);
}

#[test]
fn swapped_disks_are_the_same_volume() {
    let mut disks = disks(3);
    let layer = formatted(&disks);
    for file in 1..50 {
        create(&layer, file);
        write(&layer, file, file as u8);
    }
    sync(&layer);
    disks.rotate_left(1);
    let (layer, attachment) = attached(crate::layer(&disks));
    assert_eq!(attachment.stores_present, 3);
    for file in 1..50 {
        for _ in 0..3 {
            assert_eq!(read(&layer, file), [file as u8]);
        }
    }
}

#[test]
fn a_disk_of_another_volume_is_neither_read_nor_written() {
    let ours = disks(2);
    stored(&ours);
    let theirs = disks(1);
    let other = crate::layer(&theirs);
    block_on(other.format(&VolumeFormat {
        volume: 0xdef,
        ..FORMAT
    }))
    .unwrap();
    create(&other, 1);
    write(&other, 1, 99);
    sync(&other);

    let mixed = [ours[0].clone(), ours[1].clone(), theirs[0].clone()];
    let (layer, attachment) = attached(crate::layer(&mixed));
    assert_eq!(
        (attachment.volume, attachment.stores_present),
        (FORMAT.volume, 2)
    );
    assert_eq!(
        [read(&layer, 1), read(&layer, 1), read(&layer, 1)],
        [[1], [1], [1]]
    );
    write(&layer, 1, 2);
    sync(&layer);
    assert_eq!(read(&attached(crate::layer(&theirs)).0, 1), [99]);
}

#[test]
fn a_store_that_cannot_load_is_left_out() {
    let disks = disks(2);
    stored(&disks);
    for error in [Error::Corrupt, Error::Device, Error::PeerGone] {
        disks[0].fail(Call::Load, error, 1);
        let (layer, attachment) = attached(crate::layer(&disks));
        assert_eq!(attachment.stores_present, 1);
        assert_eq!(read(&layer, 1), [1]);
    }
    disks[0].fail(Call::Load, Error::Corrupt, 1);
    disks[1].fail(Call::Load, Error::Corrupt, 1);
    assert_eq!(block_on(crate::layer(&disks).attach()), Err(Error::Corrupt));
}

/// Also of a volume that is in use: what is in memory says nothing of the disk.
#[test]
fn a_store_without_its_disk_keeps_the_others_from_being_erased() {
    for error in [Error::Device, Error::PeerGone] {
        let disks = disks(2);
        let (layer, synced) = stored(&disks);
        disks[1].fail(Call::Info, error, 1);
        assert_eq!(block_on(layer.format(&FORMAT)), Err(error));
        write(&layer, 1, 1);
        drop(layer);
        comes_back(&disks, synced, 2, 1);
        disks[1].fail(Call::Info, error, 1);
        assert_eq!(block_on(crate::layer(&disks).format(&FORMAT)), Err(error));
        comes_back(&disks, synced, 2, 1);
    }
}

/// Formatting with a store missing makes a whole volume of the others.
#[test]
fn a_volume_is_made_of_the_stores_that_are_there() {
    let disks = disks(2);
    let layer = layer_without(&disks, 0);
    let attachment = block_on(layer.format(&FORMAT)).unwrap();
    assert_eq!((attachment.stores, attachment.stores_present), (1, 1));
}
