//! Figures, beside what they should be at most.

use std::fmt;

use serde::Serialize;

use crate::guest::Accelerator;
use crate::ui::Table;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
    /// What it should be at most, where something is wanted.
    pub at_most: Option<f64>,
    /// What else is worth knowing.
    pub detail: String,
}

impl Figure {
    /// A figure that should not exceed `at_most`.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str, at_most: f64) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            at_most: Some(at_most),
            detail: String::new(),
        }
    }

    /// A figure that should be what it is.
    pub fn plain(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            at_most: None,
            ..Self::new(what, value, unit, 0.0)
        }
    }

    /// With something worth knowing.
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    fn holds(&self) -> bool {
        self.at_most.is_none_or(|most| self.value <= most)
    }
}

/// All figures of a run, and on what they were taken.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    accelerator: String,
    processor: String,
    figures: Vec<Figure>,
}

impl Figures {
    pub fn new(accelerator: Accelerator) -> Self {
        let processor = processor().unwrap_or_else(|| "unknown processor".into());
        Self {
            accelerator: accelerator.to_string(),
            processor,
            figures: Vec::new(),
        }
    }

    pub fn add(&mut self, figures: Vec<Figure>) {
        self.figures.extend(figures);
    }
}

/// What the host computes with.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let cores = text
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    Some(format!(
        "{} cores, {}",
        cores,
        line.split_once(':')?.1.trim()
    ))
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["what", "figure", "wanted", ""]);
        for figure in &self.figures {
            let mark = if figure.holds() { "" } else { "  MISSED" };
            table.row([
                figure.what.clone(),
                format!("{} {}", rounded(figure.value), figure.unit),
                figure.at_most.map_or_else(String::new, |most| {
                    format!("at most {} {}{mark}", rounded(most), figure.unit)
                }),
                figure.detail.clone(),
            ]);
        }
        write!(f, "{table}")?;
        writeln!(f, "\n{}, {}", self.accelerator, self.processor)
    }
}

/// Three digits, and no more than a measurement is worth.
fn rounded(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misses_its_mark_is_told() {
        let mut figures = Figures::new(Accelerator::Tcg);
        figures.add(vec![
            Figure::new("good", 5.0, "ms", 10.0),
            Figure::new("bad", 123.4, "ms", 10.0),
            Figure::plain("other", 0.5, "s").with("of ten"),
        ]);
        let text = figures.to_string();
        let line = |word: &str| {
            text.lines()
                .find(|line| line.starts_with(word))
                .expect("a line")
        };
        assert!(
            !line("good").contains("MISSED") && line("bad").contains("MISSED"),
            "{text}"
        );
        assert!(
            line("bad").contains("123 ms") && line("other").ends_with("of ten"),
            "{text}"
        );
    }
}
