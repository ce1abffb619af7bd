//! The random numbers of PostMark: the Mersenne Twister MT19937, seeded as its authors did in 1999.
//!
//! PostMark took this generator in version 1.5. With the same numbers in the same order, a run here
//! does what a run of the original does: the same files of the same sizes in the same
//! transactions. (The `rand_mt` family of crates seeds by the authors' later method of 2002.)
//!
//! Source: M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM TOMACS 8(1), 1998, pages 3 to 30.

use alloc::{boxed::Box, vec};

const WORDS: usize = 624;
const MIDDLE: usize = 397;

/// The generator. About 2.5 KB of state.
pub struct Random {
    state: Box<[u32]>,
    next: usize,
}

impl Random {
    /// The generator in the state that `seed` stands for.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        let mut state = vec![0; WORDS].into_boxed_slice();
        let mut congruential = seed;
        for word in &mut state {
            let high = congruential & 0xffff_0000;
            congruential = congruential.wrapping_mul(69069).wrapping_add(1);
            *word = high | (congruential >> 16);
            congruential = congruential.wrapping_mul(69069).wrapping_add(1);
        }
        Self { state, next: WORDS }
    }

    /// The next number, all 32 bits random.
    pub fn next(&mut self) -> u32 {
        if self.next == WORDS {
            self.refill();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number below `bound`; zero, without using one up, if the bound is zero.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    fn refill(&mut self) {
        for index in 0..WORDS {
            let following = self.state[(index + 1) % WORDS];
            let joined = (self.state[index] & 0x8000_0000) | (following & 0x7fff_ffff);
            let twist = if joined & 1 == 0 { 0 } else { 0x9908_b0df };
            self.state[index] = self.state[(index + MIDDLE) % WORDS] ^ (joined >> 1) ^ twist;
        }
        self.next = 0;
    }
}

// That the numbers are the original's is tested by what a whole run of PostMark does with them.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_of_zero_uses_no_number_up() {
        let (mut one, mut other) = (Random::new(42), Random::new(42));
        assert_eq!(one.below(0), 0);
        assert_eq!(one.next(), other.next());
    }
}
