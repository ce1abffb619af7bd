//! Plots, as SVG: one frame for all that is drawn.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// Room for the names of rows, pixels.
const ROW_NAMES: u32 = 290;

/// Room for numbers beside the vertical axis, pixels.
const NUMBERS: u32 = 60;

/// What is drawn at places of the two axes.
pub enum Marks {
    /// Measured.
    Dots(Vec<(f64, f64)>),
    /// What it is compared with.
    Crosses(Vec<(f64, f64)>),
    /// What is drawn through it.
    Line([(f64, f64); 2]),
}

/// The frame.
pub struct Plot<'a> {
    /// Width and height, pixels.
    pub size: (u32, u32),
    /// What goes to the right, its unit among it, and from where to where.
    pub x: (&'a str, Range<f64>),
    /// What goes up.
    pub y: Vertical<'a>,
}

/// The vertical axis.
pub enum Vertical<'a> {
    /// What it is, its unit among it, and from where to where.
    Numbers(&'a str, Range<f64>),
    /// A row for each of these, the first at the top, which is one less than their number.
    Rows(Vec<&'a str>),
}

impl Plot<'_> {
    /// An SVG with these marks.
    ///
    /// # Errors
    /// If the axes have no length.
    pub fn draw(&self, marks: &[Marks]) -> Result<String> {
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, self.size).into_drawing_area();
        self.draw_on(&area, marks)
            .map_err(|error| anyhow!("cannot draw: {error}"))?;
        // It writes the end of the text.
        drop(area);
        Ok(text)
    }

    fn draw_on<'t>(
        &self,
        area: &DrawingArea<SVGBackend<'t>, plotters::coord::Shift>,
        marks: &[Marks],
    ) -> Result<(), Box<dyn std::error::Error + 't>> {
        let (room, range) = match &self.y {
            Vertical::Numbers(_, range) => (NUMBERS, range.clone()),
            Vertical::Rows(rows) => (ROW_NAMES, -0.5..rows.len() as f64 - 0.5),
        };
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .margin(20)
            .x_label_area_size(40)
            .y_label_area_size(room)
            .build_cartesian_2d(self.x.1.clone(), range)?;
        let row = |at: &f64| self.row(*at);
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.x.0);
        match &self.y {
            Vertical::Numbers(name, _) => mesh.y_desc(*name),
            Vertical::Rows(rows) => mesh.y_labels(rows.len()).y_label_formatter(&row),
        };
        mesh.draw()?;
        for marks in marks {
            match marks {
                Marks::Dots(places) => {
                    let dot = |&place| Circle::new(place, 3, BLUE.mix(0.5).filled());
                    chart.draw_series(places.iter().map(dot))?;
                }
                Marks::Crosses(places) => {
                    let cross = |&place| Cross::new(place, 5, RED.stroke_width(2));
                    chart.draw_series(places.iter().map(cross))?;
                }
                Marks::Line(ends) => {
                    chart.draw_series(LineSeries::new(*ends, RED))?;
                }
            }
        }
        area.present()?;
        Ok(())
    }

    /// The name of the row at this height; nothing between two rows.
    fn row(&self, at: f64) -> String {
        let Vertical::Rows(rows) = &self.y else {
            return String::new();
        };
        let index = rows.len() as f64 - 1.0 - at;
        let is_whole = (index - index.round()).abs() < 1e-6 && index > -0.5;
        let name = rows.get(index.round() as usize).filter(|_| is_whole);
        name.map_or_else(String::new, |name| (*name).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_drawn_and_every_axis_named() {
        let plot = Plot {
            size: (400, 300),
            x: ("size, MiB", 0.0..10.0),
            y: Vertical::Numbers("time, ms", 0.0..5.0),
        };
        let marks = [
            Marks::Dots(vec![(1.0, 1.0), (2.0, 2.0)]),
            Marks::Crosses(vec![(3.0, 3.0)]),
            Marks::Line([(0.0, 0.0), (10.0, 5.0)]),
        ];
        let svg = plot.draw(&marks).expect("drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("size, MiB") && svg.contains("time, ms"));
        let lines = |svg: &str| svg.matches("<polyline").count() + svg.matches("<line").count();
        let empty = plot.draw(&[]).expect("nothing is no error");
        assert!(lines(&svg) >= lines(&empty) + 2, "a cross and a line");
    }

    #[test]
    fn rows_have_their_names_the_first_at_the_top() {
        let plot = Plot {
            size: (800, 300),
            x: ("cost", -1.0..1.0),
            y: Vertical::Rows(vec!["first", "second"]),
        };
        assert_eq!(
            (plot.row(1.0), plot.row(0.0)),
            ("first".into(), "second".into())
        );
        assert!(
            [-1.0, 0.5, 2.0]
                .map(|at| plot.row(at))
                .iter()
                .all(String::is_empty)
        );
        let svg = plot.draw(&[]).expect("drawn");
        assert!(svg.contains("first") && svg.contains("second"), "{svg}");
    }
}
