//! What goes on in the guest while something is injected: PostMark, or a mixture of operations.

use anyhow::Result;

use super::files::Files;
use super::power_cut::exists;
use super::random::Random;
use super::subject::Subject;
use crate::Failure;
use crate::guest::{Done, Event};

/// Milliseconds that a file or a transaction of PostMark takes, about.
const OPERATION_MS: f64 = 1.3;

/// Has what is verified be read a file at a call: every byte of it, with as few calls as that takes.
pub const WHOLE_FILES: &str = "read=32k";

/// What is to be done, before it is begun.
#[derive(Clone, Debug)]
pub enum Plan {
    /// PostMark, of so many files and transactions.
    Postmark {
        files: u64,
        transactions: u64,
        seed: u64,
    },
    /// So many operations of programs.
    Files { operations: u64, random: Random },
}

impl Plan {
    /// Chooses PostMark of a size; `scale` makes it longer.
    pub fn postmark(random: &mut Random, scale: u64) -> Self {
        let files = random.scaled(20, 120 * scale);
        let transactions = random.scaled(20, 160 * scale);
        // Each transaction makes or deletes a file, by a coin: that takes files away, or fills PostMark's table,
        // which is twice as large, only if the coin is off by six standard deviations.
        let files_min = 6 * (transactions as f64).sqrt().ceil() as u64;
        Self::Postmark {
            files: files.max(files_min),
            transactions,
            seed: random.below(1 << 31),
        }
    }

    /// Chooses a mixture.
    pub fn files(random: &mut Random) -> Self {
        Self::mixture(random, 20, 120)
    }

    /// Chooses a mixture that is soon over.
    pub fn brief(random: &mut Random) -> Self {
        Self::mixture(random, 8, 24)
    }

    fn mixture(random: &mut Random, first: u64, last: u64) -> Self {
        Self::Files {
            operations: random.scaled(first, last),
            random: random.part(1),
        }
    }

    /// About how long it takes, milliseconds, if it takes time.
    pub fn expected_ms(&self) -> u64 {
        match self {
            Self::Postmark {
                files,
                transactions,
                ..
            } => ((files + transactions) as f64 * OPERATION_MS) as u64,
            Self::Files { .. } => 0,
        }
    }

    /// How many operations there are to count.
    pub fn operations(&self) -> u64 {
        match self {
            Self::Postmark { .. } => 0,
            Self::Files { operations, .. } => *operations,
        }
    }

    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::Postmark {
                files,
                transactions,
                ..
            } => format!("postmark, {files} files, {transactions} transactions"),
            Self::Files { operations, .. } => format!("{operations} file operations"),
        }
    }

    /// Begins it, below `top`.
    pub fn begin(&self, subject: &mut Subject, top: &str) -> Result<Load> {
        Ok(match self {
            Self::Postmark {
                files,
                transactions,
                seed,
            } => {
                let parameters = format!(
                    "files={files} transactions={transactions} size=4k-28k subdirectories=4 \
                     seed={seed} location={top} keep=true"
                );
                let id = subject
                    .guest
                    .start(&format!("bench postmark {parameters}"))?;
                Load::Postmark(Postmark {
                    parameters,
                    top: top.to_owned(),
                    id,
                    done: None,
                })
            }
            Self::Files { operations, random } => Load::Files(Files::begin(
                subject,
                top,
                &mut random.clone(),
                *operations,
            )?),
        })
    }
}

/// PostMark at work.
pub struct Postmark {
    parameters: String,
    top: String,
    id: u64,
    done: Option<Done>,
}

impl Postmark {
    /// Looks whether what is there is right, where a part of it may be missing.
    fn verify_found(&self, subject: &mut Subject) -> Result<()> {
        if exists(subject, &self.top)? {
            self.verify(subject, "found ")?;
        }
        Ok(())
    }

    fn verify(&self, subject: &mut Subject, check: &str) -> Result<()> {
        let command = format!("verify postmark {check}{} {WHOLE_FILES}", self.parameters);
        subject.run(&command).map(drop)
    }

    /// Files with blocks that cannot be read are counted and removed; the others must be right.
    fn verify_after_cut(&self, subject: &mut Subject) -> Result<u64> {
        let mut unreadable = 0;
        if subject.heard.resync.is_some_and(|resync| resync.bad > 0) && exists(subject, &self.top)?
        {
            for line in subject.output(&format!("blocks {}", self.top))? {
                let bad = line.matches('!').count() as u64;
                if bad > 0 {
                    unreadable += bad;
                    let name = line.rsplit(' ').next().unwrap_or_default();
                    subject.run(&format!("rm {}/{name}", self.top))?;
                }
            }
        }
        self.verify_found(subject)?;
        Ok(unreadable)
    }
}

/// What is going on.
pub enum Load {
    /// PostMark.
    Postmark(Postmark),
    /// A mixture.
    Files(Files),
}

impl Load {
    /// Begins what is next.
    pub fn go_on(&mut self, subject: &mut Subject) -> Result<()> {
        match self {
            Self::Postmark(_) => Ok(()),
            Self::Files(files) => files.go_on(subject),
        }
    }

    /// Operations that were begun.
    pub fn begun(&self) -> u64 {
        match self {
            Self::Postmark(_) => 0,
            Self::Files(files) => files.begun(),
        }
    }

    /// Takes an event.
    pub fn take(&mut self, event: &Event) -> Result<()> {
        match self {
            Self::Postmark(postmark) => {
                if let Some(done) = event.done(postmark.id) {
                    postmark.done = Some(done);
                }
                Ok(())
            }
            Self::Files(files) => files.take(event),
        }
    }

    /// The console died.
    pub fn answers_are_lost(&mut self, subject: &mut Subject) -> Result<()> {
        match self {
            Self::Postmark(_) => Ok(()),
            Self::Files(files) => files.answers_are_lost(subject),
        }
    }

    /// Whether it has come to its end.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Postmark(postmark) => postmark.done.is_some(),
            Self::Files(files) => files.is_over(),
        }
    }

    /// Looks whether it went well and everything is there. `cut_short`: PostMark's own task was killed, so
    /// that it could not come to its end.
    pub fn verify(&self, subject: &mut Subject, cut_short: bool) -> Result<()> {
        match self {
            Self::Postmark(postmark) => {
                let done = postmark.done.as_ref();
                let failed = done.filter(|done| !done.ok).map(|done| {
                    let reason = done.error.clone().unwrap_or_default();
                    format!("PostMark failed: {reason}")
                });
                match failed {
                    // It may have died before it had made a directory.
                    Some(_) if cut_short => postmark.verify_found(subject),
                    Some(failed) => Err(Failure::Check(failed).into()),
                    None => postmark.verify(subject, ""),
                }
            }
            Self::Files(files) => files.verify(subject),
        }
    }

    /// Looks, after the machine was cut off, whether what is there is right, and what was synced is there.
    /// Returns how many blocks cannot be read that were being overwritten.
    pub fn verify_after_cut(&self, subject: &mut Subject) -> Result<u64> {
        match self {
            Self::Postmark(postmark) => postmark.verify_after_cut(subject),
            Self::Files(files) => files.verify_after_cut(subject),
        }
    }

    /// Removes what it left.
    pub fn remove(self, subject: &mut Subject) -> Result<()> {
        match self {
            Self::Postmark(postmark) if !exists(subject, &postmark.top)? => Ok(()),
            Self::Postmark(postmark) => subject.run(&format!("rm -r {}", postmark.top)).map(drop),
            Self::Files(files) => files.remove(subject),
        }
    }
}
