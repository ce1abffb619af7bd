//! The restart manager: what it notices, what it restarts, when it gives up, and what is kept then.

use std::time::Instant;

use galago::guest::{Event, Guest, Restarts, with_argument};
use serde_json::Value;

use crate::bed::{Bed, LIMIT, number, or_explain, output, power_off, run};

/// A task that fails as the file `/fault` says, see `tests/guest/src/misbehaving.rs`; the role is missing.
const FAULTY: &str = r#"
[[task]]
name = "misbehaving"
program = "misbehaving"
calls = ["naming"]
quota = "4 MiB"
"#;

/// QEMU's exit status when the manager has given the stack up, and when the kernel has panicked.
const GAVE_UP: Option<i32> = Some(0x11 << 1 | 1);
const PANICKED: Option<i32> = Some(0x7f << 1 | 1);

/// What `restarts` tells of a task.
fn history(guest: &mut Guest, task: &str) -> Value {
    let told = run(guest, "restarts");
    let roles = told["roles"].as_array().expect("roles");
    let of_task = roles.iter().find(|role| role["name"] == task);
    of_task
        .unwrap_or_else(|| panic!("no {task} in {told}"))
        .clone()
}

/// The guest's end by itself: its exit status, and the end of its console.
fn end(guest: &mut Guest) -> (Option<i32>, String) {
    let end = or_explain(guest.wait_end(LIMIT));
    let console = guest.console().tail(200).join("\n");
    let end = end.unwrap_or_else(|| panic!("it goes on:\n{console}"));
    (end.status.code(), console)
}

/// The stack with the faulty task in the console's place.
fn with_faulty_console(stack: &str) -> String {
    let program = "program = \"console\"";
    assert!(stack.contains(program), "{stack}");
    with_argument(stack, "console", "reads", "log").replace(program, "program = \"misbehaving\"")
}

fn assert_order(console: &str, parts: &[&str]) {
    let mut rest = console;
    for part in parts {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("no `{part}` in its place among:\n{console}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn every_task_can_be_killed_and_who_asks_hears_that_it_was() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /file kept");
    run(&mut guest, "sync");
    for task in ["naming", "cache", "postmark", "console", "manager"] {
        assert_eq!(run(&mut guest, &format!("kill {task}"))["kills"], 1);
        let restarted = |event: &Event| event.is_restart_of(task).then(|| event.number("restarts"));
        let restarts = or_explain(guest.wait_for(task, LIMIT, restarted));
        assert_eq!(restarts, Some(1), "{task}");
        if task == "console" {
            let ready = or_explain(guest.wait_ready(LIMIT));
            assert_eq!(ready.get("restart"), Some(&Value::Bool(true)));
        }
        assert_eq!(output(&mut guest, "cat /file").trim_end(), "kept", "{task}");
    }
    let restarts = or_explain(Restarts::from_result(&run(&mut guest, "restarts")));
    assert_eq!((restarts.of("console"), restarts.of("postmark")), (1, 1));
    power_off(guest);
}

#[test]
fn a_task_that_hangs_is_ended_and_the_others_go_on_meanwhile() {
    let entry = format!("{FAULTY}role = \"application\"\nrestart = true\n");
    let bed = Bed::new(1).with_stack(|stack| stack.to_owned() + &entry);
    let mut guest = bed.boot_formatted();
    for (before, fault) in ["loop", "deaf"].into_iter().enumerate() {
        run(&mut guest, &format!("write /fault {fault}"));
        assert_eq!(
            history(&mut guest, "misbehaving")["silent"],
            before,
            "{fault}"
        );
        let died = |event: &Event| {
            (event.kind() == "death").then(|| {
                assert_eq!(event.text("task"), Some("misbehaving"), "{fault}: {event}");
                event.text("reason").unwrap_or_default().to_owned()
            })
        };
        let reason = or_explain(guest.wait_for(fault, LIMIT, died));
        assert_eq!(reason, "it did not answer", "{fault}");
        let serves = |event: &Event| {
            let of_task = event.text("task") == Some("misbehaving");
            (event.kind() == "recovery" && of_task).then_some(())
        };
        or_explain(guest.wait_for(fault, LIMIT, serves));
        assert_eq!(history(&mut guest, "misbehaving")["state"], "running");
    }
    let restarts = or_explain(Restarts::from_result(&run(&mut guest, "restarts")));
    assert_eq!((restarts.of("misbehaving"), restarts.total()), (2, 2));
    power_off(guest);
}

#[test]
fn a_crash_loop_ends_the_stack_with_the_reason_and_what_was_written_is_kept() {
    let entry = format!("{FAULTY}role = \"console\"\n");
    for (fault, reason) in [
        ("panic", "last words: as ordered"),
        ("exit", "misbehaving ended by itself"),
    ] {
        let bed = Bed::new(2).with_stack(|stack| stack.to_owned() + &entry);
        let mut guest = bed.boot_formatted();
        run(&mut guest, "write /synced 'as it was'");
        run(&mut guest, "sync");
        run(&mut guest, "write /late 'not synced yet'");
        run(&mut guest, &format!("write /fault {fault}"));
        let (status, console) = end(&mut guest);
        assert_eq!(status, GAVE_UP, "{fault}:\n{console}");
        let last =
            "the stack stops: misbehaving has crashed too often, and nothing stands in for it";
        assert_order(&console, &[reason, last, "synced, checkpoint"]);

        let mut guest = bed.with_stack_of_the_repository().boot();
        run(&mut guest, "mount");
        let synced = output(&mut guest, "cat /synced");
        let late = output(&mut guest, "cat /late");
        assert_eq!(
            (synced.trim_end(), late.trim_end()),
            ("as it was", "not synced yet")
        );
        power_off(guest);
    }
}

#[test]
fn if_naming_is_what_crashes_the_last_sync_goes_through_the_cache() {
    // The faulty task plays naming's part in the stack; the real one never syncs by itself.
    let entry = format!("{FAULTY}role = \"naming\"\n");
    let bed = Bed::new(1).with_stack(|stack| {
        let (role, period) = ("role = \"naming\"", "sync_seconds=5");
        assert!(stack.contains(role) && stack.contains(period), "{stack}");
        let stack = stack.replace(role, "role = \"application\"\nrestart = true");
        stack.replace(period, "sync_seconds=3600") + &entry
    });
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /late 'not synced yet'");
    run(&mut guest, "write /fault panic");
    let (status, console) = end(&mut guest);
    assert_eq!(status, GAVE_UP, "{console}");
    assert_order(&console, &["the stack stops", "synced, checkpoint"]);

    let mut guest = bed.with_stack_of_the_repository().boot();
    run(&mut guest, "mount");
    assert_eq!(output(&mut guest, "cat /late").trim_end(), "not synced yet");
    power_off(guest);
}

#[test]
fn a_layer_that_cannot_come_up_ends_the_stack_soon_and_harms_nothing() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /file kept");
    power_off(guest);
    let mut bed = bed;
    for (task, quota) in [("logical", "16 MiB"), ("naming", "32 MiB")] {
        bed = bed.with_stack(|stack| {
            let at = stack.find(&format!("name = \"{task}\"")).expect("the task");
            let (before, entry) = stack.split_at(at);
            assert!(entry.contains(quota), "{entry}");
            before.to_owned() + &entry.replacen(quota, "256 KiB", 1)
        });
        let machine = bed.machine();
        let mut guest = or_explain(Guest::boot(&machine, None));
        let (status, console) = end(&mut guest);
        assert_eq!(status, GAVE_UP, "{task}:\n{console}");
        let last = format!("the stack stops: {task} has crashed too often");
        assert_order(&console, &[&last]);
        assert!(
            !console.contains("did not end in time"),
            "{task}:\n{console}"
        );
        bed = bed.with_stack_of_the_repository();
    }
    let mut guest = bed.boot();
    run(&mut guest, "mount");
    assert_eq!(output(&mut guest, "cat /file").trim_end(), "kept");
    power_off(guest);
}

#[test]
fn the_reason_is_seen_even_if_it_is_the_console_that_crashes_and_off_needs_no_device() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /fault panic");
    power_off(guest);
    let bed = bed.with_stack(with_faulty_console);
    for (debug_exit, expected) in [(true, GAVE_UP), (false, Some(0))] {
        let machine = galago::guest::Machine {
            debug_exit,
            ..bed.machine()
        };
        let mut guest = or_explain(Guest::boot(&machine, None));
        let (status, console) = end(&mut guest);
        assert_eq!(status, expected, "{console}");
        let last = "the stack stops: console has crashed too often";
        assert_order(&console, &["as ordered", last, "synced, checkpoint"]);
    }
}

#[test]
fn a_store_that_dies_during_the_last_sync_is_restarted_for_it() {
    let entry = format!("{FAULTY}role = \"console\"\n");
    let bed = Bed::new(2).with_stack(|stack| stack.to_owned() + &entry);
    let mut guest = bed.boot_formatted();
    // So much is written that the last sync takes its time.
    let bench = or_explain(guest.start("bench postmark loris-tenth seed=5"));
    let under_way = |event: &Event| {
        let transactions = event
            .text("text")
            .is_some_and(|text| text.starts_with("transactions"));
        (event.id() == Some(bench) && transactions).then_some(())
    };
    or_explain(guest.wait_for("PostMark", LIMIT, under_way));
    or_explain(guest.start("write /fault panic"));
    let gives_up = |event: &Event| {
        let text = event.text("text").unwrap_or_default();
        text.starts_with("the stack stops").then_some(())
    };
    or_explain(guest.wait_for("crashing", LIMIT, gives_up));
    or_explain(guest.start("kill twinfs.0"));
    let (status, console) = end(&mut guest);
    assert_eq!(status, GAVE_UP, "{console}");
    let kill = "twinfs.0: died: ";
    assert_order(&console, &["the stack stops", kill, "synced, checkpoint"]);

    let mut guest = bed.with_stack_of_the_repository().boot();
    run(&mut guest, "mount");
    let found = run(&mut guest, "verify postmark found seed=5");
    assert_eq!(number(&found["errors"], "count"), 0, "{found}");
    power_off(guest);
}

#[test]
fn a_kernel_that_panics_writes_what_nobody_has_read_of_the_log() {
    let bed = Bed::new(1).with_stack(with_faulty_console);
    let mut guest = or_explain(Guest::boot(&bed.machine(), None));
    let (deadline, mut number) = (Instant::now() + LIMIT, 0);
    while let Some((next, line)) = guest.console().line(number, deadline) {
        number = next;
        if line.contains("the log was read") {
            break;
        }
    }
    // A failure of the machine ends the kernel.
    let no_arguments = serde_json::json!({});
    or_explain(guest.monitor().execute("inject-nmi", &no_arguments));
    let (status, console) = end(&mut guest);
    assert_eq!(status, PANICKED, "{console}");
    assert_order(
        &console,
        &["the log was read", "this is not read", "kernel panic"],
    );
}

#[test]
fn quotas_beyond_the_memory_are_told_at_boot() {
    let told = |bed: Bed| {
        let guest = bed.boot_formatted();
        let console = guest.console().tail(200).join("\n");
        power_off(guest);
        console.contains("the quotas come to")
    };
    assert!(!told(Bed::new(1)));
    let more = |stack: &str| stack.replacen("quota = \"32 MiB\"", "quota = \"2 GiB\"", 1);
    assert!(told(Bed::new(1).with_stack(more)));
}
