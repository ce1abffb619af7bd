//! How experiments ended, as a table in Markdown: what `docs/faults.md` shows is what this prints.
//!
//! ```text
//!   | fault | cache | logical | twinfs.0 |
//!   | --- | --- | --- | --- |
//!   | `panic` | 9 | 8 | 7 + 1d |
//! ```
//!
//! A number alone is of those that recovered, `d` of those that stopped as documented, `f` of visible failures,
//! `h` of those that the host spoilt; in brackets are those in which the fault did not strike.

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
    text += "\n| --- |";
    targets.iter().for_each(|_| text += " --- |");
    for fault in faults {
        text += &format!("\n| `{fault}` |");
        for &target in &targets {
            match cells.get(&(fault, target)) {
                Some(cell) => text += &format!(" {cell} |"),
                None => text += " |",
            }
        }
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
    let missed = row.outcomes.values().sum::<u64>() - row.struck;
    let missed = match missed {
        0 => String::new(),
        count => format!(" ({count})"),
    };
    format!("{}{missed}", parts.join(" + "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_a_row_and_each_target_a_column() {
        let row = |fault: &str, target: &str, struck, outcomes: &[(Outcome, u64)]| Row {
            fault: fault.into(),
            target: target.into(),
            struck,
            outcomes: outcomes.iter().copied().collect(),
            recovery: None,
        };
        let rows = [
            row("panic", "cache", 9, &[(Outcome::Recovered, 9)]),
            row(
                "bit-flip",
                "twinfs.0",
                3,
                &[(Outcome::Recovered, 3), (Outcome::StoppedAsDocumented, 1)],
            ),
            row("bit-flip", "cache", 2, &[(Outcome::VisibleFailure, 2)]),
        ];
        let expected = "| fault | cache | twinfs.0 |\n\
                        | --- | --- | --- |\n\
                        | `bit-flip` | 2f | 3 + 1d (1) |\n\
                        | `panic` | 9 | |";
        assert_eq!(of(&rows), expected);
    }
}
