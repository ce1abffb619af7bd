//! Mixtures of file operations: programs that type commands on the console, each in a directory of its
//! own and knowing what must come of it.
//!
//! Nothing of the guest's is believed: what is in a file follows from a formula that is written down, and
//! what is in a tree from the operations alone.

mod contents;
mod moment;
mod operation;
mod program;
mod state;
mod survey;

use anyhow::Result;

use self::moment::Left;
use self::program::Program;
use super::random::Random;
use super::subject::Subject;
use crate::Failure;
use crate::guest::Event;

/// Programs at once; the console takes eight commands at a time.
const PROGRAMS_MAX: u64 = 4;

/// What may be wrong with blocks after the machine was cut off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowed {
    /// They may be newer, or torn while they were written over: data are overwritten where they are.
    pub in_place: bool,
    /// They may be such that cannot be read: the only disk has damaged them. Never wrong.
    pub losses: bool,
}

/// Programs at work.
pub struct Files {
    top: String,
    programs: Vec<Program>,
    /// Operations that are to be begun, and that have been.
    wanted: u64,
    begun: u64,
}

impl Files {
    /// Programs that do `wanted` operations together below the directory `top`, which is made.
    pub fn begin(
        subject: &mut Subject,
        top: &str,
        random: &mut Random,
        wanted: u64,
    ) -> Result<Self> {
        subject.run(&format!("mkdir {top}"))?;
        let count = 1 + random.below(PROGRAMS_MAX);
        let mut programs = Vec::new();
        for number in 0..count {
            let program = Program::new(format!("{top}/p{number}"), random.part(number));
            subject.run(&format!("mkdir {}", program.top))?;
            programs.push(program);
        }
        Ok(Self {
            top: top.to_owned(),
            programs,
            wanted,
            begun: 0,
        })
    }

    /// Operations begun so far.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Lets every program that waits for nothing do its next operation, as long as any are left.
    pub fn go_on(&mut self, subject: &mut Subject) -> Result<()> {
        for index in 0..self.programs.len() {
            if self.begun == self.wanted {
                break;
            }
            if self.programs[index].waits() {
                continue;
            }
            let known = self.known();
            self.programs[index].go_on(&mut subject.guest, known)?;
            self.begun += 1;
        }
        Ok(())
    }

    /// The last state that each program knows to have been reached.
    pub fn known(&self) -> Vec<usize> {
        self.programs.iter().map(Program::known).collect()
    }

    /// A sync was answered that began when this was known: that is on the disks.
    pub fn are_synced(&mut self, known: Vec<usize>) {
        for (program, state) in self.programs.iter_mut().zip(known) {
            program.is_synced(state);
        }
    }

    /// Whether everything has been done.
    pub fn is_over(&self) -> bool {
        self.begun == self.wanted && !self.programs.iter().any(Program::waits)
    }

    /// Hands an event to the program that waits for it.
    ///
    /// # Errors
    /// [`Told`](super::subject::Told) if an operation failed; [`Failure::Check`] if a file held what it must
    /// not hold.
    pub fn take(&mut self, event: &Event) -> Result<()> {
        for index in 0..self.programs.len() {
            if let Some(known) = self.programs[index].take(event)? {
                self.are_synced(known);
            }
        }
        Ok(())
    }

    /// The console died: what was asked of it may have been done, or not, or its successor has read it and does it.
    pub fn answers_are_lost(&mut self, subject: &mut Subject) -> Result<()> {
        let asked: Vec<u64> = self.programs.iter().filter_map(Program::asked).collect();
        for event in subject.late_answers(asked)? {
            self.take(&event)?;
        }
        for program in &mut self.programs {
            program.answer_is_lost(subject)?;
        }
        Ok(())
    }

    /// Looks whether everything is there, no more and no less.
    ///
    /// # Errors
    /// [`Failure::Check`] names what is not.
    pub fn verify(&self, subject: &mut Subject) -> Result<()> {
        self.programs
            .iter()
            .try_for_each(|program| program.verify(subject))
    }

    /// Looks, after the machine was cut off, whether everything is there that was synced, and nothing that
    /// never was; and whether all programs find what was there at one moment. Blocks may be as it is [`Allowed`].
    /// Returns how many blocks cannot be read that were being overwritten.
    ///
    /// # Errors
    /// [`Failure::Check`] names what is not.
    pub fn verify_after_cut(&self, subject: &mut Subject, allowed: Allowed) -> Result<u64> {
        let known = |program: usize, state| self.programs[program].known_before(state);
        let programs = || self.programs.iter();
        // Mostly every block is of the same state, and that is soon told.
        let whole: Vec<Vec<Left>> = programs()
            .map(|program| program.left_whole(subject))
            .collect::<Result<_>>()?;
        if whole.iter().all(|left| !left.is_empty()) && moment::find(&whole, known).is_ok() {
            return Ok(0);
        }
        let left: Vec<Vec<Left>> = programs()
            .map(|program| program.left_by_block(subject, allowed))
            .collect::<Result<_>>()?;
        let moment = moment::find(&left, known).map_err(|it| {
            let (ahead, behind) = (&self.programs[it.ahead], &self.programs[it.behind]);
            wrong(format!(
                "{} is as after `{}`, which began when {} had been answered `{}`, and that is not there",
                ahead.top,
                ahead.command_of(it.state),
                behind.top,
                behind.command_of(it.needed)
            ))
        })?;
        Ok(moment.iter().map(|left| left.unreadable).sum())
    }

    /// Removes all of it.
    pub fn remove(self, subject: &mut Subject) -> Result<()> {
        subject.run(&format!("rm -r {}", self.top)).map(drop)
    }
}

/// A check that did not hold.
fn wrong(what: String) -> anyhow::Error {
    Failure::Check(what).into()
}
