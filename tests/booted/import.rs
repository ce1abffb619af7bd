//! Trees from a tar and into one: the same in the guest as on the host.

use galago::tree::{checksum, made_up, unpack};

use crate::bed::{Bed, power_off, run};

/// A tar of a hundred megabytes, with files of every size at which something could go wrong.
#[test]
fn a_hundred_mebibytes_hash_the_same_in_the_guest_and_after_a_reboot() {
    let tree = made_up(7, 100 << 20);
    let bed = Bed::new(2).with_tree(&tree);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "import virtio-blk.2 /tree");
    assert_eq!(run(&mut guest, "sha256 /tree")["sha256"], checksum(&tree));
    power_off(guest);
    let mut guest = bed.boot();
    run(&mut guest, "mount");
    assert_eq!(run(&mut guest, "sha256 /tree")["sha256"], checksum(&tree));
    power_off(guest);
}

#[test]
fn an_exported_tree_is_a_tar_that_others_read() {
    let tree = made_up(9, 2 << 20);
    // The spare disk takes the place of the tar, so the tree comes in by a first guest.
    let bed = Bed::new(2).with_tree(&tree);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "import virtio-blk.2 /tree");
    power_off(guest);
    let (bed, image) = bed.without_tree().with_spare_disk(64 << 20);
    let mut guest = bed.boot();
    run(&mut guest, "export /tree virtio-blk.2");
    power_off(guest);
    let file = std::fs::File::open(image).expect("the image");
    assert_eq!(checksum(&unpack(file).expect("a tar")), checksum(&tree));
}

/// A tar that ends within a sector, as one does that was cut off in the zeros at its end.
#[test]
fn a_tar_of_any_length_is_imported() {
    let tree = made_up(3, 1 << 20);
    let bed = Bed::new(1).with_tree_cut_by(&tree, 100);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "import virtio-blk.1 /tree");
    assert_eq!(run(&mut guest, "sha256 /tree")["sha256"], checksum(&tree));
    power_off(guest);
}
