//! What `inject` is told: a fault, whose it is, when, how often.
//!
//! ```text
//! inject FAULT TARGET [when …] [count …] [seed …]
//! inject bug NAME [TARGET]
//! inject list
//! inject off N|all
//! ```

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use abi::{Fault, Region, When};
use manager::{
    control::{self, Target},
    injection::{Injection, TaskFault, What},
};
use storage::{
    faulty::{Action, Direction, KINDS, Kind, Place, Rule},
    point::Point,
};

use crate::{
    arguments::{Arguments, Takes},
    bugs, values,
};

/// The keys of `inject`.
pub const KEYS: &[&str] = &[
    "after", "at", "bytes", "count", "delay", "every", "memory", "on", "range", "rate", "sectors",
    "seed", "skip", "to", "type", "writes",
];

/// Faults of disks, and what each does.
pub const DISK_FAULTS: &[(&str, &str)] = &[
    ("corrupt", "bytes change: of what is read, or written"),
    ("torn-write", "only the first sectors are written"),
    ("lost-write", "nothing is written, and the write succeeds"),
    ("misdirected-write", "the data go to another place"),
    ("lost-flush", "a flush does nothing"),
    ("read-error", "a read fails"),
    ("write-error", "a write fails"),
    ("slow", "requests take longer"),
    ("dead", "every request fails"),
];

/// Bytes that are corrupted in a block if nothing else is said.
const CORRUPT_BYTES: u64 = 8;
/// How much longer a slow request takes if nothing else is said.
const DELAY_NS: u64 = 100_000_000;

/// What `inject` takes.
pub const TAKES: Takes = Takes::words(0, 3).keys(KEYS);

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Have something go wrong.
    Inject(Injection),
    /// Say which faults there are.
    Faults,
    /// Say what is in force.
    List,
    /// Switch one off, or all.
    Off(Option<u32>),
}

/// Reads what was said.
pub fn parse(arguments: &Arguments) -> Result<Order, String> {
    let words = (arguments.word(0), arguments.word(1));
    match words {
        (None, _) => return Ok(Order::Faults),
        (Some("list"), None) => return Ok(Order::List),
        (Some("bug"), Some(name)) => return bug(name, arguments.word(2)),
        _ if arguments.word(2).is_some() => return Err("expected a fault and one target".into()),
        (Some("off"), Some("all")) => return Ok(Order::Off(None)),
        (Some("off"), Some(number)) => {
            let number = values::number_32(number).map_err(|it| format!("off: expected {it}"))?;
            return Ok(Order::Off(Some(number)));
        }
        _ => {}
    }
    let (Some(fault), Some(target)) = words else {
        return Err("expected a fault and a target, `list`, or `off N`".into());
    };
    let what = if let Some(action) = action(fault, arguments)? {
        What::Disk(rule(action, arguments)?)
    } else if let Some(fault) = Fault::ALL.iter().find(|it| it.name() == fault) {
        What::Task(task_fault(*fault, arguments)?)
    } else {
        return Err(format!("there is no fault `{fault}`; `inject` lists them"));
    };
    let target = match (target, &what) {
        ("all", What::Task(_)) => Target::All,
        (name, What::Disk(_)) => role(&disk(name))?,
        (name, What::Task(_)) => role(name)?,
    };
    Ok(Order::Inject(Injection { target, what }))
}

/// The line of a bug, with another target if there is one.
fn bug(name: &str, target: Option<&str>) -> Result<Order, String> {
    let bug =
        bugs::find(name).ok_or_else(|| format!("there is no bug `{name}`; `inject` lists them"))?;
    let mut words: Vec<String> = bug.line.split(' ').map(ToString::to_string).collect();
    if let (Some(target), Some(place)) = (target, words.get_mut(1)) {
        *place = target.to_string();
    }
    parse(&TAKES.parse(&words)?)
}

/// A disk by number, as the name of its driver: `vda` is `virtio-blk.0`.
pub fn disk(word: &str) -> String {
    word.strip_prefix("vd")
        .filter(|letter| letter.len() == 1)
        .and_then(|letter| letter.bytes().next().filter(u8::is_ascii_lowercase))
        .map_or_else(
            || word.to_string(),
            |letter| format!("virtio-blk.{}", letter - b'a'),
        )
}

fn role(name: &str) -> Result<Target, String> {
    let short = control::name(name).map_err(|_| format!("{name}: no such task"))?;
    Ok(Target::Role(short))
}

/// Keys that mean nothing to this kind of fault are a mistake.
fn only(arguments: &Arguments, allowed: &[&str], what: &str) -> Result<(), String> {
    let strange = KEYS
        .iter()
        .find(|key| arguments.value(key).is_some() && !allowed.contains(key));
    match strange {
        Some(key) => Err(format!("{key}= means nothing to {what}")),
        None => Ok(()),
    }
}

fn number(arguments: &Arguments, key: &str, default: u64) -> Result<u64, String> {
    Ok(arguments.parsed(key, values::number)?.unwrap_or(default))
}

fn milliseconds(arguments: &Arguments, key: &str) -> Result<u32, String> {
    let ns = arguments.parsed(key, values::duration_ns)?.unwrap_or(0);
    if ns > 0 && ns < 1_000_000 {
        return Err(format!("{key}: expected at least 1ms"));
    }
    u32::try_from(ns / 1_000_000).map_err(|_| format!("{key}: expected at most 49 days"))
}

fn range(arguments: &Arguments, key: &str) -> Result<Option<(u64, u64)>, String> {
    let Some(text) = arguments.value(key) else {
        return Ok(None);
    };
    let bounds = text.split_once('-').unwrap_or((text, text));
    match (values::number(bounds.0), values::number(bounds.1)) {
        (Ok(first), Ok(last)) if first <= last => Ok(Some((first, last))),
        _ => Err(format!("{key}: expected sectors such as 2048-4095")),
    }
}

fn action(fault: &str, arguments: &Arguments) -> Result<Option<Action>, String> {
    let narrow = |key, default, max: u64| -> Result<u64, String> {
        let value = number(arguments, key, default)?;
        if value <= max {
            Ok(value)
        } else {
            Err(format!("{key}: expected at most {max}"))
        }
    };
    Ok(Some(match fault {
        "corrupt" => Action::Corrupt {
            bytes: narrow("bytes", CORRUPT_BYTES, u16::MAX.into())? as u16,
        },
        "torn-write" => Action::TornWrite {
            sectors: narrow("sectors", 0, u32::MAX.into())? as u32,
        },
        "lost-write" => Action::LostWrite,
        "misdirected-write" => Action::MisdirectedWrite {
            to: range(arguments, "to")?,
        },
        "lost-flush" => Action::LostFlush,
        "read-error" => Action::ReadError,
        "write-error" => Action::WriteError,
        "slow" => Action::Slow {
            ms: match milliseconds(arguments, "delay")? {
                0 => (DELAY_NS / 1_000_000) as u32,
                ms => ms,
            },
        },
        "dead" => Action::Dead,
        _ => return Ok(None),
    }))
}

fn rule(action: Action, arguments: &Arguments) -> Result<Rule, String> {
    let own = match action {
        Action::Corrupt { .. } => "bytes",
        Action::TornWrite { .. } => "sectors",
        Action::MisdirectedWrite { .. } => "to",
        Action::Slow { .. } => "delay",
        _ => "seed",
    };
    let keys = ["count", "on", "range", "rate", "seed", "skip", "type", own];
    only(arguments, &keys, "this fault of a disk")?;
    let place = match (arguments.value("type"), range(arguments, "range")?) {
        (None, None) => Place::Anywhere,
        (None, Some((first, last))) => Place::Sectors { first, last },
        (Some(name), None) => {
            let kind = Kind::of_name(name).ok_or_else(|| {
                let names = KINDS.map(|(_, name)| name).join(", ");
                format!("type: expected one of {names}")
            })?;
            Place::Kind(kind)
        }
        (Some(_), Some(_)) => return Err("either type= or range=, not both".into()),
    };
    let direction = match arguments.value("on") {
        None => Direction::Both,
        Some("reads") => Direction::Reads,
        Some("writes") => Direction::Writes,
        Some("both") => Direction::Both,
        Some(_) => return Err("on: expected reads, writes or both".into()),
    };
    let one_in = match arguments.value("rate") {
        None => 1,
        Some(text) => text
            .strip_prefix("1/")
            .and_then(|text| values::number_32(text).ok())
            .ok_or("rate: expected such as 1/100")?,
    };
    let lasting = matches!(action, Action::Slow { .. }) || one_in > 1;
    let times = match number(arguments, "count", u64::from(!lasting))? {
        0 => None,
        count => Some(count),
    };
    let rule = Rule {
        place,
        direction,
        skip: number(arguments, "skip", 0)?,
        times,
        one_in,
        seed: number(arguments, "seed", 1)?,
        action,
    };
    rule.check().map_err(ToString::to_string)?;
    Ok(rule)
}

fn task_fault(fault: Fault, arguments: &Arguments) -> Result<TaskFault, String> {
    let keys: &[&str] = match fault {
        Fault::WildWrite => &["after", "at", "count", "every", "memory", "seed", "writes"],
        _ => &["after", "at", "count", "every", "seed"],
    };
    only(arguments, keys, "this fault of a task")?;
    let region = match arguments.value("memory") {
        None => Region::Any,
        Some(name) => {
            Region::of_name(name).ok_or("memory: expected any, heap, stack, data or surviving")?
        }
    };
    let writes = match arguments.parsed("writes", values::number_32)? {
        Some(0) => return Err("writes: expected at least 1".into()),
        writes => writes.unwrap_or(0),
    };
    let every_ms = milliseconds(arguments, "every")?;
    let count = arguments.parsed("count", values::number)?;
    if every_ms == 0 && count.is_some_and(|count| count != 1) {
        return Err("count: how often needs every=, such as every=200ms".into());
    }
    let count = match count {
        Some(0) => None,
        None if every_ms > 0 => None,
        count => count.or(Some(1)),
    };
    // A number is of requests, anything with a unit is a time.
    let (after_ms, when) = match arguments.value("after") {
        None => (0, point(arguments)?.map_or(When::Now, When::Point)),
        Some(_) if arguments.value("at").is_some() => {
            return Err("either after= or at=, not both".into());
        }
        Some(text) => match values::number_32(text) {
            Ok(requests) => (0, When::Requests(requests)),
            Err(_) => (milliseconds(arguments, "after")?, When::Now),
        },
    };
    Ok(TaskFault {
        argument: (region as u64) << 32 | u64::from(writes),
        seed: number(arguments, "seed", 1)?,
        after_ms,
        every_ms,
        count,
        ..TaskFault::new(fault).at(when)
    })
}

/// The number of the point that `at=` names.
fn point(arguments: &Arguments) -> Result<Option<u32>, String> {
    let Some(name) = arguments.value("at") else {
        return Ok(None);
    };
    let point = Point::of_name(name)
        .ok_or_else(|| format!("at: there is no point `{name}`; `inject` lists them"))?;
    Ok(Some(point as u32))
}

/// What is in force, in the words in which it was said.
#[must_use]
pub fn told(what: &What) -> String {
    let mut text = String::new();
    let mut add = |key: &str, value: String| {
        text.push_str(&format!(" {key}={value}"));
    };
    let name = match what {
        What::Disk(rule) => {
            match rule.place {
                Place::Anywhere => {}
                Place::Sectors { first, last } => add("range", format!("{first}-{last}")),
                Place::Kind(kind) => add("type", kind.name().into()),
            }
            match rule.direction {
                Direction::Reads => add("on", "reads".into()),
                Direction::Writes => add("on", "writes".into()),
                Direction::Both => {}
            }
            if rule.skip > 0 {
                add("skip", rule.skip.to_string());
            }
            if rule.one_in > 1 {
                add("rate", format!("1/{}", rule.one_in));
            }
            add("seed", rule.seed.to_string());
            match rule.action {
                Action::Corrupt { bytes } => {
                    add("bytes", bytes.to_string());
                    "corrupt"
                }
                Action::TornWrite { sectors } => {
                    if sectors > 0 {
                        add("sectors", sectors.to_string());
                    }
                    "torn-write"
                }
                Action::LostWrite => "lost-write",
                Action::MisdirectedWrite { to } => {
                    if let Some((first, last)) = to {
                        add("to", format!("{first}-{last}"));
                    }
                    "misdirected-write"
                }
                Action::LostFlush => "lost-flush",
                Action::ReadError => "read-error",
                Action::WriteError => "write-error",
                Action::Slow { ms } => {
                    add("delay", format!("{ms}ms"));
                    "slow"
                }
                Action::Dead => "dead",
            }
        }
        What::Task(fault) => {
            if fault.every_ms > 0 {
                add("every", format!("{}ms", fault.every_ms));
            }
            if fault.after_ms > 0 {
                add("after", format!("{}ms", fault.after_ms));
            }
            add("seed", fault.seed.to_string());
            fault.fault().map_or("?", Fault::name)
        }
    };
    format!("{name}{text}")
}

#[cfg(test)]
mod tests {
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
        let to = Action::MisdirectedWrite { to: Some((5, 9)) };
        assert_eq!(
            what("misdirected-write vda to=5-9"),
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
            ("panic cache every=1us", "at least 1ms"),
            ("corrupt vda rate=3", "rate: expected such as 1/100"),
            ("corrupt vda rate=1/0", "at least one"),
            ("off", "expected a fault"),
            ("off x", "off: expected a whole number"),
        ] {
            let error = order(line).expect_err(line);
            assert!(error.contains(part), "{line}: {error}");
        }
        assert_eq!(order("off 3"), Ok(Order::Off(Some(3))));
        assert_eq!(order("off all"), Ok(Order::Off(None)));
        assert_eq!(order("list"), Ok(Order::List));
    }
}
