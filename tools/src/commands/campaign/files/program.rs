//! A program: its operations, one after the other, and the states that they lead through.

use anyhow::Result;

use super::Allowed;
use super::moment::Left;
use super::operation::Operation;
use super::state::State;
use super::survey::Comparison;
use super::wrong;
use crate::commands::campaign::random::Random;
use crate::commands::campaign::subject::{Subject, succeeded};
use crate::guest::{Event, Guest};

/// What the program has asked for and not been answered.
struct Asked {
    id: u64,
    command: String,
    operation: Operation,
}

/// A program.
pub struct Program {
    /// Its directory.
    pub top: String,
    random: Random,
    /// All states so far, by time; the operation under way has added its own.
    states: Vec<State>,
    /// The operation that led to each state, and the states of all programs that were known when it began.
    commands: Vec<(String, Vec<usize>)>,
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
            commands: vec![("nothing".into(), Vec::new())],
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

    /// The operation that led to a state.
    pub fn command_of(&self, state: usize) -> &str {
        &self.commands[state].0
    }

    /// The states of all programs that were known when that operation began.
    pub fn known_before(&self, state: usize) -> &[usize] {
        &self.commands[state].1
    }

    /// Does the next operation. `known` is what all programs know.
    pub fn go_on(&mut self, guest: &mut Guest, known: Vec<usize>) -> Result<()> {
        let operation = Operation::choose(&mut self.random, &self.states[self.reached]);
        let command = operation.command(&self.top);
        let id = guest.start(&command)?;
        let after = self.state().after(&operation);
        self.states.extend(after);
        self.commands
            .resize(self.states.len(), (command.clone(), known));
        self.asked = Some(Asked {
            id,
            command,
            operation,
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
        let result = succeeded(command, done)?;
        self.reached = self.states.len() - 1;
        match &asked.operation {
            Operation::Read { path } => {
                let expected = self.state().hash_of(path);
                if result["sha256"].as_str() != expected.as_deref() {
                    return Err(wrong(format!("`{command}`: not what was written")));
                }
                Ok(None)
            }
            Operation::Sync => Ok(Some(self.known_before(self.reached).to_owned())),
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
        let result = subject.ask(&format!("sha256 {}", self.top))?;
        Ok(result["sha256"].as_str().unwrap_or_default().to_owned())
    }

    /// Looks whether exactly the files of its state are there.
    pub fn verify(&self, subject: &mut Subject) -> Result<()> {
        if self.found(subject)? == self.state().checksum() {
            return Ok(());
        }
        let lines = subject.output(&format!("blocks {}", self.top))?;
        let differences = self
            .state()
            .compare(&lines, &[], &mut Comparison::default())
            .differences;
        Err(wrong(format!("{}: {}", self.top, differences.join("; "))))
    }

    /// The states that are what is there after the machine was cut off, not older than what was synced; none if it
    /// differs in a block.
    pub fn left_whole(&self, subject: &mut Subject) -> Result<Vec<Left>> {
        // It is an error where a block cannot be read.
        let found = subject.command(&format!("sha256 {}", self.top))?.result;
        let as_found = |state: &usize| found["sha256"] == self.states[*state].checksum();
        let states = (self.synced..self.states.len()).filter(as_found);
        let left = |state| Left {
            state,
            unreadable: 0,
        };
        Ok(states.map(left).collect())
    }

    /// The states that may be what is there, block for block. With
    /// [`Allowed::in_place`], blocks may be of a later one, written over since the checkpoint; those of them that cannot be
    /// read are counted.
    ///
    /// # Errors
    /// [`Failure::Check`](crate::Failure::Check) if there is none.
    pub fn left_by_block(&self, subject: &mut Subject, allowed: Allowed) -> Result<Vec<Left>> {
        let lines = subject.output(&format!("blocks {}", self.top))?;
        self.like(&lines, allowed)
    }

    fn like(&self, lines: &[String], allowed: Allowed) -> Result<Vec<Left>> {
        let mut comparison = Comparison::new(allowed.losses);
        let (mut left, mut nearest): (_, Option<Vec<String>>) = (Vec::new(), None);
        for state in self.synced..self.states.len() {
            let later = if allowed.in_place {
                &self.states[state + 1..]
            } else {
                &[]
            };
            let found = self.states[state].compare(lines, later, &mut comparison);
            let fewer = |other: &Vec<String>| found.differences.len() < other.len();
            if found.differences.is_empty() {
                left.push(Left {
                    state,
                    unreadable: found.unreadable,
                });
            } else if nearest.as_ref().is_none_or(fewer) {
                nearest = Some(found.differences);
            }
        }
        if !left.is_empty() {
            return Ok(left);
        }
        let nearest = nearest.unwrap_or_default().join("; ");
        let since = self.commands[self.synced..].iter();
        let mut since: Vec<&str> = since.map(|(command, _)| command.as_str()).collect();
        since.dedup();
        Err(wrong(format!(
            "{}: no state since the last sync; of the nearest: {nearest}; operations since: {}",
            self.top,
            since.join("; ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::super::survey::tests::{file, lines};
    use super::*;

    /// A program that wrote into a file, wrote over it, and over it again.
    fn program() -> Program {
        let mut program = Program::new("/e1/p0".into(), Random::new(1, 0));
        for (seed, offset) in [(1, 0), (2, 0), (3, 4096)] {
            let after = program.state().after(&file(seed, offset, 9000));
            program.states.extend(after);
            let command = (format!("fill {seed}"), Vec::new());
            program.commands.resize(program.states.len(), command);
            program.reached = program.states.len() - 1;
        }
        program
    }

    fn states(program: &Program, lines: &[String], in_place: bool) -> Vec<usize> {
        let allowed = Allowed {
            in_place,
            losses: false,
        };
        let left = program.like(lines, allowed).unwrap_or_default();
        left.iter().map(|left| left.state).collect()
    }

    #[test]
    fn what_was_synced_must_be_there_and_what_came_after_may() {
        let mut program = program();
        let shown: Vec<_> = program.states[2..].iter().map(lines).collect();
        assert_eq!(states(&program, &[], false), [0], "nothing was synced");
        assert_eq!(states(&program, &shown[0], false), [2]);
        program.is_synced(3);
        assert!(states(&program, &[], false).is_empty());
        assert!(states(&program, &shown[0], false).is_empty(), "older");
        assert_eq!(states(&program, &shown[1], false), [3]);
        program.is_synced(1);
        assert!(states(&program, &shown[0], false).is_empty(), "it stays so");
    }

    #[test]
    fn blocks_of_later_writes_are_there_only_if_data_are_overwritten_in_place() {
        let program = program();
        // The first block as of the second write, the others as of the first.
        let (old, new) = (lines(&program.states[2]), lines(&program.states[3]));
        let (mut mixed, first) = (old[0].clone(), "f 9000 ".len());
        mixed.replace_range(first..first + 16, &new[0][first..first + 16]);
        assert_eq!(states(&program, std::slice::from_ref(&mixed), true), [2]);
        assert!(states(&program, &[mixed], false).is_empty());
        let unreadable = old[0].replacen(&old[0][first..first + 16], "!", 1);
        assert_eq!(
            states(&program, std::slice::from_ref(&unreadable), true),
            [2]
        );
        assert!(states(&program, &[unreadable], false).is_empty());
    }
}
