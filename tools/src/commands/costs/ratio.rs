//! How much more one variant takes than another, in the rounds that both were in.

use serde::Serialize;

/// Per cent, over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// Half of the rounds had no more.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// Of each round, in order.
    pub rounds: Vec<f64>,
}

impl Ratio {
    /// Of what each round took with and without; nothing if there was no round, or one took nothing.
    pub fn of(with: &[f64], without: &[f64]) -> Option<Self> {
        let percent = |(with, without): (&f64, &f64)| 100.0 * (with / without - 1.0);
        let rounds: Vec<f64> = with.iter().zip(without).map(percent).collect();
        let mut sorted = rounds.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let whole = rounds.iter().all(|round| round.is_finite());
        whole.then(|| Self {
            median: median(&sorted),
            min,
            max,
            rounds,
        })
    }
}

/// The middle of an ordered list, or of its two middle ones; zero of none.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        even if even.is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The middle of a list in any order.
pub fn median_of(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    median(&values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_is_compared_with_itself() {
        // A host that becomes twice as slow changes nothing.
        let ratio = Ratio::of(&[11.0, 24.0, 10.5], &[10.0, 20.0, 10.0]).expect("rounds");
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(ratio.median, 10.0) && near(ratio.min, 5.0) && near(ratio.max, 20.0));
        assert_eq!(ratio.rounds.len(), 3);
        assert_eq!(Ratio::of(&[], &[]), None);
        assert_eq!(Ratio::of(&[1.0], &[0.0]), None);
        assert!(near(median_of([4.0, 1.0, 3.0, 2.0]), 2.5));
    }
}
