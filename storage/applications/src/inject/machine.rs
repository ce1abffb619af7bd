//! Accidents of the machine: `power-cut` and `reset`.

use alloc::string::String;

use manager::injection::MachineFault;

use super::words::{at_most_one, milliseconds, number, only, point};
use crate::arguments::Arguments;

/// Accidents of the machine, and what each does.
pub const MACHINE_FAULTS: &[(&str, &str)] = &[
    (
        "power-cut",
        "the power of disks fails: what was not flushed is lost in part; a reset",
    ),
    ("reset", "the machine starts again, without a sync"),
];

/// The accident of this name, if it is one.
pub fn accident(name: &str, arguments: &Arguments) -> Result<Option<MachineFault>, String> {
    let power = match name {
        "power-cut" => true,
        "reset" => false,
        _ => return Ok(None),
    };
    let keys: &[&str] = if power {
        &["after", "at", "seed"]
    } else {
        &["after", "at"]
    };
    only(arguments, keys, "this fault of the machine")?;
    at_most_one(arguments, &["after", "at"])?;
    Ok(Some(MachineFault {
        power,
        seed: number(arguments, "seed", 1)?,
        after_ms: milliseconds(arguments, "after")?,
        point: point(arguments)?,
    }))
}
