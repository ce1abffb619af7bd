//! A slice of each campaign. `cargo galago campaign` makes them by the thousand.

use clap::Parser as _;
use galago::cli::Cli;
use serde_json::Value;

use crate::bed::or_explain;

/// The experiments of a campaign, which must all end well.
fn campaign(words: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("results.jsonl");
    let accel = std::env::var("GALAGO_ACCEL").unwrap_or_else(|_| "auto".into());
    let out = out.to_str().expect("text");
    let line = format!("galago campaign {words} --brief --jobs 1 --accel {accel} --out {out}");
    let cli = Cli::try_parse_from(line.split(' ')).expect("a campaign");
    or_explain(galago::commands::run(cli));
    let text = std::fs::read_to_string(out).expect("results");
    let record = |line| serde_json::from_str(line).expect("a record");
    text.lines().map(record).collect()
}

fn count(records: &[Value], holds: impl Fn(&Value) -> bool) -> usize {
    records.iter().filter(|record| holds(record)).count()
}

#[test]
fn a_hundred_kills_over_all_tasks_are_not_noticed() {
    let records = campaign("kill --count 100");
    assert_eq!(count(&records, |it| it["outcome"] == "recovered"), 100);
    for target in [
        "virtio-blk.0",
        "virtio-blk.1",
        "twinfs.0",
        "twinfs.1",
        "logical",
        "naming",
        "manager",
    ] {
        assert!(count(&records, |it| it["target"] == target) > 0, "{target}");
    }
    // Or the kills came when there was nothing to be lost.
    let replays = count(&records, |it| it["replay"]["files"].as_u64() > Some(0));
    assert!(replays > 5, "{replays} replays of a log");
}

#[test]
fn twenty_power_cuts_cost_nothing_that_was_synced() {
    let records = campaign("power-cut --count 20");
    assert_eq!(count(&records, |it| it["outcome"] != "visible-failure"), 20);
}
