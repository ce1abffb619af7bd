//! What is in a file: bytes that follow from the seed, the file's number and the offset.
//!
//! ```text
//! word i of file n (little-endian, bytes 8i to 8i+7):
//!     x = key(seed, n) + i * GAMMA          key: two rounds of a 64-bit mix
//!     w = (x ^ (x >> 32)) * MULTIPLIER
//! ```
//!
//! Both steps are one-to-one, so no two words within a file are equal: a byte that changed, a block
//! that is at the wrong offset, of another file, of another seed, or zeros, all show. A word
//! costs one multiplication, so that the check does not weigh on what is measured.

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// The content of one file.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    key: u64,
}

fn mix(value: u64) -> u64 {
    (value ^ (value >> 32)).wrapping_mul(MULTIPLIER)
}

impl Content {
    /// The content of file `number` under `seed`.
    #[must_use]
    pub fn new(seed: u32, number: u32) -> Self {
        Self {
            key: mix(mix(
                (u64::from(seed) << 32 | u64::from(number)).wrapping_add(GAMMA)
            )),
        }
    }

    fn word(self, index: u64) -> u64 {
        mix(self.key.wrapping_add(index.wrapping_mul(GAMMA)))
    }

    fn byte(self, offset: u64) -> u8 {
        self.word(offset / 8).to_le_bytes()[(offset % 8) as usize]
    }

    /// Fills `into` with what is at `offset`.
    pub fn fill(self, offset: u64, into: &mut [u8]) {
        let head = ((8 - offset % 8) % 8).min(into.len() as u64) as usize;
        let (head, rest) = into.split_at_mut(head);
        for (byte, at) in head.iter_mut().zip(offset..) {
            *byte = self.byte(at);
        }
        let start = offset + head.len() as u64;
        let (words, tail) = rest.as_chunks_mut::<8>();
        let mut index = start / 8;
        for word in words {
            *word = self.word(index).to_le_bytes();
            index += 1;
        }
        for (byte, at) in tail.iter_mut().zip(index * 8..) {
            *byte = self.byte(at);
        }
    }

    /// Compares `data` with what should be at `offset`; the offset of the first wrong byte, if any.
    #[must_use]
    pub fn mismatch(self, offset: u64, data: &[u8]) -> Option<u64> {
        let slow = |from: usize| {
            let wrong = data[from..].iter().zip(offset + from as u64..);
            wrong
                .into_iter()
                .find(|&(&byte, at)| byte != self.byte(at))
                .map(|(_, at)| at)
        };
        if !offset.is_multiple_of(8) {
            return slow(0);
        }
        let (words, tail) = data.as_chunks::<8>();
        let differs =
            |(index, word): (u64, &[u8; 8])| u64::from_le_bytes(*word) != self.word(index);
        match (offset / 8..).zip(words).position(differs) {
            Some(word) => slow(word * 8),
            None => slow(data.len() - tail.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::*;

    fn bytes(content: Content, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        content.fill(offset, &mut bytes);
        bytes
    }

    #[test]
    fn a_part_is_the_same_however_it_is_asked_for() {
        let content = Content::new(42, 7);
        let whole = bytes(content, 0, 300);
        for start in 0..40 {
            for len in 0..40 {
                assert_eq!(bytes(content, start as u64, len), whole[start..start + len]);
                assert_eq!(
                    content.mismatch(start as u64, &whole[start..start + len]),
                    None
                );
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_found_where_it_is() {
        let content = Content::new(1, 2);
        for start in [0, 3, 8] {
            let mut data = bytes(content, start, 64);
            for bit in 0..64 * 8 {
                data[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(content.mismatch(start, &data), Some(start + bit as u64 / 8));
                data[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn blocks_of_other_places_files_and_seeds_are_found() {
        let content = Content::new(42, 7);
        for wrong in [
            bytes(content, 4096, 4096),
            bytes(content, 8, 4096),
            bytes(Content::new(42, 8), 0, 4096),
            bytes(Content::new(43, 7), 0, 4096),
            vec![0; 4096],
        ] {
            assert!(content.mismatch(0, &wrong).is_some_and(|offset| offset < 8));
        }
    }
}
