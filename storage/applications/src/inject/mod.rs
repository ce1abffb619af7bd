//! What `inject` is told: a fault, whose it is, when, how often.
//!
//! ```text
//! inject FAULT TARGET [when …] [count …] [seed …]
//! inject bug NAME [TARGET]
//! inject list
//! inject off N|all
//! ```

mod disk;
mod machine;
mod task;
#[cfg(test)]
mod tests;
mod told;
mod words;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use abi::Fault;
use manager::{
    control::{self, Target},
    injection::{Injection, What},
};

use self::words::only;
use crate::{
    arguments::{Arguments, Takes},
    bugs, values,
};

pub use self::{disk::DISK_FAULTS, machine::MACHINE_FAULTS, told::told};

/// The keys of `inject`.
pub const KEYS: &[&str] = &[
    "after", "at", "bytes", "count", "delay", "every", "memory", "on", "range", "rate", "sectors",
    "seed", "skip", "to", "type", "writes",
];

/// What the keys mean, in the order in which they are explained.
pub const KEYS_EXPLAINED: &[(&str, &str)] = &[
    (
        "after",
        "N: the Nth request that the task takes from now on; 200ms, 5s: so late",
    ),
    ("at", "when the task passes this point; `inject` lists them"),
    (
        "rate",
        "1/N: by chance, at one request in N, until switched off",
    ),
    (
        "every",
        "again each time so much has passed, until switched off",
    ),
    (
        "count",
        "so many times; 0: until switched off, by `inject off NUMBER`",
    ),
    ("seed", "what is left to chance follows from it"),
    ("skip", "so many requests of the disk are spared first"),
    (
        "type",
        "on blocks of this type: root, log, bitmap, tree, inode, indirect, mapping, directory, link, data",
    ),
    (
        "range",
        "on these sectors of 512 bytes, the last included: 2048-4095",
    ),
    ("on", "reads, writes or both: which requests of the disk"),
    ("bytes", "of `corrupt`: how many of each block change"),
    ("sectors", "of `torn-write`: how many are written"),
    (
        "to",
        "of `misdirected-write`: the sectors where the data may go",
    ),
    (
        "delay",
        "of `slow`: how much longer a request takes, up to 60s",
    ),
    ("writes", "of `wild-write`: how many stores"),
    (
        "memory",
        "of `wild-write`: any, heap, stack, data or surviving (what outlives the instance)",
    ),
];

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
        (None, _) => {
            only(arguments, &[], "`inject` alone")?;
            return Ok(Order::Faults);
        }
        (Some("bug"), Some(name)) => return bug(name, arguments),
        (Some("bug"), None) => return Err("bug: expected a name; `inject` lists them".into()),
        (Some("list"), None) => {
            only(arguments, &[], "`list`")?;
            return Ok(Order::List);
        }
        (Some("list"), Some(_)) => return Err("`list` takes nothing more".into()),
        (Some("off"), None) => return Err("off: expected a number, or all".into()),
        _ if arguments.word(2).is_some() => return Err("expected a fault and one target".into()),
        (Some("off"), _) => only(arguments, &[], "`off`")?,
        _ => {}
    }
    match words {
        (Some("off"), Some("all")) => return Ok(Order::Off(None)),
        (Some("off"), Some(number)) => {
            let number = values::number_32(number).map_err(|it| format!("off: expected {it}"))?;
            return Ok(Order::Off(Some(number)));
        }
        _ => {}
    }
    let (Some(fault), Some(target)) = words else {
        return Err("expected a fault and a target, `bug NAME`, `list`, or `off N`".into());
    };
    let what = if let Some(action) = disk::action(fault, arguments)? {
        What::Disk(disk::rule(action, arguments)?)
    } else if let Some(accident) = machine::accident(fault, arguments)? {
        What::Machine(accident)
    } else if let Some(fault) = Fault::ALL.iter().find(|it| it.name() == fault) {
        What::Task(task::fault(*fault, arguments)?)
    } else {
        return Err(format!("there is no fault `{fault}`; `inject` lists them"));
    };
    let target = match (target, &what) {
        ("all", What::Disk(_)) => return Err("expected one disk, such as vda".into()),
        ("all", _) => Target::All,
        (name, What::Disk(_)) => role(&driver(name), "disk; `stack` shows them")?,
        (name, What::Task(_)) => role(name, "task; `ps` lists them")?,
        (name, What::Machine(it)) if it.power => role(&driver(name), "disk; `stack` shows them")?,
        (name, What::Machine(_)) => return Err(format!("{name}: a reset is of `all`")),
    };
    Ok(Order::Inject(Injection { target, what }))
}

/// The line of a bug, with what was said in the place of what it has of that.
fn bug(name: &str, arguments: &Arguments) -> Result<Order, String> {
    const MOMENTS: [&str; 3] = ["after", "at", "rate"];
    let bug =
        bugs::find(name).ok_or_else(|| format!("there is no bug `{name}`; `inject` lists them"))?;
    let mut words: Vec<String> = bug.line.split(' ').map(ToString::to_string).collect();
    if let (Some(target), Some(place)) = (arguments.word(2), words.get_mut(1)) {
        *place = target.to_string();
    }
    for key in KEYS {
        let Some(value) = arguments.value(key) else {
            continue;
        };
        words.retain(|word| {
            let before = word.split_once('=').map_or("", |(before, _)| before);
            before != *key && !(MOMENTS.contains(key) && MOMENTS.contains(&before))
        });
        words.push(format!("{key}={value}"));
    }
    parse(&TAKES.parse(&words)?)
}

/// A disk by number, as the name of its driver: `vda` is `virtio-blk.0`.
#[must_use]
pub fn driver(word: &str) -> String {
    word.strip_prefix("vd")
        .filter(|letter| letter.len() == 1)
        .and_then(|letter| letter.bytes().next().filter(u8::is_ascii_lowercase))
        .map_or_else(
            || word.to_string(),
            |letter| format!("virtio-blk.{}", letter - b'a'),
        )
}

fn role(name: &str, what: &str) -> Result<Target, String> {
    let short = control::name(name).map_err(|_| format!("{name}: no such {what}"))?;
    Ok(Target::Role(short))
}
