//! A mirror with a disk taken away: it says so, and nothing fails.

use galago::tree::{checksum, made_up};

use crate::bed::{Bed, output, power_off, refused, run};

#[test]
fn with_either_disk_gone_every_file_is_there_and_the_volume_says_degraded() {
    let tree = made_up(5, 4 << 20);
    let bed = Bed::new(2).with_tree(&tree);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "import virtio-blk.2 /tree");
    power_off(guest);
    let bed = bed.without_tree();
    for gone in [0, 1] {
        let mut guest = bed.boot_without(gone);
        run(&mut guest, "mount");
        assert_eq!(
            run(&mut guest, "stack")["state"],
            "degraded",
            "without disk {gone}"
        );
        assert_eq!(run(&mut guest, "sha256 /tree")["sha256"], checksum(&tree));
        power_off(guest);
    }
}

#[test]
fn a_tar_never_stands_in_for_a_disk_that_is_gone_and_nothing_is_erased_for_it() {
    let tree = made_up(6, 1 << 20);
    let bed = Bed::new(2).with_tree(&tree);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /file content");
    power_off(guest);
    let mut guest = bed.boot_without(1);
    // Either would lose what is on the disk that is there.
    assert!(!refused(&mut guest, "format yes").is_empty());
    run(&mut guest, "mount");
    assert_eq!(output(&mut guest, "cat /file").trim_end(), "content");
    run(&mut guest, "import virtio-blk.2 /tree");
    assert_eq!(run(&mut guest, "sha256 /tree")["sha256"], checksum(&tree));
    power_off(guest);
}

#[test]
fn a_disk_that_was_away_while_files_changed_is_never_trusted() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /file old");
    run(&mut guest, "write /removed x");
    power_off(guest);

    let mut guest = bed.boot_without(0);
    run(&mut guest, "mount");
    run(&mut guest, "write /file new");
    run(&mut guest, "rm /removed");
    power_off(guest);

    let mut guest = bed.boot();
    run(&mut guest, "mount");
    assert_eq!(output(&mut guest, "cat /file").trim_end(), "new");
    assert!(refused(&mut guest, "cat /removed").contains("no such file"));
    assert_eq!(run(&mut guest, "stack")["state"], "degraded");
    power_off(guest);
}
