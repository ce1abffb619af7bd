//! Layers that are killed while files are written: applications see a delay, never an error.

use galago::guest::{Guest, Restarts};

use crate::bed::{Bed, number, or_explain, power_off, run};

/// PostMark as it runs under kills.
const POSTMARK: &str = "postmark loris-hundredth keep=true";

/// Kills that one layer must survive, and all together, chosen at random.
const KILLS_MIN: u64 = 5;
const KILLS_OF_ALL_MIN: u64 = 300;

/// Kills of naming that PostMark does not notice.
const KILLS_OF_NAMING_MIN: u64 = 20;

/// Rounds of commands under kills of naming.
const ROUNDS: u32 = 5;

/// Runs of PostMark in which they must have come.
const RUNS_MAX: u32 = 500;

/// PostMark, over and over, while `task` is killed every 200 ms; returns the kills, `least` or more.
fn postmark_under_kills(guest: &mut Guest, task: &str, least: u64, seed: u64) -> u64 {
    run(guest, &format!("kill {task} every=200ms seed={seed}"));
    for _ in 0..RUNS_MAX {
        let report = run(guest, &format!("bench {POSTMARK} seed={seed}"));
        assert_eq!(
            number(&report["errors"], "count"),
            0,
            "{task}, seed {seed}: {report}"
        );
        if number(&run(guest, "kill status"), "kills") >= least {
            break;
        }
    }
    let kills = number(&run(guest, "kill stop"), "kills");
    assert!(
        kills >= least,
        "{task} was killed {kills} times in {RUNS_MAX} runs"
    );
    verify(guest, seed);
    kills
}

fn restarts(guest: &mut Guest) -> Restarts {
    or_explain(Restarts::from_result(&run(guest, "restarts")))
}

fn verify(guest: &mut Guest, seed: u64) {
    let verified = run(guest, &format!("verify {POSTMARK} seed={seed}"));
    assert_eq!(
        number(&verified["errors"], "count"),
        0,
        "seed {seed}: {verified}"
    );
    assert!(number(&verified, "files") > 0);
}

#[test]
fn each_layer_below_naming_can_be_killed_during_postmark() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    let tasks = [
        "cache",
        "logical",
        "twinfs.0",
        "twinfs.1",
        "virtio-blk.0",
        "virtio-blk.1",
    ];
    for (seed, task) in (1..).zip(tasks) {
        let before = restarts(&mut guest).of(task);
        let kills = postmark_under_kills(&mut guest, task, KILLS_MIN, seed);
        let restarts = restarts(&mut guest).of(task) - before;
        assert!(
            restarts >= kills,
            "{task}: {kills} kills, {restarts} restarts"
        );
    }
    power_off(guest);
}

#[test]
fn what_was_written_under_three_hundred_kills_is_on_the_disks() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    postmark_under_kills(&mut guest, "all", KILLS_OF_ALL_MIN, 11);
    power_off(guest);
    let mut guest = bed.boot();
    run(&mut guest, "mount");
    verify(&mut guest, 11);
    power_off(guest);
}

#[test]
fn naming_can_be_killed_during_postmark_and_commands() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    postmark_under_kills(&mut guest, "naming", KILLS_OF_NAMING_MIN, 17);
    run(&mut guest, "kill naming every=20ms");
    for round in 0..ROUNDS {
        for command in [
            "mkdir -p /d/e",
            "write /d/f one",
            "write -a /d/f two",
            "mv /d/f /d/e/g",
            "cp /d/e/g /d/h",
            "ln /d/h /d/i",
            "rm /d/h",
        ] {
            run(&mut guest, command);
        }
        for path in ["/d/e/g", "/d/i"] {
            let stat = run(&mut guest, &format!("stat {path}"));
            assert_eq!(number(&stat, "size"), 8, "round {round}: {path}: {stat}");
            assert_eq!(number(&stat, "links"), 1, "round {round}: {path}: {stat}");
        }
        run(&mut guest, "rm -r /d");
    }
    let kills = number(&run(&mut guest, "kill stop"), "kills");
    assert!(kills > 0, "naming was never killed");
    assert!(restarts(&mut guest).of("naming") >= KILLS_OF_NAMING_MIN + kills);
    verify(&mut guest, 17);
    power_off(guest);
    let mut guest = bed.boot();
    run(&mut guest, "mount");
    verify(&mut guest, 17);
    power_off(guest);
}
