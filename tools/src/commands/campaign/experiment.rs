//! An experiment: what is chosen, what comes of it, and what is kept of it.

use std::time::Instant;

use anyhow::{Result, anyhow};
use stack::{Role, Stack};

use super::deaths::Ordered;
use super::faults::Injection;
use super::heard::Heard;
use super::load::Plan;
use super::moment::Moment;
use super::record::{Identity, Outcome, Record};
use super::rig::{Rig, is_hosts};
use super::workshop::Setting;
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
    /// [`Failure::Check`], [`Failure::Guest`] and [`Told`](super::subject::Told) are Galago's fault, anything else
    /// the host's.
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
    /// Who is to die.
    pub deaths: Ordered,
    /// What is there afterwards is read from the disks, too, by another boot.
    pub is_read_back: bool,
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
    let result = rig
        .ready(choices.setting, choices.fresh)
        .map(drop)
        .and_then(|()| kind.carry_out(&choices, &format!("/e{number}"), rig));
    let kept = match &result {
        // Who hangs is not asked.
        Err(error) if !is_hosts(error) && !is_guests_end(error) => rig.check_kept().err(),
        _ => None,
    };
    let heard = rig.heard();
    // A machine that was cut off was struck.
    let struck = choices.target == MACHINE || heard.has_struck(&choices.target);
    let result = judged(result, &choices, (&heard, struck), rig.stack());
    let mut record = Record {
        number,
        identity: identity.clone(),
        build: rig.build().to_owned(),
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
        let kept = kept.map_or(String::new(), |kept| format!("; and {kept:#}"));
        record.why = Some(format!("{error:#}{kept}"));
        record.last_words = heard.words;
        record.console = match error.downcast_ref() {
            Some(Failure::Guest { tail, .. }) => tail.clone(),
            _ => rig.console(),
        };
        rig.discard();
    }
    record
}

/// Whether the guest hangs, or is gone.
fn is_guests_end(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Failure::Guest { .. }))
}

/// What an experiment came to, with all that was heard.
fn judged(
    result: Result<Documented>,
    choices: &Choices,
    (heard, struck): (&Heard, bool),
    stack: &Stack,
) -> Result<Documented> {
    let unheard = heard.unheard;
    let deaf =
        || anyhow!("{unheard} events were dropped on their way: nobody knows what they told");
    let documented = match result {
        // A death that nobody heard of is waited for in vain.
        Err(error) if unheard > 0 && is_guests_end(&error) => {
            return Err(deaf().context(format!("{error:#}")));
        }
        result => result?,
    };
    let check = |wrong: Option<String>| match wrong {
        Some(what) => Err(Failure::Check(what)),
        None => Ok(()),
    };
    check(choices.deaths.unordered(&choices.target, heard, stack))?;
    let may_show = documented.is_some();
    let is_application = |name: &String| {
        let mut tasks = stack.tasks.iter();
        tasks.any(|task| task.name == *name && task.role == Role::Application)
    };
    let stopped = heard
        .stopped
        .iter()
        .find(|it| !may_show && !is_application(it));
    check(stopped.map(|task| format!("{task} was taken out of the stack")))?;
    let seen = documented.as_ref().filter(|_| !struck);
    check(seen.map(|seen| format!("though the fault did not strike: {seen}")))?;
    let loss = heard.losses.first().filter(|_| !may_show);
    check(loss.map(|loss| format!("the cache lost {loss}")))?;
    if unheard > 0 {
        return Err(deaf());
    }
    Ok(documented)
}

/// Ends a thread's work: what nobody touches must be there after its last experiment, too.
pub fn settle(record: &mut Record, rig: &mut Rig<'_>) {
    let result = rig.finish();
    let heard = rig.heard();
    let unordered = Ordered::None.unordered(&record.target, &heard, rig.stack());
    let wrong = match (result, unordered) {
        (Err(error), _) => Some((format!("{error:#}"), is_hosts(&error))),
        (Ok(()), Some(died)) => Some((died, false)),
        (Ok(()), None) => None,
    };
    let Some((wrong, is_hosts)) = wrong else {
        return;
    };
    record.outcome = record.outcome.max(match is_hosts {
        true => Outcome::Harness,
        false => Outcome::VisibleFailure,
    });
    let why = record
        .why
        .take()
        .map_or(String::new(), |why| format!("{why}; "));
    record.why = Some(format!("{why}after the last experiment: {wrong}"));
    record.last_words = heard.words;
    record.console = rig.console();
    rig.discard();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::campaign::random::Random;
    use crate::guest::{Description, Event};
    use crate::host::project::Project;

    /// How a kill of `cache` ends of which this was heard, and nothing seen.
    fn judged_of(lines: &[&str], documented: Option<&str>, struck: bool) -> Result<Documented> {
        let project = Project::find().expect("tests run in a checkout");
        let mirror = Description::read(&project, "mirror").expect("a stack");
        let mut random = Random::new(1, 0);
        let plan = Plan::brief(&mut random);
        let choices = Choices {
            moment: Moment::within(&mut random, &plan),
            plan,
            fault: "kill".into(),
            target: "cache".into(),
            setting: Setting::default(),
            fresh: false,
            deaths: Ordered::Kill,
            is_read_back: false,
            injection: None,
        };
        let mut heard = Heard::default();
        for line in lines {
            heard.note(&Event::parse(line).expect("an event"));
        }
        let result = Ok(documented.map(str::to_owned));
        judged(result, &choices, (&heard, struck), &mirror.stack)
    }

    const DEATH: &str =
        r#"{"event":"death","task":"cache","cause":"injected kill","reason":"at 0x5"}"#;

    #[test]
    fn nobody_noticed_only_if_nothing_was_told_either() {
        assert!(judged_of(&[DEATH], None, true).is_ok_and(|it| it.is_none()));
        for told in [
            r#"{"event":"death","task":"naming","cause":"panic","reason":"at 5"}"#,
            r#"{"event":"stopped","task":"virtio-blk.1","reason":"crashed too often"}"#,
            r#"{"event":"loss","file":5,"page":6}"#,
        ] {
            let error = judged_of(&[DEATH, told], None, true).unwrap_err();
            assert!(!is_hosts(&error), "{told}");
        }
        let done = r#"{"event":"stopped","task":"postmark","reason":"is done"}"#;
        assert!(judged_of(&[DEATH, done], None, true).is_ok());
    }

    #[test]
    fn what_is_documented_needs_a_fault_that_struck() {
        assert!(judged_of(&[DEATH], Some("an error"), true).is_ok());
        assert!(judged_of(&[], Some("an error"), false).is_err());
    }

    #[test]
    fn an_experiment_of_which_something_was_not_heard_is_the_hosts() {
        let lost = r#"{"event":"lost","records":3}"#;
        let error = judged_of(&[DEATH, lost], None, true).unwrap_err();
        assert!(is_hosts(&error), "{error:#}");
    }
}
