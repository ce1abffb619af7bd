//! What else a disk may hold: the formats that people's disks have most often, by their signatures.
//!
//! A place of a root block that holds neither zeros nor a root is either a damaged root or somebody else's. Nobody may be
//! told that there is no volume where there is a damaged one: the next thing that he does is `format`. So only a disk
//! whose contents are explained by another format is said to be not a volume; all else may be one.
//!
//! *Why not the other way round*, by what a damaged root still has of one? A read or a write that comes out wrong
//! leaves nothing of it, and nothing else on the disk is at a place that does not depend on the root.

use super::cache::Block;

/// Offset in the first block of a disk, the bytes there, and what that is.
const SIGNATURES: [(usize, &[u8], &str); 10] = [
    (510, &[0x55, 0xaa], "a partition table or a boot sector"),
    (512, b"EFI PART", "a partition table"),
    (1080, &[0x53, 0xef], "an ext file system"),
    (0, b"XFSB", "an XFS file system"),
    (0, b"LUKS", "an encrypted volume"),
    (512, b"LABELONE", "an LVM volume"),
    (1024, &[0x10, 0x20, 0xf5, 0xf2], "an F2FS file system"),
    (0, b"hsqs", "a squashfs image"),
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, &[0x7f, b'E', b'L', b'F'], "a program"),
];

/// What a disk with this first block holds, if it is anything known.
pub fn known(first: &Block) -> Option<&'static str> {
    let is_there = |(at, bytes, _): &&(usize, &[u8], _)| first[*at..].starts_with(bytes);
    SIGNATURES.iter().find(is_there).map(|it| it.2)
}
