//! Every operation with a fault at every call it makes.
//!
//! Five kinds of fault: the call below fails; it fails though it took effect; it fails for want of
//! memory or room; the operation is given up half-way (its client is gone); naming dies half-way.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use futures_executor::block_on;
use storage::{
    Error,
    vfs::{FileSystem, OpenFlags},
};

use crate::{
    conformance::{errno, run},
    fake::{Fake, Fault},
    fsck::{Seen, examine, tree},
    support::{CLIENT, TestNaming, fresh, list, naming_over},
};

/// What is there before, separated by `;`, and the operation.
pub const OPERATIONS: &[(&str, &str)] = &[
    ("mkdir d", "open d/f rwc"),
    ("mkdir d; touch d/{250*a}; touch d/{250*b}", "open d/f wcx"),
    ("mkdir d; @fill d", "open d/f rwc"),
    ("mkdir d", "mkdir d/e"),
    ("mkdir d; @fill d", "mkdir d/e"),
    ("mkdir d", "symlink target d/s"),
    ("touch f; mkdir d", "link f d/g"),
    ("open f rwc; write 0 text; close 0", "unlink f"),
    ("touch f; link f g", "unlink f"),
    ("open f rwc; write 0 text", "unlink f"),
    ("open f rwc; write 0 text; unlink f", "close 0"),
    ("mkdir d; symlink f d/s", "unlink d/s"),
    ("mkdir d; mkdir d/e", "rmdir d/e"),
    ("mkdir d; open d r", "rmdir d"),
    ("mkdir d; open d r; rmdir d", "close 0"),
    ("touch f", "rename f g"),
    ("open f rwc; write 0 new; touch g", "rename f g"),
    (
        "open f rwc; write 0 new; open g rwc; write 1 old",
        "rename f g",
    ),
    ("touch f; touch g; link g h", "rename f g"),
    (
        "mkdir a; mkdir b; open a/f rwc; write 0 x",
        "rename a/f b/g",
    ),
    ("mkdir a; mkdir b; touch a/f; touch b/g", "rename a/f b/g"),
    (
        "mkdir a; mkdir b; touch a/f; open b/g rwc; write 0 old",
        "rename a/f b/g",
    ),
    (
        "mkdir a; mkdir b; touch a/f; touch b/g; link b/g h",
        "rename a/f b/g",
    ),
    ("mkdir d; touch d/f; @fill d", "rename d/f d/{200*z}"),
    (
        "mkdir d; touch d/f; @fill d; touch d/{200*z}",
        "rename d/f d/{200*z}",
    ),
    ("mkdir d", "rename d e"),
    ("mkdir d; mkdir e", "rename d e"),
    ("mkdir a; mkdir b; mkdir a/d; touch a/d/f", "rename a/d b/e"),
    (
        "mkdir a; mkdir b; mkdir a/d; mkdir b/e; touch a/d/f",
        "rename a/d b/e",
    ),
    (
        "mkdir a; mkdir b; mkdir a/d; mkdir b/e; open b/e r",
        "rename a/d b/e",
    ),
    ("mkdir d; mkdir d/e; @fill d", "rename d/e d/{200*z}"),
    ("open f rwc; write 0 0123", "write 0 4567"),
    ("open f rwca; write 0 0123", "write 0 4567"),
    ("open f rwc; write 0 0123", "ftruncate 0 2"),
    ("open f rwc; write 0 0123", "open f wt"),
    ("touch f", "chmod f 600"),
];

/// More faults than any operation makes calls: a loop that goes on is a bug of the test.
pub const CALLS_MAX: u64 = 40;

pub type Tree = BTreeMap<Vec<u8>, Seen>;

fn perform(naming: &TestNaming, line: &str) -> Result<String, Error> {
    let words: Vec<_> = line.split_whitespace().collect();
    block_on(run(&naming.client(CLIENT), &mut BTreeMap::new(), &words))
}

fn prepare(seed: u64, setup: &str) -> (Fake, TestNaming) {
    let (fake, naming) = fresh(seed);
    for line in setup.split(';').map(str::trim) {
        if let Some(directory) = line.strip_prefix("@fill ") {
            // 15 records of 268 bytes and one of 44 fill a block of 4064: what comes next needs
            // another.
            for index in 0..15 {
                perform(&naming, &format!("touch {directory}/{index:02}{{253*x}}")).unwrap();
            }
            perform(&naming, &format!("touch {directory}/{{32*y}}")).unwrap();
        } else {
            let answer = perform(&naming, line);
            answer.unwrap_or_else(|error| panic!("{setup}: {line}: {}", errno(error)));
        }
    }
    (fake, naming)
}

/// The tree before and after, without faults.
fn expected(setup: &str, operation: &str) -> (Tree, Tree) {
    let (fake, naming) = prepare(1, setup);
    let before = tree(&fake.files());
    perform(&naming, operation).unwrap_or_else(|e| panic!("{setup}; {operation}: {}", errno(e)));
    (before, tree(&fake.files()))
}

/// Runs each operation with the fault at every call in turn.
/// The check performs the operation and returns whether the fault struck.
fn at_every_call(
    fault: Fault,
    mut check: impl FnMut(&str, Fake, TestNaming, &str, &Tree, &Tree) -> bool,
) {
    let mut struck = 0;
    for &(setup, operation) in OPERATIONS {
        let (before, after) = expected(setup, operation);
        for call in 0..CALLS_MAX {
            let (fake, naming) = prepare(call + 1, setup);
            fake.set_fault(call, fault);
            let what = format!("{setup}; {operation}: {fault:?} at call {call}");
            if !check(&what, fake, naming, operation, &before, &after) {
                assert!(call > 0, "{what}: no call at all");
                break;
            }
            struck += 1;
            assert!(call + 1 < CALLS_MAX, "{what}: it goes on and on");
        }
    }
    assert!(struck > 2 * OPERATIONS.len() as u64, "only {struck} faults");
}

/// The checkpoint after the operation is whole, and the tree is what the answer says.
fn all_or_nothing(fault: Fault) {
    at_every_call(fault, |what, fake, naming, operation, before, after| {
        let answer = perform(&naming, operation);
        let struck = !fake.clear_fault();
        fake.0.borrow_mut().unchecked = true;
        block_on(naming.sync_periodic()).expect(what);
        fake.0.borrow_mut().unchecked = false;
        let found = tree(&fake.files());
        match answer {
            Ok(_) => assert_eq!(found, *after, "{what}: succeeded"),
            Err(_) if fault == Fault::Fail(Error::Device) => {
                assert_eq!(found, *before, "{what}: failed");
            }
            Err(_) => assert!(
                found == *before || found == *after,
                "{what}: failed\n{found:#?}"
            ),
        }
        let report = examine(&fake.files());
        assert!(report.is_whole(), "{what}: {report:?}");
        views_agree(&fake, &naming, what);
        struck
    });
}

/// What naming tells is what is there: nothing it remembers is wrong.
pub fn views_agree(fake: &Fake, naming: &TestNaming, what: &str) {
    let system = naming.client(CLIENT);
    let there = tree(&fake.files());
    block_on(async {
        for (path, seen) in &there {
            let path = if path.is_empty() { &b"/"[..] } else { path };
            let stat = system.stat(path, false).await;
            let stat = stat.unwrap_or_else(|error| panic!("{what}: {path:?}: {error}"));
            assert_eq!(
                (stat.mode, stat.links),
                (seen.mode, seen.links),
                "{what}: {path:?}"
            );
            if seen.mode & 0o170_000 == 0o040_000 {
                for (name, ..) in list(&system, path).await.unwrap() {
                    let child = [path, b"/", &name[..]].concat();
                    system.stat(&child, false).await.unwrap_or_else(|error| {
                        panic!("{what}: {child:?} is listed: {error}");
                    });
                }
            } else {
                assert_eq!(stat.size, seen.content.len() as u64, "{what}: {path:?}");
            }
        }
    });
}

#[test]
fn a_call_that_fails_undoes_the_operation_or_does_not_matter() {
    all_or_nothing(Fault::Fail(Error::Device));
}

#[test]
fn a_call_that_fails_after_its_effect_does_not_confuse() {
    all_or_nothing(Fault::FailAfter(Error::PeerDied));
}

/// What everything that has a name was last changed at, by number.
fn times(fake: &Fake) -> BTreeMap<u64, (u64, u64)> {
    let files = fake.files();
    let times = files.iter().map(|(number, file)| {
        let attributes = &file.attributes;
        (*number, (attributes.modified_ns, attributes.changed_ns))
    });
    times.collect()
}

/// A file that was made and is gone again is nobody's.
#[test]
fn what_could_not_be_named_has_changed_no_time() {
    // The calls up to the one that makes the change for good: the name is written, or the old one removed.
    let full = [
        ("mkdir d; @fill d", "open d/f rwc", 2),
        ("mkdir d; @fill d", "mkdir d/e", 4),
        ("touch f; mkdir d; @fill d", "link f d/{200*z}", 2),
        (
            "mkdir a; touch a/f; mkdir d; @fill d",
            "rename a/f d/{200*z}",
            3,
        ),
        (
            "mkdir a; mkdir a/e; mkdir d; @fill d",
            "rename a/e d/{200*z}",
            4,
        ),
        (
            "mkdir a; touch a/f; mkdir d; chmod d 700",
            "rename a/f d/f",
            3,
        ),
    ];
    for (setup, operation, calls) in full {
        let mut refused = 0;
        for call in 0..calls {
            let (fake, naming) = prepare(1, setup);
            let before = times(&fake);
            fake.set_fault(call, Fault::Fail(Error::Device));
            let answer = perform(&naming, operation);
            assert!(!fake.clear_fault(), "{setup}; {operation}: call {call}");
            block_on(naming.sync_periodic()).expect(operation);
            let after = times(&fake);
            if answer.is_err() {
                refused += 1;
                assert_eq!(after, before, "{setup}; {operation}: call {call}");
            }
        }
        assert_eq!(refused, calls, "{setup}; {operation}");
    }
}

/// Nor if a call fails that takes it back: it is told at once as it was, and made so with the next checkpoint.
#[test]
fn what_cannot_be_taken_back_at_once_is_taken_back_later() {
    let operations = [
        ("mkdir d; @fill d", "mkdir d/e", 4, "d"),
        ("mkdir d; chmod d 700", "mkdir d/e", 4, "d"),
        ("touch f; mkdir d; @fill d", "link f d/{200*z}", 2, "f"),
        ("touch f; chmod f 600; mkdir d", "link f d/f", 2, "f"),
    ];
    let mut owed = 0;
    for (setup, operation, calls, path) in operations {
        for call in 0..calls {
            for second in 0..2 {
                let (fake, naming) = prepare(1, setup);
                let system = naming.client(CLIENT);
                let told = || block_on(system.stat(path.as_bytes(), true)).expect(path);
                let (before, told_before) = (times(&fake), told());
                let what = format!("{setup}; {operation}: calls {call} and {second} after it");
                fake.set_fault(call, Fault::Fail(Error::Device));
                for after in [second, 0, 0] {
                    fake.add_fault(after, Fault::Fail(Error::Device));
                }
                perform(&naming, operation).expect_err(&what);
                fake.clear_fault();
                owed += u64::from(times(&fake) != before);
                let told_after = told();
                assert_eq!(told_after.links, told_before.links, "{what}");
                assert_eq!(told_after.changed_ns, told_before.changed_ns, "{what}");
                block_on(naming.sync_periodic()).expect(&what);
                assert_eq!(times(&fake), before, "{what}");
            }
        }
    }
    assert!(
        owed >= 4,
        "only {owed} times was anything left to be taken back"
    );
}

#[test]
fn want_of_memory_or_room_is_over_after_a_checkpoint() {
    let errors = [Error::NoMemory, Error::NoSpace];
    for fault in errors
        .map(Fault::Fail)
        .into_iter()
        .chain(errors.map(Fault::Half))
    {
        at_every_call(fault, |what, fake, naming, operation, _, after| {
            // The checkpoint may come before what the operation leaves to do.
            fake.0.borrow_mut().unchecked = true;
            perform(&naming, operation).unwrap_or_else(|error| panic!("{what}: {}", error));
            fake.0.borrow_mut().unchecked = false;
            let struck = !fake.clear_fault();
            block_on(naming.sync_periodic()).expect(what);
            fake.0.borrow_mut().short = None;
            assert_eq!(tree(&fake.files()), *after, "{what}");
            let report = examine(&fake.files());
            assert!(report.is_whole(), "{what}: {report:?}");
            views_agree(&fake, &naming, what);
            struck
        });
    }
}

/// Polls until it is done or hangs; whether it is done.
fn poll_until_it_hangs(future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    // Every call gives way a few times only: who is not ready by then never will be.
    (0..10_000).any(|_| matches!(future.as_mut().poll(&mut context), Poll::Ready(_)))
}

fn hang(naming: &TestNaming, operation: &str) -> bool {
    let words: Vec<_> = operation.split_whitespace().collect();
    let system = naming.client(CLIENT);
    poll_until_it_hangs(run(&system, &mut BTreeMap::new(), &words))
}

#[test]
fn an_operation_that_is_given_up_leaves_naming_with_the_truth() {
    for fault in [Fault::Hang, Fault::HangAfter] {
        at_every_call(fault, |what, fake, naming, operation, _, _| {
            fake.0.borrow_mut().unchecked = true;
            hang(&naming, operation);
            let struck = !fake.clear_fault();
            fake.heal();
            let report = examine(&fake.files());
            assert!(report.is_benign(), "{what}: {report:?}");
            views_agree(&fake, &naming, what);
            block_on(naming.sync_periodic()).expect(what);
            // And it can go on.
            perform(&naming, "open {40*n} rwcx").unwrap_or_else(|e| panic!("{what}: {e}"));
            views_agree(&fake, &naming, what);
            struck
        });
    }
}

/// Lookups take no lock on names, so they come while what was given up is being taken back. What they find in
/// between is not remembered.
#[test]
fn a_lookup_beside_what_is_taken_back_keeps_nothing_of_it() {
    for &(setup, operation) in OPERATIONS {
        let before: Vec<_> = expected(setup, operation).0.into_keys().collect();
        for call in 0..CALLS_MAX {
            let mut is_over = false;
            for lookup in 0..4 {
                let (fake, naming) = prepare(100 * call + lookup + 1, setup);
                fake.set_fault(call, Fault::HangAfter);
                hang(&naming, operation);
                is_over = fake.clear_fault();
                fake.heal();
                let system = naming.client(CLIENT);
                // To look at a file is to ask for its attributes again; to open it is to ask and keep them.
                let keeps = lookup % 2 == 1;
                let lookups = async {
                    for path in before.iter().filter(|path| !path.is_empty()) {
                        if !keeps {
                            let _ = system.stat(path, false).await;
                        } else if let Ok(file) = system.open(path, OpenFlags::READ, 0).await {
                            system.close(file).await.expect("it is open");
                        }
                    }
                };
                let next = system.mkdir(b"next", 0o700);
                block_on(async { futures_util::join!(next, lookups) })
                    .0
                    .expect("a directory");
                let what = format!("{setup}; {operation}: call {call}, lookup {lookup}");
                if keeps {
                    for path in before.iter().filter(|path| !path.is_empty()) {
                        let _ = block_on(system.unlink(path));
                    }
                    fake.0.borrow_mut().unchecked = true;
                    block_on(system.sync()).unwrap_or_else(|error| panic!("{what}: {error}"));
                    let report = examine(&fake.files());
                    assert!(report.leaked.is_empty(), "{what}: {report:?}");
                }
                views_agree(&fake, &naming, &what);
            }
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn a_crash_of_naming_loses_neither_data_nor_names() {
    for fault in [Fault::Hang, Fault::HangAfter] {
        at_every_call(fault, |what, fake, naming, operation, before, after| {
            hang(&naming, operation);
            let struck = !fake.clear_fault();
            let fake = fake.restarted();
            fake.0.borrow_mut().unchecked = true;
            let report = examine(&fake.files());
            assert!(report.is_benign(), "{what}: {report:?}");
            let found = tree(&fake.files());
            for (path, seen) in before {
                if after.contains_key(path) && !found.contains_key(path) {
                    panic!("{what}: {path:?} is lost");
                }
                let moved = found.values().any(|other| other.content == seen.content);
                assert!(
                    moved || !after.values().any(|other| other.content == seen.content),
                    "{what}"
                );
            }
            let naming = naming_over(&fake);
            block_on(naming.mount()).unwrap_or_else(|error| panic!("{what}: mount: {error}"));
            views_agree(&fake, &naming, what);
            let orphans = examine(&fake.files());
            assert!(orphans.named_orphans.is_empty(), "{what}: {orphans:?}");
            assert!(orphans.orphans_of_nothing.is_empty(), "{what}: {orphans:?}");
            struck
        });
    }
}
