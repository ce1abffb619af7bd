//! Disks that fail by rules from the console: the mirror serves what one disk cannot, and one disk alone
//! says what it cannot serve.

use galago::guest::Guest;

use crate::bed::{Bed, LIMIT, number, or_explain, output, power_off, refused, run};

/// Has the first disk fail by these rules.
fn inject(guest: &mut Guest, rules: &[&str]) {
    for rule in rules {
        run(guest, &format!("inject {rule}"));
    }
}

/// All of so many rules have acted; they are ended.
fn all_acted(guest: &mut Guest, count: usize) {
    let listed = run(guest, "inject list");
    let listed = listed["injections"].as_array().expect("a list");
    assert_eq!(listed.len(), count);
    for it in listed {
        assert_eq!(it["target"], "faulty.0", "{it}");
        assert!(number(it, "hits") > 0, "{it}");
    }
    let removed = number(&run(guest, "inject off all"), "removed");
    assert_eq!(removed, count as u64);
}

#[test]
fn a_mirror_outlives_whatever_one_of_its_disks_does() {
    const POSTMARK: &str = "postmark loris-hundredth seed=3";
    let bed = Bed::new(2).with_faulty_disks();
    let mut guest = bed.boot_formatted();
    let on_writes = [
        "torn-write vda type=data rate=1/8",
        "lost-write vda type=data rate=1/8",
        "misdirected-write vda type=data rate=1/64 to=400000-500000",
        "corrupt vda type=data on=writes rate=1/8",
        "slow vda delay=2ms rate=1/8",
    ];
    inject(&mut guest, &on_writes);
    run(&mut guest, &format!("bench {POSTMARK} keep=true"));
    // The rules outlive the filter.
    run(&mut guest, "kill faulty.0");
    run(&mut guest, "sync");
    all_acted(&mut guest, on_writes.len());
    or_explain(guest.restart("reboot", LIMIT, |_| {}));
    run(&mut guest, "mount");
    let on_reads = [
        "corrupt vda type=data on=reads rate=1/2",
        "read-error vda type=data skip=20 rate=1/2",
    ];
    inject(&mut guest, &on_reads);
    let verified = run(&mut guest, &format!("verify {POSTMARK}"));
    assert_eq!(number(&verified["errors"], "count"), 0, "{verified}");
    all_acted(&mut guest, on_reads.len());
    run(&mut guest, "inject dead vda");
    run(&mut guest, "write /file kept");
    run(&mut guest, "sync");
    assert_eq!(number(&run(&mut guest, "df"), "stores_present"), 1);
    assert_eq!(output(&mut guest, "cat /file").trim_end(), "kept");
    power_off(guest);
}

#[test]
fn one_disk_says_what_it_cannot_serve_and_serves_the_rest() {
    let bed = Bed::new(1).with_faulty_disks();
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /good 'still here'");
    run(&mut guest, "write /bad 'about to be hit'");
    run(&mut guest, "sync");
    run(&mut guest, "inject lost-write vda type=data");
    run(&mut guest, "write /bad 'never on the disk'");
    run(&mut guest, "sync");
    // What a fault did to what is stored stays, though the filter begins anew.
    or_explain(guest.restart("reboot", LIMIT, |_| {}));
    run(&mut guest, "mount");
    let told = refused(&mut guest, "cat /bad");
    assert!(told.contains("checksum error"), "{told}");
    assert_eq!(output(&mut guest, "cat /good").trim_end(), "still here");
    power_off(guest);
}
