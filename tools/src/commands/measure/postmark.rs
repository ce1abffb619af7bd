//! PostMark: its speed, under kills, and cut off by resets.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::Bench;
use super::figure::Figure;
use super::start::{LIMIT, mounted_ms};
use crate::Failure;
use crate::commands::progress;
use crate::guest::{Guest, Recoveries, Restarts};
use crate::ui::Step;

/// A tenth of the Loris paper's run: 4,000 files, 8,000 transactions.
pub const PRESET: &str = "postmark loris-tenth";

/// Seconds that it may take on one disk and on a mirror.
const SINGLE_S_MAX: f64 = 10.0;
const MIRROR_S_MAX: f64 = 15.0;

/// Kills, and the time between two.
const KILLS: u64 = 300;
const KILL_EVERY: Duration = Duration::from_millis(200);

/// Runs of PostMark in which the kills must have come.
const RUNS_MAX: u32 = 100;

/// Milliseconds that half of the recoveries may take.
const RECOVERY_MS_MAX: f64 = 50.0;

/// Milliseconds of guest time from reset to mounted.
const RESET_MS_MAX: f64 = 1000.0;

/// Resets, each at another place.
const RESETS: u64 = 5;

pub fn speed(bench: &Bench, step: &Step) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (disks, name, most) in [(1, "one disk", SINGLE_S_MAX), (2, "mirror", MIRROR_S_MAX)] {
        let (_, mut guest) = bench.formatted(disks)?;
        let report = run(&mut guest, step, &format!("bench {PRESET}"))?;
        guest.power_off(LIMIT, |_| {})?;
        let ns = |name: &str| report[name].as_u64().unwrap_or(0) as f64;
        let parts = ["create_ns", "sync_ns", "transactions_ns", "delete_ns"].map(ns);
        let rate = ns("transactions") / (ns("transactions_ns") / 1e9);
        figures.push(
            Figure::new(
                format!("PostMark, {name}"),
                parts.iter().sum::<f64>() / 1e9,
                "s",
                most,
            )
            .with(format!("{rate:.0} transactions a second")),
        );
    }
    Ok(figures)
}

pub fn recovery(bench: &Bench, step: &Step) -> Result<Vec<Figure>> {
    let (_, mut guest) = bench.formatted(2)?;
    let every = KILL_EVERY.as_millis();
    let kill = format!("kill all every={every}ms count={KILLS} seed=1");
    guest.expect(&kill, LIMIT)?;
    // PostMark is run over and over until the kills are through.
    let postmark = format!("{PRESET} keep=true seed=1");
    let (mut kills, mut runs, mut recoveries) = (0, 0, Recoveries::default());
    while kills < KILLS {
        if runs == RUNS_MAX {
            let what = format!("{kills} kills in {runs} runs of PostMark, not {KILLS}");
            return Err(Failure::Check(what).into());
        }
        run_noting(
            &mut guest,
            step,
            &format!("bench {postmark}"),
            &mut recoveries,
        )?;
        runs += 1;
        let status = guest.expect("kill status", LIMIT)?;
        kills = status["kills"].as_u64().unwrap_or(0);
    }
    guest.expect("kill stop", LIMIT)?;
    run(&mut guest, step, &format!("verify {postmark}"))?;
    let restarts = Restarts::from_result(&guest.expect("restarts", LIMIT)?)?;
    guest.power_off(LIMIT, |_| {})?;
    let times = recoveries
        .times()
        .ok_or_else(|| Failure::Check("no recovery was told".into()))?;
    let detail = format!(
        "{kills} kills, {} restarts, {runs} runs of PostMark",
        restarts.total()
    );
    Ok(vec![
        Figure::new(
            "recovery after a kill, median",
            times.median_ms,
            "ms",
            RECOVERY_MS_MAX,
        )
        .with(detail),
        Figure::plain("recovery after a kill, longest", times.max_ms, "ms"),
    ])
}

pub fn reset(bench: &Bench, step: &Step) -> Result<Vec<Figure>> {
    let (_, mut guest) = bench.formatted(2)?;
    let mut longest = 0_f64;
    for number in 1..=RESETS {
        let seed = format!("seed={number}");
        let command = format!("bench {PRESET} {seed}");
        let id = guest.start(&command)?;
        // The initial files are synced before the first transaction.
        guest.wait_for(&command, LIMIT, |event| {
            let transactions = event
                .text("text")
                .is_some_and(|text| text.starts_with("transactions"));
            let far = event.number("done").is_some_and(|done| done > 500 * number);
            (event.id() == Some(id) && transactions && far).then_some(())
        })?;
        guest.reset()?;
        longest = longest.max(mounted_ms(&mut guest)?);
        let verified = run(&mut guest, step, &format!("verify postmark found {seed}"))?;
        check_errors(&verified)?;
    }
    guest.power_off(LIMIT, |_| {})?;
    let what = "reset to mounted, guest time, longest";
    Ok(vec![
        Figure::new(what, longest, "ms", RESET_MS_MAX).with(format!("{RESETS} resets in PostMark")),
    ])
}

/// A command that must succeed and see no error.
pub fn run(guest: &mut Guest, step: &Step, command: &str) -> Result<Value> {
    run_noting(guest, step, command, &mut Recoveries::default())
}

fn run_noting(
    guest: &mut Guest,
    step: &Step,
    command: &str,
    recoveries: &mut Recoveries,
) -> Result<Value> {
    let id = guest.start(command)?;
    let done = guest.finish(id, command, LIMIT, |event| {
        recoveries.note(event);
        if event.kind() == "progress" {
            progress::show(step, event);
        }
    })?;
    let result = crate::guest::succeeded(command, done)?;
    check_errors(&result)?;
    Ok(result)
}

fn check_errors(result: &Value) -> Result<()> {
    match result["errors"]["count"].as_u64() {
        Some(0) => Ok(()),
        _ => Err(Failure::Check(format!("PostMark saw errors: {}", result["errors"])).into()),
    }
}
