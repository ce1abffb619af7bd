//! What each thing costs, round by round, beside the paper's figure, drawn.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::postmark::Cost;

/// Width and height, pixels.
const SIZE: (u32, u32) = (900, 420);

/// An SVG: a row for each thing, a point for each round, a cross for the paper's figure.
pub fn costs_drawn(costs: &[Cost]) -> Result<String> {
    let rounds = |cost: &Cost| cost.ratio.iter().flat_map(|it| it.rounds.clone()).collect();
    let all: Vec<Vec<f64>> = costs.iter().map(rounds).collect();
    let paper = costs.iter().filter_map(|cost| cost.paper.map(|it| it.0));
    let values: Vec<f64> = all.iter().flatten().copied().chain(paper).collect();
    let low = values.iter().copied().fold(0.0, f64::min) - 2.0;
    let high = values.iter().copied().fold(0.0, f64::max) + 2.0;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw: {error}");
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let mut chart = ChartBuilder::on(&area)
            .margin(20)
            .x_label_area_size(40)
            .y_label_area_size(290)
            .build_cartesian_2d(low..high, -0.5..costs.len() as f64 - 0.5)
            .map_err(|error| failed(&error))?;
        let name = |row: &f64| {
            let at = (costs.len() as f64 - 1.0 - row).round();
            let whole = (row - row.round()).abs() < 1e-6 && at >= 0.0;
            let cost = costs.get(at as usize).filter(|_| whole);
            cost.map_or_else(String::new, |cost| cost.what.into())
        };
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("cost, % (a point: a round; a cross: the paper)")
            .y_labels(costs.len())
            .y_label_formatter(&name)
            .draw()
            .map_err(|error| failed(&error))?;
        for (at, (cost, rounds)) in costs.iter().zip(&all).enumerate() {
            let row = (costs.len() - 1 - at) as f64;
            let dots = rounds.iter();
            let dots = dots.map(|&x| Circle::new((x, row), 3, BLUE.mix(0.5).filled()));
            chart.draw_series(dots).map_err(|error| failed(&error))?;
            let cross = cost.paper.iter();
            let cross = cross.map(|&(x, _)| Cross::new((x, row), 5, RED.stroke_width(2)));
            chart.draw_series(cross).map_err(|error| failed(&error))?;
        }
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(text)
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
