//! The pages of programs that never change, shared by all instances.
//!
//! Code and constants are read from the archive once and then mapped, read-only, into every instance.
//! That spares a restart most of its copying. More important, code stays at the same physical
//! addresses: an emulator that translates code finds its translations again, which makes a restart
//! under TCG several times as fast. Nobody can write these pages, so instances share nothing else.

use alloc::vec::Vec;

use abi::Name;
use kernel_core::frames::{Frame, Frames};

/// A page of a program.
struct Page {
    program: Name,
    address: u64,
    frame: Frame,
}

/// All pages of programs that were started so far; as many as the archive has, at most.
#[derive(Default)]
pub struct Programs {
    pages: Vec<Page>,
}

impl Programs {
    fn position(&self, program: &Name, address: u64) -> Result<usize, usize> {
        self.pages
            .binary_search_by(|page| (&page.program, page.address).cmp(&(program, address)))
    }

    /// The frame of a program's page, held for one more, if it is known.
    pub fn take(&self, frames: &mut Frames, program: &Name, address: u64) -> Option<Frame> {
        let frame = self.pages[self.position(program, address).ok()?].frame;
        frames.hold(frame);
        Some(frame)
    }

    /// Keeps the frame of a page that was just filled.
    pub fn keep(&mut self, frames: &mut Frames, program: Name, address: u64, frame: Frame) {
        if let Err(position) = self.position(&program, address) {
            frames.hold(frame);
            self.pages.insert(
                position,
                Page {
                    program,
                    address,
                    frame,
                },
            );
        }
    }
}
