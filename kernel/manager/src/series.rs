//! A series of kills: whom to kill next, as follows from its seed.

use crate::control::{Progress, Series};

/// A series under way.
#[derive(Clone, Debug)]
pub struct Running {
    /// What was asked for.
    pub series: Series,
    kills: u64,
    misses: u64,
    choice: Choice,
}

/// Choices that follow from a seed.
#[derive(Clone, Debug)]
pub struct Choice {
    random: u64,
}

impl Choice {
    /// The choices of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: seed }
    }

    /// One of these, if there are any: all of them are equally likely.
    pub fn choose(&mut self, candidates: &[usize]) -> Option<usize> {
        if candidates.is_empty() {
            return None;
        }
        let index = (u128::from(self.next()) * candidates.len() as u128) >> 64;
        Some(candidates[index as usize])
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.random;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}

impl Running {
    /// Nobody was killed yet.
    #[must_use]
    pub fn new(series: Series) -> Self {
        Self {
            kills: 0,
            misses: 0,
            choice: Choice::new(series.seed),
            series,
        }
    }

    /// Whom to kill of these, if there are any: all of them are equally likely, and the same seed
    /// gives the same choices.
    pub fn choose(&mut self, candidates: &[usize]) -> Option<usize> {
        let chosen = self.choice.choose(candidates);
        self.misses += u64::from(chosen.is_none());
        chosen
    }

    /// The chosen one was killed.
    pub fn killed(&mut self) {
        self.kills += 1;
    }

    /// All kills that were asked for have been done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.series.count.is_some_and(|count| self.kills >= count)
    }

    /// How it goes.
    #[must_use]
    pub fn progress(&self, running: bool) -> Progress {
        let (kills, misses, count) = (self.kills, self.misses, self.series.count);
        Progress {
            running,
            kills,
            count,
            misses,
        }
    }
}
