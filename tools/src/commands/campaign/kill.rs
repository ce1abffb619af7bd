//! Kills: a task is ended by a trap at its program counter, in the middle of work.
//!
//! A kill that comes at a time of the host's finds most tasks waiting, as they are most of the time. So most come
//! when the task has something in hand: with a request that it takes, or at a point that it passes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use stack::{MANAGER, Role};
use storage::point::Point;

use super::deaths::Ordered;
use super::documented::Shows;
use super::experiment::{Choices, Documented, Kind};
use super::faults::Injection;
use super::load::Plan;
use super::moment::Moment;
use super::random::Random;
use super::rig::Rig;
use super::subject::{LIMIT, Subject, succeeded};
use super::targets::Targets;
use super::workshop::Setting;
use crate::Failure;
use crate::cli::campaign::Experiments;
use crate::guest::Description;

/// One experiment in so many is on a guest just booted, and longer: for some time after a crash the cache
/// keeps its log short, so only then is it long.
const LONG_ONE_IN: u64 = 10;

/// After one kill in so many what is there is read from the disks, too, and not only from the cache.
const READ_BACK_ONE_IN: u64 = 20;

/// How much longer.
const LONG_SCALE: u64 = 12;

/// Most requests after which a kill comes.
const REQUESTS_MAX: u64 = 60;

/// How soon the manager is asked again whether it is there.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The campaign.
pub struct Kill {
    targets: Targets,
    /// Of tasks that can have a kill wait in them: the program.
    programs: BTreeMap<String, String>,
    seed: u64,
    brief: bool,
}

impl Kill {
    /// Kills of these tasks.
    pub fn new(
        words: &[String],
        description: &Description,
        options: &Experiments,
    ) -> Result<Self, Failure> {
        Ok(Self {
            targets: Targets::find(words, description)?,
            programs: programs(description),
            seed: options.seed,
            brief: options.brief,
        })
    }
}

/// Who tells how it goes, who is told, and who is not part of the stack is killed only at once.
fn programs(description: &Description) -> BTreeMap<String, String> {
    let tasks = description.stack.tasks.iter();
    let part = |role: Role| !matches!(role, Role::Console | Role::Application);
    tasks
        .filter(|task| part(task.role))
        .map(|task| (task.name.clone(), task.program.clone()))
        .collect()
}

/// What the kill waits for: none if it is at once.
fn occasion(random: &mut Random, program: &str) -> Option<String> {
    let points: Vec<&Point> = Point::ALL
        .iter()
        // Nobody replays before somebody has died.
        .filter(|point| point.layer() == program && **point != Point::Replaying)
        .collect();
    match random.below(4) {
        0 => None,
        1 | 2 if !points.is_empty() => Some(format!("at={}", random.pick(&points).name())),
        _ => Some(format!("after={}", random.scaled(1, REQUESTS_MAX))),
    }
}

impl Kind for Kill {
    fn choose(&self, number: u64, attempt: u32) -> Choices {
        let mut random = Random::attempt(self.seed, number, attempt);
        let target = Random::new(self.seed, number)
            .pick(&self.targets.names)
            .clone();
        // Of the first attempt that was this number.
        random.number();
        let long = random.one_in(LONG_ONE_IN) && !self.brief;
        let plan = match target.as_str() {
            _ if self.brief => Plan::brief(&mut random),
            // A console that died knows nothing of the PostMark that it started.
            "console" => Plan::files(&mut random),
            "postmark" => Plan::postmark(&mut random, 1),
            _ if long => Plan::postmark(&mut random, LONG_SCALE),
            _ if random.one_in(2) => Plan::postmark(&mut random, 1),
            _ => Plan::files(&mut random),
        };
        let moment = Moment::within(&mut random, &plan);
        let program = self.programs.get(&target);
        let occasion = program.and_then(|program| occasion(&mut random, program));
        Choices {
            moment,
            is_read_back: Random::new(!self.seed, number).one_in(READ_BACK_ONE_IN),
            fault: "kill".into(),
            setting: Setting::for_number(self.seed, number, self.brief),
            fresh: long,
            deaths: Ordered::Kill,
            plan,
            injection: occasion.map(|parameters| Injection {
                fault: "kill".into(),
                target: target.clone(),
                of_disk: false,
                is_timed: false,
                parameters,
                shows: Shows::Nothing,
            }),
            target,
        }
    }

    fn carry_out(&self, choices: &Choices, top: &str, rig: &mut Rig<'_>) -> Result<Documented> {
        let target = choices.target.as_str();
        let subject = rig.subject()?;
        let mut load = choices.plan.begin(subject, top)?;
        choices.moment.wait(subject, &mut load)?;
        let command = match &choices.injection {
            Some(injection) => injection.command(),
            None => format!("kill {target}"),
        };
        let order = subject.guest.start(&command)?;
        let mut is_ordered = false;
        // One that waits may come during the work, or be brought about when that is over.
        let mut has_come = choices.injection.is_none();
        let deadline = Instant::now() + LIMIT;
        let mut consoles = 0;
        loop {
            if load.is_over() && is_ordered {
                if !has_come {
                    if !subject.has_come(top)? {
                        subject.run("inject off all")?;
                        break;
                    }
                    has_come = true;
                }
                if self.targets.is_back(target, &subject.heard) {
                    break;
                }
            }
            load.go_on(subject)?;
            let Some(event) = subject.event("recovering", deadline)? else {
                let what = if load.is_over() {
                    format!("the recovery of {target}")
                } else {
                    "the work".into()
                };
                return Err(subject.guest.hang(&what, LIMIT));
            };
            load.take(&event)?;
            if let Some(done) = event.done(order) {
                succeeded(&command, done)?;
                is_ordered = true;
            }
            if subject.heard.consoles > consoles {
                consoles = subject.heard.consoles;
                is_ordered = true;
                load.answers_are_lost(subject)?;
            }
        }
        if target == MANAGER {
            wait_for_manager(subject)?;
        }
        load.verify(subject, target == "postmark")?;
        subject.is_whole()?;
        if choices.is_read_back {
            subject.run("sync")?;
            subject.reset()?;
            load.verify(subject, target == "postmark")?;
            rig.check_kept()?;
        }
        let subject = rig.subject()?;
        load.remove(subject)?;
        Ok(None)
    }
}

/// Nobody tells of the manager's return but itself, when it is asked.
pub fn wait_for_manager(subject: &mut Subject) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while !subject.command("kill status")?.ok {
        if Instant::now() >= deadline {
            let what = "the manager did not come back".to_owned();
            return Err(subject.guest.failure(what).into());
        }
        std::thread::sleep(ASK_AGAIN);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_kills_come_when_the_task_has_something_in_hand() {
        let mut counts = BTreeMap::new();
        for number in 0..1000 {
            for program in ["twinfs", "virtio-blk"] {
                let occasion = occasion(&mut Random::new(1, number), program);
                let again = super::occasion(&mut Random::new(1, number), program);
                assert_eq!(occasion, again, "it follows from seed and number");
                let kind = occasion.map_or("now".into(), |it| match it.split_once('=') {
                    Some(("at", point)) => point.to_owned(),
                    _ => "after".to_owned(),
                });
                *counts.entry((program, kind)).or_insert(0) += 1;
            }
        }
        let count = |program, kind: &str| {
            let kind = kind.to_owned();
            counts.get(&(program, kind)).copied().unwrap_or(0)
        };
        assert!((200..300).contains(&count("twinfs", "now")), "{counts:?}");
        assert!((200..300).contains(&count("virtio-blk", "now")));
        assert_eq!(
            count("virtio-blk", "after") + count("virtio-blk", "now"),
            1000
        );
        for point in Point::ALL.iter().filter(|point| point.layer() == "twinfs") {
            assert!(count("twinfs", point.name()) > 50, "{counts:?}");
        }
    }
}
