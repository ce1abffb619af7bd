//! What the manager tells programs: records of the log that are JSON objects (`docs/galago.md`).

use core::fmt::{self, Write};

/// Most bytes of a reason; a record of the log is no longer than 512.
const REASON_BYTES_MAX: usize = 200;

/// Text inside a JSON string.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' | '\\' => {
                    f.write_char('\\')?;
                    f.write_char(character)?;
                }
                character if character.is_control() => f.write_char(' ')?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// A task died.
pub fn death(time_ns: u64, task: &str, cause: &str, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    log::info!(
        target: "event",
        "{{\"event\":\"death\",\"time_ns\":{time_ns},\"task\":\"{}\",\"cause\":\"{}\",\"reason\":\"{}\"}}",
        Escaped(task), Escaped(cause), Escaped(reason)
    );
}

/// An instance replaced a dead one; `restarts` counts the role's.
pub fn restart(time_ns: u64, task: &str, restarts: u64) {
    log::info!(
        target: "event",
        "{{\"event\":\"restart\",\"time_ns\":{time_ns},\"task\":\"{}\",\"restarts\":{restarts}}}",
        Escaped(task)
    );
}

/// So many tasks that were restarted because of `task` answer pings again, so long after its death.
pub fn answering(time_ns: u64, task: &str, tasks: usize, duration_ns: u64) {
    since_death("answering", time_ns, task, tasks, duration_ns);
}

/// The same tasks serve again: a recovery below the cache has ended with the cache's replay.
pub fn recovery(time_ns: u64, task: &str, tasks: usize, duration_ns: u64) {
    since_death("recovery", time_ns, task, tasks, duration_ns);
}

fn since_death(event: &str, time_ns: u64, task: &str, tasks: usize, duration_ns: u64) {
    log::info!(
        target: "event",
        "{{\"event\":\"{event}\",\"time_ns\":{time_ns},\"task\":\"{}\",\"tasks\":{tasks},\
         \"duration_ns\":{duration_ns}}}",
        Escaped(task)
    );
}

/// A task was taken out for good.
pub fn stopped(time_ns: u64, task: &str, reason: &str) {
    log::info!(
        target: "event",
        "{{\"event\":\"stopped\",\"time_ns\":{time_ns},\"task\":\"{}\",\"reason\":\"{}\"}}",
        Escaped(task), Escaped(reason)
    );
}
