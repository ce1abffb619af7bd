//! Every named bug once, each by its own line, in one guest at work on two disks.
//!
//! After a bug that stops a task, and after one of a disk, nobody must notice anything but a delay. After one with
//! which a task goes on in damaged memory, errors may be told; wrong content must never be.

use galago::guest::Guest;

use crate::bed::{power_off, run};
use crate::every_fault::{GOES_ON, attempt, bed, content_of, has_struck, lives};

/// Rounds of work in which a bug must come to its moment, and that it is then given to show.
const ROUNDS_MAX: u32 = 60;
const ROUNDS_AFTER: u32 = 3;

/// A bug, and the line that it stands for.
struct Bug {
    name: String,
    fault: String,
    target: String,
}

fn bugs(guest: &mut Guest) -> Vec<Bug> {
    let told = run(guest, "inject");
    let bugs = told["bugs"].as_array().expect("bugs");
    let bug = |it: &serde_json::Value| {
        let line = it["line"].as_str().expect("a line");
        let mut words = line.split(' ').map(str::to_owned);
        Bug {
            name: it["name"].as_str().expect("a name").to_owned(),
            fault: words.next().expect("a fault"),
            target: words.next().expect("a target"),
        }
    };
    bugs.iter().map(bug).collect()
}

/// What was wrong: nothing, or an error that was told.
fn meet(guest: &mut Guest, number: usize, bug: &Bug) -> Vec<String> {
    let (synced, fresh) = (format!("/s{number}"), format!("/f{number}"));
    // A store whose answers meant nothing was taken out of the mirror, and would meet nothing.
    if run(guest, "df")["state"] == "degraded" {
        run(guest, "format yes");
    }
    run(guest, &format!("write {synced} synced{number}"));
    run(guest, "sync");
    run(guest, &format!("write {fresh} fresh{number}"));
    let order = format!("inject bug {} seed={number}", bug.name);
    run(guest, &order);
    let (mut errors, mut after) = (Vec::new(), 0);
    for round in 0.. {
        assert!(round < ROUNDS_MAX, "{order}: it never happens");
        for command in [
            format!("write -a /w{number} {round}"),
            format!("cat /w{number}"),
            "sync".into(),
        ] {
            if let Err(error) = attempt(guest, &command) {
                errors.push(format!("{command}: {error}"));
            }
        }
        after += u32::from(has_struck(guest));
        if after > ROUNDS_AFTER {
            break;
        }
    }
    run(guest, "inject off all");
    for (path, content) in [(&synced, "synced"), (&fresh, "fresh")] {
        match content_of(guest, path) {
            Ok(text) => assert_eq!(text, format!("{content}{number}"), "{order}: {path}"),
            Err(error) => errors.push(format!("{path}: {error}")),
        }
    }
    errors
}

#[test]
fn each_named_bug_costs_a_delay_or_is_told() {
    let bed = bed();
    let mut guest = bed.boot_formatted();
    let all = bugs(&mut guest);
    assert!(all.len() >= 23, "three of the paper's and twenty more");
    let mut told = Vec::new();
    for (number, bug) in all.iter().enumerate() {
        let before = lives(&mut guest);
        let errors = meet(&mut guest, number, bug);
        let after = lives(&mut guest);
        let dead: Vec<&str> = before
            .iter()
            .filter(|(name, life)| after[*name].0 != life.0)
            .map(|(name, _)| name.as_str())
            .collect();
        println!("{}: {dead:?} {errors:?}", bug.name);
        if GOES_ON.contains(&bug.fault.as_str()) {
            // What it left in memory must not be taken for the next one's.
            let _ = attempt(&mut guest, &format!("kill {}", bug.target));
        } else if !errors.is_empty() {
            told.push(format!("{}: {errors:?}", bug.name));
        }
    }
    assert!(told.is_empty(), "{told:#?}");
    power_off(guest);
}
