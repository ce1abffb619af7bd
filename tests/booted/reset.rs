//! The reset button in the middle of PostMark.

use crate::bed::{Bed, LIMIT, number, or_explain, output, power_off, run};

const POSTMARK: &str = "loris-hundredth transactions=20000";

/// A whole set of files that was synced before the first reset, and that nobody changes.
const KEPT: &str = "loris-hundredth location=/kept";

#[test]
fn after_a_reset_what_was_synced_is_there_and_what_is_there_is_right() {
    let bed = Bed::new(2);
    let mut guest = bed.boot_formatted();
    run(&mut guest, &format!("bench postmark {KEPT} keep=true"));
    run(&mut guest, "write /file 'as it was'");
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
            output(&mut guest, "cat /file").trim_end(),
            "as it was",
            "seed {seed}"
        );
        // No file less, no file more, every length, every byte.
        let kept = run(&mut guest, &format!("verify postmark {KEPT}"));
        assert_eq!(number(&kept["errors"], "count"), 0, "seed {seed}: {kept}");
        assert!(number(&kept, "files") > 300, "seed {seed}: {kept}");
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
