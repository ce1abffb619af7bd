//! Benchmarks: PostMark, started in its own task and watched from here, and appends made durable.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::pin::pin;

use applications::{
    arguments::{Arguments, Takes},
    benches, text,
};
use futures_util::future::{Either, select};
use runtime::{Endpoint, inspect, time::sleep};
use serde_json::Value;
use storage::Error;
use workload::{
    Go,
    postmark::{
        Check, PRESETS, Parameters, Phase, Progress,
        interface::{Client, Job, Outcome as JobOutcome},
    },
};

use super::{
    appends, command,
    system::{Counts, growing},
};
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "bench",
        "bench postmark [PRESET] [files=N] [transactions=N] [size=MIN-MAX] ..., bench verify [PRESET|found] ..., \
         bench fsync [count=N] [writes=N] [size=BYTES] [files=N] [with=fsync|sync] ...",
        "runs PostMark, or checks what it left (docs/postmark.md); appends, each made durable",
        [
            "bench postmark loris-tenth",
            "bench postmark files=1000 transactions=5000 keep=true",
            "bench fsync count=200 writes=8",
            "bench presets"
        ],
        Takes::words(1, 3).keys(benches::ALL_KEYS),
        bench
    ),
    command!(
        "verify",
        "verify postmark [PRESET|found] [files=N] ...",
        "checks what a run with keep=true left; `found`: what a crash left",
        ["verify postmark loris-tenth", "verify postmark found"],
        Takes::words(1, 3).keys(benches::KEYS),
        verify
    ),
];

/// How often the task is asked how far it is. Its outcome comes by itself.
const POLL_NS: u64 = 250_000_000;
/// How often it may fail to answer before it is given up.
const FAILURES_MAX: u32 = 3;

async fn bench(context: &Context<'_>) -> Outcome {
    match context.word(0) {
        "postmark" => postmark(context).await,
        "verify" if context.word(1) == "postmark" => check(context, 2).await,
        "verify" => check(context, 1).await,
        "fsync" => appends::fsync(context).await,
        "presets" => presets(context).await,
        other => Err(Failure(format!(
            "bench {other}: expected bench postmark, verify, fsync or presets"
        ))),
    }
}

async fn verify(context: &Context<'_>) -> Outcome {
    match context.word(0) {
        "postmark" => check(context, 1).await,
        other => Err(Failure(format!("verify {other}: expected verify postmark"))),
    }
}

async fn presets(context: &Context<'_>) -> Outcome {
    let rows: Vec<_> = PRESETS
        .iter()
        .map(|preset| vec![preset.name.to_string(), preset.summary.to_string()])
        .collect();
    context.output.lines(text::table(&rows, &[])).await;
    Ok(Value::Null)
}

fn parameters(arguments: &Arguments, preset: usize) -> Result<Parameters, Failure> {
    if let Some(word) = arguments.word(preset + 1) {
        return Err(Failure(format!("`{word}` is a word too many")));
    }
    let preset = arguments.word(preset).filter(|&word| word != "found");
    Ok(benches::parameters(preset, arguments)?)
}

/// Counters at two moments of the transactions, with how many were done by then: what a
/// transaction costs is the difference, free of what comes before and after.
#[derive(Default)]
struct Window(Option<[(Counts, u32); 2]>);

impl Window {
    async fn look(&mut self, context: &Context<'_>, progress: &Progress) -> Result<(), Failure> {
        if progress.phase == Phase::Transactions {
            let now = (growing(context).await?, progress.done);
            let first = match self.0.take() {
                Some([first, _]) => first,
                None => now.clone(),
            };
            self.0 = Some([first, now]);
        }
        Ok(())
    }

    /// By name, hundredths a transaction.
    fn costs(&self) -> Vec<(&'static str, u64)> {
        let Some([(before, first), (after, last)]) = &self.0 else {
            return Vec::new();
        };
        let transactions = u64::from(last.saturating_sub(*first));
        let pairs = before.iter().zip(after);
        let cost = |(&(name, before), &(_, after)): (&(_, u64), &(_, u64))| {
            let hundreds = after.saturating_sub(before).saturating_mul(100);
            hundreds.checked_div(transactions).map(|cost| (name, cost))
        };
        pairs.filter_map(cost).collect()
    }
}

async fn postmark(context: &Context<'_>) -> Outcome {
    let parameters = parameters(context.arguments, 1)?;
    let before = growing(context).await?;
    let cpu_before = cpu()?;
    let mut window = Window::default();
    let job = Job::Run(parameters);
    let JobOutcome::Run(report) = carry_out(context, job, &mut window).await? else {
        return Err(Error::Protocol.into());
    };
    let after = growing(context).await?;
    context.output.lines(report.lines()).await;
    let mut result = serde_json::to_value(&report)?;
    let costs = window.costs();
    let mut rows = vec![
        ["counters", "whole run", "a transaction"]
            .map(Into::into)
            .to_vec(),
    ];
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        let difference = after.saturating_sub(before);
        result["counters"][name] = difference.into();
        let mut row = vec![name.replace('_', " "), text::count(difference)];
        if let Some((_, cost)) = costs.iter().find(|(other, _)| *other == name) {
            row.push(format!("{}.{:02}", text::count(cost / 100), cost % 100));
            result["counters_a_transaction"][name] = (*cost as f64 / 100.0).into();
        }
        rows.push(row);
    }
    context.output.line("").await;
    context.output.lines(text::table(&rows, &[1, 2])).await;
    let mut rows = vec![["task", "processor time"].map(Into::into).to_vec()];
    for ((name, after), (_, before)) in cpu()?.into_iter().zip(cpu_before) {
        let spent = after.saturating_sub(before);
        result["cpu_ns"][name.as_str()] = spent.into();
        rows.push(vec![name, text::duration(spent)]);
    }
    context.output.line("").await;
    context.output.lines(text::table(&rows, &[1])).await;
    result["transactions_per_second"] = report.transactions_per_second().into();
    result["total_ns"] = report.total_ns().into();
    if report.is_clean() {
        return Ok(result);
    }
    let first = report.errors.first.first();
    Err(Failure(match first {
        Some(first) => format!(
            "postmark: {} errors, the first: {first}",
            report.errors.count
        ),
        None if report.stopped => "postmark: stopped".into(),
        None => "postmark: out of files".into(),
    }))
}

/// The processor time of every task so far, by name.
fn cpu() -> Result<Vec<(String, u64)>, Failure> {
    let tasks = inspect::tasks()?;
    Ok(tasks
        .iter()
        .map(|task| (task.name.as_str().to_string(), task.cpu_ns))
        .collect())
}

async fn check(context: &Context<'_>, preset: usize) -> Outcome {
    let parameters = parameters(context.arguments, preset)?;
    let found = context.arguments.word(preset) == Some("found");
    let check = if found { Check::Found } else { Check::Complete };
    let mut window = Window::default();
    let job = Job::Verify(parameters, check);
    let JobOutcome::Verify(verified) = carry_out(context, job, &mut window).await? else {
        return Err(Error::Protocol.into());
    };
    context.output.lines(verified.lines()).await;
    if verified.is_clean() {
        return Ok(serde_json::to_value(&verified)?);
    }
    Err(Failure(match verified.errors.first.first() {
        Some(first) => format!(
            "verify: {} errors ({} wrong, {} missing, {} extra), the first: {first}",
            verified.errors.count, verified.wrong, verified.missing, verified.extra
        ),
        None => "verify: stopped".into(),
    }))
}

/// Asks the job to leave off if nobody waits for its outcome any more.
struct StopUnlessDone(Option<Endpoint>);

impl Drop for StopUnlessDone {
    fn drop(&mut self) {
        if let Some(endpoint) = self.0 {
            runtime::spawn(async move {
                let _ = Client(endpoint).stop().await;
            });
        }
    }
}

async fn carry_out(
    context: &Context<'_>,
    job: Job,
    window: &mut Window,
) -> Result<JobOutcome, Failure> {
    let client = context
        .shell
        .postmark
        .as_ref()
        .ok_or_else(|| Failure("the stack has no `postmark` task".into()))?;
    let number = client.start(&job).await.map_err(|error| match error {
        Error::Busy => Failure("postmark is at work already".into()),
        error => Failure::about("postmark", error),
    })?;
    let mut guard = StopUnlessDone(Some(client.0));
    let (mut failures, mut stopping) = (0, false);
    let died = || Failure::from("postmark: the task died in the middle of the run");
    let mut outcome = pin!(client.outcome(number));
    loop {
        if let Either::Left((outcome, _)) = select(outcome.as_mut(), sleep(POLL_NS)).await {
            guard.0 = None;
            return outcome.map_err(|error| match error {
                Error::PeerDied | Error::NotFound => died(),
                error => Failure::about("postmark", error),
            });
        }
        let status = match client.status().await {
            Ok(status) => status,
            Err(error) => {
                failures += 1;
                if failures >= FAILURES_MAX {
                    return Err(Failure::about("postmark", error));
                }
                continue;
            }
        };
        if status.job != number {
            guard.0 = None;
            return Err(died());
        }
        window.look(context, &status.progress).await?;
        let Progress {
            phase,
            done,
            total,
            errors,
        } = status.progress;
        let text = || {
            let errors = if errors > 0 {
                format!(", {errors} ERRORS")
            } else {
                String::new()
            };
            match phase {
                Phase::Idle | Phase::Sync => format!("{phase}{errors}"),
                phase => format!("{phase}: {done} of {total}{errors}"),
            }
        };
        let go = context
            .output
            .progress(text, u64::from(done), u64::from(total));
        if go == Go::Stop && !stopping {
            stopping = true;
            client.stop().await?;
        }
    }
}
