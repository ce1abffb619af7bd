//! Faults on request: of tasks, of disks, of the power.

use alloc::{format, string::ToString, vec, vec::Vec};

use abi::Fault;
use applications::{
    arguments::Takes,
    bugs::BUGS,
    inject::{DISK_FAULTS, Order, TAKES, disk, parse, told},
    text, values,
};
use manager::injection::{Injection, Listed};
use serde_json::{Value, json};
use storage::{Error, point::Point};

use super::command;
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    command!(
        "inject",
        "inject FAULT TASK|all [after=N|DURATION|at=POINT] [every=DURATION] [count=N] [seed=S] [writes=N memory=REGION], \
         inject FAULT DISK [type=TYPE|range=A-B] [on=reads|writes] [skip=N] [count=N] [rate=1/N] [seed=S] \
         [bytes= sectors= to= delay=], inject bug NAME [TARGET], inject list, inject off N|all, inject",
        "has a task or a disk fail; `inject` alone lists faults, points and bugs",
        [
            "inject wild-write cache memory=heap writes=40 seed=3",
            "inject infinite-loop twinfs.0 after=200ms",
            "inject panic logical after=50",
            "inject kill twinfs.0 at=twinfs.root-written",
            "inject kill all every=200ms count=10 seed=7",
            "inject corrupt vda type=inode on=reads count=1",
            "inject slow vdb rate=1/10 delay=50ms",
            "inject bug pool-deadlock",
            "inject list",
            "inject off 3"
        ],
        TAKES,
        inject
    ),
    command!(
        "power-cut",
        "power-cut [DISK|all] [seed=S]",
        "the power of all disks fails: what was not flushed is lost in part, and the machine starts again",
        ["power-cut", "power-cut vda seed=7"],
        Takes::words(0, 1).keys(&["seed"]),
        power_cut
    ),
];

fn about(name: &str, is_disk: bool, error: Error) -> Failure {
    Failure(match error {
        Error::NotFound if is_disk => format!("{name}: no such disk; `stack` shows them"),
        Error::NotFound => format!("{name}: no such task; `ps` lists them"),
        Error::NotPermitted if is_disk => {
            format!("{name}: no filter stands before it; boot `single-faulty` or `mirror-faulty`")
        }
        Error::NotPermitted => {
            format!("{name}: it was taken out of the stack, or its device is not there")
        }
        Error::Busy => format!("{name}: busy: it is being restarted"),
        Error::NoMemory => {
            format!("{name}: too many faults are in force; `inject off all` ends them")
        }
        error => format!("{name}: {error}"),
    })
}

async fn inject(context: &Context<'_>) -> Outcome {
    let manager = context.manager()?;
    match parse(context.arguments)? {
        Order::Inject(injection) => {
            let is_disk = matches!(injection.what, manager::injection::What::Disk(_));
            let name = target(&injection);
            let number = manager.inject(injection).await;
            let number = number.map_err(|error| about(&name, is_disk, error))?;
            Ok(json!({ "number": number }))
        }
        Order::Faults => faults(context).await,
        Order::List => list(context, &manager.injections().await?).await,
        Order::Off(number) => {
            let removed = manager.switch_off(number).await.map_err(|error| {
                Failure(match (error, number) {
                    (Error::NotFound, Some(number)) => {
                        format!("{number}: none of this number is in force; `inject list`")
                    }
                    (error, _) => error.to_string(),
                })
            })?;
            Ok(json!({ "removed": removed }))
        }
    }
}

fn target(injection: &Injection) -> alloc::string::String {
    match &injection.target {
        manager::control::Target::Role(name) => name.to_string(),
        manager::control::Target::All => "all".into(),
    }
}

async fn faults(context: &Context<'_>) -> Outcome {
    let mut rows = vec![vec!["of tasks:".to_string()]];
    let row = |name: &str, text: &str| vec![format!("  {name}"), text.to_string()];
    rows.extend(
        Fault::ALL
            .iter()
            .map(|fault| row(fault.name(), fault.summary())),
    );
    rows.push(vec!["of disks:".to_string()]);
    rows.extend(DISK_FAULTS.iter().map(|(name, text)| row(name, text)));
    rows.push(vec!["points:".to_string()]);
    rows.extend(Point::ALL.iter().map(|it| row(it.name(), it.summary())));
    rows.push(vec!["bugs:".to_string()]);
    rows.extend(BUGS.iter().map(|bug| row(bug.name, bug.summary)));
    context.output.lines(text::table(&rows, &[])).await;
    let names = |names: Vec<&str>| Value::from(names);
    Ok(json!({
        "tasks": names(Fault::ALL.iter().map(|fault| fault.name()).collect()),
        "disks": names(DISK_FAULTS.iter().map(|(name, _)| *name).collect()),
        "points": names(Point::ALL.iter().map(|it| it.name()).collect()),
        "bugs": BUGS.iter().map(|bug| json!({ "name": bug.name, "line": bug.line })).collect::<Vec<_>>(),
    }))
}

async fn list(context: &Context<'_>, listed: &[Listed]) -> Outcome {
    let mut rows = Vec::new();
    let mut injections = Vec::new();
    for it in listed {
        let text = told(&it.what);
        let left = it.left.map_or("any".to_string(), |left| left.to_string());
        rows.push(vec![
            it.number.to_string(),
            it.target.clone(),
            text.clone(),
            format!("{} times, {left} left", it.hits),
        ]);
        injections.push(json!({
            "number": it.number,
            "fault": text.split(' ').next().unwrap_or_default(),
            "target": it.target,
            "text": text,
            "hits": it.hits,
            "left": it.left,
        }));
    }
    context.output.lines(text::table(&rows, &[])).await;
    Ok(json!({ "injections": injections }))
}

async fn power_cut(context: &Context<'_>) -> Outcome {
    let seed = context.arguments.parsed("seed", values::number)?;
    let name = context.arguments.word(0).filter(|name| *name != "all");
    let name = name.map(disk);
    context.output.flush().await;
    let cut = context
        .manager()?
        .power_cut(name.as_deref(), seed.unwrap_or(1));
    cut.await
        .map_err(|error| about(name.as_deref().unwrap_or("all"), true, error))?;
    Ok(Value::Null)
}
