//! The rules of restarting, as a state machine: deaths with their times go in, actions come out.
//!
//! ```text
//!               death                        all answered a ping
//!   running ───────────► down ──► starting ───────────────────────► running
//!      │     (at once, or after a pause)  │ death: as from running
//!      └────────────── too many crashes: stopped, or the end of the stack
//! ```
//!
//! **Who goes with whom.** Storage tasks go together: what a survivor holds in memory belongs to a state
//! that the restarted one has gone back behind. With the cache goes everything below it: calls that it had
//! under way there are in doubt, and what it finds in its memory is told relative to the checkpoint, to which
//! they go back. Others go alone.
//!
//! **How fast.** The first crash restarts at once, each further one after a pause that doubles. Only
//! crashes without progress in between count: an instance that served for [`CALM_NS`] wipes them
//! out, however it ends. A kill that a user asked for is no crash and never pauses; an application
//! may be done, anything else that ends by itself has crashed. What crashes more than
//! [`CRASHES_MAX`] times in a row is taken out if the stack has another of its kind, as a driver
//! or a store in a mirror; otherwise the stack ends, so that no further data is lost. Before that, what has
//! memory that outlives it is started once without it: that memory may be what it dies of, and if the stack
//! ends, what is in it is lost too ([`Policy::is_last_chance`]).

use alloc::vec::Vec;

use abi::Cause;
use stack::Role;

/// An instance that has served this long has made progress.
pub const CALM_NS: u64 = 2_000_000_000;

/// Crashes in a row that are followed by a restart.
pub const CRASHES_MAX: u32 = 8;

/// Pause before the restart after the second crash in a row; doubles with each further one.
pub const PAUSE_NS: u64 = 10_000_000;

/// Longest pause.
pub const PAUSE_NS_MAX: u64 = 1_000_000_000;

/// What the rules need to know of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it is to the stack.
    pub role: Role,
    /// Tasks of the same class can stand in for each other: file stores, drivers of mirrored disks.
    pub class: usize,
    /// The stack can do without it.
    pub optional: bool,
    /// It is started again when it dies.
    pub restart: bool,
}

/// How an instance died, as far as the rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// By its own fault, or killed for silence.
    Crash,
    /// It was done, as an application may be: status 0.
    Finished,
    /// A user wanted it.
    Injected,
}

impl Death {
    /// What a death report of a task says. `code` is the exit status, for [`Cause::Exit`]. Only an
    /// application is ever done: what serves others has failed them if it ends.
    #[must_use]
    pub fn of(role: Role, cause: Cause, code: u64) -> Self {
        match (cause, code) {
            (Cause::Exit, 0) if role == Role::Application => Self::Finished,
            (Cause::Injected, _) => Self::Injected,
            _ => Self::Crash,
        }
    }
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// End the instance: it goes with one that died.
    Kill(usize),
    /// Start an instance, and ask it at once whether it answers.
    Spawn(usize),
    /// Take the task out for good: who calls it is told that it is gone.
    Stop(usize),
    /// Come back with [`Policy::tick`] at this time, nanoseconds.
    Wait(u64),
    /// Take the task out for good, and end the stack: it has crashed too often, and nothing can
    /// stand in for it.
    GiveUp(usize),
}

/// Tasks that were restarted together answer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Who died first.
    pub culprit: usize,
    /// All that were restarted.
    pub members: Vec<usize>,
    /// From the death to now.
    pub duration_ns: u64,
}

/// What a task is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started, or dead and to be started again.
    Down,
    /// Started; has not answered yet.
    Starting,
    /// Has answered, first at this time.
    Running(u64),
    /// Stopped for good.
    Stopped,
}

/// Tasks that died together and are not all back yet.
#[derive(Clone, Debug)]
struct Outage {
    culprit: usize,
    members: Vec<usize>,
    since_ns: u64,
    /// When to start them; nothing once they were.
    start_ns: Option<u64>,
}

/// The pause before the restart after so many crashes in a row.
fn pause_ns(crashes: u32) -> u64 {
    match crashes {
        0 | 1 => 0,
        crashes => PAUSE_NS
            .checked_shl(crashes - 2)
            .map_or(PAUSE_NS_MAX, |pause_ns| pause_ns.min(PAUSE_NS_MAX)),
    }
}

/// The state of all tasks.
#[derive(Clone, Debug)]
pub struct Policy {
    members: Vec<Member>,
    states: Vec<State>,
    /// Crashes in a row, by task.
    crashes: Vec<u32>,
    outages: Vec<Outage>,
}

impl Policy {
    /// Nothing was started yet.
    #[must_use]
    pub fn new(members: Vec<Member>) -> Self {
        let count = members.len();
        Self {
            members,
            states: alloc::vec![State::Down; count],
            crashes: alloc::vec![0; count],
            outages: Vec::new(),
        }
    }

    /// What a task is doing.
    #[must_use]
    pub fn state(&self, task: usize) -> State {
        self.states[task]
    }

    /// Whether there is an instance of the task.
    #[must_use]
    pub fn is_up(&self, task: usize) -> bool {
        matches!(self.states[task], State::Starting | State::Running(_))
    }

    /// The task was started for the first time.
    pub fn started(&mut self, task: usize) {
        self.states[task] = State::Starting;
    }

    /// The task was found running, by a manager that is itself a new instance.
    pub fn adopted(&mut self, task: usize, now_ns: u64) {
        self.states[task] = State::Running(now_ns);
    }

    /// The task is out for good.
    pub fn stopped(&mut self, task: usize) {
        self.states[task] = State::Stopped;
        for outage in &mut self.outages {
            outage.members.retain(|&member| member != task);
        }
    }

    /// A task that was up has died, at `died_ns`.
    pub fn died(&mut self, task: usize, death: Death, died_ns: u64, now_ns: u64) -> Vec<Action> {
        if !self.is_up(task) {
            return Vec::new();
        }
        let served_ns = match self.states[task] {
            State::Running(since_ns) => died_ns.saturating_sub(since_ns),
            _ => 0,
        };
        self.states[task] = State::Down;
        if served_ns >= CALM_NS {
            self.crashes[task] = 0;
        }
        if !self.members[task].restart || death == Death::Finished {
            self.stopped(task);
            return alloc::vec![Action::Stop(task)];
        }
        if death == Death::Injected {
            return self.restart(task, died_ns, now_ns, 0);
        }
        self.crashes[task] += 1;
        if self.crashes[task] > CRASHES_MAX {
            return self.take_out(task, died_ns, now_ns);
        }
        self.restart(task, died_ns, now_ns, pause_ns(self.crashes[task]))
    }

    /// It cannot be started. As a crash right after the start.
    pub fn spawn_failed(&mut self, task: usize, now_ns: u64) -> Vec<Action> {
        self.states[task] = State::Starting;
        self.died(task, Death::Crash, now_ns, now_ns)
    }

    /// Who goes when this task dies, itself included; without those that are out.
    fn fate(&self, task: usize) -> Vec<usize> {
        let goes = |other: Role| match self.members[task].role {
            Role::Storage => other == Role::Storage,
            Role::Cache => other == Role::Storage,
            _ => false,
        };
        (0..self.members.len())
            .filter(|&other| other == task || goes(self.members[other].role))
            .filter(|&other| self.states[other] != State::Stopped)
            .collect()
    }

    /// Whether one more crash of the task in a row would take it out.
    #[must_use]
    pub fn is_last_chance(&self, task: usize) -> bool {
        self.crashes[task] >= CRASHES_MAX
    }

    fn restart(&mut self, task: usize, died_ns: u64, now_ns: u64, pause_ns: u64) -> Vec<Action> {
        let members = self.fate(task);
        let start_ns = now_ns + pause_ns;
        self.begin_outage(
            Outage {
                culprit: task,
                members,
                since_ns: died_ns,
                start_ns: Some(start_ns),
            },
            now_ns,
        )
    }

    /// Ends those of an outage that are still up, and notes when to start all of them.
    fn begin_outage(&mut self, mut outage: Outage, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for &member in outage.members.iter() {
            if self.is_up(member) {
                self.states[member] = State::Down;
                actions.push(Action::Kill(member));
            }
        }
        // Whoever is down already and meets one of these is part of the same outage now.
        let meets = |other: &Outage, this: &Outage| {
            other
                .members
                .iter()
                .any(|member| this.members.contains(member))
        };
        while let Some(index) = self.outages.iter().position(|other| meets(other, &outage)) {
            let other = self.outages.swap_remove(index);
            if other.since_ns < outage.since_ns {
                (outage.since_ns, outage.culprit) = (other.since_ns, other.culprit);
            }
            outage.start_ns = outage.start_ns.max(other.start_ns);
            outage.members.extend(other.members);
            outage.members.sort_unstable();
            outage.members.dedup();
        }
        self.outages.push(outage);
        actions.extend(self.tick(now_ns));
        actions
    }

    /// Starts what is to be started by now.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        for outage in &mut self.outages {
            match outage.start_ns {
                Some(start_ns) if start_ns <= now_ns => {
                    outage.start_ns = None;
                    for &member in &outage.members {
                        if self.states[member] == State::Down {
                            self.states[member] = State::Starting;
                            actions.push(Action::Spawn(member));
                        }
                    }
                }
                Some(start_ns) => actions.push(Action::Wait(start_ns)),
                None => {}
            }
        }
        actions
    }

    /// The task has crashed too often.
    /// Whether the stack can go on without the task: another of its kind stands in for it, or nobody needs it.
    #[must_use]
    pub fn can_be_missed(&self, task: usize) -> bool {
        let member = &self.members[task];
        let has_its_like = matches!(member.role, Role::Driver | Role::Storage);
        let stands_in = |other: usize| {
            other != task
                && self.members[other].class == member.class
                && !self.members[other].optional
                && self.states[other] != State::Stopped
        };
        member.role == Role::Application
            || member.optional
            || (has_its_like && (0..self.members.len()).any(stands_in))
    }

    fn take_out(&mut self, task: usize, died_ns: u64, now_ns: u64) -> Vec<Action> {
        self.stopped(task);
        if !self.can_be_missed(task) {
            return alloc::vec![Action::GiveUp(task)];
        }
        let mut actions = alloc::vec![Action::Stop(task)];
        // The others of its group still have to go back to the checkpoint.
        let members = self.fate(task);
        if let Some(&first) = members.first() {
            actions.extend(self.begin_outage(
                Outage {
                    culprit: first,
                    members,
                    since_ns: died_ns,
                    start_ns: Some(now_ns),
                },
                now_ns,
            ));
        }
        actions
    }

    /// The task answered a ping. Returns what is back with it, if it was the last one missing.
    pub fn answered(&mut self, task: usize, now_ns: u64) -> Option<Recovered> {
        if self.states[task] != State::Starting {
            return None;
        }
        self.states[task] = State::Running(now_ns);
        let index = self.outages.iter().position(|outage| {
            outage.start_ns.is_none()
                && outage.members.contains(&task)
                && outage
                    .members
                    .iter()
                    .all(|&member| match self.states[member] {
                        State::Running(_) | State::Stopped => true,
                        State::Down | State::Starting => false,
                    })
        })?;
        let outage = self.outages.swap_remove(index);
        Some(Recovered {
            culprit: outage.culprit,
            members: outage.members,
            duration_ns: now_ns.saturating_sub(outage.since_ns),
        })
    }
}
