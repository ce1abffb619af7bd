//! How experiments ended, as a table in Markdown; `docs/faults.md` says how to read it.
//!
//! ```text
//!   | fault | cache | logical | twinfs.0 | never struck |
//!   | --- | --- | --- | --- | --- |
//!   | `panic` | 9 | 8 | 7 + 1d | 2 logical |
//! ```
//!
//! A number alone is of those that recovered, `d` of those that stopped as documented, `f` of visible failures,
//! `h` of those that the host spoilt. The last column has those in which the fault never struck: they show nothing,
//! and count nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::Row;
use crate::commands::campaign::record::Outcome;

/// What follows the number of those that ended so.
fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Recovered => "",
        Outcome::StoppedAsDocumented => "d",
        Outcome::Harness => "h",
        Outcome::VisibleFailure => "f",
    }
}

/// The table.
pub fn of(rows: &[Row]) -> String {
    let faults: BTreeSet<&str> = rows.iter().map(|row| row.fault.as_str()).collect();
    let targets: BTreeSet<&str> = rows.iter().map(|row| row.target.as_str()).collect();
    let cells: BTreeMap<(&str, &str), String> = rows
        .iter()
        .map(|row| ((row.fault.as_str(), row.target.as_str()), cell(row)))
        .collect();
    let mut text = String::from("| fault |");
    targets
        .iter()
        .for_each(|target| text += &format!(" {target} |"));
    text += " never struck |\n| --- |";
    targets.iter().for_each(|_| text += " --- |");
    text += " --- |";
    for fault in faults {
        text += &format!("\n| `{fault}` |");
        for &target in &targets {
            match cells.get(&(fault, target)) {
                Some(cell) if !cell.is_empty() => text += &format!(" {cell} |"),
                _ => text += " |",
            }
        }
        let missed = rows
            .iter()
            .filter(|row| row.fault == fault && row.missed > 0);
        let missed = missed.map(|row| format!("{} {}", row.missed, row.target));
        let missed = missed.collect::<Vec<_>>().join(", ");
        text += &if missed.is_empty() {
            " |".into()
        } else {
            format!(" {missed} |")
        };
    }
    text
}

fn cell(row: &Row) -> String {
    let parts: Vec<String> = row
        .outcomes
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(outcome, count)| format!("{count}{}", mark(*outcome)))
        .collect();
    parts.join(" + ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_a_row_and_each_target_a_column() {
        let row = |fault: &str, target: &str, missed, outcomes: &[(Outcome, u64)]| Row {
            fault: fault.into(),
            target: target.into(),
            experiments: missed + outcomes.iter().map(|it| it.1).sum::<u64>(),
            missed,
            outcomes: outcomes.iter().copied().collect(),
            recovery: None,
        };
        let rows = [
            row("panic", "cache", 0, &[(Outcome::Recovered, 9)]),
            row(
                "bit-flip",
                "twinfs.0",
                1,
                &[(Outcome::Recovered, 3), (Outcome::StoppedAsDocumented, 1)],
            ),
            row("bit-flip", "cache", 0, &[(Outcome::VisibleFailure, 2)]),
            row("panic", "twinfs.0", 2, &[]),
        ];
        let expected = "| fault | cache | twinfs.0 | never struck |\n\
                        | --- | --- | --- | --- |\n\
                        | `bit-flip` | 2f | 3 + 1d | 1 twinfs.0 |\n\
                        | `panic` | 9 | | 2 twinfs.0 |";
        assert_eq!(of(&rows), expected);
    }
}
