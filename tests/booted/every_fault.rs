//! Every fault of a task, in the real tasks of a stack at work, each once.
//!
//! After most of them nobody must notice anything but a delay. After those with which a task goes on in
//! damaged memory, errors may be told, and what was synced may be out of reach; wrong content must never be.
//! Every fault in every task is what `cargo galago campaign fault` is for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use galago::guest::{Event, Guest};
use serde_json::Value;

use crate::bed::{Bed, number, power_off, run};

/// The tasks of a mirror with filters, the manager included.
const TASKS: [&str; 12] = [
    "twinfs.0",
    "logical",
    "virtio-blk.1",
    "cache",
    "naming",
    "faulty.1",
    "console",
    "manager",
    "twinfs.1",
    "postmark",
    "virtio-blk.0",
    "faulty.0",
];

/// How long callers wait for an answer in the usual stacks, and here.
const PATIENCE_MS: [(u32, u32); 2] = [(30_000, 2_000), (10_000, 1_500)];

/// How long a command may take: longer than anybody is waited for.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// Rounds of work after a fault, until it shows.
const ROUNDS: u32 = 3;
/// The same for faults that take a while: something has to be waited for, or to pile up.
const ROUNDS_MAX: u32 = 12;
/// How long a round of such a fault takes at least.
const ROUND: Duration = Duration::from_millis(500);

/// Faults that show late, or to nobody but to those who wait.
const LATE: [&str; 10] = [
    "infinite-loop",
    "deadlock",
    "pool-exhaustion",
    "leak",
    "missed-wake-up",
    "lost-reply",
    "wrong-reply",
    "livelock",
    "late-timers",
    "stuck-interrupt",
];

/// Faults after which a task goes on, in damaged memory or with wrong answers.
pub const GOES_ON: [&str; 10] = [
    "wild-write",
    "heap-corruption",
    "static-overrun",
    "double-free",
    "use-after-free",
    "off-by-one",
    "smashed-stack",
    "wrong-reply",
    "garbage-reply",
    "bit-flip",
];

/// Tasks that no other waits for.
const ALONE: [&str; 2] = ["console", "postmark"];

/// What nobody can notice of those but their user.
const NOT_NOTICED: [&str; 7] = [
    "deadlock",
    "pool-exhaustion",
    "missed-wake-up",
    "lost-reply",
    "double-reply",
    "livelock",
    "late-timers",
];

/// Whether a fault can show in a task.
fn shows(fault: &str, task: &str) -> bool {
    match fault {
        // Only drivers have interrupts that somebody waits for.
        "stuck-interrupt" => task.starts_with("virtio-blk"),
        _ => !ALONE.contains(&task) || !NOT_NOTICED.contains(&fault),
    }
}

/// What may strike and do nothing to anybody: the kernel refuses a second reply; a timer, or a future that is never
/// polled again, may be one that nobody waits for; a driver that hears nothing looks.
const HARMLESS: [&str; 4] = [
    "double-reply",
    "late-timers",
    "missed-wake-up",
    "stuck-interrupt",
];

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Became {
    /// Tasks died of it, were replaced, and everything is as it was written.
    Recovered(String),
    /// Nobody noticed.
    Harmless,
    /// A command failed, and said so; everything is as it was written.
    Told(String),
    /// What was written is out of reach, and that is said.
    Lost(String),
    /// Something is not as it should be.
    Wrong(String),
}

fn impatient(stack: &str) -> String {
    PATIENCE_MS
        .iter()
        .fold(stack.to_owned(), |stack, (usual, here)| {
            let (usual, here) = (
                format!("patience_ms={usual}"),
                format!("patience_ms={here}"),
            );
            assert!(stack.contains(&usual), "no {usual} in the stack");
            stack.replace(&usual, &here)
        })
}

/// Two disks that can fail, and callers that do not wait for long.
pub fn bed() -> Bed {
    Bed::new(2).with_faulty_disks().with_stack(impatient)
}

/// Restarts and last cause of each task.
pub fn lives(guest: &mut Guest) -> BTreeMap<String, (u64, String)> {
    let told = run(guest, "ps");
    let tasks = told["tasks"].as_array().expect("tasks");
    let life = |task: &Value| {
        let name = task["name"].as_str().unwrap_or_default().to_owned();
        let cause = task["last_cause"].as_str().unwrap_or_default().to_owned();
        (name, (number(task, "restarts"), cause))
    };
    tasks.iter().map(life).collect()
}

/// A command that may fail; its output, or its error.
pub fn attempt(guest: &mut Guest, command: &str) -> Result<String, String> {
    let id = guest.start(command).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let mut collect = |event: &Event| {
        if event.kind() == "output" && event.id() == Some(id) {
            text.push_str(event.text("text").unwrap_or_default());
        }
    };
    let done = guest
        .finish(id, command, COMMAND_LIMIT, &mut collect)
        .map_err(|error| error.to_string())?;
    match done.ok {
        true => Ok(text),
        false => Err(done.error.unwrap_or_default()),
    }
}

/// Whether nothing waits any more: it happened, or is a rule that has acted.
pub fn has_struck(guest: &mut Guest) -> bool {
    let listed = run(guest, "inject list");
    let mut listed = listed["injections"].as_array().expect("a list").iter();
    listed.all(|it| number(it, "hits") > 0)
}

/// Writes what must outlive the fault of this number.
fn prepare(guest: &mut Guest, number: usize) -> Result<(), String> {
    for command in [
        format!("write /s{number} synced{number}"),
        "sync".into(),
        format!("write /f{number} fresh{number}"),
    ] {
        attempt(guest, &command).map_err(|error| format!("{command}: {error}"))?;
    }
    Ok(())
}

/// The same, on a new volume if one that an earlier fault has damaged refuses, or has lost a disk: what a fault
/// does to that shows nothing.
fn prepare_anew(guest: &mut Guest, number: usize) {
    let degraded = run(guest, "df")["state"] == "degraded";
    if degraded || prepare(guest, number).is_err() {
        run(guest, "format yes");
        let prepared = prepare(guest, number);
        assert!(prepared.is_ok(), "on a new volume: {prepared:?}");
    }
}

/// Has a task suffer a fault while the stack works. Its files are prepared.
fn experiment(guest: &mut Guest, number: usize, order: &str, fault: &str, task: &str) -> Became {
    let (synced, fresh) = (format!("/s{number}"), format!("/f{number}"));
    let before = lives(guest);
    run(guest, order);
    let mut errors = Vec::new();
    if task == "console" {
        // It answers first; if it dies of it, the next one says so.
        let ready = |event: &Event| (event.kind() == "ready").then_some(());
        let _ = guest.wait_for("the console", Duration::from_secs(8), ready);
    } else if task == "manager" {
        std::thread::sleep(Duration::from_millis(400));
    }
    let late = LATE.contains(&fault);
    let mut died = String::new();
    for round in 0..if late { ROUNDS_MAX } else { ROUNDS } {
        let since = Instant::now();
        for command in [
            format!("write -a /w{number} {round}"),
            format!("cat /w{number}"),
            "sync".into(),
        ] {
            if let Err(error) = attempt(guest, &command) {
                errors.push(format!("{command}: {error}"));
            }
        }
        if task == "manager" {
            // Who asks it in vain hears that it died; nobody else does.
            let _ = attempt(guest, "restarts");
        }
        let after = lives(guest);
        let dead = after
            .iter()
            .filter(|(name, life)| before[*name].0 != life.0);
        let culprit = dead
            .clone()
            .find(|(name, _)| name.as_str() == task)
            .or_else(|| dead.clone().next());
        if let Some((name, (_, cause))) = culprit {
            died = match name == task {
                true => cause.clone(),
                false => format!("{name}: {cause}"),
            };
            break;
        }
        if late {
            std::thread::sleep(ROUND.saturating_sub(since.elapsed()));
        }
    }
    for (path, content) in [(&synced, "synced"), (&fresh, "fresh")] {
        match content_of(guest, path) {
            Ok(text) if text == format!("{content}{number}") => {}
            Ok(text) => return Became::Wrong(format!("{path} is `{text}`, {errors:?}")),
            Err(error) => return Became::Lost(format!("{died}; {error}; {errors:?}")),
        }
    }
    match (errors.is_empty(), died.is_empty()) {
        (true, true) => Became::Harmless,
        (true, false) => Became::Recovered(died),
        (false, _) => Became::Told(format!("{died}; {}", errors.join(", "))),
    }
}

pub fn content_of(guest: &mut Guest, path: &str) -> Result<String, String> {
    attempt(guest, &format!("cat {path}")).map(|text| text.trim_end().to_owned())
}

/// The faults there are, without those after which a task goes on with damaged memory, and those.
fn faults(guest: &mut Guest) -> (Vec<String>, Vec<String>) {
    let told = run(guest, "inject");
    let names = told["tasks"].as_array().expect("faults of tasks").clone();
    let names = names.iter().filter_map(Value::as_str).map(str::to_owned);
    let (damage, stop): (Vec<String>, Vec<String>) =
        names.partition(|name| GOES_ON.contains(&name.as_str()));
    assert!(stop.len() > 20 && damage.len() == GOES_ON.len());
    (stop, damage)
}

#[test]
fn a_fault_that_ends_a_task_is_noticed_and_costs_a_delay() {
    let bed = bed();
    let mut guest = bed.boot_formatted();
    let (stop, _) = faults(&mut guest);
    let mut tasks = TASKS.iter().cycle();
    let mut bad = Vec::new();
    for (number, fault) in stop.iter().enumerate() {
        let task = tasks.find(|task| shows(fault, task));
        let task = task.expect("a task for every fault");
        let harmless = HARMLESS.contains(&fault.as_str());
        // At a request, which the manager counts: nothing else shows that it happened.
        let when = if harmless { " after=1" } else { "" };
        let order = format!("inject {fault} {task}{when} seed={number}");
        let became = match prepare(&mut guest, number) {
            Ok(()) => experiment(&mut guest, number, &order, fault, task),
            Err(error) => Became::Lost(format!("before it: {error}")),
        };
        println!("{fault} {task}: {became:?}");
        assert!(has_struck(&mut guest), "{fault} {task}: it never happened");
        let fine = match became {
            Became::Recovered(_) => true,
            Became::Harmless => harmless,
            _ => false,
        };
        if !fine {
            bad.push(format!("{fault} {task}: {became:?}"));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
    power_off(guest);
}

/// A task, the point at which it is ended, and what has it pass there.
const POINTS: [(&str, &str, &str); 11] = [
    ("twinfs.0", "twinfs.blocks-written", "sync"),
    ("twinfs.1", "twinfs.root-written", "sync"),
    ("twinfs.0", "twinfs.root-flushed", "sync"),
    ("twinfs.1", "twinfs.root-copied", "sync"),
    ("logical", "logical.mapping-written", "sync"),
    ("logical", "logical.stores-synced", "sync"),
    ("cache", "cache.written-back", "sync"),
    ("cache", "cache.synced-below", "sync"),
    ("cache", "cache.replaying", "kill logical; sync"),
    ("naming", "naming.file-created", "write /w text"),
    // The old name is free again, or the last of these fails.
    (
        "naming",
        "naming.target-written",
        "write /m text; mkdir /md; mv /m /md/m; cat /md/m; mkdir /m",
    ),
];

#[test]
fn a_task_can_be_ended_at_every_point() {
    let bed = bed();
    let mut guest = bed.boot_formatted();
    for (number, (task, point, passes)) in POINTS.into_iter().enumerate() {
        let file = format!("/p{number}");
        run(&mut guest, &format!("write {file} before{number}"));
        run(&mut guest, "sync");
        run(&mut guest, &format!("write -a {file} after{number}"));
        let before = lives(&mut guest)[task].0;
        run(&mut guest, &format!("inject kill {task} at={point}"));
        let passed = attempt(&mut guest, passes);
        assert!(passed.is_ok(), "{point}: {passed:?}");
        let content = content_of(&mut guest, &file);
        let expected = format!("before{number}after{number}");
        assert_eq!(content.as_deref(), Ok(expected.as_str()), "{point}");
        let deaths = lives(&mut guest)[task].0 - before;
        println!("{task} at {point}: {deaths} deaths");
        assert!(deaths > 0, "{point}: nobody passed it");
    }
    power_off(guest);
}

#[test]
fn a_task_that_goes_on_in_damaged_memory_gives_errors_at_worst() {
    let bed = bed();
    let mut guest = bed.boot_formatted();
    let (_, damage) = faults(&mut guest);
    let tasks = ["logical", "virtio-blk.0", "twinfs.1", "faulty.0"];
    let mut wrong = Vec::new();
    for (number, (fault, task)) in damage.iter().zip(tasks.iter().cycle()).enumerate() {
        prepare_anew(&mut guest, number);
        // At a request, which the manager counts.
        let order = format!("inject {fault} {task} after=1 seed={number}");
        let became = experiment(&mut guest, number, &order, fault, task);
        println!("{fault} {task}: {became:?}");
        assert!(has_struck(&mut guest), "{fault} {task}: it never happened");
        run(&mut guest, "inject off all");
        // What it left in memory must not be taken for the next one's.
        let _ = attempt(&mut guest, &format!("kill {task}"));
        if matches!(became, Became::Wrong(_)) {
            wrong.push(format!("{fault} {task}: {became:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let _ = guest.start("reset");
}
