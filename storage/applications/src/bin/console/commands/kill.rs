//! Kills: one now, or a series in the background.

use alloc::{format, string::String};

use applications::{
    arguments::Takes,
    kills::{self, Order},
};
use manager::control::{Progress, Series, Target};
use runtime::time::now_ns;
use serde_json::{Value, json};
use storage::Error;

use super::command;
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[command!(
    "kill",
    "kill TASK|all [every=DURATION] [count=N] [seed=S], kill stop|status",
    "ends a task by a trap; `all`: the cache or one of those below it, at random; the console and the manager end 0.3 s \
     after the answer",
    [
        "kill twinfs.0",
        "kill all every=200ms count=300 seed=7",
        "kill status",
        "kill stop"
    ],
    Takes::words(1, 1).keys(kills::KEYS),
    kill
)];

fn about(name: &str, error: Error) -> Failure {
    Failure(match error {
        Error::NotFound => format!("{name}: no such task; `ps` lists them"),
        Error::NotPermitted => {
            format!("{name}: it was taken out of the stack, or its device is not there")
        }
        Error::Busy => format!("{name}: busy: it is being restarted, or a series is under way"),
        error => format!("{name}: {error}"),
    })
}

fn told(progress: Progress) -> (String, Value) {
    let of = progress
        .count
        .map(|count| format!(" of {count}"))
        .unwrap_or_default();
    let state = if progress.running { "going on" } else { "over" };
    let text = format!(
        "{} kills{of}, {} misses, {state}",
        progress.kills, progress.misses
    );
    let value = json!({
        "running": progress.running,
        "kills": progress.kills,
        "count": progress.count,
        "misses": progress.misses,
    });
    (text, value)
}

async fn kill(context: &Context<'_>) -> Outcome {
    let manager = context.manager()?;
    let name = context.word(0);
    let progress = match kills::parse(context.arguments)? {
        Order::Once(Target::Role(role)) => {
            manager
                .kill(&role)
                .await
                .map_err(|error| about(name, error))?;
            return Ok(json!({ "kills": 1 }));
        }
        Order::Once(Target::All) => {
            let series = Series {
                target: Target::All,
                every_ms: 1,
                count: Some(1),
                seed: now_ns(),
            };
            manager
                .start_series(series)
                .await
                .map_err(|error| about(name, error))?;
            return Ok(json!({ "kills": 1 }));
        }
        Order::Series(series) => {
            manager
                .start_series(series)
                .await
                .map_err(|error| about(name, error))?;
            manager.series_progress().await?
        }
        Order::Stop => manager.stop_series().await?,
        Order::Status => manager.series_progress().await?,
    };
    let (text, value) = told(progress);
    context.output.line(&text).await;
    Ok(value)
}
