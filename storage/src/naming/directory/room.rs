//! Which block of a directory has room: a tree of maxima, so that the first block with enough is
//! found in as many steps as there are levels, however many blocks are full.

use alloc::{vec, vec::Vec};

/// The longest free record of each block.
pub struct Rooms {
    /// A complete binary tree: the root at 1, the children of `i` at `2i` and `2i + 1`, the leaves
    /// from `width` on; each the maximum of what is below it.
    tree: Vec<u16>,
    width: usize,
    len: usize,
}

impl Rooms {
    /// No blocks.
    pub fn new() -> Self {
        Self {
            tree: vec![0; 2],
            width: 1,
            len: 0,
        }
    }

    /// Adds a block at the end.
    pub fn push(&mut self, room: usize) {
        if self.len == self.width {
            let old = core::mem::replace(&mut self.tree, vec![0; 4 * self.width]);
            let leaves = &old[self.width..];
            self.width *= 2;
            self.tree[self.width..self.width + leaves.len()].copy_from_slice(leaves);
            for node in (1..self.width).rev() {
                self.tree[node] = self.tree[2 * node].max(self.tree[2 * node + 1]);
            }
        }
        self.len += 1;
        self.set(self.len - 1, room);
    }

    /// Notes the room of a block.
    pub fn set(&mut self, block: usize, room: usize) {
        debug_assert!(block < self.len);
        let mut node = self.width + block;
        self.tree[node] = room as u16;
        while node > 1 {
            node /= 2;
            self.tree[node] = self.tree[2 * node].max(self.tree[2 * node + 1]);
        }
    }

    /// The first block that has `need` bytes of room.
    pub fn first_with(&self, need: usize) -> Option<usize> {
        if need == 0 || usize::from(self.tree[1]) < need {
            return None;
        }
        let mut node = 1;
        while node < self.width {
            node *= 2;
            if usize::from(self.tree[node]) < need {
                node += 1;
            }
        }
        Some(node - self.width)
    }

    /// Bytes of memory it takes.
    pub fn weight(&self) -> usize {
        2 * self.tree.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_block_with_room() {
        let mut rooms = Rooms::new();
        assert_eq!(rooms.first_with(1), None);
        let mut plain = Vec::new();
        let mut seed = 7_u32;
        for step in 0..2000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let room = (seed >> 20) as usize;
            if step % 3 == 0 {
                rooms.push(room);
                plain.push(room);
            } else {
                let block = (seed >> 8) as usize % plain.len();
                rooms.set(block, room / 4);
                plain[block] = room / 4;
            }
            let need = 1 + (seed >> 4) as usize % 4096;
            let expected = plain.iter().position(|&room| room >= need);
            assert_eq!(rooms.first_with(need), expected, "step {step}");
        }
    }
}
