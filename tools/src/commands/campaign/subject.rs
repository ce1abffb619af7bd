//! The guest that an experiment is made on, with an ear for all that it tells.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::heard::Heard;
use crate::guest::{Done, Event, Guest, succeeded};

/// How long a boot, a command or a recovery may take. Far more than it does, on a busy host too: what
/// takes longer hangs.
pub const LIMIT: Duration = Duration::from_secs(120);

/// How often something is synced so that what waits in a task has its occasion.
const OCCASIONS_MAX: u32 = 10;

/// A command that does nothing, and what it tells as no other does.
const PROBE: &str = "uptime";
const PROBE_TELLS: &str = "uptime_ns";

/// A running guest.
pub struct Subject {
    /// The guest.
    pub guest: Guest,
    /// What it told since an experiment began.
    pub heard: Heard,
}

impl Subject {
    /// Listens to a guest.
    pub fn new(guest: Guest) -> Self {
        Self {
            guest,
            heard: Heard::default(),
        }
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
                return Err(self.guest.failure(format!("{DOING}: nothing comes")).into());
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
            let listed = self.run("inject list")?;
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
