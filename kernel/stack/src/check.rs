//! What must hold between the tasks of a stack, and between a description and the kernel's limits.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use abi::{ARGUMENTS_BYTES_MAX, PEERS_MAX};

use crate::{MANAGER, Mistake, Right, Role, Stack, TASKS_MAX, Task};

/// Most bytes in the name of a role or a program.
const NAME_BYTES_MAX: usize = 31;

/// Port ranges that the kernel gives to one task.
const PORT_RANGES_MAX: usize = 2;

/// ISA interrupt lines.
const INTERRUPT_LINES: u8 = 16;

/// Everything that keeps the stack from being started.
pub fn mistakes(stack: &Stack) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if stack.tasks.is_empty() {
        let text = "no tasks; a description is a list of [[task]] entries";
        mistakes.push(Mistake::general(text.into()));
    }
    if stack.tasks.len() > TASKS_MAX {
        let count = stack.tasks.len();
        mistakes.push(Mistake::general(format!(
            "{count} tasks; there can be {TASKS_MAX}"
        )));
    }
    for task in &stack.tasks {
        let mut note = |text: String| mistakes.push(Mistake::of(&task.name, text));
        names(task, &mut note);
        callees(stack, task, &mut note);
        devices(task, &mut note);
        if task.arguments.len() > ARGUMENTS_BYTES_MAX {
            note(format!(
                "arguments: longer than {ARGUMENTS_BYTES_MAX} bytes; shorten them"
            ));
        }
    }
    given_twice(stack, &mut mistakes);
    mistakes.extend(cycle(stack));
    mistakes
}

fn names(task: &Task, note: &mut impl FnMut(String)) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    for (what, name) in [("name", &task.name), ("program", &task.program)] {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(plain) {
            note(format!(
                "{what}: `{name}` is no name; use 1 to {NAME_BYTES_MAX} of a-z, 0-9, `.`, `-`, `_`"
            ));
        }
    }
    if task.name == MANAGER {
        note(format!(
            "the kernel starts `{MANAGER}` by itself; remove the task or rename it"
        ));
    }
}

fn callees(stack: &Stack, task: &Task, note: &mut impl FnMut(String)) {
    for (index, callee) in task.calls.iter().enumerate() {
        if *callee == task.name {
            note("calls itself; remove it from `calls`".into());
        } else if callee != MANAGER && stack.task(callee).is_none() {
            note(format!(
                "calls `{callee}`, which is no task; add it, or correct the name"
            ));
        }
        if task.calls[..index].contains(callee) {
            note(format!("lists `{callee}` twice in `calls`; remove one"));
        }
    }
    if task.calls.len() > PEERS_MAX {
        let count = task.calls.len();
        note(format!("calls {count} tasks; a task can call {PEERS_MAX}"));
    }
    if task.calls.is_empty() && matches!(task.role, Role::Storage | Role::Cache | Role::Naming) {
        note("calls nobody; name the task below it in `calls`".into());
    }
}

fn devices(task: &Task, note: &mut impl FnMut(String)) {
    let is_driver = task.role == Role::Driver;
    match (is_driver, task.device) {
        (true, None) => note(
            "is a driver without a device; add for instance \
            device = \"virtio-blk:0\""
                .into(),
        ),
        (false, Some(device)) => {
            note(format!(
                "is no driver and cannot have {device}; make its role \"driver\""
            ));
        }
        _ => {}
    }
    if task.optional && !is_driver {
        note("is optional, but only a driver can be: what it depends on is its device".into());
    }
    if !task.restart && task.role != Role::Application {
        note("has restart = false, but the stack cannot go on without it; remove the line".into());
    }
    if task.ports.len() > PORT_RANGES_MAX {
        let count = task.ports.len();
        note(format!(
            "has {count} ranges of ports; a task can have {PORT_RANGES_MAX}"
        ));
    }
    for line in task
        .interrupts
        .iter()
        .filter(|&&line| line >= INTERRUPT_LINES)
    {
        note(format!("interrupts: there is no line {line}; give 0 to 15"));
    }
}

/// Names and things that only one task can have.
fn given_twice(stack: &Stack, mistakes: &mut Vec<Mistake>) {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut port_ranges: Vec<(u16, u16, &str)> = Vec::new();
    for task in &stack.tasks {
        let mut things = alloc::vec![format!("the name `{}`", task.name)];
        things.extend(task.device.map(|device| format!("the device {device}")));
        things.extend(
            task.interrupts
                .iter()
                .map(|line| format!("interrupt {line}")),
        );
        // The kernel tells one task of news of the log, and what that reads nobody else can.
        if task.rights.contains(&Right::Log) {
            things.push("the right `log`".into());
        }
        for thing in things {
            if let Some(owner) = owners.get(&thing) {
                let text = format!("wants {thing}, which `{owner}` has; leave it to one of them");
                mistakes.push(Mistake::of(&task.name, text));
            } else {
                owners.insert(thing, &task.name);
            }
        }
        for &(first, last) in &task.ports {
            let taken = port_ranges
                .iter()
                .find(|range| first <= range.1 && range.0 <= last);
            if let Some((_, _, owner)) = taken {
                let text = format!(
                    "wants ports {first:#x}-{last:#x}, some of which `{owner}` has; give each its own"
                );
                mistakes.push(Mistake::of(&task.name, text));
            }
            port_ranges.push((first, last, &task.name));
        }
    }
}

/// A circle of calls, if there is one: two tasks that wait for each other wait for ever. Calls of
/// the manager do not count, because it waits for nobody.
fn cycle(stack: &Stack) -> Option<Mistake> {
    // Tasks whose callees are all known to lead nowhere are taken away until none is left to take.
    let mut rest: Vec<&Task> = stack.tasks.iter().collect();
    loop {
        let before = rest.len();
        let names: Vec<&str> = rest.iter().map(|task| task.name.as_str()).collect();
        rest.retain(|task| {
            task.calls
                .iter()
                .any(|callee| *callee != task.name && names.contains(&callee.as_str()))
        });
        if rest.len() == before {
            break;
        }
    }
    // Whoever is left calls somebody who is left, so following them finds the circle.
    let mut path = alloc::vec![*rest.first()?];
    loop {
        let last = *path.last()?;
        let next = *rest
            .iter()
            .find(|task| task.name != last.name && last.calls.contains(&task.name))?;
        if let Some(start) = path.iter().position(|task| task.name == next.name) {
            let mut names: Vec<&str> = path[start..]
                .iter()
                .map(|task| task.name.as_str())
                .collect();
            names.push(&next.name);
            let text = format!(
                "calls go in a circle: {}; remove one of them",
                names.join(" → ")
            );
            return Some(Mistake::of(&next.name, text));
        }
        path.push(next);
    }
}
