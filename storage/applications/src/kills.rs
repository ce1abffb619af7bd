//! What `kill` is told.

use alloc::{format, string::String};

use manager::control::{self, KILLS_MAX, Series, Target};

use crate::{arguments::Arguments, values};

/// The keys of `kill`.
pub const KEYS: &[&str] = &["every", "count", "seed"];

/// Longest time between two kills, milliseconds: an hour.
pub const EVERY_MS_MAX: u64 = 3_600_000;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Kill once, now.
    Once(Target),
    /// Kill again and again, in the background.
    Series(Series),
    /// End the series.
    Stop,
    /// Tell how the series goes.
    Status,
}

/// Reads what was said.
pub fn parse(arguments: &Arguments) -> Result<Order, String> {
    let every_ns = arguments.parsed("every", values::duration_ns)?;
    let count = arguments.parsed("count", values::number)?;
    let seed = arguments.parsed("seed", values::number)?;
    let target = match arguments.word(0) {
        Some("stop") => return Ok(Order::Stop),
        Some("status") => return Ok(Order::Status),
        Some("all") => Target::All,
        Some(name) => Target::Role(
            control::name(name).map_err(|_| format!("{name}: no such task; `ps` lists them"))?,
        ),
        None => return Err("expected a task, `all`, `stop` or `status`".into()),
    };
    if every_ns.is_none() && count.is_none_or(|count| count == 1) {
        return Ok(Order::Once(target));
    }
    let every_ms = every_ns.unwrap_or(1_000_000_000) / 1_000_000;
    let every_ms = u32::try_from(every_ms).ok().filter(|&ms| ms >= 1);
    let every_ms = every_ms
        .filter(|&ms| u64::from(ms) <= EVERY_MS_MAX)
        .ok_or("every: expected 1ms to 60m")?;
    if count.is_some_and(|count| !(1..=KILLS_MAX).contains(&count)) {
        return Err(format!("count: expected 1 to {KILLS_MAX}"));
    }
    Ok(Order::Series(Series {
        target,
        every_ms,
        count,
        seed: seed.unwrap_or(1),
    }))
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;
    use crate::arguments::Takes;

    fn order(line: &str) -> Result<Order, String> {
        let words: Vec<_> = line.split_whitespace().map(ToString::to_string).collect();
        parse(&Takes::words(0, 1).keys(KEYS).parse(&words)?)
    }

    #[test]
    fn orders_are_understood() {
        let task = || Target::Role(control::name("twinfs.0").expect("short enough"));
        assert_eq!(order("twinfs.0"), Ok(Order::Once(task())));
        assert_eq!(order("all count=1"), Ok(Order::Once(Target::All)));
        assert_eq!(order("stop"), Ok(Order::Stop));
        assert_eq!(order("status"), Ok(Order::Status));
        assert_eq!(
            order("all every=200ms count=300 seed=9"),
            Ok(Order::Series(Series {
                target: Target::All,
                every_ms: 200,
                count: Some(300),
                seed: 9
            }))
        );
        assert_eq!(
            order("twinfs.0 every=1s"),
            Ok(Order::Series(Series {
                target: task(),
                every_ms: 1000,
                count: None,
                seed: 1
            }))
        );
        for bad in [
            "",
            "all every=1us",
            "all every=100m",
            "all every=1s count=0",
            "all every=x",
            "a-name-that-no-task-of-any-stack-can-have",
        ] {
            assert!(order(bad).is_err(), "{bad}");
        }
    }
}
