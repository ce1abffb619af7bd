//! The figures, for people.

use std::fmt;

use super::Figures;
use super::crash::Crashes;
use super::fsync::Row;
use super::postmark::{Cost, PostMark, Sample};
use crate::ui::Table;

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}; a cache of {} pages, a checkpoint every {} s",
            self.accelerator, self.cache_pages, self.sync_seconds
        )?;
        if let Some(postmark) = &self.postmark {
            write!(f, "\n{postmark}")?;
        }
        if let Some(rows) = &self.fsync {
            write!(f, "\n{}", fsync(rows))?;
        }
        if let Some(crashes) = &self.crashes {
            write!(f, "\n{crashes}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PostMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounds = self.variants.first().map_or(0, |it| it.samples.len());
        let of = match self.counted {
            true => "instructions of the whole run",
            false => "time of the transactions",
        };
        writeln!(f, "{}, {rounds} rounds; {of}", self.command)?;
        let mut table = Table::new(["what", "cost", "least", "most", "paper"]);
        for cost in &self.costs {
            table.row(cost.cells());
        }
        writeln!(f, "{table}")?;
        writeln!(f, "medians of a run:")?;
        let headings = Sample::COLUMNS.map(|(heading, _)| heading);
        let mut table = Table::of(["variant"].into_iter().chain(headings));
        for runs in &self.variants {
            let figures = Sample::COLUMNS.map(|(_, of)| rounded(runs.median(of)));
            table.add([runs.name.to_owned()].into_iter().chain(figures));
        }
        write!(f, "{table}")
    }
}

impl Cost {
    fn cells(&self) -> [String; 5] {
        let of = |of: fn(&super::ratio::Ratio) -> f64| {
            let ratio = self.ratio.as_ref();
            ratio.map_or_else(|| "-".into(), |it| percent(of(it)))
        };
        [
            self.what.into(),
            of(|it| it.median),
            of(|it| it.min),
            of(|it| it.max),
            self.paper.map_or_else(String::new, |(figure, place)| {
                format!("{} ({place})", percent(figure))
            }),
        ]
    }
}

fn fsync(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "for one fsync",
        "stack",
        "median ms",
        "p99 ms",
        "flushes",
        "writes",
        "KiB written",
        "reads",
        "calls",
        "1000 instructions",
    ]);
    for row in rows {
        table.row([
            row.what.into(),
            row.stack.clone(),
            rounded(row.median_ms),
            rounded(row.p99_ms),
            rounded(row.flushes),
            rounded(row.writes),
            rounded(row.kib_written),
            rounded(row.reads),
            rounded(row.calls),
            row.instructions_k.map_or_else(|| "-".into(), rounded),
        ]);
    }
    table
}

impl fmt::Display for Crashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "crash",
            "transactions",
            "records",
            "log blocks",
            "compared",
            "rewritten",
            "lost",
            "of KiB in use",
            "mounted ms",
            "clean ms",
        ]);
        for crash in &self.crashes {
            table.row([
                crash.how.into(),
                crash.transactions.to_string(),
                crash.records.to_string(),
                crash.log_blocks.to_string(),
                format!("{} KiB", 4 * crash.compared),
                format!("{} KiB", 4 * crash.rewritten),
                crash.lost.to_string(),
                crash.used_kib.to_string(),
                rounded(crash.mounted_ms),
                rounded(crash.clean_ms),
            ]);
        }
        write!(f, "{table}")?;
        writeln!(
            f,
            "compared: {} KiB in the median, {} KiB at most; paper, Table II: at most 1663 KB",
            rounded(self.kib_median),
            self.kib_max
        )
    }
}

fn percent(percent: f64) -> String {
    format!("{percent:+.1} %")
}

/// Three digits, and whole numbers from 100 on.
fn rounded(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
