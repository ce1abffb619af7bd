//! Faults of tasks: now, at times, or when the task comes to it.

use alloc::string::String;

use abi::{Fault, Region, When};
use manager::injection::TaskFault;

use super::words::{at_most_one, milliseconds, number, one_in, only, point};
use crate::{arguments::Arguments, values};

/// The whole fault.
pub fn fault(fault: Fault, arguments: &Arguments) -> Result<TaskFault, String> {
    let keys: &[&str] = match fault {
        Fault::WildWrite => &[
            "after", "at", "count", "every", "memory", "rate", "seed", "writes",
        ],
        _ => &["after", "at", "count", "every", "rate", "seed"],
    };
    only(arguments, keys, "this fault of a task")?;
    at_most_one(arguments, &["after", "at", "rate"])?;
    at_most_one(arguments, &["at", "every", "rate"])?;
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
    let (after_ms, when) = moment(arguments)?;
    let lasting = every_ms > 0 || matches!(when, When::OneIn(_));
    let count = arguments.parsed("count", values::number)?;
    if when == When::Now && !lasting && count.is_some_and(|count| count != 1) {
        return Err("count: of what happens now, needs every=, such as every=200ms".into());
    }
    if every_ms > 0 && when != When::Now {
        return Err("every= goes with a time, such as after=1s, and not with requests".into());
    }
    let count = match count {
        Some(0) => None,
        None if lasting => None,
        count => count.or(Some(1)),
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

/// A number is of requests, anything with a unit is a time.
fn moment(arguments: &Arguments) -> Result<(u32, When), String> {
    if let Some(requests) = one_in(arguments)? {
        return Ok((0, When::OneIn(requests)));
    }
    if let Some(number) = point(arguments)? {
        return Ok((0, When::Point(number)));
    }
    let Some(text) = arguments.value("after") else {
        return Ok((0, When::Now));
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return match arguments.parsed("after", values::number_32)? {
            Some(0) | None => Ok((0, When::Now)),
            Some(requests) => Ok((0, When::Requests(requests))),
        };
    }
    Ok((milliseconds(arguments, "after")?, When::Now))
}
