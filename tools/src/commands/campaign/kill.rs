//! Kills: a task is ended by a trap at its program counter, in the middle of work.

use std::time::{Duration, Instant};

use anyhow::Result;
use stack::MANAGER;

use super::experiment::{Choices, Documented, Kind};
use super::load::Plan;
use super::moment::Moment;
use super::random::Random;
use super::rig::{Rig, Setting};
use super::subject::{LIMIT, Subject};
use super::targets::Targets;
use crate::Failure;
use crate::cli::campaign::Experiments;
use crate::guest::Description;

/// One experiment in so many is on a guest just booted, and longer: for some time after a crash the cache
/// keeps its log short, so only then is it long.
const LONG_ONE_IN: u64 = 10;

/// How much longer.
const LONG_SCALE: u64 = 12;

/// How soon the manager is asked again whether it is there.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The campaign.
pub struct Kill {
    targets: Targets,
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
            seed: options.seed,
            brief: options.brief,
        })
    }
}

impl Kind for Kill {
    fn choose(&self, number: u64) -> Choices {
        let mut random = Random::new(self.seed, number);
        let target = random.pick(&self.targets.names).clone();
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
        Choices {
            moment: Moment::within(&mut random, &plan),
            fault: "kill".into(),
            target,
            setting: Setting::for_number(self.seed, number, self.brief),
            fresh: long,
            plan,
            injection: None,
        }
    }

    fn carry_out(&self, choices: &Choices, top: &str, rig: &mut Rig<'_>) -> Result<Documented> {
        let target = choices.target.as_str();
        let subject = rig.subject()?;
        let mut load = choices.plan.begin(subject, top)?;
        let sync = choices.moment.wait(subject, &mut load)?;
        let order = subject.guest.start(&format!("kill {target}"))?;
        // Who lost its console is not told how its sync ended.
        let mut waits_for: Vec<u64> = sync.filter(|_| target != "console").into_iter().collect();
        let deadline = Instant::now() + LIMIT;
        let mut consoles = 0;
        while !(load.is_over()
            && waits_for.is_empty()
            && self.targets.is_back(target, &subject.heard))
        {
            load.go_on(subject)?;
            let Some(event) = subject.event("recovering", deadline)? else {
                let what = if load.is_over() {
                    format!("{target} did not come back in {} s", LIMIT.as_secs())
                } else {
                    format!("the work hangs: it did not end in {} s", LIMIT.as_secs())
                };
                return Err(subject.guest.failure(what).into());
            };
            load.take(&event)?;
            for id in waits_for.iter().copied().chain([order]) {
                if let Some(done) = event.done(id).filter(|done| !done.ok) {
                    let command = if id == order { "kill" } else { "sync" };
                    let reason = done.error.unwrap_or_default();
                    let what = format!("`{command}` failed: {reason}");
                    return Err(Failure::Check(what).into());
                }
            }
            waits_for.retain(|id| event.done(*id).is_none());
            if subject.heard.consoles > consoles {
                consoles = subject.heard.consoles;
                load.answers_are_lost(subject)?;
            }
        }
        if target == MANAGER {
            wait_for_manager(subject)?;
        }
        load.verify(subject, target == "postmark")?;
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
