//! Reading the store's structures: from the newest root down, and what writes make interesting.

use super::{
    device::{Faulty, Timer},
    layout::{Layout, ROOTS},
    rules::BLOCK_SECTORS,
};
use crate::{BLOCK_BYTES, block::BlockDevice, buffer::Sink};

/// Most blocks that are read at a time, and in all when a rule by type is added. The rest of a
/// larger volume is learned from what is written.
const BATCH: usize = 64;
const BLOCKS_MAX: usize = 1 << 16;

impl<D: BlockDevice, T: Timer> Faulty<D, T> {
    /// Learns the types of all blocks, as far as the structures on the disk tell, and follows them from
    /// then on. What cannot be read is not known.
    pub(super) async fn learn(&self) {
        if self.learning.replace(true) {
            return;
        }
        let Some(geometry) = self.geometry.get() else {
            // Nobody uses the disk yet: `attach` comes back here.
            self.learning.set(false);
            return;
        };
        let device_blocks = geometry.sectors / BLOCK_SECTORS;
        let mut newest: Option<(Layout, [u8; BLOCK_BYTES])> = None;
        for place in ROOTS {
            let Some(content) = self.block(place).await else {
                continue;
            };
            let Some(layout) = Layout::read(&content, device_blocks) else {
                continue;
            };
            if newest
                .as_ref()
                .is_none_or(|(old, _)| old.timestamp < layout.timestamp)
            {
                newest = Some((layout, content));
            }
        }
        if let Some((layout, content)) = newest {
            let mut kinds = self.kinds.borrow_mut();
            kinds.rooted(layout);
            kinds.want_tops(&content);
        }
        for _ in 0..BLOCKS_MAX / BATCH {
            if !self.learn_wanted().await {
                return;
            }
        }
    }

    /// Reads some of the blocks that are interesting; whether there were any.
    pub(super) async fn learn_wanted(&self) -> bool {
        let wanted = self.kinds.borrow_mut().wanted(BATCH);
        for &(block, node) in &wanted {
            if let Some(content) = self.block(block).await {
                self.kinds.borrow_mut().read(block, node, &content);
            }
        }
        !wanted.is_empty()
    }

    async fn block(&self, block: u64) -> Option<[u8; BLOCK_BYTES]> {
        let mut content = [0; BLOCK_BYTES];
        let sink = Sink::local(&mut content);
        self.device.read(block * BLOCK_SECTORS, sink).await.ok()?;
        Some(content)
    }
}
