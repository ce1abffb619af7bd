//! What *modified* means, step by step.

use super::*;
use crate::{
    checksum::Algorithm,
    file::{Checkpoint, Timestamp},
    twinfs::root::TOP_COUNT,
};

/// A volume whose inode table has blocks of pointers above it.
fn volume() -> Volume {
    let layout = Layout::new(8192, 2048, 16).unwrap();
    assert_eq!(layout.levels(Tree::InodeTable).len(), 2);
    let root = Root {
        volume: 1,
        index: 0,
        stores: 1,
        algorithm: Algorithm::Xxh64,
        checkpoint: Checkpoint {
            timestamp: Timestamp(1),
            present: 1,
        },
        blocks_free: layout.data_blocks(),
        inodes_free: layout.inodes,
        layout,
        tops: [Pointer::default(); TOP_COUNT],
    };
    Volume::new(root, 256)
}

fn slot(step: Step<Slot>) -> Slot {
    step.unwrap_or_else(|stop| panic!("{stop:?}"))
}

/// A block is missed while the block above it is as in the checkpoint, and arrives when that has been
/// modified. The pointer that was seen still says *modified*, of a time before the checkpoint: to believe
/// it would be to write over the twin that the checkpoint needs.
#[test]
fn a_block_that_arrives_late_is_not_modified_because_it_once_was() {
    let mut volume = volume();
    let child = slot(volume.static_node(Tree::InodeTable, 9));
    volume.modify(child)[0] = 1;
    let Parent::Node(parent, at) = volume.cache.node(child).parent else {
        panic!("the table has two levels");
    };
    volume.leave(child).unwrap();
    volume.leave(parent).unwrap();
    let content = volume.cache.node(child).content.clone();
    volume.begin_epoch(volume.root_block.clone());
    volume.cache.remove(child);

    let Err(Stop::Miss(miss)) = volume.static_node(Tree::InodeTable, 9) else {
        panic!("the block is not in memory");
    };
    assert!(miss.pointer.modified && !volume.is_modified(parent));
    let sibling = slot(volume.static_node(Tree::InodeTable, 10));
    volume.modify(sibling)[0] = 1;
    assert!(volume.is_modified(parent));
    volume.arrived(&miss, content);

    let child = slot(volume.static_node(Tree::InodeTable, 9));
    assert!(!volume.is_modified(child));
    volume.modify(child)[0] = 2;
    let pointer = volume.parent_pointer(Parent::Node(parent, at)).unwrap();
    assert_ne!(pointer.right, miss.pointer.right, "the other twin");
    assert!(pointer.modified);
}
