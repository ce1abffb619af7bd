//! What was found and done where copies were compared, and who is told of blocks that no copy has.

use alloc::vec::Vec;

use crate::file::FileNumber;

/// Lost blocks that are named one by one in the log.
const LOST_NAMED_MAX: u64 = 16;
/// Lost blocks that are told to programs, so many at a time.
const LOST_TOLD_MAX: u64 = 4096;
const LOST_TOLD_AT_ONCE: usize = 16;

#[derive(Default)]
pub(super) struct Tally {
    /// Blocks of copies that were written.
    pub rewritten: u64,
    /// Blocks that no copy has whole.
    pub lost: u64,
    /// Lost blocks of a file that have not been told.
    untold: Vec<u64>,
}

impl Tally {
    pub fn lose(&mut self, file: FileNumber, block: u64) {
        self.lost += 1;
        if self.lost <= LOST_NAMED_MAX {
            log::error!(
                "file {}, block {block}: no copy is whole; it reads as an error until it is \
                 written",
                file.0
            );
        }
        if self.lost <= LOST_TOLD_MAX {
            self.untold.push(block);
        }
        if self.untold.len() == LOST_TOLD_AT_ONCE {
            self.tell(file);
        }
    }

    /// Whoever knows names tells them; see the console's `lost`.
    pub fn tell(&mut self, file: FileNumber) {
        if !self.untold.is_empty() {
            let (file, blocks) = (file.0, core::mem::take(&mut self.untold));
            log::info!(
                target: crate::EVENT,
                r#"{{"event":"bad-blocks","file":{file},"blocks":{blocks:?}}}"#
            );
        }
    }
}
