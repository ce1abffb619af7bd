//! The power fails in the middle of PostMark: of what was not flushed, a part is lost.

use galago::guest::Event;

use crate::bed::{Bed, LIMIT, number, or_explain, output, power_off, refused, run};

const POSTMARK: &str = "loris-hundredth transactions=20000";

/// A whole set of files that was synced before the first cut, and that nobody changes.
const KEPT: &str = "loris-hundredth location=/kept";

#[test]
fn after_a_power_cut_what_was_synced_is_there_and_what_is_there_is_right() {
    let bed = Bed::new(2).with_faulty_disks();
    let mut guest = bed.boot_formatted();
    run(&mut guest, &format!("bench postmark {KEPT} keep=true"));
    run(&mut guest, "write /file 'as it was'");
    run(&mut guest, "sync");
    let mut lost = 0;
    for (seed, command) in [
        (1, "power-cut seed=1"),
        // While there is much that was written and not flushed.
        (2, "inject power-cut all at=twinfs.blocks-written seed=2"),
        (3, "power-cut vdb seed=3"),
    ] {
        let id = or_explain(guest.start(&format!("bench postmark {POSTMARK} seed={seed}")));
        let under_way = |event: &Event| {
            let transactions = event
                .text("text")
                .is_some_and(|text| text.starts_with("transactions"));
            let far = event.number("done").is_some_and(|done| done > 100 * seed);
            (event.id() == Some(id) && transactions && far).then_some(())
        };
        or_explain(guest.wait_for("PostMark", LIMIT, under_way));
        let at_once = !command.contains("at=");
        if !at_once {
            run(&mut guest, command);
        }
        let ends = if at_once { command } else { "sync" };
        let mut told = Vec::new();
        or_explain(guest.restart(ends, LIMIT, |event: &Event| {
            if event.kind() == "power-cut" {
                let member = |name| event.number(name).expect("it tells what it lost");
                told.push((member("unflushed"), member("kept")));
            }
        }));
        assert_eq!(told.len(), 2, "{command}: each filter tells: {told:?}");
        assert!(told.iter().all(|(unflushed, kept)| kept <= unflushed));
        if !at_once {
            // All blocks of the checkpoint are written, and none is flushed.
            assert!(told.iter().any(|(unflushed, _)| *unflushed > 0), "{told:?}");
        }
        lost += told.iter().map(|it| it.0 - it.1).sum::<u64>();
        run(&mut guest, "mount");
        assert_eq!(
            output(&mut guest, "cat /file").trim_end(),
            "as it was",
            "{command}"
        );
        let kept = run(&mut guest, &format!("verify postmark {KEPT}"));
        assert_eq!(number(&kept["errors"], "count"), 0, "{command}: {kept}");
        assert!(number(&kept, "files") > 300, "{command}: {kept}");
        let found = run(&mut guest, &format!("verify postmark found seed={seed}"));
        assert_eq!(number(&found["errors"], "count"), 0, "{command}: {found}");
        assert!(number(&found, "files") > 0, "{command}: {found}");
        run(&mut guest, "rm -r /postmark");
    }
    assert!(lost > 0, "nothing was ever lost");
    power_off(guest);
}

#[test]
fn a_stack_without_filters_refuses_a_power_cut_and_faults_of_disks() {
    let bed = Bed::new(1);
    let mut guest = bed.boot_formatted();
    run(&mut guest, "write /file kept");
    for command in ["power-cut", "power-cut vda", "inject corrupt vda"] {
        let told = refused(&mut guest, command);
        assert!(
            told.contains("no filter stands before it"),
            "{command}: {told}"
        );
    }
    let told = refused(&mut guest, "inject dead vdq");
    assert!(told.contains("no such disk"), "{told}");
    assert_eq!(output(&mut guest, "cat /file").trim_end(), "kept");
    power_off(guest);
}
