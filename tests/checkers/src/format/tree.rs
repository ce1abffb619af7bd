//! Pointers, and what is in the blocks they lead to.

use super::{
    Block, INODE_BYTES, POINTER_BYTES,
    layout::{Area, Layout},
    root::Root,
    u64_at,
};

/// Inodes in a block.
const INODES: usize = 8;
/// Direct pointers of an inode.
const DIRECT: u64 = 20;
/// Where they begin in it.
const POINTERS: usize = 128;
/// Pointers in a block.
const FANOUT: u64 = 256;
/// Top pointers of an area in the root block.
const TOPS: u64 = 8;
/// Where they begin in it.
const TOPS_START: usize = 112;

/// A safe block pointer that is not null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The block, of twins the one that was written last.
    pub place: u64,
    /// Its checksum.
    pub sum: u64,
    /// It has a twin.
    pub protected: bool,
}

impl Pointer {
    /// Reads it, wherever it may lead; `None` if it is null.
    #[must_use]
    pub fn read(block: &[u8], at: usize, twin_offset: u64) -> Option<Self> {
        let number = u64_at(block, at + 8);
        let (left, state) = (number & 0xffff_ffff_ffff, number >> 48);
        (left != 0).then(|| Self {
            place: left + if state & 1 == 1 { twin_offset } else { 0 },
            sum: u64_at(block, at),
            protected: state & 4 != 0,
        })
    }
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A block of a static area or of its tree: area, level, which of the level.
    Static(Area, usize, u64),
    /// An indirect block: file, how many levels to the data, its first block of the file.
    Indirect(u64, u32, u64),
    /// A block of data: file, which of it.
    Data(u64, u64),
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Static(area, 0, index) => write!(f, "block {index} of the {area:?}"),
            Self::Static(area, level, index) => {
                write!(f, "pointer block {index} of level {level} of the {area:?}")
            }
            Self::Indirect(file, level, block) => {
                write!(
                    f,
                    "indirect block of level {level} from block {block} of file {file}"
                )
            }
            Self::Data(file, block) => write!(f, "block {block} of file {file}"),
        }
    }
}

/// A place for a pointer in a block.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// What it leads to.
    pub kind: Kind,
    /// Where in the block it is.
    pub at: usize,
    /// The pointer, if it is not null.
    pub pointer: Option<Pointer>,
}

/// What a root block points to.
#[must_use]
pub fn tops(root: &Root) -> Vec<Child> {
    let mut children = Vec::new();
    for (number, area) in Area::ALL.into_iter().enumerate() {
        let level = root.layout.top_level(area);
        for index in 0..TOPS.min(root.layout.level_blocks(area, level)) {
            let at = TOPS_START + (number as u64 * TOPS + index) as usize * POINTER_BYTES;
            let pointer = Pointer::read(&root.block[..], at, root.layout.twin_offset);
            let kind = Kind::Static(area, level, index);
            children.push(Child { kind, at, pointer });
        }
    }
    children
}

/// What a block points to, in the order of its bytes; of free inodes, nothing.
#[must_use]
pub fn children(kind: Kind, block: &Block, layout: &Layout) -> Vec<Child> {
    let child = |kind, at| Child {
        kind,
        at,
        pointer: Pointer::read(block, at, layout.twin_offset),
    };
    let all = |of: &dyn Fn(u64) -> Kind| -> Vec<Child> {
        (0..FANOUT)
            .map(|number| child(of(number), number as usize * POINTER_BYTES))
            .collect()
    };
    match kind {
        Kind::Data(..) | Kind::Static(Area::InodeBitmap | Area::BlockBitmap, 0, _) => Vec::new(),
        Kind::Static(Area::InodeTable, 0, index) => inodes(block, index, layout),
        Kind::Static(area, level, index) => {
            let mut children =
                all(&|number| Kind::Static(area, level - 1, index * FANOUT + number));
            let below = layout.level_blocks(area, level - 1);
            children
                .retain(|child| matches!(child.kind, Kind::Static(_, _, index) if index < below));
            children
        }
        Kind::Indirect(file, 1, first) => all(&|number| Kind::Data(file, first + number)),
        Kind::Indirect(file, level, first) => {
            let each = FANOUT.pow(level - 1);
            all(&|number| Kind::Indirect(file, level - 1, first + number * each))
        }
    }
}

fn inodes(block: &Block, index: u64, layout: &Layout) -> Vec<Child> {
    let mut children = Vec::new();
    for number in 0..INODES {
        let start = number * INODE_BYTES;
        let file = index * INODES as u64 + number as u64;
        let in_use = block[start + 64] == 1;
        let mut first = DIRECT;
        let direct = (0..DIRECT).map(|block| Kind::Data(file, block));
        let indirect = (1..=4).map(|level| {
            let kind = Kind::Indirect(file, level, first);
            first += FANOUT.pow(level);
            kind
        });
        let kinds: Vec<Kind> = direct.chain(indirect).collect();
        for (place, kind) in kinds.into_iter().enumerate() {
            let at = start + POINTERS + place * POINTER_BYTES;
            let pointer = Pointer::read(block, at, layout.twin_offset);
            children.push(Child {
                kind,
                at,
                pointer: pointer.filter(|_| in_use),
            });
        }
    }
    children
}
