//! Faults of disks: rules for the filter before one.

use alloc::{
    format,
    string::{String, ToString},
};

use storage::faulty::{Action, Direction, KINDS, Kind, Place, Rule};

use super::words::{milliseconds, number, one_in, only, range};
use crate::arguments::Arguments;

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
/// Sectors of the smallest write that a store makes.
const BLOCK_SECTORS: u64 = 8;
/// How much longer a slow request takes if nothing else is said.
const DELAY_NS: u64 = 100_000_000;

/// What this fault does, if it is one of disks.
pub fn action(fault: &str, arguments: &Arguments) -> Result<Option<Action>, String> {
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
            to: match range(arguments, "to")? {
                Some((first, last)) if last - first < BLOCK_SECTORS - 1 => {
                    return Err(format!(
                        "to: expected at least the {BLOCK_SECTORS} sectors of a block"
                    ));
                }
                to => to,
            },
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

/// The whole rule.
pub fn rule(action: Action, arguments: &Arguments) -> Result<Rule, String> {
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
    let one_in = one_in(arguments)?.unwrap_or(1);
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
