//! What is cut off a file: its pages here, and the rest of the page in the middle of which it then ends.

use alloc::rc::Rc;

use super::{
    Inner,
    files::{File, State},
    page::{PageRef, alone, page_of, pages_in},
    pool::{Content, FrameId, Pool},
};
use crate::{BLOCK_BYTES, surviving::Memory};

impl<L, C, M: Memory> Inner<L, C, M> {
    /// Makes a change to a file that leaves nothing of it beyond `size`. First it is written down; then the
    /// pages beyond are dropped, and the rest of the page that `size` is in is zeroed, by way of `spare`.
    pub(super) fn cut_pages(
        &self,
        file: &Rc<File>,
        size: u64,
        spare: PageRef<M>,
        change: impl FnOnce(&mut State),
    ) {
        let mut state = file.state.borrow_mut();
        let mut pool = self.pool.borrow_mut();
        let beyond = pages_in(size);
        let dropped = state.pages.split_off(&beyond);
        state.dirty.split_off(&beyond);
        for &id in dropped.values() {
            state.digest = state.digest.wrapping_sub(pool.guard(id));
        }
        change(&mut state);
        self.write_down(&mut pool, file, &state);
        for id in dropped.into_values() {
            pool.remove(id);
        }
        let rest = (size % BLOCK_BYTES as u64) as usize;
        let held = state.pages.get(&page_of(size)).copied();
        drop((state, pool));
        let held = held.filter(|&id| rest > 0 && self.is_sound(file, page_of(size), id));
        let mut state = file.state.borrow_mut();
        let mut pool = self.pool.borrow_mut();
        if let Some(id) = held {
            self.zero_rest(&mut pool, file, &mut state, id, rest, spare);
        } else {
            pool.give_back(spare);
        }
    }

    /// Zeroes the page in the middle of which the file ends, from byte `rest` on. Should the cache die
    /// before this is written down, the next instance does it.
    pub(super) fn zero_rest(
        &self,
        pool: &mut Pool<M>,
        file: &Rc<File>,
        state: &mut State,
        id: FrameId,
        rest: usize,
        mut spare: PageRef<M>,
    ) {
        let algorithm = self.algorithm();
        let content = pool.amend(id);
        let is_zero = content.page[rest..].iter().all(|&byte| byte == 0);
        let (Ok(bytes), false) = (alone(&mut spare), content.is_lost || is_zero) else {
            return pool.give_back(spare);
        };
        bytes[..rest].copy_from_slice(&content.page[..rest]);
        bytes[rest..].fill(0);
        let old_guard = content.guard;
        let checksum = algorithm.of(&spare[..]);
        pool.checksums += 1;
        let guard = if old_guard == 0 {
            0
        } else {
            let index = page_of(state.now.size);
            (pool.ledger).describe(spare.number(), file.number, index, checksum)
        };
        let fresh = Content {
            page: spare,
            checksum: Some(checksum),
            is_lost: false,
            guard,
        };
        let old = core::mem::replace(pool.amend(id), fresh);
        if old_guard != 0 {
            state.digest = state.digest.wrapping_add(guard).wrapping_sub(old_guard);
            self.write_down(pool, file, state);
        }
        pool.discard(old);
    }
}
