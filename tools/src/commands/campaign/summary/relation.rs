//! How the time until calls go on after a crash depends on the size of the log. In the paper, which replays
//! the log first, it depends on nothing else.

use serde::Serialize;

/// Pages of a MiB.
const PAGES_PER_MIB: f64 = 256.0;

/// A straight line through all of them, by least squares, and how close they are to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Relation {
    /// What an empty log takes, milliseconds.
    pub base_ms: f64,
    /// What each MiB takes beyond that, milliseconds.
    pub ms_per_mib: f64,
    /// How much of the differences the size of the log explains: from 0, nothing, to
    /// 1, everything.
    pub explained: f64,
}

impl Relation {
    /// Of logs and times, in pages and nanoseconds; nothing if they are too few or all logs the same.
    pub fn of(replays: impl Iterator<Item = (u64, u64)>) -> Option<Self> {
        let points: Vec<(f64, f64)> = replays
            .map(|(pages, ns)| (pages as f64 / PAGES_PER_MIB, ns as f64 / 1e6))
            .collect();
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mib, ms) = (mean(|it| it.0), mean(|it| it.1));
        let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
            points.iter().map(|(x, y)| of(x - mib, y - ms)).sum()
        };
        let (xx, yy, xy) = (sum(&|x, _| x * x), sum(&|_, y| y * y), sum(&|x, y| x * y));
        if points.len() < 3 || xx <= 0.0 {
            return None;
        }
        let ms_per_mib = xy / xx;
        Some(Self {
            base_ms: ms - ms_per_mib * mib,
            ms_per_mib,
            explained: if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 },
        })
    }

    /// What a log of this size should take, milliseconds.
    pub fn ms(&self, mib: f64) -> f64 {
        self.base_ms + self.ms_per_mib * mib
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn a_line_is_found_and_what_does_not_follow_it_told() {
        // 20 ms, and 3 ms a MiB.
        let line = |pages: u64| (pages, 20_000_000 + pages * 3_000_000 / 256);
        let relation = Relation::of([0, 256, 512, 2560].map(line).into_iter()).expect("a line");
        assert!(near(relation.base_ms, 20.0) && near(relation.ms_per_mib, 3.0));
        assert!(near(relation.explained, 1.0) && near(relation.ms(10.0), 50.0));
        let nothing = [(0, 10_000_000), (256, 20_000_000), (512, 10_000_000)];
        let relation = Relation::of(nothing.into_iter()).expect("a line");
        assert!(near(relation.ms_per_mib, 0.0) && near(relation.explained, 0.0));
        assert_eq!(Relation::of([(5, 1), (5, 2), (5, 3)].into_iter()), None);
        assert_eq!(Relation::of([(1, 1), (2, 2)].into_iter()), None);
    }
}
