//! The order of writes and flushes, as QEMU saw it.

use checkers::{
    flush_order::{Options, check_logs},
    report::Event,
};
use galago::guest::Guest;

use crate::bed::{Bed, LIMIT, number, or_explain, power_off, run};

/// Small enough for an emulated second, large enough for indirect blocks and dozens of writes a checkpoint.
const POSTMARK: &str = "bench postmark files=100 transactions=200 keep=true";

#[test]
fn what_the_disks_of_a_mirror_took_is_in_order() {
    let bed = Bed::new(2);
    let (machine, logs) = bed.machine_with_logs();
    let mut guest = or_explain(Guest::boot(&machine, None));
    or_explain(guest.wait_ready(LIMIT));
    run(&mut guest, "format yes");
    run(&mut guest, "mount");
    let mut synced = 0;
    for command in [
        "write /a hello",
        POSTMARK,
        "mv /a /b",
        "write /b other",
        "rm /b",
    ] {
        run(&mut guest, command);
        let checkpoint = number(&run(&mut guest, "sync"), "checkpoint");
        for log in &logs {
            log.mark(checkpoint).expect("noted");
        }
        synced += 1;
    }
    power_off(guest);
    let mut failures = Vec::new();
    let options = Options {
        logs: logs.iter().map(|log| log.path.clone()).collect(),
    };
    let summary = check_logs(&options, |event| {
        if let Event::Failure { what, .. } = event {
            failures.push(what);
        }
    });
    assert_eq!(failures, [""; 0], "{summary}");
    for log in 0..logs.len() {
        let counts = &summary["logs"][log];
        assert_eq!(number(counts, "synced"), synced, "{summary}");
        assert!(
            number(counts, "roots") > synced && number(counts, "writes") > 100,
            "{summary}"
        );
    }
}
