//! `campaign summary`: what campaigns wrote, merged and counted.

mod figures;
mod machine;
mod matrix;
mod merge;
mod plot;
mod relation;
mod tables;

use std::path::PathBuf;

use anyhow::Result;

use self::figures::Figures;
use self::merge::Merged;
use super::results;
use crate::Failure;
use crate::cli::campaign::Summary;
use crate::failure::reason;
use crate::ui;

/// Prints the summary of some files.
pub fn run(options: &Summary) -> Result<()> {
    let merged = merged(&options.files)?;
    if merged.records().next().is_none() {
        return Err(Failure::Usage("there is no experiment in what was given".into()).into());
    }
    let figures = Figures::of(&merged);
    if let Some(path) = &options.plot {
        let drawn = plot::replays_drawn(&merged.records().collect::<Vec<_>>())?;
        std::fs::write(path, drawn)
            .map_err(|error| Failure::Host(format!("{}: {}", path.display(), reason(&error))))?;
    }
    ui::print(&if options.matrix {
        matrix::of(&figures.rows)
    } else if options.json {
        serde_json::to_string_pretty(&figures)?
    } else {
        figures.to_string()
    });
    figures.verdict()
}

/// The figures of some files.
///
/// # Errors
/// [`Failure::Usage`] if one cannot be read or is none of a campaign's.
pub fn of_files(paths: &[PathBuf]) -> Result<Figures> {
    Ok(Figures::of(&merged(paths)?))
}

fn merged(paths: &[PathBuf]) -> Result<Merged> {
    let mut merged = Merged::default();
    for path in paths {
        let wrong = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
        let text = std::fs::read(path).map_err(|error| wrong(reason(&error)))?;
        let (records, _) = results::read(&text).map_err(wrong)?;
        records.into_iter().for_each(|record| merged.add(record));
    }
    Ok(merged)
}
