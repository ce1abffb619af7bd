//! Faults: any of them in any task and any disk, in the middle of work.

use std::time::{Duration, Instant};

use abi::Fault;
use anyhow::Result;
use serde_json::Value;
use stack::MANAGER;

use super::documented::{Seen, Shows};
use super::experiment::{Choices, Documented, Kind};
use super::faults::{Faults, Injection};
use super::files::Allowed;
use super::kill::wait_for_manager;
use super::load::{Load, Plan};
use super::moment::Moment;
use super::random::Random;
use super::rig::{Rig, is_hosts};
use super::subject::{LIMIT, Subject, Told, succeeded};
use super::targets::Targets;
use super::workshop::Setting;
use crate::cli::campaign::Experiments;

/// The task that answers.
const CONSOLE: &str = "console";

/// The task that judges what PostMark left.
const POSTMARK: &str = "postmark";

/// How soon a manager that has died is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How long it is asked nothing, so that no question is lost with it. Its faults come within 50 ms.
const QUIET: Duration = Duration::from_millis(500);

/// The campaign.
pub struct Inject {
    faults: Faults,
    targets: Targets,
    seed: u64,
    brief: bool,
}

impl Inject {
    /// A campaign of these faults; `targets` are the tasks among theirs.
    pub fn new(faults: Faults, targets: Targets, options: &Experiments) -> Self {
        Self {
            faults,
            targets,
            seed: options.seed,
            brief: options.brief,
        }
    }
}

impl Kind for Inject {
    fn choose(&self, number: u64, attempt: u32) -> Choices {
        let mut random = Random::attempt(self.seed, number, attempt);
        let injection = self.faults.choose(number, attempt, &mut random);
        // Programs see every answer; PostMark's is one in the end.
        let plan = match injection.target.as_str() {
            _ if self.brief => Plan::brief(&mut random),
            POSTMARK => Plan::postmark(&mut random, 1).with_a_sync(&mut random),
            _ => Plan::files(&mut random),
        };
        Choices {
            moment: Moment::within(&mut random, &plan).with_a_sync(&mut random),
            fault: injection.fault.clone(),
            target: injection.target.clone(),
            setting: Setting::for_number(self.seed, number, self.brief),
            fresh: false,
            deaths: injection.deaths(),
            is_read_back: false,
            plan,
            injection: Some(injection),
        }
    }

    fn carry_out(&self, choices: &Choices, top: &str, rig: &mut Rig<'_>) -> Result<Documented> {
        let Some(injection) = &choices.injection else {
            return Ok(None);
        };
        let subject = rig.subject()?;
        let mut load = choices.plan.begin(subject, top)?;
        subject.run("sync")?;
        let outcome = self.suffer(choices, injection, (&mut load, top), rig);
        let documented = match outcome {
            Ok(()) => None,
            Err(error) => {
                let subject = rig.subject()?;
                let seen = Seen::by(&error, subject);
                // What a damaged PostMark says of its own files another boot is to say again.
                let is_judges = seen == Seen::Wrong && injection.target == POSTMARK;
                if is_hosts(&error) || !(is_judges || injection.shows.allows(seen)) {
                    return Err(error);
                }
                note_hits(seen, injection, subject)?;
                match self.look_again(injection, &load, rig) {
                    // What the only disk has damaged cannot be read.
                    Err(lost) if injection.of_disk && lost.is::<Told>() => {}
                    looked => looked.map_err(|lost| lost.context(format!("after {error:#}")))?,
                }
                Some(format!("{error:#}{}", losses(rig)))
            }
        };
        let heard = &rig.subject()?.heard;
        let struck = heard.has_struck(&injection.target);
        // What it left in memory or on a disk must not be taken for the next one's; nor an end that is still to come.
        let lingers = !heard.has_died(&injection.target);
        if struck && (injection.of_disk || injection.shows > Shows::Nothing || lingers) {
            rig.discard_after();
            return Ok(documented);
        }
        load.remove(rig.subject()?)?;
        Ok(documented)
    }
}

impl Inject {
    /// Injects, and lets the work come to its end; then nothing may be wrong.
    fn suffer(
        &self,
        choices: &Choices,
        injection: &Injection,
        (load, top): (&mut Load, &str),
        rig: &mut Rig<'_>,
    ) -> Result<()> {
        let subject = rig.subject()?;
        choices.moment.wait(subject, load)?;
        let order = subject.guest.start(&injection.command())?;
        let target = choices.target.as_str();
        self.finish(injection, order, (load, top), subject)?;
        if injection.of_disk {
            // What was not written yet meets the fault, too.
            subject.run("sync")?;
        }
        take_back(subject, injection)?;
        if target == MANAGER {
            wait_for_manager(subject)?;
        }
        load.verify(subject, target == POSTMARK)?;
        if injection.of_disk {
            // What the disks hold, and not what the cache does.
            subject.run("sync")?;
            subject.reset()?;
            subject.run("mount")?;
            load.verify(subject, false)?;
        }
        let is_slow = injection.fault == "slow";
        if is_slow || !(injection.of_disk || injection.shows > Shows::Nothing) {
            subject.is_whole()?;
        }
        rig.check_kept()
    }

    /// After something loud: what was synced must be there all the same, on a guest that boots from what the
    /// disks hold.
    fn look_again(&self, injection: &Injection, load: &Load, rig: &mut Rig<'_>) -> Result<()> {
        let allowed = Allowed {
            in_place: rig.setting().in_place,
            losses: injection.of_disk,
        };
        rig.kill_qemu()?;
        let subject = rig.subject()?;
        // A cache that says it gave up what was not synced had programs go on from before it; what a damaged PostMark
        // has written is its own; and what programs were told of each other's files they have written.
        let is_known = !subject.heard.lost_all && injection.target != POSTMARK;
        if is_known && injection.shows != Shows::Wrong {
            load.verify_after_cut(subject, allowed)?;
        }
        rig.check_kept()
    }

    /// Waits for the end of the work, for the answer to the order, for what waits in a task, and for the target
    /// if it died.
    fn finish(
        &self,
        injection: &Injection,
        order: u64,
        (load, top): (&mut Load, &str),
        subject: &mut Subject,
    ) -> Result<()> {
        let target = injection.target.as_str();
        // The manager's comes when it is asked; rules of disks wait for what a sync writes. A console that dies answers
        // nothing that it was asked before: so it is asked nothing for a while.
        let is_console = target == CONSOLE;
        let mut has_come = injection.of_disk || is_console || target == MANAGER;
        let quiet_until = Instant::now() + QUIET;
        let deadline = Instant::now() + LIMIT;
        let mut ordered = false;
        let mut consoles = subject.heard.consoles;
        loop {
            load.go_on(subject)?;
            if load.is_over() && ordered && !has_come {
                has_come = true;
                subject.has_come(top)?;
            }
            let died = subject.heard.deaths.iter().any(|(task, _)| task == target);
            // An application that exits is done.
            let is_done =
                injection.is_timed && !is_console && injection.fault == Fault::Exit.name();
            let is_back = !died || is_done || self.targets.is_back(target, &subject.heard);
            let is_quiet =
                is_console && subject.heard.consoles == 0 && Instant::now() < quiet_until;
            if load.is_over() && is_back && ordered && !is_quiet {
                return Ok(());
            }
            let until = if is_quiet { quiet_until } else { deadline };
            let Some(event) = subject.event("the fault is in force", until)? else {
                if is_quiet {
                    continue;
                }
                let what = if load.is_over() {
                    format!("the recovery of {target}")
                } else {
                    "the work".into()
                };
                return Err(subject.guest.hang(&what, LIMIT));
            };
            load.take(&event)?;
            if let Some(done) = event.done(order) {
                succeeded(&injection.command(), done)?;
                ordered = true;
            }
            if subject.heard.consoles > consoles {
                consoles = subject.heard.consoles;
                // A console that dies of its order does not answer it.
                ordered = true;
                load.answers_are_lost(subject)?;
            }
        }
    }
}

/// Notes how often it struck, after an error that documents allow.
fn note_hits(seen: Seen, injection: &Injection, subject: &mut Subject) -> Result<()> {
    let of_console = injection.target == CONSOLE;
    match seen {
        // Nobody is there to be asked.
        Seen::GaveUp | Seen::Ended => {}
        // Who would be asked is who suffers from it.
        Seen::Silence if of_console => subject.heard.hits += 1,
        Seen::Error | Seen::Wrong | Seen::Silence => match take_back(subject, injection) {
            Err(error) if of_console && Seen::by(&error, subject) == Seen::Silence => {
                subject.heard.hits += 1;
            }
            taken => taken?,
        },
    }
    Ok(())
}

/// Ends it, and notes how often it struck: what never did shows nothing.
fn take_back(subject: &mut Subject, injection: &Injection) -> Result<()> {
    let listed = ask_manager(subject, injection, "inject list")?;
    let listed = listed["injections"].as_array().cloned().unwrap_or_default();
    let removed = ask_manager(subject, injection, "inject off all")?["removed"].as_u64();
    let heard = &mut subject.heard;
    // What waits for its one time is in the list no more when that has come; nor if nobody was there for it, which
    // is told, or if the list died with the manager.
    let has_come = removed == Some(0) && heard.missed == 0 && !heard.has_died(MANAGER);
    if !injection.of_disk && has_come {
        heard.hits += 1;
    }
    let hits = listed.iter().filter_map(|it| it["hits"].as_u64());
    heard.hits += hits.sum::<u64>();
    Ok(())
}

/// The result of a command to the manager. If that is the target, a question may end with it, and is put again.
fn ask_manager(subject: &mut Subject, injection: &Injection, command: &str) -> Result<Value> {
    let deadline = Instant::now() + LIMIT;
    loop {
        match subject.ask(command) {
            Err(error)
                if injection.target == MANAGER
                    && error.is::<Told>()
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(ASK_AGAIN);
            }
            result => return result,
        }
    }
}

/// What the cache said it had lost.
fn losses(rig: &mut Rig<'_>) -> String {
    match rig.subject() {
        Ok(subject) if !subject.heard.losses.is_empty() => {
            format!(" (lost: {})", subject.heard.losses.join(", "))
        }
        _ => String::new(),
    }
}
