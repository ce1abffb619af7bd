//! What the manager tells programs: records of the log that are JSON objects (`docs/galago.md`).
//!
//! A record that is too long is cut by the log, and would be no JSON then; so what a dying task
//! says of itself is cut here.

use alloc::{format, string::String};

use storage::faulty::Settled;

/// Most bytes of a record of the log.
pub const EVENT_BYTES_MAX: usize = 512;

/// Most bytes of a text inside an event, as it is written.
const TEXT_BYTES_MAX: usize = 200;

/// As much of a text as fits, as it stands inside a JSON string.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        let before = escaped.len();
        if matches!(character, '"' | '\\') {
            escaped.push('\\');
        }
        escaped.push(if character.is_control() {
            ' '
        } else {
            character
        });
        if escaped.len() > TEXT_BYTES_MAX {
            escaped.truncate(before);
            break;
        }
    }
    escaped
}

/// A task died.
#[must_use]
pub fn death(time_ns: u64, task: &str, cause: &str, reason: &str) -> String {
    format!(
        r#"{{"event":"death","time_ns":{time_ns},"task":"{}","cause":"{}","reason":"{}"}}"#,
        escaped(task),
        escaped(cause),
        escaped(reason)
    )
}

/// An instance replaced a dead one; `restarts` counts the role's.
#[must_use]
pub fn restart(time_ns: u64, task: &str, restarts: u64) -> String {
    format!(
        r#"{{"event":"restart","time_ns":{time_ns},"task":"{}","restarts":{restarts}}}"#,
        escaped(task)
    )
}

/// So many tasks that were restarted because of `task` answer pings again, so long after its death.
#[must_use]
pub fn answering(time_ns: u64, task: &str, tasks: usize, duration_ns: u64) -> String {
    since_death("answering", time_ns, task, tasks, duration_ns)
}

/// The same tasks serve again: a recovery below the cache has ended with the cache's.
#[must_use]
pub fn recovery(time_ns: u64, task: &str, tasks: usize, duration_ns: u64) -> String {
    since_death("recovery", time_ns, task, tasks, duration_ns)
}

fn since_death(event: &str, time_ns: u64, task: &str, tasks: usize, duration_ns: u64) -> String {
    format!(
        r#"{{"event":"{event}","time_ns":{time_ns},"task":"{}","tasks":{tasks},"duration_ns":{duration_ns}}}"#,
        escaped(task)
    )
}

/// The power was cut behind the filter `task`: what became of what its disk had not flushed.
#[must_use]
pub fn power_cut(time_ns: u64, task: &str, settled: Settled) -> String {
    let Settled {
        unflushed,
        kept,
        torn,
    } = settled;
    format!(
        r#"{{"event":"power-cut","time_ns":{time_ns},"task":"{}","unflushed":{unflushed},"kept":{kept},"torn":{torn}}}"#,
        escaped(task)
    )
}

/// Injection `number` had its time, and nobody was there for it.
#[must_use]
pub fn missed(time_ns: u64, number: u32) -> String {
    format!(r#"{{"event":"missed","time_ns":{time_ns},"number":{number}}}"#)
}

/// A task was taken out for good.
#[must_use]
pub fn stopped(time_ns: u64, task: &str, reason: &str) -> String {
    format!(
        r#"{{"event":"stopped","time_ns":{time_ns},"task":"{}","reason":"{}"}}"#,
        escaped(task),
        escaped(reason)
    )
}
