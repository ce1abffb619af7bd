//! A program: its operations, one after the other, and the states that they lead through.

use anyhow::Result;

use super::operation::Operation;
use super::state::State;
use super::wrong;
use crate::commands::campaign::random::Random;
use crate::commands::campaign::subject::Subject;
use crate::guest::{Event, Guest};

/// What the program has asked for and not been answered.
struct Asked {
    id: u64,
    command: String,
    operation: Operation,
    /// For a sync, the states of all programs when it began.
    known: Vec<usize>,
}

/// A program.
pub struct Program {
    /// Its directory.
    pub top: String,
    random: Random,
    /// All states so far, by time; the operation under way has added its own.
    states: Vec<State>,
    /// The operation that led to each state.
    commands: Vec<String>,
    /// The last one that is known to have been reached.
    reached: usize,
    /// The last one that is known to be on the disks.
    synced: usize,
    asked: Option<Asked>,
}

impl Program {
    /// A program in an empty directory.
    pub fn new(top: String, random: Random) -> Self {
        Self {
            top,
            random,
            states: vec![State::default()],
            commands: vec!["nothing".into()],
            reached: 0,
            synced: 0,
            asked: None,
        }
    }

    /// Whether it has asked for something and not been answered.
    pub fn waits(&self) -> bool {
        self.asked.is_some()
    }

    /// The number of what it has asked for and not been answered.
    pub fn asked(&self) -> Option<u64> {
        self.asked.as_ref().map(|asked| asked.id)
    }

    /// The last state that it knows to have been reached.
    pub fn known(&self) -> usize {
        self.reached
    }

    /// What was reached by then is on the disks.
    pub fn is_synced(&mut self, state: usize) {
        self.synced = self.synced.max(state);
    }

    fn state(&self) -> &State {
        &self.states[self.reached]
    }

    /// Does the next operation. `known` is what all programs know.
    pub fn go_on(&mut self, guest: &mut Guest, known: Vec<usize>) -> Result<()> {
        let operation = Operation::choose(&mut self.random, &self.states[self.reached]);
        let command = operation.command(&self.top);
        let id = guest.start(&command)?;
        let after = self.state().after(&operation);
        self.states.extend(after);
        self.commands.resize(self.states.len(), command.clone());
        self.asked = Some(Asked {
            id,
            command,
            operation,
            known,
        });
        Ok(())
    }

    /// Takes the answer, if the event is one to this program. Of a sync, returns what was known by all
    /// when it began.
    pub fn take(&mut self, event: &Event) -> Result<Option<Vec<usize>>> {
        let done = |asked: &Asked| event.done(asked.id);
        let Some(done) = self.asked.as_ref().and_then(done) else {
            return Ok(None);
        };
        let Some(asked) = self.asked.take() else {
            return Ok(None);
        };
        let command = &asked.command;
        if !done.ok {
            let reason = done.error.unwrap_or_default();
            return Err(wrong(format!("`{command}` failed: {reason}")));
        }
        self.reached = self.states.len() - 1;
        match &asked.operation {
            Operation::Read { path } => {
                let expected = self.state().hash_of(path);
                if done.result["sha256"].as_str() != expected.as_deref() {
                    return Err(wrong(format!("`{command}`: not what was written")));
                }
                Ok(None)
            }
            Operation::Sync => Ok(Some(asked.known)),
            _ => Ok(None),
        }
    }

    /// Nobody will answer any more. What is there tells whether the operation was done: naming ends what the
    /// console that died has asked it for before it serves the next one (`storage::succession`).
    pub fn answer_is_lost(&mut self, subject: &mut Subject) -> Result<()> {
        let Some(asked) = self.asked.take() else {
            return Ok(());
        };
        let found = self.found(subject)?;
        let possible = self.reached..self.states.len();
        let reached = possible
            .rev()
            .find(|state| self.states[*state].checksum() == found);
        let Some(reached) = reached else {
            let what = format!("{}: neither before nor after `{}`", self.top, asked.command);
            return Err(wrong(what));
        };
        self.states.truncate(reached + 1);
        self.commands.truncate(reached + 1);
        self.reached = reached;
        Ok(())
    }

    fn found(&self, subject: &mut Subject) -> Result<String> {
        let result = subject.run(&format!("sha256 {}", self.top))?;
        Ok(result["sha256"].as_str().unwrap_or_default().to_owned())
    }

    /// Looks whether exactly the files of its state are there.
    pub fn verify(&self, subject: &mut Subject) -> Result<()> {
        if self.found(subject)? == self.state().checksum() {
            return Ok(());
        }
        let lines = subject.output(&format!("blocks {}", self.top))?;
        let differences = self.state().compare(&lines, &[]).differences;
        Err(wrong(format!("{}: {}", self.top, differences.join("; "))))
    }

    /// Looks whether a state is there that is not older than what was synced. Blocks may be of a later
    /// one: what was overwritten in place after the last checkpoint. Those of them that cannot be read are
    /// counted.
    pub fn verify_after_cut(&self, subject: &mut Subject) -> Result<u64> {
        // It is an error where a block cannot be read.
        let hash = subject.command(&format!("sha256 {}", self.top))?.result;
        let mut possible = self.synced..self.states.len();
        if possible.any(|state| hash["sha256"] == self.states[state].checksum()) {
            return Ok(0);
        }
        let lines = subject.output(&format!("blocks {}", self.top))?;
        let mut nearest: Option<Vec<String>> = None;
        for index in self.synced..self.states.len() {
            let found = self.states[index].compare(&lines, &self.states[index + 1..]);
            if found.differences.is_empty() {
                return Ok(found.unreadable);
            }
            let fewer = |other: &Vec<String>| found.differences.len() < other.len();
            if nearest.as_ref().is_none_or(fewer) {
                nearest = Some(found.differences);
            }
        }
        let nearest = nearest.unwrap_or_default().join("; ");
        let since = self.commands[self.synced..].iter();
        let mut since: Vec<&str> = since.map(String::as_str).collect();
        since.dedup();
        Err(wrong(format!(
            "{}: no state since the last sync; of the nearest: {nearest}; operations since: {}",
            self.top,
            since.join("; ")
        )))
    }
}
