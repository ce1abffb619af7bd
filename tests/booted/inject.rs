//! Injections that wait: listed, counted, taken back, carried over to the next instance.

use galago::guest::{Event, Guest, Restarts};
use serde_json::Value;

use crate::bed::{Bed, LIMIT, number, or_explain, output, power_off, refused, run};

fn listed(guest: &mut Guest) -> Vec<Value> {
    let told = run(guest, "inject list");
    told["injections"].as_array().expect("a list").clone()
}

fn restarts(guest: &mut Guest, task: &str) -> u64 {
    let told = run(guest, "restarts");
    or_explain(Restarts::from_result(&told)).of(task)
}

/// Asks naming for something until nothing is in force any more.
fn until_over(guest: &mut Guest) {
    for _ in 0..200 {
        run(guest, "stat /");
        if listed(guest).is_empty() {
            return;
        }
    }
    panic!("{:?} never happens", listed(guest));
}

#[test]
fn what_waits_is_listed_counted_and_taken_back() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /file kept");
    let twice = run(
        &mut guest,
        "inject kill twinfs.0 at=twinfs.root-written count=2 seed=9",
    );
    let never = run(&mut guest, "inject kill twinfs.1 at=twinfs.root-flushed");
    let later = run(&mut guest, "inject panic logical after=1m");
    let listing = listed(&mut guest);
    assert_eq!(listing.len(), 3, "{listing:?}");
    let first = &listing[0];
    assert_eq!(first["number"], twice["number"], "{first}");
    assert_eq!(
        (first["text"].as_str(), first["armed"].as_str()),
        (
            Some("kill at=twinfs.root-written count=2 seed=9"),
            Some("twinfs.0")
        )
    );
    assert_eq!((number(first, "hits"), number(first, "left")), (0, 2));
    for it in [&never, &later] {
        let off = format!("inject off {}", number(it, "number"));
        assert_eq!(number(&run(&mut guest, &off), "removed"), 1);
        let again = refused(&mut guest, &off);
        assert!(again.contains("none of this number"), "{again}");
    }
    // The store dies over it, and again when the sync is tried again.
    let before = restarts(&mut guest, "twinfs.0");
    let mut dead = Vec::new();
    let id = or_explain(guest.start("sync"));
    let synced = guest.finish(id, "sync", LIMIT, |event: &Event| {
        if event.kind() == "death" {
            dead.push(event.text("task").unwrap_or_default().to_owned());
        }
    });
    assert!(or_explain(synced).ok);
    let of = |task: &str| dead.iter().filter(|it| *it == task).count();
    assert_eq!((of("twinfs.0"), of("twinfs.1")), (2, 0), "{dead:?}");
    assert_eq!(restarts(&mut guest, "twinfs.0"), before + 2);
    assert!(listed(&mut guest).is_empty());
    assert_eq!(output(&mut guest, "cat /file").trim_end(), "kept");
    for (line, part) in [
        (
            "kill cache at=twinfs.root-written",
            "never passes this point",
        ),
        ("kill nobody after=3", "no such task"),
        ("power-cut all after=1s", "no filter"),
    ] {
        let told = refused(&mut guest, &format!("inject {line}"));
        assert!(told.contains(part), "{line}: {told}");
    }
    assert!(listed(&mut guest).is_empty());
    power_off(guest);
}

#[test]
fn what_waits_goes_over_to_the_next_instance_and_ends_with_the_manager() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    // By chance, several times: each death takes along what waited, and it goes on.
    run(&mut guest, "inject exit naming rate=1/3 count=3 seed=5");
    until_over(&mut guest);
    assert_eq!(restarts(&mut guest, "naming"), 3);
    run(&mut guest, "inject exit naming after=20");
    run(&mut guest, "kill naming");
    until_over(&mut guest);
    assert_eq!(restarts(&mut guest, "naming"), 5);
    run(&mut guest, "inject exit naming after=5");
    run(&mut guest, "kill manager");
    let takes_over = |event: &Event| event.is_restart_of("manager").then_some(());
    or_explain(guest.wait_for("the manager", LIMIT, takes_over));
    assert!(listed(&mut guest).is_empty());
    for _ in 0..10 {
        run(&mut guest, "stat /");
    }
    assert_eq!(restarts(&mut guest, "naming"), 5, "nothing waits in it");
    power_off(guest);
}

#[test]
fn the_power_fails_at_a_point_and_at_a_time() {
    let bed = Bed::new(2).with_faulty_disks();
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /file synced");
    run(&mut guest, "sync");
    run(&mut guest, "write -a /file more");
    run(
        &mut guest,
        "inject power-cut all at=twinfs.root-written seed=3",
    );
    or_explain(guest.restart("sync", LIMIT, |_| {}));
    let console = guest.console().tail(2000).join("\n");
    assert_eq!(console.matches("the power fails").count(), 1, "{console}");
    let (_, before) = console.split_once("twinfs.0: died").expect("it ends there");
    assert!(before.contains("the power fails, seed 3"), "{console}");
    run(&mut guest, "mount");
    let kept = output(&mut guest, "cat /file");
    assert!(kept.starts_with("synced"), "{kept}");
    // Every layer has points, naming too.
    run(&mut guest, "inject power-cut all at=naming.file-created");
    or_explain(guest.restart("write /other new", LIMIT, |_| {}));
    run(&mut guest, "mount");
    let refusal = refused(&mut guest, "cat /other");
    assert!(refusal.contains("no such file"), "{refusal}");
    or_explain(guest.restart("inject reset all after=50ms", LIMIT, |_| {}));
    run(&mut guest, "mount");
    assert!(output(&mut guest, "cat /file").starts_with("synced"));
    power_off(guest);
}

#[test]
fn what_is_refused_because_the_list_is_full_happens_to_nobody() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    for _ in 0..64 {
        run(&mut guest, "inject kill console after=3000s");
    }
    let refusal = refused(&mut guest, "inject kill naming after=1");
    assert!(refusal.contains("too many faults"), "{refusal}");
    run(&mut guest, "stat /");
    assert_eq!(restarts(&mut guest, "naming"), 0);
    run(&mut guest, "inject off all");
    run(&mut guest, "inject kill naming after=1");
    until_over(&mut guest);
    assert_eq!(restarts(&mut guest, "naming"), 1);
    power_off(guest);
}
