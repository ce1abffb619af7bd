//! What is changed, chosen by a seed.

use std::rc::Rc;

use storage::block::ram::RamDisk;
use tests::random::Random;

use super::{
    image::Image,
    spoil::{NUMBERS, flip, spoil, spoil_directory, spoil_pointers},
};
use crate::format::{Area, BLOCK_BYTES, Block, INODE_BYTES, Kind, LOG_BLOCKS, ROOT_PLACES, seal};

/// First byte of the pointers in an inode.
const INODE_POINTERS: usize = 128;
/// How a block of a directory begins.
const DIRECTORY_MAGIC: &[u8] = b"GDIR";
/// The physical file with the mapping.
const MAPPING: u64 = 1;

/// A change of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Bits of a block of the checkpoint, or of a root block, without its checksum.
    Bits,
    /// Two blocks change places.
    Swapped,
    /// A block is zeros.
    Zeros,
    /// The disk ends early.
    Truncated,
    /// Fields of the root block.
    Root,
    /// Pointers of the root block.
    RootPointers,
    /// Pointer blocks of the static trees.
    StaticPointers,
    /// Bits of a bitmap.
    Bitmap,
    /// Fields of an inode.
    Inode,
    /// Pointers of an inode.
    InodePointers,
    /// Pointers of an indirect block.
    IndirectPointers,
    /// A directory: magic, numbers, lengths, kinds, names.
    Directory,
    /// Entries or the header of the mapping.
    Mapping,
    /// Blocks of the log that belong to the checkpoint.
    Log,
    /// The disk of another volume, of another age, or another of this volume's once more.
    Foreign,
}

use Mutation::{
    Bitmap, Bits, Directory, Foreign, IndirectPointers, Inode, InodePointers, Log, Mapping, Root,
    RootPointers, StaticPointers, Swapped, Truncated, Zeros,
};

/// All of them.
pub const MUTATIONS: [Mutation; 15] = [
    Bits,
    Swapped,
    Zeros,
    Truncated,
    Root,
    RootPointers,
    StaticPointers,
    Bitmap,
    Inode,
    InodePointers,
    IndirectPointers,
    Directory,
    Mapping,
    Log,
    Foreign,
];

/// What is left to be believed of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// Everything: whatever is wrong has a wrong checksum.
    All,
    /// Files that need none of the blocks that were touched.
    Untouched,
    /// Nothing.
    None,
}

impl Mutation {
    /// Does it to a disk; `others` are disks that may take its place.
    pub fn apply(self, image: &mut Image, others: &[Rc<RamDisk>], random: &mut Random) -> Truth {
        let data = |kind| matches!(kind, Kind::Data(..));
        match self {
            Bits => {
                let place = any_place(image, random);
                image.damage(place, |block| flip(block, random));
                Truth::All
            }
            Swapped => {
                let (one, two) = (any_place(image, random), any_place(image, random));
                let (first, second) = (image.block(one), image.block(two));
                image.damage(one, |block| *block = second);
                image.damage(two, |block| *block = first);
                Truth::All
            }
            Zeros => {
                let place = any_place(image, random);
                image.damage(place, |block| block.fill(0));
                Truth::All
            }
            Truncated => {
                truncate(image, random);
                Truth::All
            }
            Root => {
                image.forge_root(|root| spoil(random, root, 16, 112));
                Truth::None
            }
            RootPointers => {
                image.forge_root(|root| spoil_pointers(random, root, 112, 496));
                Truth::None
            }
            StaticPointers => {
                let pointers = |kind| matches!(kind, Kind::Static(_, 1.., _));
                forge(image, random, pointers, |random, block| {
                    spoil_pointers(random, block, 0, BLOCK_BYTES);
                });
                Truth::None
            }
            Bitmap => {
                let bitmap = |kind| {
                    matches!(
                        kind,
                        Kind::Static(Area::InodeBitmap | Area::BlockBitmap, 0, _)
                    )
                };
                forge(image, random, bitmap, |random, block| {
                    let (from, len) = (random.below(700) as usize, 1 + random.below(300) as usize);
                    let value = random.pick(&[0, 0xff, 0x55]);
                    block[from..from + len].fill(value);
                });
                Truth::Untouched
            }
            Inode | InodePointers => {
                let inodes = |kind| matches!(kind, Kind::Static(Area::InodeTable, 0, _));
                forge(image, random, inodes, |random, block| {
                    let start = random.below(8) as usize * INODE_BYTES;
                    if self == Inode {
                        spoil(random, block, start, start + INODE_POINTERS);
                    } else {
                        spoil_pointers(random, block, start + INODE_POINTERS, start + INODE_BYTES);
                    }
                });
                Truth::Untouched
            }
            IndirectPointers => {
                let indirect = |kind| matches!(kind, Kind::Indirect(..));
                forge(image, random, indirect, |random, block| {
                    spoil_pointers(random, block, 0, BLOCK_BYTES);
                });
                Truth::Untouched
            }
            Directory => {
                let directories = directories(image);
                // There may be none left that can be read.
                if !directories.is_empty() {
                    let node = random.pick(&directories);
                    image.forge(node, |block| spoil_directory(random, block));
                }
                Truth::Untouched
            }
            Mapping => {
                forge(
                    image,
                    random,
                    |kind| data(kind) && of(kind, MAPPING),
                    |random, block| {
                        let entry = random.below(40) as usize * 64;
                        spoil(random, block, entry, entry + 64);
                    },
                );
                Truth::None
            }
            Log => {
                forge_log(image, random);
                Truth::None
            }
            Foreign => {
                if let Some(at) = others.len().checked_sub(1) {
                    let other = &others[random.below(at as u64 + 1) as usize];
                    image.disk = Rc::new(other.snapshot());
                }
                Truth::None
            }
        }
    }
}

fn of(kind: Kind, file: u64) -> bool {
    matches!(kind, Kind::Data(owner, _) if owner == file)
}

/// A block of the checkpoint, or a root block.
fn any_place(image: &Image, random: &mut Random) -> u64 {
    if random.one_in(12) {
        return random.pick(&ROOT_PLACES);
    }
    image.nodes[random.below(image.nodes.len() as u64) as usize].place
}

fn truncate(image: &mut Image, random: &mut Random) {
    let blocks = image.root.layout.blocks;
    let left = match random.below(3) {
        0 => random.below(300),
        1 => blocks - 1 - random.below(20),
        _ => random.below(blocks),
    };
    let disk = RamDisk::new((left * 8).max(1));
    for place in 0..left {
        let block = image.block(place);
        if block.iter().any(|&byte| byte != 0) {
            disk.poke(place * 8, &block);
        }
    }
    image.disk = Rc::new(disk);
}

/// Changes a block of a kind, if there is one.
fn forge(
    image: &mut Image,
    random: &mut Random,
    wanted: impl Fn(Kind) -> bool,
    change: impl FnOnce(&mut Random, &mut Block),
) {
    let nodes = image.of(wanted);
    if !nodes.is_empty() {
        let node = random.pick(&nodes);
        image.forge(node, |block| change(random, block));
    }
}

fn directories(image: &Image) -> Vec<usize> {
    let is_directory = |&node: &usize| {
        image
            .block(image.nodes[node].place)
            .starts_with(DIRECTORY_MAGIC)
    };
    image
        .of(|kind| matches!(kind, Kind::Data(..)))
        .into_iter()
        .filter(is_directory)
        .collect()
}

/// Log blocks that count, of records that make no sense, or are spoilt.
fn forge_log(image: &mut Image, random: &mut Random) {
    let (algorithm, timestamp, sum) = (image.root.algorithm, image.root.timestamp, image.root.sum);
    for number in 0..1 + random.below(3) {
        let number = if random.one_in(3) {
            random.below(255)
        } else {
            number
        };
        let mut block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(b"GalTwnLg");
        block[16..24].copy_from_slice(&timestamp.to_le_bytes());
        block[24..32].copy_from_slice(&sum.to_le_bytes());
        block[32..36].copy_from_slice(&(number as u32).to_le_bytes());
        let records = if random.one_in(5) {
            random.pick(&[0, 170, u64::from(u32::MAX)])
        } else {
            1 + random.below(169)
        };
        block[36..40].copy_from_slice(&(records as u32).to_le_bytes());
        for record in 0..records.min(169) as usize {
            let at = 40 + record * 24;
            let small = [
                random.below(50),
                random.below(60),
                random.below(4),
                random.below(3),
            ];
            let value = |small: u64, random: &mut Random| {
                if random.one_in(6) {
                    random.pick(&NUMBERS) as u32
                } else {
                    small as u32
                }
            };
            for (field, at) in [(0, at), (1, at + 4), (2, at + 16), (3, at + 20)] {
                let value = value(small[field], random);
                block[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            block[at + 8..at + 16].copy_from_slice(&random.number().to_le_bytes());
        }
        if random.one_in(4) {
            spoil(random, &mut block, 16, 200);
        }
        seal(&mut block, algorithm);
        image.damage(LOG_BLOCKS.start() + number, |there| *there = block);
    }
}
