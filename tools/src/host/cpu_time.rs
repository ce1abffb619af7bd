//! What a process costs the host's processors.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// The share of one core that process `id` uses over `period`: 1.0 is a whole core.
///
/// # Errors
/// If there is no such process.
pub fn share(id: u32, period: Duration) -> Result<f64> {
    let before = ticks(id)?;
    let begun = Instant::now();
    std::thread::sleep(period);
    let used = ticks(id)?.saturating_sub(before);
    let second = rustix::param::clock_ticks_per_second() as f64;
    Ok(used as f64 / second / begun.elapsed().as_secs_f64())
}

/// User and system time so far, in clock ticks: fields 14 and 15 of `/proc/ID/stat` (proc(5)).
fn ticks(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    parse(&text).with_context(|| format!("{path}: not as proc(5) has it"))
}

fn parse(stat: &str) -> Option<u64> {
    // The name, field 2, is in parentheses and may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..]
        .split_ascii_whitespace()
        .skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let stat = "77 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 40 2 0 0 20 0 1 0 5";
        assert_eq!(parse(stat), Some(42));
        assert_eq!(parse("77 (a"), None);
        assert!(ticks(std::process::id()).is_ok());
    }
}
