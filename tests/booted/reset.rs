//! The reset button in the middle of PostMark.

use crate::bed::{Bed, LIMIT, number, or_explain, output, power_off, run};

const POSTMARK: &str = "loris-hundredth transactions=20000";

#[test]
fn after_a_reset_what_was_synced_is_there_and_what_is_there_is_right() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "mkdir /kept");
    run(&mut guest, "write /kept/file 'as it was'");
    run(&mut guest, "sync");
    for seed in [1, 2, 3] {
        let id = or_explain(guest.start(&format!("bench postmark {POSTMARK} seed={seed}")));
        // The initial files are synced before the first transaction.
        let under_way = |event: &galago::guest::Event| {
            let transactions = event
                .text("text")
                .is_some_and(|text| text.starts_with("transactions"));
            let far = event.number("done").is_some_and(|done| done > 100 * seed);
            (event.id() == Some(id) && transactions && far).then_some(())
        };
        or_explain(guest.wait_for("PostMark", LIMIT, under_way));
        or_explain(guest.reset());
        or_explain(guest.wait_ready(LIMIT));
        run(&mut guest, "mount");
        assert_eq!(
            output(&mut guest, "cat /kept/file").trim_end(),
            "as it was",
            "seed {seed}"
        );
        let found = run(&mut guest, &format!("verify postmark found seed={seed}"));
        assert_eq!(number(&found["errors"], "count"), 0, "seed {seed}: {found}");
        assert!(
            number(&found, "files") > 0,
            "the initial files were synced; seed {seed}: {found}"
        );
        run(&mut guest, "rm -r /postmark");
    }
    power_off(guest);
}
