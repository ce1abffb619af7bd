//! Faults: any of them in any task and any disk, in the middle of work.

use std::time::Instant;

use anyhow::Result;
use stack::MANAGER;

use super::experiment::{Choices, Documented, Kind};
use super::faults::{Faults, Injection};
use super::kill::wait_for_manager;
use super::load::{Load, Plan};
use super::moment::Moment;
use super::random::Random;
use super::rig::{Rig, Setting, is_hosts};
use super::subject::{LIMIT, Subject};
use super::targets::Targets;
use crate::cli::campaign::Experiments;
use crate::guest::succeeded;

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
    fn choose(&self, number: u64) -> Choices {
        let mut random = Random::new(self.seed, number);
        let injection = self.faults.choose(number, &mut random);
        // Programs see every answer; PostMark's is one in the end.
        let plan = match injection.target.as_str() {
            _ if self.brief => Plan::brief(&mut random),
            "postmark" => Plan::postmark(&mut random, 1),
            _ => Plan::files(&mut random),
        };
        Choices {
            moment: Moment::within(&mut random, &plan),
            fault: injection.fault.clone(),
            target: injection.target.clone(),
            setting: Setting::for_number(self.seed, number, self.brief),
            fresh: false,
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
        let outcome = self.suffer(choices, injection, &mut load, rig);
        let documented = match outcome {
            Ok(()) => None,
            Err(error) if !injection.may_show || is_hosts(&error) => return Err(error),
            Err(error) => {
                // Loud. What was synced must be there all the same.
                rig.kill_qemu()?;
                let subject = rig.subject()?;
                // A cache that says it gave up what was not synced had programs go on from before it.
                if !subject.heard.lost_all {
                    load.verify_after_cut(subject)
                        .map_err(|lost| lost.context(format!("after {error:#}")))?;
                }
                rig.check_kept()?;
                let losses = subject_losses(rig);
                Some(format!("{error:#}{losses}"))
            }
        };
        // What it left in memory or on a disk must not be taken for the next one's.
        if injection.of_disk || injection.may_show {
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
        load: &mut Load,
        rig: &mut Rig<'_>,
    ) -> Result<()> {
        let subject = rig.subject()?;
        choices.moment.wait(subject, load)?;
        let order = subject.guest.start(&injection.command())?;
        let target = choices.target.as_str();
        self.finish(target, order, load, subject)?;
        if injection.of_disk {
            // What was not written yet meets the fault, too.
            subject.run("sync")?;
        }
        note_hits(subject, injection)?;
        subject.run("inject off all")?;
        if target == MANAGER {
            wait_for_manager(subject)?;
        }
        load.verify(subject, target == "postmark")?;
        if injection.of_disk {
            // What the disks hold, and not what the cache does.
            subject.run("sync")?;
            let heard = &mut subject.heard;
            subject
                .guest
                .restart("reset", LIMIT, |event| heard.note(event))?;
            subject.run("mount")?;
            load.verify(subject, false)?;
        }
        rig.check_kept()
    }

    /// Waits for the end of the work, for the answer to the order, and for the target if it died.
    fn finish(
        &self,
        target: &str,
        order: u64,
        load: &mut Load,
        subject: &mut Subject,
    ) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut ordered = false;
        let mut consoles = subject.heard.consoles;
        loop {
            load.go_on(subject)?;
            let died = subject.heard.deaths.iter().any(|(task, _)| task == target);
            let is_back = !died || self.targets.is_back(target, &subject.heard);
            if load.is_over() && is_back && ordered {
                return Ok(());
            }
            let Some(event) = subject.event("the fault is in force", deadline)? else {
                let what = if load.is_over() {
                    format!("{target} did not come back in {} s", LIMIT.as_secs())
                } else {
                    format!("the work hangs: it did not end in {} s", LIMIT.as_secs())
                };
                return Err(subject.guest.failure(what).into());
            };
            load.take(&event)?;
            if let Some(done) = event.done(order) {
                succeeded("inject", done)?;
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

/// Asks how often it struck: what never did shows nothing.
fn note_hits(subject: &mut Subject, injection: &Injection) -> Result<()> {
    let listed = subject.run("inject list")?;
    let listed = listed["injections"].as_array();
    // What waited in a task for its one time is in the list no more when that has come.
    if !injection.of_disk && listed.is_some_and(Vec::is_empty) {
        subject.heard.hits += 1;
    }
    let hits = listed.into_iter().flatten().map(|it| it["hits"].as_u64());
    subject.heard.hits += hits.map(Option::unwrap_or_default).sum::<u64>();
    Ok(())
}

/// What the cache said it had lost.
fn subject_losses(rig: &mut Rig<'_>) -> String {
    let losses = rig.subject().map(|it| it.heard.losses.join(", "));
    match losses {
        Ok(losses) if !losses.is_empty() => format!(" (lost: {losses})"),
        _ => String::new(),
    }
}
