//! A kernel for one process: tasks, calls, grants and time as in the guest, in an order that comes from a
//! seed.
//!
//! ```text
//!              ready: everything that could happen next
//!   ┌───────────────────────────────────────────────────────────┐
//!   │ a future of a task was woken     a task has an event      │   step(): takes one of
//!   │ a disk can end a request         the manager has a report │   them at random
//!   └───────────────────────────────────────────────────────────┘
//! ```
//!
//! What the kernel of the guest promises (docs/architecture.md, "Calls") is kept, and nothing more: the
//! events of one task come in the order in which they were sent; which of its woken futures is polled
//! next, and which task, is open. So a run is one of those that the guest allows, and mostly one that it
//! hardly ever shows.

mod calls;
mod deaths;
mod future;
mod lend;
mod steps;
mod tasks;
mod time;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use tests::random::Random;

pub use calls::{Endpoint, Request};
pub use deaths::{Cause, Counted, Report};
pub use steps::Step;
pub use tasks::Handler;
pub use time::VirtualClock;

use calls::Calls;
use deaths::{Fuse, Running};
use future::{Futures, Woken};
use steps::Ready;
use tasks::Role;

/// Number of a role.
pub type RoleId = usize;

struct State {
    random: Random,
    now_ns: u64,
    step_ns_max: u64,
    steps: u64,
    roles: Vec<Role>,
    calls: Calls,
    futures: Futures,
    ready: Vec<Ready>,
    /// By deadline and number.
    timers: BTreeMap<(u64, u64), Waker>,
    timers_made: u64,
    /// Sources outside whose turn it is at a time: by time and number.
    alarms: BTreeMap<(u64, u64), usize>,
    running: Option<Running>,
    /// Who is to be killed in the middle of a poll.
    fuse: Option<Fuse>,
    /// Instances killed, until somebody counts them.
    kills: u64,
    reports: VecDeque<Report>,
    /// A role whose turn seldom comes.
    slow: Option<RoleId>,
    mailbox_max: usize,
    /// All that was done, folded.
    hash: u64,
}

/// See the module's description.
pub struct Kernel {
    state: RefCell<State>,
    woken: Arc<Woken>,
}

/// How a kernel schedules; all from the seed.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Of all choices.
    pub seed: u64,
    /// Time that one step takes, at most, nanoseconds.
    pub step_ns_max: u64,
    /// Requests that a role's mailbox holds.
    pub mailbox_max: usize,
    /// A role whose turn seldom comes.
    pub slow: Option<RoleId>,
}

impl Kernel {
    /// A kernel with these roles, none of which has an instance.
    #[must_use]
    pub fn new(names: Vec<String>, schedule: &Schedule, now_ns: u64) -> Rc<Self> {
        Rc::new(Self {
            state: RefCell::new(State {
                random: Random::new(schedule.seed),
                now_ns,
                step_ns_max: schedule.step_ns_max.max(1),
                steps: 0,
                roles: names.into_iter().map(Role::new).collect(),
                calls: Calls::default(),
                futures: Futures::default(),
                ready: Vec::new(),
                timers: BTreeMap::new(),
                timers_made: 0,
                alarms: BTreeMap::new(),
                running: None,
                fuse: None,
                kills: 0,
                reports: VecDeque::new(),
                slow: schedule.slow,
                mailbox_max: schedule.mailbox_max,
                hash: 0,
            }),
            woken: Arc::default(),
        })
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state.borrow().steps
    }

    /// Folds everything that was done: equal for equal runs, and hardly for others.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.state.borrow().hash
    }

    /// A number from the seed, for whoever runs the kernel.
    pub fn random(&self, bound: u64) -> u64 {
        self.state.borrow_mut().random.below(bound)
    }
}
