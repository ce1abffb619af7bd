//! Numbers that look random and are the same everywhere: splitmix64.

/// A sequence of numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// How many seeds a test runs: `usual`, or what the environment variable `GALAGO_SEEDS` says.
#[must_use]
pub fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("GALAGO_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let first = std::env::var("GALAGO_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    match (first, asked) {
        (Some(first), asked) => first..first + asked.unwrap_or(1),
        (None, asked) => 0..asked.unwrap_or(usual),
    }
}
