//! The guest that an experiment is made on, with an ear for all that it tells.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::heard::Heard;
use crate::Failure;
use crate::guest::{Done, Event, Guest};

/// How long a boot, a command or a recovery may take. Far more than it does, on a busy host too: what
/// takes longer hangs.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often something is synced so that what waits in a task has its occasion.
const OCCASIONS_MAX: u32 = 10;

/// How many consoles are asked one question, each after the death of the one before.
const CONSOLES_MAX: u32 = 4;

/// A command that does nothing, and what it tells as no other does.
const PROBE: &str = "uptime";
const PROBE_TELLS: &str = "uptime_ns";

/// A command was answered with an error: the only thing that is wrong and may be in order, where documents say so.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` failed: {reason}")]
pub struct Told {
    command: String,
    reason: String,
}

impl Told {
    /// Whether this name stands for nothing, which is no error but an answer.
    pub fn is_absence(&self) -> bool {
        self.reason.ends_with("no such file or directory")
    }

    /// Whether a check of PostMark's files was made and found one that is wrong, missing, or too many.
    fn is_wrong(&self) -> bool {
        let found =
            |it: &str| it.contains(" wrong, ") && !it.contains("(0 wrong, 0 missing, 0 extra)");
        found(&self.reason)
    }
}

/// The result of a command that had to succeed.
///
/// # Errors
/// [`Told`] if it was answered with an error.
pub fn succeeded(command: &str, done: Done) -> Result<Value> {
    if done.ok {
        return Ok(done.result);
    }
    let told = Told {
        command: command.to_owned(),
        reason: done.error.unwrap_or_else(|| "no reason given".into()),
    };
    Err(told.into())
}

/// A running guest.
pub struct Subject {
    /// The guest.
    pub guest: Guest,
    /// What it told since an experiment began.
    pub heard: Heard,
}

impl Subject {
    /// Listens to a guest, after what others told that is not noted yet.
    pub fn new(guest: Guest, heard: Heard) -> Self {
        Self { guest, heard }
    }

    /// Waits until a guest that boots takes commands.
    pub fn wait_ready(&mut self) -> Result<()> {
        let heard = &mut self.heard;
        self.guest.wait_for("booting", LIMIT, |event| {
            heard.note(event);
            (event.kind() == "ready").then_some(())
        })
    }

    /// Resets the machine as its button does, and waits until it takes commands again.
    pub fn reset(&mut self) -> Result<()> {
        let heard = &mut self.heard;
        self.guest
            .restart("reset", LIMIT, |event| heard.note(event))
    }

    /// Looks whether the volume is there with all its stores.
    ///
    /// # Errors
    /// [`Failure::Check`] if one is missing.
    pub fn is_whole(&mut self) -> Result<()> {
        whole(&self.ask("df")?)
    }

    /// Whether there is anything of this name.
    ///
    /// # Errors
    /// [`Told`] if that cannot be said.
    pub fn exists(&mut self, path: &str) -> Result<bool> {
        match self.ask(&format!("stat {path}")) {
            Ok(_) => Ok(true),
            Err(error) if error.downcast_ref().is_some_and(Told::is_absence) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has PostMark's files checked by the guest.
    ///
    /// # Errors
    /// [`Told`] if some cannot be read; [`Failure::Check`] if one is wrong, missing, or too many.
    pub fn verify_postmark(&mut self, parameters: &str) -> Result<()> {
        let command = format!("verify postmark {parameters}");
        let error = match self.ask(&command) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        Err(match error.downcast_ref::<Told>() {
            Some(told) if told.is_wrong() => Failure::Check(told.to_string()).into(),
            _ => error,
        })
    }

    /// The next event, or nothing by `deadline`.
    pub fn event(&mut self, doing: &str, deadline: Instant) -> Result<Option<Event>> {
        let event = self.guest.event(doing, deadline)?;
        if let Some(event) = &event {
            self.heard.note(event);
        }
        Ok(event)
    }

    /// Runs a command to its end, well or not.
    pub fn command(&mut self, command: &str) -> Result<Done> {
        let id = self.guest.start(command)?;
        let heard = &mut self.heard;
        self.guest
            .finish(id, command, LIMIT, |event| heard.note(event))
    }

    /// Runs a command that must succeed, and returns its result.
    pub fn run(&mut self, command: &str) -> Result<Value> {
        let done = self.command(command)?;
        succeeded(command, done)
    }

    /// Asks what may be asked twice, and must be answered well. A console that dies takes what it was asked with it; then
    /// its successor is asked.
    pub fn ask(&mut self, question: &str) -> Result<Value> {
        for _ in 0..CONSOLES_MAX {
            let consoles = self.heard.consoles;
            let id = self.guest.start(question)?;
            let heard = &mut self.heard;
            let doing = format!("`{question}`");
            let done = self.guest.wait_for(&doing, LIMIT, |event| {
                heard.note(event);
                let done = event.done(id);
                (done.is_some() || heard.consoles > consoles).then_some(done)
            })?;
            if let Some(done) = done {
                return succeeded(question, done);
            }
        }
        let what = format!("{CONSOLES_MAX} consoles died of `{question}`");
        Err(self.guest.failure(what).into())
    }

    /// The ends of those of these commands that a console has read which was started since they were typed. The
    /// others have died with the console before it, or were only read by half.
    ///
    /// What is typed is read in order; so another command of the same number is refused if the first is at work, and
    /// if not, that has ended or never will begin.
    pub fn late_answers(&mut self, mut asked: Vec<u64>) -> Result<Vec<Event>> {
        const DOING: &str = "waiting for what a console has left to its successor";
        let mut ends = Vec::new();
        let deadline = Instant::now() + LIMIT;
        let mut consoles = None;
        while !asked.is_empty() {
            if consoles != Some(self.heard.consoles) {
                consoles = Some(self.heard.consoles);
                for &id in &asked {
                    self.guest.start_as(id, PROBE)?;
                }
            }
            let Some(event) = self.event(DOING, deadline)? else {
                return Err(self.guest.hang(DOING, LIMIT));
            };
            let ended = asked.iter().find_map(|&id| Some((id, event.done(id)?)));
            match ended {
                Some((_, done)) if done.is_refused() => {}
                Some((id, done)) => {
                    asked.retain(|&it| it != id);
                    if done.result.get(PROBE_TELLS).is_none() {
                        ends.push(event);
                    }
                }
                None => {}
            }
        }
        Ok(ends)
    }

    /// Waits until what waits in a task has come: if need be, something is synced, so that all layers have
    /// something to do. False if it still waits then.
    pub fn has_come(&mut self, top: &str) -> Result<bool> {
        for _ in 0..OCCASIONS_MAX {
            let listed = self.ask("inject list")?;
            if listed["injections"].as_array().is_some_and(Vec::is_empty) {
                return Ok(true);
            }
            self.run(&format!("touch {top}"))?;
            self.run("sync")?;
        }
        Ok(false)
    }

    /// The lines that a command prints, which must succeed.
    pub fn output(&mut self, command: &str) -> Result<Vec<String>> {
        let id = self.guest.start(command)?;
        let mut lines = Vec::new();
        let heard = &mut self.heard;
        let done = self.guest.finish(id, command, LIMIT, |event| {
            heard.note(event);
            if event.kind() == "output" && event.id() == Some(id) {
                lines.push(event.text("text").unwrap_or_default().to_owned());
            }
        })?;
        succeeded(command, done)?;
        Ok(lines)
    }
}

/// Looks whether a volume is there with all its stores, as `df` and `mount` tell.
///
/// # Errors
/// [`Failure::Check`] if one is missing.
pub fn whole(told: &Value) -> Result<()> {
    if told["state"] == "mounted" && told["stores_present"] == told["stores"] {
        return Ok(());
    }
    let what = format!(
        "the volume is {}: {} of {} stores",
        told["state"], told["stores_present"], told["stores"]
    );
    Err(Failure::Check(what).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failed(reason: &str) -> anyhow::Error {
        let done = Done {
            ok: false,
            error: Some(reason.to_owned()),
            result: Value::Null,
        };
        succeeded("stat /e1", done).unwrap_err()
    }

    #[test]
    fn only_a_name_that_stands_for_nothing_is_absent() {
        let is_absence = |error: anyhow::Error| error.downcast_ref().map(Told::is_absence);
        let absent = "/e1: no such file or directory";
        assert_eq!(is_absence(failed(absent)), Some(true));
        assert_eq!(is_absence(failed("/e1: input/output error")), Some(false));
        assert_eq!(is_absence(failed("the other side died")), Some(false));
    }

    #[test]
    fn files_that_are_wrong_are_told_from_those_that_cannot_be_read() {
        let is_wrong = |error: anyhow::Error| error.downcast_ref().map(Told::is_wrong);
        let counted =
            |counts: &str| failed(&format!("verify: 2 errors ({counts}), the first: /a: b"));
        assert_eq!(
            is_wrong(counted("0 wrong, 0 missing, 0 extra")),
            Some(false)
        );
        for counts in [
            "1 wrong, 0 missing, 0 extra",
            "0 wrong, 2 missing, 0 extra",
            "0 wrong, 0 missing, 1 extra",
        ] {
            assert_eq!(is_wrong(counted(counts)), Some(true), "{counts}");
        }
        assert_eq!(is_wrong(failed("postmark: the task died")), Some(false));
    }

    #[test]
    fn a_volume_without_one_of_its_stores_is_not_whole() {
        let told = |state: &str, present: u32| json!({ "state": state, "stores": 2, "stores_present": present });
        assert!(whole(&told("mounted", 2)).is_ok());
        let degraded = whole(&told("degraded", 1)).unwrap_err().to_string();
        assert!(degraded.contains("1 of 2 stores"), "{degraded}");
        assert!(whole(&told("mounted", 1)).is_err());
        assert!(whole(&Value::Null).is_err());
    }
}
