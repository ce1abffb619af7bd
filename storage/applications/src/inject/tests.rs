use abi::{Fault, When};
use manager::injection::{MachineFault, TaskFault};
use storage::{
    faulty::{Action, Direction, Kind, Place, Rule},
    point::Point,
};

use super::*;

fn order(line: &str) -> Result<Order, String> {
    let words: Vec<_> = line.split_whitespace().map(ToString::to_string).collect();
    parse(&TAKES.parse(&words)?)
}

#[test]
fn every_bug_is_a_line_that_is_understood() {
    for bug in bugs::BUGS {
        let known = order(&format!("bug {}", bug.name));
        assert!(
            matches!(known, Ok(Order::Inject(_))),
            "{}: {known:?}",
            bug.name
        );
        assert_eq!(known, order(bug.line), "{}", bug.name);
        assert_eq!(bugs::find(bug.name), Some(bug), "names are unique");
    }
    let Ok(Order::Inject(injection)) = order("bug leak naming") else {
        panic!()
    };
    assert_eq!(
        injection.target,
        Target::Role(control::name("naming").unwrap())
    );
    assert!(order("bug nothing").is_err());
}

#[test]
fn every_key_is_explained_and_every_bug_is_in_the_documents_with_its_line() {
    let mut explained: Vec<&str> = KEYS_EXPLAINED.iter().map(|(key, _)| *key).collect();
    explained.sort_unstable();
    assert_eq!(explained, KEYS);
    let faults = include_str!("../../../../docs/faults.md");
    for bug in bugs::BUGS {
        let row = format!("| `{}` | `{}` | ", bug.name, bug.line);
        assert!(faults.contains(&row), "{row}");
    }
}

fn what(line: &str) -> What {
    match order(line) {
        Ok(Order::Inject(injection)) => injection.what,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn faults_of_disks_are_rules() {
    let rule = Rule {
        place: Place::Kind(Kind::Inode),
        direction: Direction::Reads,
        skip: 3,
        times: None,
        one_in: 100,
        seed: 9,
        action: Action::Corrupt { bytes: 2 },
    };
    let line = "corrupt vda type=inode on=reads skip=3 rate=1/100 seed=9 bytes=2";
    assert_eq!(what(line), What::Disk(rule));
    let told = told(&what(line));
    assert_eq!(
        told,
        "corrupt type=inode on=reads skip=3 rate=1/100 seed=9 bytes=2"
    );
    let Ok(Order::Inject(injection)) = order(line) else {
        panic!()
    };
    let driver = Target::Role(control::name("virtio-blk.0").unwrap());
    assert_eq!(injection.target, driver);
    let once = Rule::new(Action::LostWrite);
    assert_eq!(what("lost-write faulty.1"), What::Disk(once));
    let slow = Rule {
        times: None,
        ..Rule::new(Action::Slow { ms: 20 })
    };
    assert_eq!(what("slow vdb delay=20ms"), What::Disk(slow));
    let to = Action::MisdirectedWrite { to: Some((5, 12)) };
    assert_eq!(
        what("misdirected-write vda to=5-12"),
        What::Disk(Rule::new(to))
    );
}

#[test]
fn faults_of_tasks_come_now_later_or_again() {
    let wild = TaskFault {
        argument: 1 << 32 | 40,
        seed: 3,
        ..TaskFault::new(Fault::WildWrite)
    };
    let line = "wild-write cache memory=heap writes=40 seed=3";
    assert_eq!(what(line), What::Task(wild));
    let panic = TaskFault::new(Fault::Panic);
    let later = TaskFault {
        after_ms: 200,
        ..panic
    };
    assert_eq!(what("panic naming after=200ms"), What::Task(later));
    let request = panic.at(When::Requests(50));
    assert_eq!(what("panic naming after=50"), What::Task(request));
    let at = panic.at(When::Point(Point::RootWritten as u32));
    assert_eq!(
        what("panic twinfs.0 at=twinfs.root-written"),
        What::Task(at)
    );
    let again = TaskFault {
        every_ms: 1000,
        count: None,
        ..panic
    };
    assert_eq!(what("panic all every=1s"), What::Task(again));
}

#[test]
fn mistakes_are_named() {
    for (line, part) in [
        ("panic", "expected a fault and a target"),
        ("panic cache logical", "one target"),
        ("panik cache", "there is no fault `panik`"),
        ("corrupt vda type=x", "type: expected one of root, log"),
        ("corrupt vda type=root range=1-2", "not both"),
        ("corrupt vda range=2-1", "range: expected"),
        (
            "corrupt vda every=1s",
            "every= means nothing to this fault of a disk",
        ),
        ("lost-write vda on=reads", "writes only"),
        (
            "panic cache type=root",
            "type= means nothing to this fault of a task",
        ),
        ("panic cache at=x", "there is no point `x`"),
        ("panic cache at=cache.replaying after=3", "not both"),
        ("panic cache count=3", "needs every="),
        ("panic cache every=1us", "expected 1ms to 60m"),
        ("misdirected-write vda to=5-5", "at least the 8 sectors"),
        ("corrupt vda seed=1 seed=2", "seed= is there twice"),
        ("corrupt vda rate=3", "rate: expected such as 1/100"),
        ("corrupt vda rate=1/0", "rate: expected such as 1/100"),
        ("off", "off: expected a number, or all"),
        ("off x", "off: expected a whole number"),
    ] {
        let error = order(line).expect_err(line);
        assert!(error.contains(part), "{line}: {error}");
    }
    assert_eq!(order("off 3"), Ok(Order::Off(Some(3))));
    assert_eq!(order("off all"), Ok(Order::Off(None)));
    assert_eq!(order("list"), Ok(Order::List));
}

#[test]
fn faults_of_tasks_wait_for_what_the_task_does_as_often_as_is_said() {
    let panic = TaskFault::new(Fault::Panic);
    let counted = |fault: TaskFault, count| What::Task(TaskFault { count, ..fault });
    let rate = panic.at(When::OneIn(100));
    assert_eq!(what("panic all rate=1/100"), counted(rate, None));
    assert_eq!(what("panic all rate=1/100 count=3"), counted(rate, Some(3)));
    let point = panic.at(When::Point(Point::Replaying as u32));
    let line = "panic cache at=cache.replaying";
    assert_eq!(what(line), counted(point, Some(1)));
    assert_eq!(what(&format!("{line} count=4")), counted(point, Some(4)));
    assert_eq!(what(&format!("{line} count=0")), counted(point, None));
    let request = panic.at(When::Requests(9));
    assert_eq!(
        what("panic cache after=9 count=2"),
        counted(request, Some(2))
    );
}

#[test]
fn the_machine_ends_now_later_or_at_a_point() {
    let cut = MachineFault {
        power: true,
        seed: 7,
        after_ms: 0,
        point: None,
    };
    assert_eq!(what("power-cut all seed=7"), What::Machine(cut));
    let later = MachineFault {
        after_ms: 2000,
        ..cut
    };
    assert_eq!(what("power-cut vda seed=7 after=2s"), What::Machine(later));
    let at = MachineFault {
        power: false,
        seed: 1,
        after_ms: 0,
        point: Some(Point::RootWritten as u32),
    };
    assert_eq!(what("reset all at=twinfs.root-written"), What::Machine(at));
    for (line, part) in [
        ("reset vda", "a reset is of `all`"),
        ("reset all seed=3", "seed= means nothing"),
        ("power-cut all at=cache.replaying after=1s", "not both"),
        ("power-cut all rate=1/3", "rate= means nothing"),
        ("corrupt all", "expected one disk"),
        ("list seed=3", "means nothing to `list`"),
        ("list all", "takes nothing more"),
        ("off 3 seed=3", "means nothing to `off`"),
        ("bug", "bug: expected a name"),
        ("bug leak type=data", "type= means nothing"),
        ("panic cache after=x", "after"),
        ("panic cache after=99999999999", "after"),
        ("panic cache rate=1/2 after=3", "not both"),
        ("panic cache after=3 every=1s", "every= goes with a time"),
        ("panic cache after=2h", "after"),
    ] {
        let error = order(line).expect_err(line);
        assert!(error.contains(part), "{line}: {error}");
        assert!(!error.contains('\n'), "{line}: {error}");
    }
}

#[test]
fn what_is_said_of_a_bug_stands_for_what_it_has() {
    assert_eq!(
        order("bug recursion twinfs.1 at=twinfs.root-written seed=4"),
        order("stack-overrun twinfs.1 at=twinfs.root-written seed=4")
    );
    assert_eq!(
        order("bug wild-pointer writes=3"),
        order("wild-write twinfs.0 after=5 writes=3")
    );
}

#[test]
fn what_is_in_force_is_told_as_it_could_be_said() {
    for (line, target) in [
        (
            "corrupt type=inode on=reads skip=3 rate=1/100 count=9 seed=9 bytes=2",
            "vda",
        ),
        ("torn-write range=5-9 count=0 seed=1 sectors=3", "vda"),
        ("misdirected-write seed=1 to=7-14", "vda"),
        ("slow rate=1/4 seed=2 delay=20ms", "vda"),
        (
            "wild-write after=5 count=2 seed=3 memory=heap writes=40",
            "cache",
        ),
        ("kill at=twinfs.root-written count=0 seed=1", "twinfs.0"),
        ("panic rate=1/50 seed=1", "all"),
        ("kill after=200ms every=300ms count=7 seed=1", "all"),
        ("power-cut at=twinfs.root-written seed=8", "all"),
        ("reset after=5000ms", "all"),
    ] {
        let (fault, keys) = line.split_once(' ').expect("keys");
        let said = what(&format!("{fault} {target} {keys}"));
        assert_eq!(told(&said), line);
    }
}
