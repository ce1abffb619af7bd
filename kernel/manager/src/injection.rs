//! What a user can have go wrong, as the console asks for it: a fault, whose it is, when, and how often.

use alloc::string::String;

use abi::{Fault, When};
use serde::{Deserialize, Serialize};
use storage::faulty::Rule;

use crate::control::Target;

/// Most injections that wait or repeat, those in filters not counted.
pub const INJECTIONS_MAX: usize = 64;

/// Shortest time between two, milliseconds.
pub const EVERY_MS_MIN: u32 = 1;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A disk fails by a rule, which the filter before it keeps.
    Disk(Rule),
    /// A task suffers a fault.
    Task(TaskFault),
    /// The machine ends, as by accident.
    Machine(MachineFault),
}

/// An accident of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFault {
    /// The power of the disks fails too: of what they have not flushed a part that follows from the seed
    /// stays. Else the machine alone is reset.
    pub power: bool,
    /// What chance follows from.
    pub seed: u64,
    /// It happens so late, milliseconds.
    pub after_ms: u32,
    /// Or when a task passes the point of this number.
    pub point: Option<u32>,
}

/// A fault that a task suffers; numbers as in [`abi::Fault`] and [`abi::When`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFault {
    /// Which fault, see [`TaskFault::fault`].
    pub fault: u32,
    /// When, see [`TaskFault::when`].
    pub when: u64,
    /// How much of it, where that can be said; the upper half is the region of wild writes.
    pub argument: u64,
    /// What chance follows from.
    pub seed: u64,
    /// It happens so late, milliseconds.
    pub after_ms: u32,
    /// Time from one to the next, milliseconds; zero for once.
    pub every_ms: u32,
    /// How often; none for until it is switched off.
    pub count: Option<u64>,
}

impl TaskFault {
    /// A fault that happens once, now.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault: fault as u32,
            when: When::Now.encode(),
            argument: 0,
            seed: 1,
            after_ms: 0,
            every_ms: 0,
            count: Some(1),
        }
    }

    /// The same, at this point of what the task does.
    #[must_use]
    pub fn at(self, when: When) -> Self {
        Self {
            when: when.encode(),
            ..self
        }
    }

    /// Which fault; none if the number is of none.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        Fault::from_number(self.fault)
    }

    /// Whether it has its times, and does not wait for what a task does.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.when() == When::Now
    }

    /// When, once it is the task's turn.
    #[must_use]
    pub fn when(&self) -> When {
        When::decode(self.when)
    }
}

/// A fault and who suffers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injection {
    /// Whose it is: a task, or a filter, or the driver behind one; for tasks also any. If the power fails,
    /// the disk that loses something, or all.
    pub target: Target,
    /// What goes wrong.
    pub what: What,
}

/// An injection that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its number.
    pub number: u32,
    /// Whose it is.
    pub target: String,
    /// What goes wrong.
    pub what: What,
    /// How often it happened.
    pub hits: u64,
    /// How often it will yet; none for until it is switched off.
    pub left: Option<u64>,
    /// Times that nobody was there to whom it could happen.
    pub misses: u64,
    /// The task that waits for its moment, if one does.
    pub armed: Option<String>,
}
