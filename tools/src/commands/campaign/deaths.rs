//! Which deaths an experiment orders. Any other is a failure, even if nobody noticed it.
//!
//! | who may die | of what |
//! | --- | --- |
//! | the target of a kill | that kill, once |
//! | the target of any other fault | anything, once; of one that goes on in damaged memory as often as it takes |
//! | who passes the point where the machine is to stop | that, once |
//! | `logical` | exit status 75, if the death of a store was told: that is how it has them all start again |
//! | `naming` | exit status 75, if the cache told that it lost what was not synced |
//! | whoever the manager had ended with others when it died itself | `killed` at an address: its successor tells of it |

use stack::{MANAGER, Role, Stack};

use super::heard::Heard;

/// What a layer ends with that must be started again with others.
const RESTART: &str = "exit: status 75";

/// What a task dies of that is killed on purpose.
const INJECTED: &str = "injected kill";

/// What a task dies of that the manager ended together with others. Of one that did not answer, or not in time, it
/// tells otherwise.
const ENDED: &str = "killed: at 0x";

/// What of its deaths an experiment has ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// Nobody's: disks fail, or nothing does.
    None,
    /// The target's, by a kill.
    Kill,
    /// The target's, by a fault that stops it.
    Stop,
    /// The target's, by a fault after which it goes on and may die again and again.
    Damage,
    /// That of somebody who passes a point where the machine stops.
    AtPoint,
}

impl Ordered {
    /// The first death that nobody ordered, in words.
    pub fn unordered(self, target: &str, heard: &Heard, stack: &Stack) -> Option<String> {
        let role = |name: &str| {
            let mut tasks = stack.tasks.iter();
            tasks.find(|task| task.name == name).map(|task| task.role)
        };
        let store_died = heard
            .deaths
            .iter()
            .any(|(task, words)| role(task) == Some(Role::Storage) && !words.starts_with(RESTART));
        let manager_died = heard.deaths.iter().any(|(task, _)| task == MANAGER);
        let mut ordered = 0;
        for (task, words) in &heard.deaths {
            let is_ordered = match self {
                Self::None => false,
                Self::Kill => task == target && words.starts_with(INJECTED),
                Self::Stop | Self::Damage => task == target,
                Self::AtPoint => words.starts_with(INJECTED),
            };
            ordered += u32::from(is_ordered);
            let is_first = is_ordered && (ordered == 1 || self == Self::Damage);
            let is_consequence = match words.as_str() {
                RESTART => {
                    (task == "logical" && store_died) || (task == "naming" && heard.lost_all)
                }
                words => words.starts_with(ENDED) && manager_died && task != MANAGER,
            };
            if !is_first && !is_consequence {
                return Some(format!("{task} died of its own: {words}"));
            }
        }
        let consoles = match (self, target) {
            (Self::Damage, "console") => u32::MAX,
            (Self::Kill | Self::Stop, "console") => 1,
            _ => 0,
        };
        if heard.consoles > consoles {
            return Some(format!("the console began anew {} times", heard.consoles));
        }
        let more = heard.deaths_more;
        (more > 0).then(|| format!("{more} more deaths than are looked at"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Description;
    use crate::host::project::Project;

    fn unordered(ordered: Ordered, target: &str, deaths: &[(&str, &str)]) -> Option<String> {
        let project = Project::find().expect("tests run in a checkout");
        let mirror = Description::read(&project, "mirror").expect("a stack");
        let heard = Heard {
            deaths: deaths
                .iter()
                .map(|(task, words)| ((*task).into(), (*words).into()))
                .collect(),
            ..Heard::default()
        };
        ordered.unordered(target, &heard, &mirror.stack)
    }

    const KILL: &str = "injected kill: at 0x5";
    const PANIC: &str = "panic: index out of bounds";
    const SILENT: &str = "killed: it did not answer";

    #[test]
    fn a_kill_is_of_the_target_and_once() {
        let kill = |deaths: &[_]| unordered(Ordered::Kill, "twinfs.0", deaths);
        assert_eq!(kill(&[("twinfs.0", KILL)]), None);
        assert_eq!(kill(&[]), None);
        for deaths in [
            &[("twinfs.0", KILL), ("twinfs.0", KILL)][..],
            &[("twinfs.0", KILL), ("twinfs.0", PANIC)],
            &[("twinfs.0", PANIC)],
            &[("twinfs.0", SILENT)],
            &[("twinfs.0", KILL), ("cache", SILENT)],
            &[
                ("twinfs.0", KILL),
                ("cache", "killed: it kept a caller waiting for too long"),
            ],
            &[("twinfs.0", KILL), ("manager", "panic at 0x5 in it")],
            &[("twinfs.1", KILL)],
        ] {
            assert!(kill(deaths).is_some(), "{deaths:?}");
        }
    }

    #[test]
    fn who_ends_with_others_needs_a_reason() {
        let kill = |target, deaths: &[_]| unordered(Ordered::Kill, target, deaths);
        let logical = ("logical", RESTART);
        assert_eq!(kill("twinfs.0", &[("twinfs.0", KILL), logical]), None);
        assert!(kill("virtio-blk.0", &[("virtio-blk.0", KILL), logical]).is_some());
        assert!(kill("twinfs.0", &[("twinfs.0", KILL), ("naming", RESTART)]).is_some());
        let ended = ("twinfs.1", "killed: at 0x7");
        assert_eq!(kill(MANAGER, &[(MANAGER, KILL), ended]), None);
        assert!(kill("logical", &[("logical", KILL), ended]).is_some());
    }

    #[test]
    fn other_faults_end_their_target_as_they_like_and_disks_nobody() {
        assert_eq!(unordered(Ordered::Stop, "cache", &[("cache", PANIC)]), None);
        let twice = [("cache", PANIC), ("cache", SILENT)];
        assert!(unordered(Ordered::Stop, "cache", &twice).is_some());
        assert_eq!(unordered(Ordered::Damage, "cache", &twice), None);
        assert!(unordered(Ordered::None, "faulty.0", &[("faulty.0", PANIC)]).is_some());
        assert_eq!(
            unordered(Ordered::AtPoint, "machine", &[("cache", KILL)]),
            None
        );
        let two = [("cache", KILL), ("logical", KILL)];
        assert!(unordered(Ordered::AtPoint, "machine", &two).is_some());
        assert!(unordered(Ordered::AtPoint, "machine", &[("cache", PANIC)]).is_some());
    }

    #[test]
    fn a_console_that_begins_anew_and_deaths_beyond_count_are_seen() {
        let project = Project::find().expect("tests run in a checkout");
        let mirror = Description::read(&project, "mirror")
            .expect("a stack")
            .stack;
        let heard = Heard {
            consoles: 1,
            ..Heard::default()
        };
        assert!(Ordered::Kill.unordered("cache", &heard, &mirror).is_some());
        assert!(
            Ordered::Kill
                .unordered("console", &heard, &mirror)
                .is_none()
        );
        let heard = Heard {
            deaths_more: 1,
            ..Heard::default()
        };
        assert!(
            Ordered::Damage
                .unordered("cache", &heard, &mirror)
                .is_some()
        );
    }
}
