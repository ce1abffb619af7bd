//! What an `fsync` was answered for is on the medium when the power fails.

use galago::guest::with_argument;

use crate::bed::{Bed, LIMIT, number, or_explain, power_off, refused, run};

/// Files, and how often each is made durable; the first is appended to once more than the others.
const WORK: &str = "count=9 writes=3 size=3000 files=2 keep=true";
const FIRST_BYTES: u64 = 5 * 3 * 3000;
const SECOND_BYTES: u64 = 4 * 3 * 3000;

#[test]
fn what_an_fsync_was_answered_for_survives_a_power_cut() {
    for disks in [1, 2] {
        // Nobody else makes a checkpoint that would hide a lie.
        let bed = Bed::new(disks)
            .with_faulty_disks()
            .with_stack(|stack| with_argument(stack, "naming", "sync_seconds", "3600"));
        let mut guest = bed.boot_formatted();
        for seed in [1, 2] {
            let location = format!("/{seed}");
            run(
                &mut guest,
                &format!("bench fsync {WORK} seed={seed} location={location}"),
            );
            run(
                &mut guest,
                "write /lost 'nobody asked for this to be durable'",
            );
            or_explain(guest.restart(&format!("power-cut seed={seed}"), LIMIT, |_| {}));
            run(&mut guest, "mount");
            refused(&mut guest, "cat /lost");
            let second = run(&mut guest, &format!("stat {location}/1"));
            assert_eq!(number(&second, "size"), SECOND_BYTES, "{disks} disks");
            run(&mut guest, &format!("fill /same {FIRST_BYTES} seed={seed}"));
            let found = run(&mut guest, &format!("sha256 {location}/0"));
            let expected = run(&mut guest, "sha256 /same");
            assert_eq!(found["sha256"], expected["sha256"], "{disks} disks");
        }
        power_off(guest);
    }
}
