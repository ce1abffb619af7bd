//! The figures of a campaign, for people.

use std::fmt;

use console::style;

use super::figures::{Class, Figures, Outcomes, Row, Times};
use crate::commands::campaign::record::Outcome;
use crate::ui::{Table, duration};

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for campaign in &self.campaigns {
            writeln!(f, "{campaign}")?;
        }
        writeln!(f)?;
        let mut table = Table::new([
            "fault",
            "target",
            "experiments",
            "recovered",
            "as documented",
            "failed",
            "never struck",
            "recovery: median",
            "p99",
            "longest",
        ]);
        for row in &self.rows {
            table.row(cells(row));
        }
        if self.rows.len() > 1 {
            table.row(cells(&Row {
                fault: "all".into(),
                target: String::new(),
                experiments: self.experiments,
                missed: self.missed,
                outcomes: self.outcomes.clone(),
                recovery: self.recovery,
            }));
        }
        write!(f, "{table}")?;
        if !self.replay_by_log.is_empty() {
            let headings = ["log at the crash", "recoveries", "median", "p99", "longest"];
            let mut table = Table::new(headings);
            for class in &self.replay_by_log {
                table.row(replay_cells(&pages(class), class.replay));
            }
            if let Some(times) = self.replay {
                table.row(replay_cells("all", times));
            }
            if let Some(times) = self.below_again {
                table.row(replay_cells("all, until it was below again", times));
            }
            write!(f, "\n{table}")?;
        }
        if let Some(it) = self.replay_relation {
            writeln!(
                f,
                "calls go on after {}, and {} more for each MiB of the log, which explains {:.0} % of the \
                 differences (paper, whose replay comes first: all of them; median 220 ms, longest 6.5 s)",
                ms(it.base_ms),
                ms(it.ms_per_mib),
                100.0 * it.explained
            )?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{} experiments in {} of guests' time; a penultimate checkpoint was loaded {} times, the \
             log cleared {} times",
            self.experiments,
            duration(self.host_s),
            self.penultimate,
            self.replays_skipped
        )?;
        if let Some(it) = self.resynchronised {
            writeln!(
                f,
                "resynchronised after {} crashes: {} blocks in the median, {} at most; {} copies rewritten, \
                 {} blocks without a good one",
                it.crashes, it.blocks_median, it.blocks_max, it.rewritten, it.bad
            )?;
        }
        if let Some(it) = self.cuts {
            writeln!(
                f,
                "{} of {} cuts met what was not flushed: {} sectors in the median, {} at most; of all {} sectors \
                 {} reached the medium; {} writes were torn",
                it.met, it.told, it.sectors_median, it.sectors_max, it.sectors, it.kept, it.torn
            )?;
        }
        self.what_is_wrong(f)
    }
}

impl Figures {
    fn what_is_wrong(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count(Outcome::VisibleFailure) {
            0 => writeln!(f, "{}", style("no visible failure").green())?,
            count => writeln!(
                f,
                "{}",
                style(format!("{count} visible failures")).red().bold()
            )?,
        }
        if self.count(Outcome::Harness) > 0 {
            let count = self.count(Outcome::Harness);
            writeln!(
                f,
                "{count} experiments were spoilt by the host and are to be done again"
            )?;
        }
        if self.duplicates > 0 {
            writeln!(f, "{} records were there twice", self.duplicates)?;
        }
        if self.builds.len() > 1 {
            let builds: Vec<&str> = self.builds.iter().map(String::as_str).collect();
            let line = format!(
                "not all are of one build, but of {}: {}",
                builds.len(),
                builds.join(", ")
            );
            writeln!(f, "{}", style(line).yellow())?;
        }
        for line in &self.disagreements {
            writeln!(f, "{} {line}", style("differs:").yellow())?;
        }
        for line in &self.failures {
            writeln!(f, "  {line}")?;
        }
        Ok(())
    }
}

fn count(outcomes: &Outcomes, outcome: Outcome) -> String {
    let count = outcomes.get(&outcome).copied().unwrap_or(0);
    let text = style(count.to_string());
    match outcome {
        Outcome::VisibleFailure if count > 0 => text.red().bold().to_string(),
        _ => text.to_string(),
    }
}

fn cells(row: &Row) -> [String; 10] {
    let time = |of: fn(&Times) -> f64| {
        let recovery = row.recovery.as_ref();
        recovery.map_or_else(|| "-".into(), |it| ms(of(it)))
    };
    [
        row.fault.clone(),
        row.target.clone(),
        row.experiments.to_string(),
        count(&row.outcomes, Outcome::Recovered),
        count(&row.outcomes, Outcome::StoppedAsDocumented),
        count(&row.outcomes, Outcome::VisibleFailure),
        row.missed.to_string(),
        time(|times| times.median_ms),
        time(|times| times.p99_ms),
        time(|times| times.max_ms),
    ]
}

fn replay_cells(name: &str, times: Times) -> [String; 5] {
    [
        name.into(),
        times.count.to_string(),
        ms(times.median_ms),
        ms(times.p99_ms),
        ms(times.max_ms),
    ]
}

fn pages(class: &Class) -> String {
    match (class.pages_min, class.pages_max) {
        (_, Some(0)) => "no page".into(),
        (min, Some(max)) => format!("{min} to {max} pages"),
        (min, None) => format!("{min} pages or more"),
    }
}

fn ms(ms: f64) -> String {
    if ms >= 100.0 {
        format!("{ms:.0} ms")
    } else {
        format!("{ms:.1} ms")
    }
}
