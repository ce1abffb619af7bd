//! Where the static areas are.

/// First block of the first area.
const AREAS_START: u64 = 257;

/// A level of more blocks has a level above it.
const TOP_BLOCKS_MAX: u64 = 8;

/// Pointers in a block.
const FANOUT: u64 = 256;

/// One of the three static areas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// Which inodes are in use.
    InodeBitmap,
    /// Which blocks of the data area are in use.
    BlockBitmap,
    /// The inodes.
    InodeTable,
}

impl Area {
    /// In the order of the device and of the root block.
    pub const ALL: [Self; 3] = [Self::InodeBitmap, Self::BlockBitmap, Self::InodeTable];
}

/// The levels of the areas: first block and number of blocks of each, from level 0 up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    levels: [Vec<(u64, u64)>; 3],
    /// First block of the data area.
    pub data_start: u64,
    /// Blocks of the volume.
    pub blocks: u64,
    /// Blocks between twins.
    pub twin_offset: u64,
}

impl Layout {
    /// That of a volume, if there can be one of these numbers.
    #[must_use]
    pub fn new(blocks: u64, inodes: u64, twin_offset: u64) -> Option<Self> {
        let sane = (1024..=1 << 32).contains(&blocks)
            && (8..=blocks).contains(&inodes)
            && (1..=256).contains(&twin_offset);
        if !sane {
            return None;
        }
        let mut at = AREAS_START;
        let levels = [
            inodes.div_ceil(32_768),
            blocks.div_ceil(32_768),
            inodes.div_ceil(8),
        ];
        let levels = levels.map(|lowest| {
            let mut levels = Vec::new();
            let mut count = lowest;
            loop {
                levels.push((at, count));
                at += 2 * count.next_multiple_of(twin_offset);
                if count <= TOP_BLOCKS_MAX {
                    return levels;
                }
                count = count.div_ceil(FANOUT);
            }
        });
        Some(Self {
            levels,
            data_start: at,
            blocks,
            twin_offset,
        })
    }

    /// The highest level of an area, which the root block points to.
    #[must_use]
    pub fn top_level(&self, area: Area) -> usize {
        self.levels[area as usize].len() - 1
    }

    /// Blocks of a level.
    #[must_use]
    pub fn level_blocks(&self, area: Area, level: usize) -> u64 {
        self.levels[area as usize].get(level).map_or(0, |it| it.1)
    }

    /// Where the left twin of a block of an area is.
    #[must_use]
    pub fn left_twin(&self, area: Area, level: usize, index: u64) -> u64 {
        let (start, _) = self.levels[area as usize][level];
        let twins = self.twin_offset;
        start + index / twins * 2 * twins + index % twins
    }
}
