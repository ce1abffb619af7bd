//! The oracle judged by hand: trees that there may be, and trees that there may not.

use storage::{Error, vfs::OpenFlags};
use tests::{
    model::Model,
    operation::{Operation, Path},
    tree::Tree,
};

use super::{Extent, Oracle, Rules};

type Judged = Result<(), String>;

const BLOCK: usize = 4096;

/// An oracle, and what its clients do.
struct Scene(Oracle);

impl Scene {
    fn new(clients: usize, rules: Rules) -> Self {
        let tops = (0..clients).map(|it| format!("/client{it}").into_bytes());
        Self(Oracle::new(tops.collect(), 1_000, rules))
    }

    /// Nothing but the power fails.
    fn sound(clients: usize) -> Self {
        Self::new(clients, rules())
    }

    /// The only disk fails.
    fn of_a_failing_disk() -> Self {
        let distrust = true;
        Self::new(
            1,
            Rules {
                distrust,
                ..rules()
            },
        )
    }

    fn begin(&mut self, client: usize, operation: &Operation) -> Option<u32> {
        let (outcome, handle) = self.0.begin(client, operation);
        outcome.expect("an operation that succeeds");
        handle
    }

    fn done(&mut self, client: usize, operation: &Operation) -> Option<u32> {
        let handle = self.begin(client, operation);
        self.0.end(client, Extent::Whole).expect("it may end so");
        handle
    }

    fn mkdir(&mut self, client: usize, name: &str) {
        self.done(client, &Operation::Mkdir(path(client, name), 0o755));
    }

    /// A new file of so many blocks, made from a number.
    fn file(&mut self, client: usize, name: &str, blocks: usize, number: u64) -> u32 {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        let handle = self.done(client, &Operation::Open(path(client, name), flags, 0o644));
        let handle = handle.expect("it is open");
        self.done(client, &write(handle, blocks, number));
        handle
    }

    fn sync(&mut self) {
        let begun = self.0.sync_begun();
        self.0.sync_ended(begun);
    }

    /// A client's directory as it should be now.
    fn tree(&self, client: usize) -> Tree {
        Tree::of(self.0.model(client), self.0.top(client))
    }

    /// The machine crashes, and this is what is there.
    fn crash(&mut self, trees: &[Tree]) -> Judged {
        self.0.crashed(trees)
    }

    /// A client dies, and this is what its successor finds.
    fn succeed(&mut self, tree: &Tree) -> Judged {
        self.0.died(0);
        self.0.succeeded(0, tree)
    }
}

fn rules() -> Rules {
    Rules {
        in_place: false,
        tight: false,
        distrust: false,
    }
}

fn path(client: usize, name: &str) -> Path {
    Path(format!("/client{client}/{name}").into_bytes())
}

fn write(handle: u32, blocks: usize, number: u64) -> Operation {
    Operation::Write(handle, Some(0), blocks * BLOCK, number)
}

fn has_to_fail(judged: Judged, with: &str) {
    let what = judged.expect_err("it may not be so");
    assert!(what.contains(with), "{what}");
}

#[test]
fn a_name_that_was_synced_stays() {
    for synced in [false, true] {
        let mut scene = Scene::sound(1);
        let before = scene.tree(0);
        scene.mkdir(0, "a");
        if synced {
            scene.sync();
        }
        let judged = scene.crash(&[before]);
        match synced {
            true => has_to_fail(judged, "as at no time since the last sync"),
            false => judged.expect("nobody synced it"),
        }
    }
}

#[test]
fn what_was_never_there_is_not_there_after_a_crash() {
    let mut scene = Scene::sound(1);
    scene.file(0, "a", 2, 1);
    let tree = scene.tree(0).with_block(b"/client0/a", 1, Some(7));
    has_to_fail(scene.crash(&[tree]), "as at no time");
}

#[test]
fn a_block_of_another_file_is_no_earlier_version() {
    let in_place = true;
    for (contents, may_be) in [(1, true), (2, true), (3, false)] {
        let mut scene = Scene::new(
            1,
            Rules {
                in_place,
                ..rules()
            },
        );
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        let mut files = Vec::new();
        for name in ["a", "b"] {
            let open = Operation::Open(path(0, name), flags, 0o644);
            files.push(scene.done(0, &open).expect("it is open"));
        }
        // What is at one time in one block, and never in another.
        let first = tests::operation::contents(1, BLOCK);
        let second = tests::operation::contents(2, BLOCK);
        let foreign = tests::operation::contents(3, BLOCK);
        scene.done(0, &write(files[0], 1, 1));
        scene.done(0, &write(files[1], 1, 3));
        scene.sync();
        let mut model = scene.0.model(0).clone();
        scene.done(0, &write(files[0], 1, 2));
        let node = model.stat(b"/client0/a", false).expect("it is there");
        let found = [first, second, foreign][contents - 1].clone();
        model.replace_contents(node, found);
        let tree = Tree::of(&model, b"/client0");
        assert_eq!(scene.crash(&[tree]).is_ok(), may_be, "contents {contents}");
    }
}

#[test]
fn a_block_that_was_overwritten_since_may_be_lost_and_no_other() {
    let in_place = true;
    for (block, may_be) in [(0, true), (1, false)] {
        let mut scene = Scene::new(
            1,
            Rules {
                in_place,
                ..rules()
            },
        );
        let file = scene.file(0, "a", 2, 1);
        scene.sync();
        let tree = scene.tree(0).with_block(b"/client0/a", block, None);
        scene.done(0, &write(file, 1, 2));
        assert_eq!(scene.crash(&[tree]).is_ok(), may_be, "block {block}");
    }
}

#[test]
fn all_directories_are_as_of_one_instant() {
    for (first, second, is_one) in [(0, 0, true), (1, 0, true), (1, 1, true), (0, 1, false)] {
        let mut scene = Scene::sound(2);
        let mut firsts = vec![scene.tree(0)];
        let mut seconds = vec![scene.tree(1)];
        scene.mkdir(0, "a");
        firsts.push(scene.tree(0));
        scene.mkdir(1, "b");
        seconds.push(scene.tree(1));
        let judged = scene.crash(&[firsts[first].clone(), seconds[second].clone()]);
        match is_one {
            true => judged.expect("there was such an instant"),
            false => has_to_fail(judged, "different instants"),
        }
    }
}

#[test]
fn a_sync_holds_on_a_disk_that_has_not_lied_whatever_came_before_it() {
    let rename = Operation::Rename(path(0, "a"), path(0, "b"));
    let create = Operation::Open(path(0, "c"), OpenFlags::WRITE | OpenFlags::CREATE, 0o644);
    for operation in [rename, create] {
        let mut scene = Scene::of_a_failing_disk();
        scene.mkdir(0, "a");
        scene.sync();
        let before = scene.tree(0);
        scene.done(0, &operation);
        scene.sync();
        has_to_fail(scene.crash(&[before]), "as at no time");
    }
}

#[test]
fn a_sync_is_firm_only_if_the_disk_lied_before_and_something_changed_since() {
    // When the disk lies: before the change, between it and the sync, in the sync, after it.
    for (lie, is_firm) in [(0, true), (1, false), (2, false), (3, true)] {
        let mut scene = Scene::of_a_failing_disk();
        scene.mkdir(0, "a");
        scene.sync();
        let before = scene.tree(0);
        let lies = |scene: &mut Scene, at| {
            if lie == at {
                scene.0.disk_did(1, 0);
            }
        };
        lies(&mut scene, 0);
        scene.mkdir(0, "b");
        lies(&mut scene, 1);
        let begun = scene.0.sync_begun();
        lies(&mut scene, 2);
        scene.0.sync_ended(begun);
        lies(&mut scene, 3);
        let judged = scene.crash(&[before]);
        assert_eq!(judged.is_err(), is_firm, "lie {lie}: {judged:?}");
    }
}

#[test]
fn a_write_that_strays_leads_back_behind_the_last_firm_sync_but_not_to_the_beginning() {
    for (back, may_be) in [(1, true), (4, false)] {
        let mut scene = Scene::of_a_failing_disk();
        let mut trees = vec![scene.tree(0)];
        for name in ["a", "b", "c", "d"] {
            scene.mkdir(0, name);
            scene.sync();
            trees.push(scene.tree(0));
        }
        scene.0.disk_did(1, 1);
        let tree = trees[trees.len() - 1 - back].clone();
        assert_eq!(scene.crash(&[tree]).is_ok(), may_be, "{back} back");
    }
}

#[test]
fn a_successor_finds_what_was_before_or_after() {
    let mut scene = Scene::sound(1);
    scene.mkdir(0, "a");
    let before = scene.tree(0);
    scene.begin(0, &Operation::Mkdir(path(0, "b"), 0o755));
    let after = scene.tree(0);
    scene.succeed(&before).expect("it was not done");
    assert!(scene.0.model(0).stat(b"/client0/b", false).is_err());
    scene.begin(0, &Operation::Mkdir(path(0, "b"), 0o755));
    // Another time of change than that of the first attempt.
    has_to_fail(scene.succeed(&after), "neither before nor after");
}

#[test]
fn a_successor_misses_what_has_ended() {
    let mut scene = Scene::sound(1);
    let before = scene.tree(0);
    scene.mkdir(0, "a");
    has_to_fail(scene.succeed(&before), "neither before nor after");
}

#[test]
fn a_part_of_a_truncation_is_for_disks_that_fail() {
    for distrust in [false, true] {
        let mut scene = Scene::new(
            1,
            Rules {
                distrust,
                ..rules()
            },
        );
        let file = scene.file(0, "a", 4, 1);
        let mut half: Model = scene.0.model(0).clone();
        let node = half.stat(b"/client0/a", false).expect("it is there");
        half.cut_off(node, 2 * BLOCK);
        scene.begin(0, &Operation::Truncate(file, 100));
        let judged = scene.succeed(&Tree::of(&half, b"/client0"));
        assert_eq!(judged.is_ok(), distrust, "{judged:?}");
    }
}

#[test]
fn what_cannot_be_read_costs_a_client_its_directory_only_if_the_disk_has_lied() {
    let mut scene = Scene::of_a_failing_disk();
    scene.mkdir(0, "a");
    scene.0.disk_did(1, 0);
    let tree = scene.tree(0).without(b"/client0/a", Error::Corrupt);
    scene.crash(&[tree]).expect("the disk has lied");
    assert!(scene.0.is_homeless(0) && scene.0.has_left_any());
}

#[test]
fn a_directory_that_could_not_be_read_is_as_it_was_once_whatever_others_sync() {
    let mut scene = Scene::new(
        2,
        Rules {
            distrust: true,
            ..rules()
        },
    );
    scene.mkdir(0, "a");
    let then = scene.tree(0);
    scene.mkdir(0, "b");
    let mut never = scene.0.model(0).clone();
    never.mkdir(b"/client0/c", 0o755).expect("a directory");
    scene.0.disk_did(1, 0);
    let (part, other) = (
        then.clone().without(b"/client0", Error::Corrupt),
        scene.tree(1),
    );
    scene.crash(&[part, other]).expect("the disk has lied");
    for name in ["c", "d", "e", "f"] {
        scene.mkdir(1, name);
        scene.sync();
    }
    let other = scene.tree(1);
    scene
        .crash(&[then, other.clone()])
        .expect("it can be read again");
    let never = Tree::of(&never, b"/client0");
    has_to_fail(scene.crash(&[never, other]), "never was so");
}

#[test]
fn a_file_has_both_names_of_a_rename_only_if_the_disk_fails() {
    for distrust in [false, true] {
        for replaces in [false, true] {
            let mut scene = Scene::new(
                1,
                Rules {
                    distrust,
                    ..rules()
                },
            );
            scene.mkdir(0, "d");
            scene.file(0, "d/a", 1, 1);
            if replaces {
                scene.file(0, "b", 1, 2);
                scene.done(0, &Operation::Link(path(0, "b"), path(0, "c")));
            }
            let mut half: Model = scene.0.model(0).clone();
            let rename = Operation::Rename(path(0, "d/a"), path(0, "b"));
            scene.begin(0, &rename);
            half.at(scene.0.stamp_ns());
            half.name_twice(b"/client0/d/a", b"/client0/b")
                .expect("both names");
            let judged = scene.succeed(&Tree::of(&half, b"/client0"));
            assert_eq!(judged.is_ok(), distrust, "{judged:?}");
            assert_eq!(scene.0.counts_too_many(), distrust && replaces);
        }
    }
}

#[test]
fn a_part_of_a_write_that_is_no_append_is_there_after_a_crash_only_if_naming_died_over_it() {
    for (died, appends, may_be) in [
        (false, false, false),
        (true, false, true),
        (true, true, false),
    ] {
        let mut scene = Scene::sound(1);
        let append = if appends {
            OpenFlags::APPEND
        } else {
            OpenFlags::empty()
        };
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | append;
        let open = Operation::Open(path(0, "a"), flags, 0o644);
        let handle = scene.done(0, &open).expect("it is open");
        let mut half = scene.0.model(0).clone();
        scene.begin(0, &Operation::Write(handle, None, 3 * BLOCK, 7));
        half.at(scene.0.stamp_ns());
        let bytes = tests::operation::contents(7, 3 * BLOCK);
        half.write(handle, None, &bytes[..BLOCK]).expect("a part");
        if died {
            scene.0.naming_died();
        }
        scene.0.end(0, Extent::Whole).expect("it may end so");
        let judged = scene.crash(&[Tree::of(&half, b"/client0")]);
        assert_eq!(judged.is_ok(), may_be, "{judged:?}");
    }
}
