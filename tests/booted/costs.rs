//! A slice of `costs`: every variant boots, and PostMark runs on it. `cargo galago costs` measures.

use clap::Parser as _;
use galago::cli::Cli;

use crate::bed::or_explain;

#[test]
fn every_stack_that_is_compared_runs_postmark() {
    let folder = tempfile::tempdir().expect("a folder");
    let plot = folder.path().join("costs.svg");
    let accel = std::env::var("GALAGO_ACCEL").unwrap_or_else(|_| "auto".into());
    let words = [
        "galago",
        "costs",
        "--only",
        "postmark",
        "--rounds",
        "1",
        "--postmark",
        "files=100 transactions=100 size=4k-28k",
        "--accel",
        &accel,
        "--plot",
        plot.to_str().expect("text"),
    ];
    let cli = Cli::try_parse_from(words).expect("a command");
    or_explain(galago::commands::run(cli));
    let drawn = std::fs::read_to_string(plot).expect("a drawing");
    assert_eq!(
        drawn.matches("<circle").count(),
        6,
        "one for each comparison"
    );
}
