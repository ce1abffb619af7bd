//! Faults on request: of tasks, of disks, of the power.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use abi::Fault;
use applications::{
    arguments::Takes,
    bugs::BUGS,
    inject::{DISK_FAULTS, KEYS_EXPLAINED, MACHINE_FAULTS, Order, TAKES, driver, parse, told},
    text, values,
};
use manager::{
    control::{self, Target},
    injection::{Injection, Listed, MachineFault, What},
};
use serde_json::{Value, json};
use storage::{Error, point::Point};

use super::command;
use crate::{
    output::Failure,
    shell::{Command, Context, Outcome},
};

pub const COMMANDS: &[Command] = &[
    Command {
        keys: KEYS_EXPLAINED,
        ..command!(
            "inject",
            "inject FAULT TASK|all [after= at= rate= every= count= seed=], wild-write also [writes= memory=]\n\
             inject FAULT DISK [type= range= on= skip= count= rate= seed=], some also [bytes= sectors= to= delay=]\n\
             inject power-cut DISK|all [after= at= seed=]\n\
             inject reset all [after= at=]\n\
             inject bug NAME [TARGET] [KEY=VALUE…]\n\
             inject list\n\
             inject off N|all\n\
             inject",
            "has a task, a disk or the machine fail; `inject` alone lists faults, points and bugs",
            [
                "inject wild-write cache memory=heap writes=40 seed=3",
                "inject infinite-loop twinfs.0 after=200ms",
                "inject panic logical after=50",
                "inject kill twinfs.0 at=twinfs.root-written",
                "inject kill naming rate=1/1000 count=5",
                "inject power-cut all at=twinfs.root-written seed=7",
                "inject kill all every=200ms count=10 seed=7",
                "inject corrupt vda type=inode on=reads count=1",
                "inject slow vdb rate=1/10 delay=50ms",
                "inject bug pool-deadlock",
                "inject list",
                "inject off 3"
            ],
            TAKES,
            inject
        )
    },
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
        Error::BadArgument => format!("{name}: it never passes this point"),
        error => format!("{name}: {error}"),
    })
}

async fn inject(context: &Context<'_>) -> Outcome {
    match parse(context.arguments)? {
        Order::Inject(injection) => inject_it(context, injection).await,
        Order::Faults => faults(context).await,
        Order::List => list(context, &context.manager()?.injections().await?).await,
        Order::Off(number) => {
            let manager = context.manager()?;
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

async fn inject_it(context: &Context<'_>, injection: Injection) -> Outcome {
    let (of_disk, waits) = match injection.what {
        What::Task(it) => (false, !it.is_timed() || it.after_ms > 0 || it.every_ms > 0),
        What::Disk(_) => (true, true),
        What::Machine(it) => (true, it.after_ms > 0 || it.point.is_some()),
    };
    // Nobody answers if the machine ends at once.
    context.output.flush().await;
    let name = match &injection.target {
        Target::Role(name) => name.to_string(),
        Target::All => "all".into(),
    };
    // As it was typed: `vda`, and not the name of its driver.
    let typed = context.arguments.words.iter().find(|it| driver(it) == name);
    let typed = typed.unwrap_or(&name);
    let is_rule = matches!(injection.what, What::Disk(_));
    let line = format!("{} of {typed}", told(&injection.what));
    let manager = context.manager()?;
    let number = manager.inject(injection).await;
    let number = number.map_err(|error| match error {
        Error::BadArgument if is_rule => Failure(format!(
            "{typed}: the range goes beyond the end of the disk"
        )),
        error => about(typed, of_disk, error),
    })?;
    if context.arguments.word(0) == Some("bug") {
        context.output.line(&line).await;
    }
    if waits {
        let line = format!("number {number}; `inject off {number}` takes it back");
        context.output.line(&line).await;
    }
    Ok(json!({ "number": number }))
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
    rows.push(vec!["of the machine:".to_string()]);
    rows.extend(MACHINE_FAULTS.iter().map(|(name, text)| row(name, text)));
    rows.push(vec!["points:".to_string()]);
    rows.extend(Point::ALL.iter().map(|it| row(it.name(), it.summary())));
    rows.push(vec!["bugs:".to_string()]);
    for bug in BUGS {
        rows.push(row(bug.name, bug.summary));
        rows.push(vec!["".into(), format!("= inject {}", bug.line)]);
    }
    context.output.lines(text::table(&rows, &[])).await;
    let names = |names: Vec<&str>| Value::from(names);
    Ok(json!({
        "tasks": names(Fault::ALL.iter().map(|fault| fault.name()).collect()),
        "disks": names(DISK_FAULTS.iter().map(|(name, _)| *name).collect()),
        "machine": names(MACHINE_FAULTS.iter().map(|(name, _)| *name).collect()),
        "points": names(Point::ALL.iter().map(|it| it.name()).collect()),
        "bugs": BUGS.iter().map(|bug| json!({ "name": bug.name, "line": bug.line })).collect::<Vec<_>>(),
    }))
}

async fn list(context: &Context<'_>, listed: &[Listed]) -> Outcome {
    let mut rows = Vec::new();
    let mut injections = Vec::new();
    for it in listed {
        let text = told(&it.what);
        rows.push(vec![
            it.number.to_string(),
            it.target.clone(),
            text.clone(),
            how_it_goes(it),
        ]);
        injections.push(json!({
            "number": it.number,
            "fault": text.split(' ').next().unwrap_or_default(),
            "target": it.target,
            "text": text,
            "hits": it.hits,
            "left": it.left,
            "misses": it.misses,
            "armed": it.armed,
        }));
    }
    if rows.is_empty() {
        context.output.line("nothing is in force").await;
    }
    context.output.lines(text::table(&rows, &[])).await;
    Ok(json!({ "injections": injections }))
}

/// How often it happened, will happen, and found nobody; in whom it waits, if that was not said.
fn how_it_goes(it: &Listed) -> String {
    let mut text = format!("{} times", it.hits);
    if let Some(left) = it.left {
        text.push_str(&format!(", {left} left"));
    }
    if it.misses > 0 {
        text.push_str(&format!(", {} misses", it.misses));
    }
    if let Some(task) = it.armed.as_ref().filter(|task| **task != it.target) {
        text.push_str(&format!(", waits in {task}"));
    }
    text
}

/// A short way to say `inject power-cut`.
async fn power_cut(context: &Context<'_>) -> Outcome {
    let seed = context.arguments.parsed("seed", values::number)?;
    let target = match context.arguments.word(0) {
        None | Some("all") => Target::All,
        Some(name) => {
            let name = driver(name);
            let short = control::name(&name).map_err(|error| about(&name, true, error))?;
            Target::Role(short)
        }
    };
    let accident = MachineFault {
        power: true,
        seed: seed.unwrap_or(1),
        after_ms: 0,
        point: None,
    };
    let what = What::Machine(accident);
    inject_it(context, Injection { target, what }).await
}
