//! Choices that follow from a campaign's seed and an experiment's number alone.
//!
//! SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a counter that is mixed. What is drawn first says
//! nothing of what is drawn next, nor of what the next number draws.

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A source of choices.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Random {
    /// The choices of experiment `number` of the campaign with this seed.
    pub fn new(seed: u64, number: u64) -> Self {
        Self {
            state: mix(mix(seed.wrapping_add(GAMMA)) ^ number),
        }
    }

    /// The choices of another attempt at it; those of the first, which has number zero, are as of
    /// [`Random::new`].
    pub fn attempt(seed: u64, number: u64, attempt: u32) -> Self {
        let mut first = Self::new(seed, number);
        match attempt {
            0 => first,
            _ => first.part(attempt.into()),
        }
    }

    /// Choices of their own for part `number` of the experiment.
    pub fn part(&mut self, number: u64) -> Self {
        Self::new(self.number(), number)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// A number below `end`, which is at least one.
    pub fn below(&mut self, end: u64) -> u64 {
        // The product's high half; off from even by less than anyone could count.
        ((u128::from(self.number()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `first` to `last`, small ones as likely as their double: uniform in the logarithm.
    pub fn scaled(&mut self, first: u64, last: u64) -> u64 {
        let (low, high) = ((first as f64).ln(), (last as f64 + 1.0).ln());
        let part = self.below(1 << 32) as f64 / 2_f64.powi(32);
        ((low + (high - low) * part).exp() as u64).clamp(first, last)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of these, of which there is at least one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_chooses_the_same_and_others_choose_otherwise() {
        let draw = |seed, number| {
            let mut random = Random::new(seed, number);
            [(); 8].map(|()| random.below(1000))
        };
        assert_eq!(draw(1, 17), draw(1, 17));
        let first: std::collections::BTreeSet<_> =
            (0..1000).map(|number| draw(1, number)).collect();
        assert_eq!(first.len(), 1000);
        assert_ne!(draw(1, 17), draw(2, 17));
        let attempt = |attempt| Random::attempt(1, 17, attempt).below(1000);
        assert_eq!(attempt(0), draw(1, 17)[0]);
        assert_eq!(attempt(1), attempt(1));
        assert!(attempt(1) != attempt(0) && attempt(2) != attempt(1));
    }

    #[test]
    fn what_is_drawn_stays_in_its_bounds_and_reaches_them() {
        let mut random = Random::new(3, 0);
        let drawn: Vec<u64> = (0..10_000).map(|_| random.scaled(3, 1000)).collect();
        assert_eq!(drawn.iter().min(), Some(&3));
        assert!(drawn.iter().all(|number| (3..=1000).contains(number)));
        let small = drawn.iter().filter(|number| **number < 55).count();
        assert!(
            (4000..6000).contains(&small),
            "{small} below the geometric mean"
        );
        assert!((0..100).all(|_| random.below(1) == 0));
    }
}
