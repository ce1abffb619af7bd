//! Which commands of a script end a boot: at once, or later by an accident of the machine that was ordered.
//!
//! `reboot`, `reset`, `power-cut`, and `inject power-cut` and `inject reset` without a moment end it at once. With a moment
//! an `inject` is answered with its number, and any command after it may be cut off, until that number is
//! switched off or the machine has started again.

use std::collections::BTreeSet;

use serde_json::Value;

/// Keys that give an accident its moment.
const MOMENTS: [&str; 2] = ["after=", "at="];

/// Accidents of the machine that were ordered and have not happened yet.
#[derive(Debug, Default)]
pub struct Accidents {
    numbers: BTreeSet<u64>,
}

/// What a command has to do with the end of the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    AtOnce,
    Later,
    Off,
    Other,
}

fn kind(command: &str) -> Kind {
    let mut words = command.split_whitespace();
    match (words.next(), words.next()) {
        (Some("reboot" | "reset" | "power-cut"), _) => Kind::AtOnce,
        (Some("inject"), Some("power-cut" | "reset")) => {
            let has_moment = words.any(|word| MOMENTS.iter().any(|key| word.starts_with(key)));
            if has_moment {
                Kind::Later
            } else {
                Kind::AtOnce
            }
        }
        (Some("inject"), Some("off")) => Kind::Off,
        _ => Kind::Other,
    }
}

/// Whether the machine starts again as soon as this command is carried out.
#[must_use]
pub fn restarts_at_once(command: &str) -> bool {
    kind(command) == Kind::AtOnce
}

impl Accidents {
    /// Whether one may happen at any moment from the beginning of this command on.
    #[must_use]
    pub fn may_happen(&self, command: &str) -> bool {
        !self.numbers.is_empty() || kind(command) == Kind::Later
    }

    /// A command has ended well, with this result.
    pub fn note(&mut self, command: &str, result: &Value) {
        match kind(command) {
            Kind::Later => self.numbers.extend(result["number"].as_u64()),
            Kind::Off => {
                let number = command.split_whitespace().nth(2);
                let number: Option<u64> = number.and_then(|number| number.parse().ok());
                self.numbers
                    .retain(|known| number.is_some_and(|number| number != *known));
            }
            Kind::AtOnce | Kind::Other => {}
        }
    }

    /// The machine has started again: nothing waits any more.
    pub fn machine_has_restarted(&mut self) {
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_ends_the_boot_at_once_is_told_from_what_waits() {
        for command in [
            "reset",
            "reboot",
            "power-cut",
            "power-cut vda seed=3",
            "inject reset all",
            "inject power-cut all seed=7",
        ] {
            assert!(restarts_at_once(command), "{command}");
        }
        for command in [
            "poweroff",
            "cat /reset",
            "inject reset all after=1s",
            "inject  power-cut all seed=7 at=twinfs.root-written",
            "inject kill cache",
            "inject off 3",
        ] {
            assert!(!restarts_at_once(command), "{command}");
        }
    }

    #[test]
    fn an_accident_waits_until_it_is_taken_back_or_the_machine_starts_again() {
        let mut accidents = Accidents::default();
        let number = |number: u64| json!({ "number": number });
        accidents.note("inject kill cache after=5s", &number(2));
        assert!(!accidents.may_happen("sync"));
        assert!(accidents.may_happen("inject reset all after=1ms"));
        accidents.note("inject reset all after=5s", &number(3));
        accidents.note("inject power-cut all at=cache.written-back", &number(4));
        accidents.note("inject off 3", &json!({ "removed": 1 }));
        assert!(accidents.may_happen("sync"));
        accidents.note("inject off 4", &json!({ "removed": 1 }));
        assert!(!accidents.may_happen("sync"));
        accidents.note("inject reset all after=5s", &number(5));
        accidents.note("inject off all", &json!({ "removed": 1 }));
        assert!(!accidents.may_happen("sync"));
        accidents.note("inject reset all after=5s", &number(6));
        accidents.machine_has_restarted();
        assert!(!accidents.may_happen("sync"));
    }
}
