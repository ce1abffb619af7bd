//! Commands that show the system at work.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use abi::{Cause, Counters, PAGE_BYTES, TaskInfo};
use applications::{arguments::Takes, text};
use manager::control::RoleHistory;
use runtime::{inspect, time::now_ns};
use serde_json::{Value, json};
use storage::vfs::FileSystem as _;

use super::{command, volume};
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "ps",
        "ps",
        "shows the tasks: state, restarts, memory, calls, processor time",
        ["ps"],
        Takes::words(0, 0),
        ps
    ),
    command!(
        "stack",
        "stack",
        "shows which task stands on which, and the volume's state",
        ["stack"],
        Takes::words(0, 0),
        stack
    ),
    command!(
        "restarts",
        "restarts",
        "shows what died of what, and how long recoveries took",
        ["restarts"],
        Takes::words(0, 0),
        restarts
    ),
    command!(
        "stats",
        "stats",
        "shows the kernel's counters since boot",
        ["stats"],
        Takes::words(0, 0),
        stats
    ),
    command!(
        "uptime",
        "uptime",
        "shows the time since boot, and how much of it was idle",
        ["uptime"],
        Takes::words(0, 0),
        uptime
    ),
];

fn state(task: &TaskInfo) -> &'static str {
    match task.state {
        1 => "ready",
        2 => "waiting",
        3 => "stopped",
        _ if task.generation == 0 => "absent",
        _ => "dead",
    }
}

async fn ps(context: &Context<'_>) -> Outcome {
    let tasks = inspect::tasks()?;
    let heading = [
        "task",
        "state",
        "restarts",
        "memory",
        "of",
        "calls",
        "requests",
        "switches",
        "backlog",
        "cpu",
        "last death",
    ];
    let mut rows = vec![heading.map(ToString::to_string).to_vec()];
    let page = PAGE_BYTES as u64;
    for task in &tasks {
        let last = Cause::from_number(task.last_cause);
        rows.push(vec![
            text::printable(task.name.as_str().as_bytes()),
            state(task).into(),
            task.generation.saturating_sub(1).to_string(),
            text::bytes(task.pages.saturating_mul(page)),
            text::bytes(task.quota_pages.saturating_mul(page)),
            text::count(task.calls),
            text::count(task.requests),
            text::count(task.switches),
            task.backlog.to_string(),
            text::duration(task.cpu_ns),
            if last == Cause::None {
                "-".into()
            } else {
                last.to_string()
            },
        ]);
    }
    context
        .output
        .lines(text::table(&rows, &[2, 3, 4, 5, 6, 7, 8, 9]))
        .await;
    let described: Vec<_> = tasks.iter().map(described).collect();
    Ok(json!({ "tasks": described }))
}

fn described(task: &TaskInfo) -> Value {
    json!({
        "name": task.name.as_str(),
        "state": state(task),
        "restarts": task.generation.saturating_sub(1),
        "last_cause": Cause::from_number(task.last_cause).to_string(),
        "memory_bytes": task.pages.saturating_mul(PAGE_BYTES as u64),
        "quota_bytes": task.quota_pages.saturating_mul(PAGE_BYTES as u64),
        "calls": task.calls,
        "requests": task.requests,
        "switches": task.switches,
        "backlog": task.backlog,
        "cpu_ns": task.cpu_ns,
    })
}

async fn stack(context: &Context<'_>) -> Outcome {
    let description = context.manager()?.stack().await?;
    context
        .output
        .lines(description.lines().map(ToString::to_string))
        .await;
    let usage = context.system().statfs().await;
    let state = match &usage {
        Ok(usage) => {
            let (present, all) = (usage.stores_present, usage.stores);
            format!("{} ({present} of {all} file stores)", volume::state(usage))
        }
        Err(error) => format!("not mounted: {error}"),
    };
    context.output.line(&format!("volume: {state}")).await;
    Ok(json!({
        "state": usage.as_ref().map_or("unmounted", volume::state),
        "stores": usage.as_ref().map_or(0, |usage| usage.stores),
        "stores_present": usage.as_ref().map_or(0, |usage| usage.stores_present),
    }))
}

fn deaths(role: &RoleHistory) -> String {
    let mut parts = Vec::new();
    for (cause, &count) in role.deaths.iter().enumerate() {
        if count > 0 && cause > 0 {
            parts.push(format!("{count} {}", Cause::from_number(cause as u32)));
        }
    }
    if role.silent > 0 {
        parts.push(format!("{} of them silent", role.silent));
    }
    if parts.is_empty() {
        "-".into()
    } else {
        parts.join(", ")
    }
}

async fn restarts(context: &Context<'_>) -> Outcome {
    let history = context.manager()?.history().await?;
    let heading = [
        "task",
        "state",
        "restarts",
        "recoveries",
        "median",
        "longest",
        "deaths",
    ];
    let mut rows = vec![heading.map(ToString::to_string).to_vec()];
    let time = |count, ns| {
        if count > 0 {
            text::duration(ns)
        } else {
            "-".to_string()
        }
    };
    for role in &history {
        let recovery = role.recovery;
        rows.push(vec![
            text::printable(role.name.as_bytes()),
            text::printable(role.state.as_bytes()),
            role.restarts.to_string(),
            recovery.count.to_string(),
            time(recovery.count, recovery.median_ns),
            time(recovery.count, recovery.max_ns),
            deaths(role),
        ]);
    }
    context
        .output
        .lines(text::table(&rows, &[2, 3, 4, 5]))
        .await;
    let described: Vec<_> = history
        .iter()
        .map(|role| {
            json!({
                "name": role.name,
                "state": role.state,
                "restarts": role.restarts,
                "silent": role.silent,
                "last_cause": Cause::from_number(role.last_cause).to_string(),
                "recoveries": role.recovery.count,
                "recovery_ns_median": role.recovery.median_ns,
                "recovery_ns_max": role.recovery.max_ns,
            })
        })
        .collect();
    Ok(json!({ "roles": described }))
}

/// Counters by name.
pub type Counts = Vec<(&'static str, u64)>;

/// The counters that only grow: the kernel's, and the cache's if it answers.
pub async fn growing(context: &Context<'_>) -> Result<Counts, Failure> {
    let mut counts = kernel_counts(&inspect::counters()?).to_vec();
    if let Ok(work) = context.system().work().await {
        counts.extend(work.named());
    }
    Ok(counts)
}

fn kernel_counts(counters: &Counters) -> [(&'static str, u64); 10] {
    [
        ("calls", counters.calls),
        ("replies", counters.replies),
        ("switches", counters.switches),
        ("system_calls", counters.system_calls),
        ("interrupts", counters.interrupts),
        ("copies", counters.copies),
        ("bytes_copied", counters.bytes_copied),
        ("pages_pinned", counters.pages_pinned),
        ("frames_swapped", counters.frames_swapped),
        ("idle_ns", counters.idle_ns),
    ]
}

async fn stats(context: &Context<'_>) -> Outcome {
    let counters = inspect::counters()?;
    let mut result = json!({});
    for (name, value) in growing(context).await? {
        let shown = match name {
            "bytes_copied" | "cache_bytes_copied" | "bytes_checksummed" => text::bytes(value),
            "idle_ns" => text::duration(value),
            _ => text::count(value),
        };
        let label = name.trim_end_matches("_ns").replace('_', " ");
        context
            .output
            .line(&format!("{label:<20}{shown:>16}"))
            .await;
        result[name] = value.into();
    }
    let page = PAGE_BYTES as u64;
    if let Ok(work) = context.system().work().await {
        let pages = work.log_pages_max;
        let size = text::bytes(pages.saturating_mul(page));
        let line = format!("{:<20}{size:>16}", "largest log");
        context.output.line(&line).await;
        result["log_pages_max"] = pages.into();
    }
    let free = text::bytes(counters.frames_free.saturating_mul(page));
    let total = text::bytes(counters.frames_total.saturating_mul(page));
    context
        .output
        .line(&format!("{:<20}{free:>16} of {total}", "memory free"))
        .await;
    result["frames_free"] = counters.frames_free.into();
    result["frames_total"] = counters.frames_total.into();
    result["time_ns"] = now_ns().into();
    Ok(result)
}

async fn uptime(context: &Context<'_>) -> Outcome {
    let idle_ns = inspect::counters()?.idle_ns;
    let up_ns = now_ns();
    let percent = (u128::from(idle_ns) * 100)
        .checked_div(u128::from(up_ns))
        .unwrap_or(0);
    let line = format!("up {}, {percent}% of it idle", text::duration(up_ns));
    context.output.line(&line).await;
    Ok(json!({
        "uptime_ns": up_ns,
        "idle_ns": idle_ns,
        "mounted_ns": context.shell.mounted_ns.get(),
    }))
}
