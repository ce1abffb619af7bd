//! A rule: where, on which requests, how often, and what goes wrong then.
//!
//! After the rules of MINIX's faulty block device: a place, reads or writes, skip so many, then so many
//! times, then an action. Every choice that is left to chance follows from the rule's seed and from how
//! often it acted before.

use serde::{Deserialize, Serialize};

use super::kind::Kind;

/// Most bytes that one [`Action::Corrupt`] changes in a block.
pub const CORRUPT_BYTES_MAX: u16 = 4096;
/// Longest delay of [`Action::Slow`], milliseconds.
pub const SLOW_MS_MAX: u32 = 60_000;

/// Where on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Everywhere.
    Anywhere,
    /// These sectors, both included.
    Sectors {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// Blocks of this type, as far as it is known.
    Kind(Kind),
}

/// On which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Reads.
    Reads,
    /// Writes.
    Writes,
    /// Both.
    Both,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// So many bytes of each block become others: of what is read, or of what is written.
    Corrupt {
        /// How many, 1 to [`CORRUPT_BYTES_MAX`].
        bytes: u16,
    },
    /// Only the first sectors are written; the others keep what was there.
    TornWrite {
        /// How many; zero for a number from the seed.
        sectors: u32,
    },
    /// Nothing is written, and the write succeeds.
    LostWrite,
    /// The data go to another place, and the write succeeds.
    MisdirectedWrite {
        /// First and last sector of where they may go; anywhere if there is none.
        to: Option<(u64, u64)>,
    },
    /// A flush does nothing, and succeeds.
    LostFlush,
    /// A read fails.
    ReadError,
    /// A write fails, and nothing is written.
    WriteError,
    /// A request takes longer.
    Slow {
        /// By so many milliseconds, 1 to [`SLOW_MS_MAX`].
        ms: u32,
    },
    /// From then on every request fails.
    Dead,
}

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Where.
    pub place: Place,
    /// On which requests.
    pub direction: Direction,
    /// Requests that match and are spared first.
    pub skip: u64,
    /// How often it acts; none for until it is removed.
    pub times: Option<u64>,
    /// Of the requests that match, it acts on one in so many, by chance; one is all of them.
    pub one_in: u32,
    /// What chance follows from.
    pub seed: u64,
    /// What goes wrong.
    pub action: Action,
}

impl Rule {
    /// A rule that acts once, on the next request that its action can do something to.
    #[must_use]
    pub fn new(action: Action) -> Self {
        Self {
            place: Place::Anywhere,
            direction: Direction::Both,
            skip: 0,
            times: Some(1),
            one_in: 1,
            seed: 1,
            action,
        }
    }

    /// What is wrong with the rule, in a line.
    pub fn check(&self) -> Result<(), &'static str> {
        let reads_only = matches!(self.action, Action::ReadError);
        let writes_only = matches!(
            self.action,
            Action::TornWrite { .. }
                | Action::LostWrite
                | Action::MisdirectedWrite { .. }
                | Action::WriteError
        );
        match (self.action, self.place) {
            _ if reads_only && self.direction == Direction::Writes => Err("acts on reads only"),
            _ if writes_only && self.direction == Direction::Reads => Err("acts on writes only"),
            _ if self.one_in == 0 => Err("a rate is one in at least one"),
            _ if self.times == Some(0) => Err("a rule acts at least once"),
            (_, Place::Sectors { first, last }) if first > last => Err("the range is empty"),
            (Action::LostFlush, place) if place != Place::Anywhere => Err("a flush has no place"),
            (Action::Corrupt { bytes }, _) if !(1..=CORRUPT_BYTES_MAX).contains(&bytes) => {
                Err("1 to 4096 bytes of a block can be corrupted")
            }
            (Action::Slow { ms }, _) if !(1..=SLOW_MS_MAX).contains(&ms) => {
                Err("a request can be delayed by 1 to 60000 ms")
            }
            (
                Action::MisdirectedWrite {
                    to: Some((first, last)),
                },
                _,
            ) if first > last => Err("the range that writes go to is empty"),
            _ => Ok(()),
        }
    }

    /// The last sector that it names, if it names any.
    #[must_use]
    pub fn last_sector(&self) -> Option<u64> {
        let place = match self.place {
            Place::Sectors { last, .. } => Some(last),
            Place::Anywhere | Place::Kind(_) => None,
        };
        let target = match self.action {
            Action::MisdirectedWrite { to } => to.map(|(_, last)| last),
            _ => None,
        };
        place.max(target)
    }

    /// Whether its action can do something to such a request.
    pub fn concerns(&self, operation: Operation) -> bool {
        let direction = match operation {
            Operation::Read => self.direction != Direction::Writes,
            Operation::Write => self.direction != Direction::Reads,
            Operation::Flush => self.direction == Direction::Both,
        };
        direction
            && match self.action {
                Action::Corrupt { .. } => operation != Operation::Flush,
                Action::TornWrite { .. }
                | Action::LostWrite
                | Action::MisdirectedWrite { .. }
                | Action::WriteError => operation == Operation::Write,
                Action::ReadError => operation == Operation::Read,
                Action::LostFlush => operation == Operation::Flush,
                Action::Slow { .. } | Action::Dead => true,
            }
    }
}

/// What a request does, to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads sectors.
    Read,
    /// Changes sectors.
    Write,
    /// Flushes.
    Flush,
}
