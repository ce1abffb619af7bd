//! What is lost is named: pages overwritten in the cache's memory, blocks that no disk has a good copy of,
//! files that went back to the last checkpoint.

use std::time::Instant;

use galago::guest::{Event, Guest, with_argument};
use serde_json::Value;

use crate::bed::{Bed, LIMIT, number, or_explain, output, power_off, refused, run};

const FILE: &str = "/some/deep/file";

/// Waits until the console has told something lost of this path; what it told.
fn named(guest: &mut Guest, path: &str) -> Event {
    let of_path = |event: &Event| {
        let is = event.kind() == "lost-file" && event.text("path") == Some(path);
        is.then(|| event.clone())
    };
    or_explain(guest.wait_for(path, LIMIT, of_path))
}

/// What `lost` tells of this path.
fn lost(guest: &mut Guest, path: &str) -> Option<Value> {
    let told = run(guest, "lost");
    let files = told["files"].as_array().expect("a list");
    files.iter().find(|it| it["path"] == path).cloned()
}

fn sha256(guest: &mut Guest) -> String {
    let told = run(guest, &format!("sha256 {FILE}"));
    told["sha256"].as_str().expect("a hash").to_owned()
}

#[test]
fn pages_overwritten_in_the_caches_memory_are_named_and_errors_until_they_are_written() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "mkdir -p /some/deep");
    let fill = format!("fill {FILE} 6M seed=2");
    run(&mut guest, &fill);
    let whole = sha256(&mut guest);
    run(&mut guest, &format!("fill {FILE} 6M seed=1"));
    run(&mut guest, "write /some/other kept");
    run(&mut guest, "sync");
    run(&mut guest, &fill);
    // What is lost is what nobody else has: pages newer than the checkpoint.
    run(
        &mut guest,
        "inject wild-write cache memory=surviving writes=6 seed=3",
    );
    run(&mut guest, "kill cache");
    let told = named(&mut guest, FILE);
    let blocks = told.number("blocks").expect("how many");
    assert!((1..=6).contains(&blocks), "{told}");
    let line = format!("lost: {FILE}: block");
    let console = guest.console().tail(200).join("\n");
    assert!(console.contains(&line), "no `{line}`:\n{console}");
    let listed = lost(&mut guest, FILE).expect("it is still lost");
    assert_eq!(
        listed["blocks"].as_array().map(Vec::len),
        Some(blocks as usize)
    );
    let error = refused(&mut guest, &format!("sha256 {FILE}"));
    assert!(error.contains("checksum error"), "{error}");
    // On the disks it is an error, too, and never what it was before.
    run(&mut guest, "sync");
    or_explain(guest.restart("reboot", LIMIT, |_| {}));
    run(&mut guest, "mount");
    let told = run(&mut guest, "blocks /some/deep");
    assert_eq!(number(&told, "unreadable"), blocks, "{told}");
    assert_eq!(output(&mut guest, "cat /some/other").trim_end(), "kept");
    run(&mut guest, &fill);
    run(&mut guest, "sync");
    assert_eq!(sha256(&mut guest), whole);
    power_off(guest);
}

#[test]
fn what_is_written_again_is_no_longer_lost() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "mkdir -p /some/deep");
    let fill = format!("fill {FILE} 6M");
    run(&mut guest, &fill);
    run(
        &mut guest,
        "inject wild-write cache memory=surviving writes=6 seed=3",
    );
    run(&mut guest, "kill cache");
    named(&mut guest, FILE);
    run(&mut guest, "mv /some/deep/file /moved");
    assert!(lost(&mut guest, "/moved").is_some());
    run(&mut guest, "mv /moved /some/deep/file");
    run(&mut guest, &fill);
    assert_eq!(lost(&mut guest, FILE), None);
    power_off(guest);
}

#[test]
fn a_cache_that_dies_again_and_again_of_its_memory_goes_on_without_and_names_what_that_costs() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /synced 'as it was'");
    run(&mut guest, "sync");
    run(&mut guest, "inject panic cache rate=1/2 count=8");
    // Each instance takes over what the one before had, and dies over it.
    let deadline = Instant::now() + LIMIT;
    let mut told = Vec::new();
    let mut note = |event: &Event| {
        if matches!(event.kind(), "loss" | "lost-file") {
            told.push(event.to_string());
        }
    };
    for number in 0.. {
        assert!(Instant::now() < deadline, "it does not die so often");
        // What a client has in hand when everything goes back is an error.
        let write = format!("write -a /synced {number}");
        let id = or_explain(guest.start(&write));
        or_explain(guest.finish(id, &write, LIMIT, &mut note));
        let list = or_explain(guest.start("inject list"));
        let listed = or_explain(guest.finish(list, "inject list", LIMIT, &mut note));
        if listed.result["injections"]
            .as_array()
            .is_some_and(Vec::is_empty)
        {
            break;
        }
    }
    let console = guest.console().tail(400).join("\n");
    let once_more =
        "cache crashed too often; once more, without what earlier instances have left in memory";
    assert!(console.contains(once_more), "{console}");
    let reason = "instances that went on with it died";
    assert!(
        console.contains(reason) || told.iter().any(|it| it.contains(reason)),
        "{told:#?}\n{console}"
    );
    if !told.iter().any(|it| it.contains("lost-file")) {
        assert_eq!(
            named(&mut guest, "/synced").get("reverted"),
            Some(&Value::Bool(true))
        );
    }
    // A state that there was, and one to go on from.
    let content = output(&mut guest, "cat /synced");
    assert!(content.starts_with("as it was"), "{content}");
    run(&mut guest, "write /after works");
    run(&mut guest, "sync");
    assert_eq!(output(&mut guest, "cat /after").trim_end(), "works");
    power_off(guest);
}

/// Data are overwritten in place, so that a torn write hits what was there.
fn in_place(stack: &str) -> String {
    with_argument(stack, "twinfs", "overwrite", "in-place")
}

#[test]
fn blocks_that_no_disk_has_whole_after_a_crash_are_named() {
    let bed = Bed::new(1).with_faulty_disks().with_stack(in_place);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "mkdir -p /some/deep");
    run(&mut guest, &format!("fill {FILE} 64k seed=1"));
    run(&mut guest, "sync");
    run(&mut guest, &format!("fill {FILE} 64k seed=2"));
    run(&mut guest, "inject torn-write vda type=data sectors=3");
    run(&mut guest, "inject power-cut all at=twinfs.blocks-written");
    or_explain(guest.restart("sync", LIMIT, |_| {}));
    let told = named(&mut guest, FILE);
    assert!(
        told.number("blocks").is_some_and(|count| count > 0),
        "{told}"
    );
    let listed = lost(&mut guest, FILE).expect("it is lost");
    let error = refused(&mut guest, &format!("sha256 {FILE}"));
    assert!(error.contains("checksum error"), "{error} {listed}");
    run(&mut guest, &format!("fill {FILE} 64k seed=3"));
    assert_eq!(lost(&mut guest, FILE), None);
    power_off(guest);
}

#[test]
fn a_store_that_dies_with_its_log_written_and_not_flushed_loses_nothing() {
    let bed = Bed::new(2).with_stack(in_place);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "mkdir -p /some/deep");
    run(&mut guest, &format!("fill {FILE} 64k seed=2"));
    let whole = sha256(&mut guest);
    run(&mut guest, &format!("fill {FILE} 64k seed=1"));
    run(&mut guest, "sync");
    run(&mut guest, &format!("fill {FILE} 64k seed=2"));
    run(&mut guest, "inject kill twinfs.1 at=twinfs.log-written");
    run(&mut guest, "sync");
    let list = run(&mut guest, "inject list");
    assert_eq!(
        list["injections"],
        Value::Array(Vec::new()),
        "it was passed"
    );
    assert_eq!(sha256(&mut guest), whole);
    or_explain(guest.restart("reboot", LIMIT, |_| {}));
    run(&mut guest, "mount");
    assert_eq!(sha256(&mut guest), whole);
    power_off(guest);
}
