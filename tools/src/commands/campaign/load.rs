//! What goes on in the guest while something is injected: PostMark, or a mixture of operations.

use anyhow::Result;

use super::files::{Allowed, Files};
use super::postmark::Postmark;
use super::random::Random;
use super::subject::{Subject, succeeded};
use crate::guest::Event;

/// Milliseconds that a file or a transaction of PostMark takes, about.
const OPERATION_MS: f64 = 1.3;

/// What is to be done, before it is begun.
#[derive(Clone, Debug)]
pub enum Plan {
    /// PostMark, of so many files and transactions.
    Postmark {
        files: u64,
        transactions: u64,
        seed: u64,
        /// A small one is done and synced before.
        synced: bool,
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
            synced: false,
        }
    }

    /// In half of the cases of PostMark, after another one that is synced when it begins.
    pub fn with_a_sync(mut self, random: &mut Random) -> Self {
        if let Self::Postmark { synced, .. } = &mut self {
            *synced = random.one_in(2);
        }
        self
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
                synced,
                ..
            } => {
                let after = if *synced {
                    ", after one that is synced"
                } else {
                    ""
                };
                format!("postmark, {files} files, {transactions} transactions{after}")
            }
            Self::Files { operations, .. } => format!("{operations} file operations"),
        }
    }

    /// Begins it, below `top`.
    pub fn begin(&self, subject: &mut Subject, top: &str) -> Result<Load> {
        let work = match self {
            Self::Postmark {
                files,
                transactions,
                seed,
                synced,
            } => {
                let size = format!("files={files} transactions={transactions} seed={seed}");
                Work::Postmark(Postmark::begin(subject, top, &size, *synced)?)
            }
            Self::Files { operations, random } => Work::Files(Files::begin(
                subject,
                top,
                &mut random.clone(),
                *operations,
            )?),
        };
        Ok(Load {
            work,
            syncs: Vec::new(),
        })
    }
}

enum Work {
    Postmark(Postmark),
    Files(Files),
}

/// What is going on, and syncs beside it.
pub struct Load {
    work: Work,
    /// Syncs that were not answered yet, and what was known to be done when they began.
    syncs: Vec<(u64, Vec<usize>)>,
}

impl Load {
    /// Begins what is next.
    pub fn go_on(&mut self, subject: &mut Subject) -> Result<()> {
        match &mut self.work {
            Work::Postmark(_) => Ok(()),
            Work::Files(files) => files.go_on(subject),
        }
    }

    /// Begins a sync. When it is answered, what is done now must be on the disks.
    pub fn sync(&mut self, subject: &mut Subject) -> Result<()> {
        let known = match &self.work {
            Work::Postmark(_) => Vec::new(),
            Work::Files(files) => files.known(),
        };
        self.syncs.push((subject.guest.start("sync")?, known));
        Ok(())
    }

    /// Whether a sync was begun and not answered.
    pub fn syncs(&self) -> bool {
        !self.syncs.is_empty()
    }

    /// Operations that were begun.
    pub fn begun(&self) -> u64 {
        match &self.work {
            Work::Postmark(_) => 0,
            Work::Files(files) => files.begun(),
        }
    }

    /// Takes an event.
    ///
    /// # Errors
    /// [`Told`](super::subject::Told) if it is an error that an operation or a sync was answered with;
    /// [`Failure::Check`](crate::Failure::Check) if a file held what it must not hold.
    pub fn take(&mut self, event: &Event) -> Result<()> {
        let ended = |(id, _): &(u64, Vec<usize>)| event.done(*id).is_some();
        if let Some(index) = self.syncs.iter().position(ended) {
            let (id, known) = self.syncs.swap_remove(index);
            if let Some(done) = event.done(id) {
                succeeded("sync", done)?;
            }
            if let Work::Files(files) = &mut self.work {
                files.are_synced(known);
            }
        }
        match &mut self.work {
            Work::Postmark(postmark) => {
                postmark.take(event);
                Ok(())
            }
            Work::Files(files) => files.take(event),
        }
    }

    /// The console died: who waited for its syncs is not told how they ended.
    pub fn answers_are_lost(&mut self, subject: &mut Subject) -> Result<()> {
        self.syncs.clear();
        match &mut self.work {
            Work::Postmark(_) => Ok(()),
            Work::Files(files) => files.answers_are_lost(subject),
        }
    }

    /// Whether it has come to its end, with all syncs.
    pub fn is_over(&self) -> bool {
        self.syncs.is_empty()
            && match &self.work {
                Work::Postmark(postmark) => postmark.is_over(),
                Work::Files(files) => files.is_over(),
            }
    }

    /// Looks whether it went well and everything is there. `cut_short`: PostMark's own task was killed.
    pub fn verify(&self, subject: &mut Subject, cut_short: bool) -> Result<()> {
        match &self.work {
            Work::Postmark(postmark) => postmark.verify(subject, cut_short),
            Work::Files(files) => files.verify(subject),
        }
    }

    /// Looks, after the machine was cut off, whether what is there is right, and what was synced is there.
    /// Blocks may be as it is [`Allowed`]. Returns how many blocks cannot be read that were being overwritten.
    pub fn verify_after_cut(&self, subject: &mut Subject, allowed: Allowed) -> Result<u64> {
        match &self.work {
            Work::Postmark(postmark) => postmark.verify_after_cut(subject),
            Work::Files(files) => files.verify_after_cut(subject, allowed),
        }
    }

    /// Removes what it left.
    pub fn remove(self, subject: &mut Subject) -> Result<()> {
        match self.work {
            Work::Postmark(postmark) => postmark.remove(subject),
            Work::Files(files) => files.remove(subject),
        }
    }
}
