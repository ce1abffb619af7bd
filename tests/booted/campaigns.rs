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
    // What never came was not noticed either.
    let struck = count(&records, |it| it["struck"] == true);
    assert!(struck >= 95, "{struck} of 100 kills struck");
    for target in [
        "virtio-blk.0",
        "virtio-blk.1",
        "twinfs.0",
        "twinfs.1",
        "logical",
        "cache",
        "naming",
        "console",
        "postmark",
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
    let held =
        |it: &Value| it["outcome"] == "recovered" || it["outcome"] == "stopped-as-documented";
    assert_eq!((records.len(), count(&records, held)), (20, 20));
    let struck = count(&records, |it| it["struck"] == true);
    assert!(struck >= 19, "{struck} of 20 cuts struck");
    // Or nothing was at stake.
    let sectors = |name: &str| -> u64 {
        let of = |it: &Value| it["cut"][name].as_u64();
        records.iter().filter_map(of).sum()
    };
    let (unflushed, kept) = (sectors("unflushed"), sectors("kept"));
    assert!(kept < unflushed, "{kept} of {unflushed} sectors were kept");
    let moment = |it: &Value| it["moment"].as_str().unwrap_or_default().to_owned();
    let synced = count(&records, |it| moment(it).contains("synced after"));
    assert!(synced > 3, "{synced} cuts with files that must be there");
    assert_eq!(count(&records, |it| it["recovery_ns"].is_null()), 0);
}
