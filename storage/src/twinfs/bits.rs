//! The bits of one bitmap block: which are free, where a run of free ones is.
//!
//! A bit can be taken if it is clear in the current bitmap *and* was clear in that of the last
//! checkpoint. Not the whole old bitmap is kept for that, but the bits that were cleared since and
//! were set then: the *held* bits.

use super::{cache::Block, layout::BITS_PER_BLOCK};

/// 64-bit words in a bitmap block.
pub const WORDS: usize = BITS_PER_BLOCK as usize / 64;

/// Held bits of one bitmap block.
pub type HeldBits = [u64; WORDS];

/// What of a bitmap block can be taken.
pub struct View<'a> {
    /// The current bits: set is in use.
    pub content: &'a Block,
    /// Bits that must wait for the next checkpoint.
    pub held: Option<&'a HeldBits>,
    /// Bits that mean something; the last block of a bitmap has fewer than the others.
    pub bits: u64,
    /// To find pairs: distance of the second bit from the first.
    pub pair: Option<u64>,
}

impl View<'_> {
    /// Word `index`, a set bit for each that can be taken by itself.
    fn single(&self, index: usize) -> u64 {
        let first = index as u64 * 64;
        if first >= self.bits {
            return 0;
        }
        let used = word(self.content, index) | self.held.map_or(0, |held| held[index]);
        let valid = self.bits - first;
        let mask = if valid >= 64 {
            u64::MAX
        } else {
            (1 << valid) - 1
        };
        !used & mask
    }

    /// Word `index`, a set bit for each that can be taken, alone or as the first of a pair.
    fn free(&self, index: usize) -> u64 {
        let single = self.single(index);
        let Some(distance) = self.pair else {
            return single;
        };
        if single == 0 {
            return 0;
        }
        let (words, shift) = (index + distance as usize / 64, distance % 64);
        let low = self.single(words) >> shift;
        let high = if shift == 0 {
            0
        } else {
            self.single(words + 1) << (64 - shift)
        };
        single & (low | high)
    }

    /// The first run at or after bit `from`, of at most `most` bits; (start, length).
    pub fn find(&self, from: u64, most: u64) -> Option<(u64, u64)> {
        let mut index = (from / 64) as usize;
        let mut mask = u64::MAX << (from % 64);
        while (index as u64) * 64 < self.bits {
            let free = self.free(index) & mask;
            if free != 0 {
                let start = index as u64 * 64 + u64::from(free.trailing_zeros());
                // The second bits of a run of pairs must not be first bits of the same run.
                let most = self.pair.map_or(most, |distance| most.min(distance));
                return Some((start, self.run(start, most)));
            }
            index += 1;
            mask = u64::MAX;
        }
        None
    }

    /// How many bits from `start` on can be taken, at most `most`.
    pub fn run(&self, start: u64, most: u64) -> u64 {
        let mut len = 0;
        while len < most {
            let at = start + len;
            let (index, shift) = ((at / 64) as usize, at % 64);
            if at >= self.bits {
                break;
            }
            let ones = u64::from((!(self.free(index) >> shift)).trailing_zeros());
            let step = ones.min(64 - shift);
            len += step;
            if step < 64 - shift {
                break;
            }
        }
        len.min(most)
    }

    /// How many single bits can be taken in all.
    pub fn count(&self) -> u32 {
        let words = self.bits.div_ceil(64) as usize;
        (0..words)
            .map(|index| self.single(index).count_ones())
            .sum()
    }
}

fn word(content: &Block, index: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&content[index * 8..index * 8 + 8]);
    u64::from_le_bytes(bytes)
}

/// Whether a bit is set.
pub fn get(content: &Block, bit: u64) -> bool {
    content[(bit / 8) as usize] & (1 << (bit % 8)) != 0
}

/// Sets a bit or clears it.
pub fn put(content: &mut Block, bit: u64, set: bool) {
    let byte = &mut content[(bit / 8) as usize];
    let mask = 1 << (bit % 8);
    if set { *byte |= mask } else { *byte &= !mask }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cross_words_and_end_at_the_last_valid_bit() {
        let mut content = [0; crate::BLOCK_BYTES];
        put(&mut content, 60, true);
        put(&mut content, 130, true);
        let view = View {
            content: &content,
            held: None,
            bits: 200,
            pair: None,
        };
        assert_eq!(view.find(60, 1000), Some((61, 69)));
        assert_eq!(view.find(131, 1000), Some((131, 69)));
        assert_eq!(view.find(200, 1), None);
        assert_eq!(view.count(), 198);
    }

    #[test]
    fn held_bits_cannot_be_taken() {
        let content = [0; crate::BLOCK_BYTES];
        let mut held = [0; WORDS];
        held[1] = 0b101;
        let view = View {
            content: &content,
            held: Some(&held),
            bits: 128,
            pair: None,
        };
        assert_eq!(view.find(60, 64), Some((60, 4)));
        assert_eq!(view.find(64, 64), Some((65, 1)));
        assert_eq!(view.find(66, 64), Some((67, 61)));
    }

    #[test]
    fn pairs_have_both_bits_free_and_do_not_overlap() {
        for distance in [1, 16, 63, 64, 65, 256] {
            let mut content = [0; crate::BLOCK_BYTES];
            put(&mut content, 5, true);
            put(&mut content, 7 + distance, true);
            let view = View {
                content: &content,
                held: None,
                bits: 1000,
                pair: Some(distance),
            };
            let mut from = 0;
            while let Some((start, len)) = view.find(from, 1000) {
                assert!(len >= 1 && len <= distance, "distance {distance}");
                for bit in start..start + len {
                    assert!(!get(&content, bit) && !get(&content, bit + distance));
                    assert!(bit + distance < 1000);
                }
                from = start + len;
            }
            assert_ne!(view.find(7, 1).unwrap().0, 7, "distance {distance}");
        }
    }
}
