//! What each thing costs, round by round, beside the paper's figure, drawn.

use anyhow::Result;

use super::postmark::Cost;
use crate::plot::{Marks, Plot, Vertical};

/// Width and height, pixels.
const SIZE: (u32, u32) = (900, 420);

/// An SVG: a row for each thing, a point for each round, a cross for the paper's figure.
pub fn costs_drawn(costs: &[Cost]) -> Result<String> {
    let (mut rounds, mut paper) = (Vec::new(), Vec::new());
    for (row, cost) in costs.iter().rev().enumerate() {
        let of_cost = cost.ratio.iter().flat_map(|it| &it.rounds);
        rounds.extend(of_cost.map(|&percent| (percent, row as f64)));
        paper.extend(cost.paper.map(|it| (it.0, row as f64)));
    }
    let percents = || rounds.iter().chain(&paper).map(|place| place.0);
    let low = percents().fold(0.0, f64::min) - 2.0;
    let high = percents().fold(0.0, f64::max) + 2.0;
    let plot = Plot {
        size: SIZE,
        x: ("cost, % (a point: a round; a cross: the paper)", low..high),
        y: Vertical::Rows(costs.iter().map(|cost| cost.what).collect()),
    };
    plot.draw(&[Marks::Dots(rounds), Marks::Crosses(paper)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::costs::ratio::Ratio;

    #[test]
    fn each_round_is_a_point() {
        let cost = |what, paper| Cost {
            what,
            ratio: Ratio::of(&[1.1, 1.2, 1.0], &[1.0; 3]),
            paper,
        };
        let costs = [cost("twins", Some((3.9, "Table I"))), cost("other", None)];
        let svg = costs_drawn(&costs).expect("drawn");
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(svg.contains("twins") && svg.contains("other"), "{svg}");
        costs_drawn(&[]).expect("nothing is no error");
    }
}
