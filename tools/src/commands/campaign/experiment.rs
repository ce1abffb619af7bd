//! An experiment: what is chosen, what comes of it, and what is kept of it.

use std::time::Instant;

use anyhow::Result;

use super::faults::Injection;
use super::heard::Heard;
use super::load::Plan;
use super::moment::Moment;
use super::record::{Identity, Outcome, Record};
use super::rig::{Rig, Setting, is_hosts};
use crate::Failure;

/// What a user sees, and the documents say: an error, a stop.
pub type Documented = Option<String>;

/// A kind of campaign.
pub trait Kind: Sync {
    /// What experiment `number` is to be. It follows from the campaign's seed, the number and the attempt alone;
    /// what is injected into whom is the same in all attempts.
    fn choose(&self, number: u64, attempt: u32) -> Choices;

    /// Makes it: works below the directory `top`, injects, looks whether all is well. Returns what is not,
    /// where the documents say so.
    ///
    /// # Errors
    /// [`Failure::Check`] and [`Failure::Guest`] are Galago's fault, anything else the host's.
    fn carry_out(&self, choices: &Choices, top: &str, rig: &mut Rig<'_>) -> Result<Documented>;
}

/// How often an experiment is tried whose fault does not strike.
const ATTEMPTS_MAX: u32 = 3;

/// The target of what stops the machine as a whole.
pub const MACHINE: &str = "machine";

/// What was chosen.
#[derive(Clone, Debug)]
pub struct Choices {
    /// What goes on meanwhile.
    pub plan: Plan,
    /// When it is injected.
    pub moment: Moment,
    /// What.
    pub fault: String,
    /// Into whom.
    pub target: String,
    /// The machine.
    pub setting: Setting,
    /// The guest must have just booted.
    pub fresh: bool,
    /// What is typed for it, if it is a fault of a task or a disk.
    pub injection: Option<Injection>,
}

impl Choices {
    fn describe_moment(&self) -> String {
        let moment = self.moment.describe();
        match &self.injection {
            Some(injection) => format!("{moment}, {}", injection.parameters),
            None => moment,
        }
    }
}

/// Makes experiment `number` and says what came of it: once more, at another moment, if what was injected did
/// not strike. Afterwards the rig is fit for the next.
pub fn perform(kind: &dyn Kind, identity: &Identity, number: u64, rig: &mut Rig<'_>) -> Record {
    let begun = Instant::now();
    let mut attempts = 0;
    loop {
        let mut record = perform_once(kind, identity, number, attempts, rig);
        attempts += 1;
        if attempts == ATTEMPTS_MAX || !record.is_missed() {
            record.attempts = attempts;
            record.host_ms = begun.elapsed().as_millis() as u64;
            return record;
        }
    }
}

fn perform_once(
    kind: &dyn Kind,
    identity: &Identity,
    number: u64,
    attempt: u32,
    rig: &mut Rig<'_>,
) -> Record {
    let choices = kind.choose(number, attempt);
    let result = carry_out(kind, &choices, number, rig);
    let heard = rig.heard();
    // A machine that was cut off was struck.
    let struck = choices.target == MACHINE || heard.has_struck(&choices.target);
    let result = result.and_then(|documented| {
        no_death_of_its_own(&choices.target, &heard)?;
        match (&documented, heard.losses.first()) {
            (Some(seen), _) if !struck => {
                let what = format!("though the fault did not strike: {seen}");
                Err(Failure::Check(what).into())
            }
            (None, Some(loss)) => Err(Failure::Check(format!("the cache lost {loss}")).into()),
            _ => Ok(documented),
        }
    });
    let mut record = Record {
        number,
        identity: identity.clone(),
        workload: choices.plan.describe(),
        recovery_ns: heard
            .recovery_of(&choices.target)
            .or_else(|| heard.recoveries.iter().map(|(_, ns)| *ns).max()),
        fault: choices.fault.clone(),
        target: choices.target.clone(),
        moment: choices.describe_moment(),
        struck,
        attempts: 1,
        outcome: Outcome::Recovered,
        why: None,
        deaths: heard.death_lines(),
        last_words: Vec::new(),
        replay: heard.replay,
        below_again_ns: heard.below_again_ns,
        resync: heard.resync,
        cut: heard.cut,
        penultimate: heard.penultimate,
        host_ms: 0,
        console: Vec::new(),
        repeat: format!("{} --only {number}", identity.command()),
    };
    if let Ok(Some(documented)) = &result {
        record.outcome = Outcome::StoppedAsDocumented;
        record.why = Some(documented.clone());
    }
    if let Err(error) = result {
        record.outcome = if is_hosts(&error) {
            Outcome::Harness
        } else {
            Outcome::VisibleFailure
        };
        record.why = Some(format!("{error:#}"));
        record.last_words = heard.words;
        record.console = match error.downcast_ref() {
            Some(Failure::Guest { tail, .. }) => tail.clone(),
            _ => rig.console(),
        };
        rig.discard();
    }
    record
}

fn carry_out(
    kind: &dyn Kind,
    choices: &Choices,
    number: u64,
    rig: &mut Rig<'_>,
) -> Result<Documented> {
    let subject = rig.ready(choices.setting, choices.fresh)?;
    subject.heard = Heard::default();
    kind.carry_out(choices, &format!("/e{number}"), rig)
}

/// Nobody may die but the target, those who are ended with it, and `logical`, which ends itself when a
/// store is gone (docs/manager.md).
fn no_death_of_its_own(target: &str, heard: &Heard) -> Result<()> {
    const ENDED_WITH: [&str; 3] = ["killed", "injected kill", "exit: status 75"];
    let own = heard
        .deaths
        .iter()
        .find(|(task, words)| task != target && !ENDED_WITH.iter().any(|it| words.starts_with(it)));
    match own {
        Some((task, words)) => {
            Err(Failure::Check(format!("{task} died of its own: {words}")).into())
        }
        None => Ok(()),
    }
}
