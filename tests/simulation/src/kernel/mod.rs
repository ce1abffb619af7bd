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
//!
//! **Deaths.** A task can be killed between two polls, and in the middle of one: before one of its effects (a
//! call, an answer, bytes in lent or surviving memory) it is unwound. Destructors run, but nothing that they do
//! has an effect. Seen from outside that is a trap at this program counter.

mod calls;
mod future;
mod lend;
mod time;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    panic::resume_unwind,
    rc::Rc,
    sync::Arc,
    task::Waker,
};

use tests::random::Random;

pub use calls::{Endpoint, Request};
pub use time::VirtualClock;

use calls::{Calls, Event};
use future::{Futures, Woken};

/// Number of a role.
pub type RoleId = usize;

/// What serves a request.
pub type Handler = Rc<dyn Fn(Request) -> std::pin::Pin<Box<dyn Future<Output = ()>>>>;

/// Something that could happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ready {
    /// A future was woken: slot, and which future of those that had the slot.
    Poll(usize, u64),
    /// A role has an event: the first of its queue.
    Event(RoleId),
    /// Something outside of the tasks: a request of a disk, a report for the manager.
    Outside(usize, u64),
}

/// What a step did, for the one who runs the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A task went on.
    Inside,
    /// It is the turn of this source outside ([`Kernel::offer`]), with this number.
    Outside(usize, u64),
    /// Nothing can happen before the first timer; the time is now that of the timer.
    Waited,
    /// Nothing can ever happen any more.
    Stalled,
}

/// What becomes of something that a task does.
enum Effect {
    /// It is done.
    Done,
    /// Nothing: the task is dead, and only its destructors run.
    Void,
    /// The task dies before it.
    Death,
}

/// What unwinds a task that dies in the middle of a poll.
struct Dead;

/// How an instance ended, as the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was killed from outside.
    Killed,
    /// It ended itself.
    Exited,
}

/// A death that nobody has seen to.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Whose.
    pub role: RoleId,
    /// Which instance of it.
    pub generation: u64,
    /// How.
    pub cause: Cause,
}

/// The present instance of a role.
#[derive(Default)]
struct Instance {
    futures: Vec<(usize, u64)>,
    handler: Option<Handler>,
    /// Requests that may be at work at a time, and those that are.
    limit: usize,
    at_work: usize,
    /// Requests that wait for a place.
    waiting: VecDeque<u64>,
    /// Called when it ends, before its futures are dropped.
    at_end: Option<Box<dyn FnOnce()>>,
}

struct Role {
    name: String,
    generation: u64,
    instance: Option<Instance>,
    /// Out for good.
    stopped: bool,
    /// What it is told next, in order. Between two instances there are only requests here.
    events: VecDeque<Event>,
    /// Whether an entry of `ready` stands for the first of the events.
    offered: bool,
}

/// Whose future is being polled.
#[derive(Clone, Copy)]
struct Running {
    role: RoleId,
    /// Nothing it does counts any more.
    doomed: Option<Cause>,
    /// Effects left before it is doomed.
    fuse: Option<u32>,
}

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
    /// Who is to be killed in the middle of its next poll, after so many effects.
    fuse: Option<(RoleId, u32)>,
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
        let role = |name| Role {
            name,
            generation: 0,
            instance: None,
            stopped: false,
            events: VecDeque::new(),
            offered: false,
        };
        Rc::new(Self {
            state: RefCell::new(State {
                random: Random::new(schedule.seed),
                now_ns,
                step_ns_max: schedule.step_ns_max.max(1),
                steps: 0,
                roles: names.into_iter().map(role).collect(),
                calls: Calls::default(),
                futures: Futures::default(),
                ready: Vec::new(),
                timers: BTreeMap::new(),
                timers_made: 0,
                alarms: BTreeMap::new(),
                running: None,
                fuse: None,
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

    /// A death that nobody has taken note of.
    pub fn report(&self) -> Option<Report> {
        self.state.borrow_mut().reports.pop_front()
    }

    /// Whether a role has an instance.
    #[must_use]
    pub fn is_up(&self, role: RoleId) -> bool {
        self.state.borrow().roles[role].instance.is_some()
    }

    /// Which instance of a role is the present or last one.
    #[must_use]
    pub fn generation(&self, role: RoleId) -> u64 {
        self.state.borrow().roles[role].generation
    }

    /// Says that source `source` outside of the tasks has something to do; [`Step::Outside`] says when.
    pub fn offer(&self, source: usize, number: u64) {
        self.state
            .borrow_mut()
            .ready
            .push(Ready::Outside(source, number));
    }

    /// Starts an instance of a role, which has none. `program` runs in it.
    pub fn start(self: &Rc<Self>, role: RoleId, program: impl Future<Output = ()> + 'static) {
        {
            let mut state = self.state.borrow_mut();
            let it = &mut state.roles[role];
            assert!(it.instance.is_none(), "{} runs already", it.name);
            it.generation += 1;
            it.instance = Some(Instance::default());
        }
        self.add_future(role, Box::pin(program));
        self.state.borrow_mut().offer_events(role);
    }

    /// Adds a future to the task that is running.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let running = self.state.borrow().running;
        let running = running.expect("a task spawns");
        if running.doomed.is_none() {
            self.add_future(running.role, Box::pin(future));
        }
    }

    /// Has the running task serve requests, so many of them at a time.
    pub fn serve(self: &Rc<Self>, limit: usize, handler: Handler) {
        let role = {
            let mut state = self.state.borrow_mut();
            let role = state.running.expect("a task serves").role;
            if let Some(instance) = &mut state.roles[role].instance {
                (instance.limit, instance.handler) = (limit, Some(handler));
            }
            role
        };
        // What came before.
        loop {
            let next = self.state.borrow_mut().next_to_serve(role);
            let Some(number) = next else { break };
            self.begin(role, number);
        }
    }

    /// Ends the running task, here.
    pub fn exit(&self) {
        if let Some(running) = &mut self.state.borrow_mut().running {
            running.doomed.get_or_insert(Cause::Exited);
        }
        resume_unwind(Box::new(Dead));
    }

    /// To be called when the running task ends: what it has to break up that holds itself.
    pub fn at_end(&self, end: impl FnOnce() + 'static) {
        let mut state = self.state.borrow_mut();
        let role = state.running.expect("a task says so").role;
        if let Some(instance) = &mut state.roles[role].instance {
            instance.at_end = Some(Box::new(end));
        }
    }

    /// Ends a role's instance now, if it has one. `asked` if the manager knows already.
    pub fn kill(self: &Rc<Self>, role: RoleId, asked: bool) {
        if self.end(role, Cause::Killed) && !asked {
            self.state.borrow_mut().tell(role, Cause::Killed);
        }
    }

    /// Ends a role's instance in the middle of its next poll, after so many effects, or at its end.
    pub fn kill_soon(&self, role: RoleId, effects: u32) {
        self.state.borrow_mut().fuse = Some((role, effects));
    }

    /// Takes a role out for good: who calls it is told that it is gone.
    pub fn stop(self: &Rc<Self>, role: RoleId) {
        self.end(role, Cause::Killed);
        let mut state = self.state.borrow_mut();
        state.roles[role].stopped = true;
        state.refuse_queued(role);
    }

    /// Ends the instance. Says whether there was one.
    fn end(self: &Rc<Self>, role: RoleId, cause: Cause) -> bool {
        let instance = {
            let mut state = self.state.borrow_mut();
            let Some(instance) = state.roles[role].instance.take() else {
                return false;
            };
            state.end_calls(role);
            instance
        };
        // Its memory goes. What destructors would still do counts for nothing.
        let outer = self.state.borrow_mut().running.replace(Running {
            role,
            doomed: Some(cause),
            fuse: None,
        });
        let mut instance = instance;
        if let Some(at_end) = instance.at_end.take() {
            at_end();
        }
        for (slot, number) in instance.futures.iter().copied() {
            let future = self.state.borrow_mut().futures.remove(slot, number);
            drop(future);
        }
        drop(instance);
        self.state.borrow_mut().running = outer;
        true
    }

    /// Takes one of the things that could happen.
    pub fn step(self: &Rc<Self>) -> Step {
        let chosen = {
            let mut state = self.state.borrow_mut();
            let step_ns = 1 + state.random.number() % state.step_ns_max;
            state.now_ns += step_ns;
            state.fire_timers();
            self.take_woken(&mut state);
            match state.choose() {
                Some(chosen) => {
                    state.steps += 1;
                    chosen
                }
                None => {
                    let Some(deadline_ns) = state.next_time() else {
                        return Step::Stalled;
                    };
                    state.now_ns = state.now_ns.max(deadline_ns);
                    state.fire_timers();
                    self.take_woken(&mut state);
                    return Step::Waited;
                }
            }
        };
        match chosen {
            Ready::Poll(slot, number) => self.poll(slot, number),
            Ready::Event(role) => self.deliver(role),
            Ready::Outside(source, number) => {
                self.state.borrow_mut().note(3, source as u64, number);
                return Step::Outside(source, number);
            }
        }
        Step::Inside
    }

    fn take_woken(&self, state: &mut State) {
        self.woken.take(|slot, number| {
            state.ready.push(Ready::Poll(slot, number));
        });
        let now_ns = state.now_ns;
        while let Some(first) = state.alarms.first_entry()
            && first.key().0 <= now_ns
        {
            let ((_, number), source) = first.remove_entry();
            state.ready.push(Ready::Outside(source, number));
        }
    }

    /// As [`Self::offer`], but not before a time, in nanoseconds.
    pub fn alarm(&self, at_ns: u64, source: usize, number: u64) {
        let mut state = self.state.borrow_mut();
        state.alarms.insert((at_ns, number), source);
    }

    /// Whether what the running task is about to do has an effect. If it is to die just here, this does not
    /// return.
    fn effect(&self) -> bool {
        match self.state.borrow_mut().effect() {
            Effect::Done => true,
            Effect::Void => false,
            Effect::Death => resume_unwind(Box::new(Dead)),
        }
    }

    /// As [`Self::effect`], for memory that outlives instances.
    #[must_use]
    pub fn may_store(&self) -> bool {
        self.effect()
    }

    /// A role's name.
    #[must_use]
    pub fn name(&self, role: RoleId) -> String {
        self.state.borrow().roles[role].name.clone()
    }

    /// A number from the seed, for whoever runs the kernel.
    pub fn random(&self, bound: u64) -> u64 {
        self.state.borrow_mut().random.below(bound)
    }
}

impl State {
    /// One of the things that can happen, at random.
    fn choose(&mut self) -> Option<Ready> {
        let mut chosen = None;
        // A thing whose role has ended is no thing; a slow role's turn comes every eighth time.
        for attempt in 0.. {
            if self.ready.is_empty() {
                break;
            }
            let index = self.random.below(self.ready.len() as u64) as usize;
            let ready = self.ready[index];
            let role = match ready {
                Ready::Poll(slot, number) => self.futures.role(slot, number),
                Ready::Event(role) => Some(role),
                Ready::Outside(..) => Some(usize::MAX),
            };
            let Some(role) = role else {
                self.ready.swap_remove(index);
                continue;
            };
            if Some(role) == self.slow && attempt < 8 && self.random.below(8) != 0 {
                continue;
            }
            self.ready.swap_remove(index);
            chosen = Some(ready);
            break;
        }
        chosen
    }

    /// Has the manager hear of a death.
    fn tell(&mut self, role: RoleId, cause: Cause) {
        let generation = self.roles[role].generation;
        self.reports.push_back(Report {
            role,
            generation,
            cause,
        });
    }

    fn note(&mut self, kind: u64, first: u64, second: u64) {
        let word =
            kind ^ first.rotate_left(8) ^ second.rotate_left(24) ^ self.now_ns.rotate_left(40);
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if log::log_enabled!(target: "trace", log::Level::Trace) {
            let what = match kind {
                0 => format!("poll {} future {second}", self.roles[first as usize].name),
                1 => format!("{} gets call {second}", self.roles[first as usize].name),
                2 => format!(
                    "{} gets the answer {second}",
                    self.roles[first as usize].name
                ),
                _ => format!("outside {first}: {second}"),
            };
            log::trace!(target: "trace", "step {}: {what}", self.steps);
        }
    }

    fn effect(&mut self) -> Effect {
        let Some(running) = &mut self.running else {
            return Effect::Done;
        };
        if running.doomed.is_some() {
            return Effect::Void;
        }
        match &mut running.fuse {
            Some(0) => {
                running.doomed = Some(Cause::Killed);
                return Effect::Death;
            }
            Some(left) => *left -= 1,
            None => {}
        }
        Effect::Done
    }

    /// When something is due that does not happen before.
    fn next_time(&self) -> Option<u64> {
        let timer = self.timers.first_key_value().map(|(key, _)| key.0);
        let alarm = self.alarms.first_key_value().map(|(key, _)| key.0);
        timer.into_iter().chain(alarm).min()
    }

    fn fire_timers(&mut self) {
        while let Some(first) = self.timers.first_entry()
            && first.key().0 <= self.now_ns
        {
            first.remove().wake();
        }
    }

    /// Sees that something stands for a role's first event, if it can take it.
    fn offer_events(&mut self, role: RoleId) {
        let it = &mut self.roles[role];
        if it.instance.is_some() && !it.events.is_empty() && !it.offered {
            it.offered = true;
            self.ready.push(Ready::Event(role));
        }
    }
}

impl Kernel {
    /// Ends every task. Tasks hold the kernel, and the kernel its tasks: without this neither would go.
    pub fn shut_down(self: &Rc<Self>) {
        let roles = self.state.borrow().roles.len();
        for role in 0..roles {
            self.end(role, Cause::Killed);
        }
    }
}
