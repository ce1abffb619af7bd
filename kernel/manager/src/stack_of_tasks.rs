//! The stack's tasks: what the policy decides about them, carried out by the kernel.

use alloc::{
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::cell::{Cell, RefCell};

use abi::{Cause, DeathReport, TaskInfo, TaskState};
use manager::{
    control::Progress,
    events,
    history::History,
    policy::{Action, Death, Member, Policy, Recovered, State},
};
use runtime::{Endpoint, inspect, manage, start, time};
use stack::{Role, Stack};
use storage::{
    file::{self, FileService},
    vfs,
};

use crate::{
    faults::Active,
    heartbeat, kills,
    placement::{self, Placed, place},
};

/// The argument that tells a task to give up what its earlier instances have left in memory.
const DISCARD: &str = "memory=discard";

/// A recovery of the cache that takes longer is not waited for, nanoseconds.
const REPLAY_NS_MAX: u64 = 60_000_000_000;

/// What a task does not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// It does not answer pings.
    Pings,
    /// It does not answer a request.
    Requests,
}

/// All that the manager knows. Nothing here is borrowed across an `await`.
pub struct Tasks {
    /// The description.
    pub stack: Stack,
    placed: Vec<Placed>,
    policy: RefCell<Policy>,
    histories: RefCell<Vec<History>>,
    /// The instance that each role has or had last, by generation.
    generations: RefCell<Vec<u64>>,
    /// Roles that are killed for silence: their deaths are told as that.
    silenced: RefCell<Vec<Option<Silence>>>,
    /// The last series of kills: the number of its injection, and how it went so far.
    pub series: Cell<(u32, Progress)>,
    /// Faults on request that wait or repeat.
    pub injections: RefCell<Vec<Active>>,
    /// The highest number that one of them was given.
    pub injection_number: Cell<u32>,
    /// Roles and instances that were ended by a kill that had waited in them, until their deaths are dealt
    /// with.
    pub killed: RefCell<Vec<(u64, u64)>>,
    /// An accident of the machine is under way.
    pub power_fails: Cell<bool>,
    /// The machine is about to end, this way.
    pub ending: Cell<Option<u64>>,
}

impl Tasks {
    /// The stack, not started. An error is one line.
    pub fn new(stack: Stack) -> Result<Self, String> {
        let placed = place(&stack)?;
        let mut programs: Vec<&str> = Vec::new();
        let members = stack.tasks.iter().map(|task| {
            let known = programs.iter().position(|&program| program == task.program);
            let class = known.unwrap_or_else(|| {
                programs.push(&task.program);
                programs.len() - 1
            });
            Member {
                role: task.role,
                class,
                optional: task.optional,
                restart: task.restart,
            }
        });
        let policy = RefCell::new(Policy::new(members.collect()));
        let count = stack.tasks.len();
        Ok(Self {
            placed,
            policy,
            histories: RefCell::new(alloc::vec![History::default(); count]),
            generations: RefCell::new(alloc::vec![0; count]),
            silenced: RefCell::new(alloc::vec![None; count]),
            series: Cell::default(),
            injections: RefCell::default(),
            injection_number: Cell::default(),
            killed: RefCell::default(),
            power_fails: Cell::default(),
            ending: Cell::default(),
            stack,
        })
    }

    /// The name of a task.
    pub fn name(&self, task: usize) -> &str {
        &self.stack.tasks[task].name
    }

    /// The task of a name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.stack.tasks.iter().position(|task| task.name == name)
    }

    /// How to call a task.
    pub fn endpoint(&self, task: usize) -> Endpoint {
        Endpoint::new(self.placed[task].role)
    }

    /// The number of a task's role.
    pub fn role(&self, task: usize) -> u64 {
        self.placed[task].role
    }

    /// The instance that a task has or had last.
    pub fn generation(&self, task: usize) -> u64 {
        self.generations.borrow()[task]
    }

    /// Whether there is an instance of the task.
    pub fn is_up(&self, task: usize) -> bool {
        self.policy.borrow().is_up(task)
    }

    /// All tasks that have an instance.
    pub fn everybody(&self) -> Vec<usize> {
        let tasks = 0..self.stack.tasks.len();
        tasks.filter(|&task| self.is_up(task)).collect()
    }

    /// Whether a task was taken out for good, or never was there.
    pub fn is_out(&self, task: usize) -> bool {
        self.policy.borrow().state(task) == State::Stopped
    }

    /// What a task is doing, in a word.
    pub fn state(&self, task: usize) -> &'static str {
        match self.policy.borrow().state(task) {
            State::Running(_) => "running",
            State::Starting | State::Down => "restarting",
            State::Stopped if self.placed[task].spec.is_none() => "absent",
            State::Stopped => "stopped",
        }
    }

    /// What became of a task so far.
    pub fn history(&self, task: usize) -> manager::control::RoleHistory {
        let restarts = self.generation(task).saturating_sub(1);
        self.histories.borrow()[task].report(self.name(task), self.state(task), restarts)
    }

    /// Starts everything, or takes over what an earlier instance of the manager had started.
    pub fn start(self: &Rc<Self>) {
        let table = if start::is_restart() {
            log::warn!("a new instance of the manager takes over");
            let table = inspect::tasks().unwrap_or_default();
            let own = table.get(start::role() as usize);
            let restarts = own.map_or(1, |info| info.generation.saturating_sub(1));
            tell(&events::restart(time::now_ns(), stack::MANAGER, restarts));
            table
        } else {
            Vec::new()
        };
        let mut dead = Vec::new();
        for (task, placed) in self.placed.iter().enumerate() {
            let info = table.get(placed.role as usize);
            let generation = info.map_or(0, |info| info.generation);
            self.generations.borrow_mut()[task] = generation;
            match info {
                Some(info) if is_alive(info) => {
                    self.disarm_all(task);
                    self.policy.borrow_mut().adopted(task, time::now_ns());
                }
                Some(info) if info.state == TaskState::Stopped as u32 => {
                    self.policy.borrow_mut().stopped(task);
                }
                Some(_) if generation > 0 => {
                    self.policy.borrow_mut().adopted(task, time::now_ns());
                    dead.push(task);
                }
                _ => self.start_first(task, placed),
            }
        }
        for task in dead {
            // It died when nobody was there to hear of it, or was about to be started.
            if let Ok(report) = manage::death_report(self.role(task)) {
                self.died(&report);
            }
        }
        if start::is_restart() {
            self.end_what_was_given_up();
        }
    }

    /// If the earlier instance of the manager died while it ended the stack, this one ends it.
    fn end_what_was_given_up(self: &Rc<Self>) {
        let missed = |&task: &usize| {
            let was_there = self.placed[task].spec.is_some();
            was_there && self.is_out(task) && !self.policy.borrow().can_be_missed(task)
        };
        if let Some(task) = (0..self.placed.len()).find(missed) {
            let reason = format!("{} is out, and nothing stands in for it", self.name(task));
            self.end(&reason, kills::GAVE_UP);
        }
    }

    fn start_first(self: &Rc<Self>, task: usize, placed: &Placed) {
        if placed.spec.is_some() {
            self.policy.borrow_mut().started(task);
            self.spawn(task);
            return;
        }
        self.policy.borrow_mut().stopped(task);
        if let Err(error) = manage::stop(placed.role) {
            log::error!("{}: cannot be left out: {error}", self.name(task));
        }
        let entry = &self.stack.tasks[task];
        if let (false, Some(device)) = (entry.optional, entry.device) {
            log::warn!(
                "{}: there is no {device}; the stack goes on without it",
                entry.name
            );
        }
    }

    /// Deals with a death, unless it is an old story.
    pub fn died(self: &Rc<Self>, report: &DeathReport) {
        let Some(task) = self
            .placed
            .iter()
            .position(|placed| placed.role == report.role)
        else {
            return;
        };
        if report.generation != self.generation(task) {
            return;
        }
        let silent = core::mem::take(&mut self.silenced.borrow_mut()[task]);
        let cause = Cause::from_number(report.cause);
        if !self.is_up(task) {
            // It was ended with another one, which is being dealt with.
            return;
        }
        let ends_the_machine = self.ends_the_machine();
        let cause = match self.take_killed(report.role, report.generation) {
            true => Cause::Injected,
            false => cause,
        };
        self.note_death(task, report, cause, silent);
        if ends_the_machine {
            return;
        }
        // Also while the machine is about to end: the last sync needs the stack.
        let death = Death::of(self.stack.tasks[task].role, cause, report.address);
        let actions = self
            .policy
            .borrow_mut()
            .died(task, death, report.time_ns, time::now_ns());
        self.carry_out(actions);
    }

    fn note_death(&self, task: usize, report: &DeathReport, cause: Cause, silent: Option<Silence>) {
        self.histories.borrow_mut()[task].died(cause, silent.is_some());
        let words =
            &report.last_words[..(report.last_words_len as usize).min(report.last_words.len())];
        let words = String::from_utf8_lossy(words);
        let reason = match cause {
            _ if silent == Some(Silence::Pings) => "it did not answer".to_string(),
            _ if silent.is_some() => "it kept a caller waiting for too long".to_string(),
            Cause::Exit => format!("status {}", report.address),
            Cause::Exception => {
                format!("exception {} at {:#x}", report.vector, report.registers.rip)
            }
            Cause::BadAccess | Cause::StackOverrun => {
                format!("{:#x} touched {:#x}", report.registers.rip, report.address)
            }
            _ if !words.is_empty() => words.into_owned(),
            _ => format!("at {:#x}", report.registers.rip),
        };
        let name = self.name(task);
        // The kernel has told people of it, with registers and symbols; what it means it cannot know.
        match self.stack.tasks[task].role {
            Role::Application => {}
            _ if cause == Cause::Exit && report.address == 0 => {
                log::error!("{name} ended by itself, which only an application may");
            }
            _ => {}
        }
        tell(&events::death(
            report.time_ns,
            name,
            &cause.to_string(),
            &reason,
        ));
    }

    /// Does what the policy wants, in its order.
    fn carry_out(self: &Rc<Self>, actions: Vec<Action>) {
        let mut ended = 0_u32;
        for action in actions {
            match action {
                Action::Kill(task) => {
                    ended += 1;
                    // `BadState`: it has died too, in the meantime; the report of that is old then.
                    let _ = manage::kill(self.role(task), Cause::Killed);
                    self.histories.borrow_mut()[task].died(Cause::Killed, false);
                }
                Action::Spawn(task) => self.spawn(task),
                Action::Stop(task) => {
                    self.stop(task);
                    let name = self.name(task);
                    self.tell_naming_of(task);
                    if self.stack.tasks[task].role == Role::Application {
                        log::info!("{name} is not started again");
                    } else {
                        log::error!("{name} has crashed too often and is taken out of the stack");
                    }
                }
                Action::Wait(until_ns) => {
                    let tasks = self.clone();
                    runtime::spawn(async move {
                        time::sleep(until_ns.saturating_sub(time::now_ns())).await;
                        let actions = tasks.policy.borrow_mut().tick(time::now_ns());
                        tasks.carry_out(actions);
                    });
                }
                Action::GiveUp(task) => {
                    self.stop(task);
                    let name = self.name(task);
                    let reason =
                        format!("{name} has crashed too often, and nothing stands in for it");
                    self.end(&reason, kills::GAVE_UP);
                }
            }
        }
        if ended > 0 {
            log::debug!("{ended} more tasks were ended with it");
        }
    }

    fn spawn(self: &Rc<Self>, task: usize) {
        let placed = &self.placed[task];
        let Some(spec) = &placed.spec else { return };
        let mut spec = *spec;
        if self.policy.borrow().is_last_chance(task) && placement::add_argument(&mut spec, DISCARD)
        {
            let name = self.name(task);
            log::error!(
                "{name} crashed too often; once more, without what earlier instances have left in memory"
            );
        }
        match manage::spawn_task(placed.role, &spec) {
            Ok(generation) => {
                self.generations.borrow_mut()[task] = generation;
                if generation > 1 {
                    let (now_ns, name) = (time::now_ns(), self.name(task));
                    tell(&events::restart(now_ns, name, generation - 1));
                }
                runtime::spawn(heartbeat::ping(self.clone(), task, generation));
            }
            Err(error) => {
                log::error!("{}: cannot be started: {error}", self.name(task));
                let tasks = self.clone();
                // Later, because this is in the middle of a list of actions.
                runtime::spawn(async move {
                    let actions = tasks.policy.borrow_mut().spawn_failed(task, time::now_ns());
                    tasks.carry_out(actions);
                });
            }
        }
    }

    /// What a task that does not come back had open is to be closed. Nobody waits for it.
    fn tell_naming_of(&self, task: usize) {
        let role = self.role(task);
        if let Some(naming) = self.first_of(Role::Naming) {
            runtime::spawn(async move {
                if let Err(error) = vfs::Client::new(naming).gone(role).await {
                    log::warn!("naming keeps what role {role} had open: {error}");
                }
            });
        }
    }

    fn stop(&self, task: usize) {
        let name = self.name(task);
        if let Err(error) = manage::stop(self.role(task)) {
            log::error!("{name}: cannot be stopped: {error}");
        }
        let reason = "not to be started again";
        tell(&events::stopped(time::now_ns(), name, reason));
    }

    /// A task answered a ping. If it was the last of those that were restarted together, they are
    /// back; but a recovery below the cache has only ended when the cache lets calls
    /// through again. A question to the stores, asked through the cache, shows that.
    pub fn answered(self: &Rc<Self>, task: usize) {
        self.count_marks();
        let now_ns = time::now_ns();
        let Some(recovered) = self.policy.borrow_mut().answered(task, now_ns) else {
            return;
        };
        for &member in &recovered.members {
            self.histories.borrow_mut()[member].answered(recovered.duration_ns);
        }
        let name = self.name(recovered.culprit);
        let (count, duration_ns) = (recovered.members.len(), recovered.duration_ns);
        tell(&events::answering(now_ns, name, count, duration_ns));
        let role = |task: usize| self.stack.tasks[task].role;
        let below = recovered
            .members
            .iter()
            .any(|&member| role(member) == Role::Storage);
        let cache = (0..self.stack.tasks.len())
            .find(|&task| below && role(task) == Role::Cache && self.is_up(task));
        let Some(cache) = cache else {
            return self.recovered(&recovered);
        };
        let tasks = self.clone();
        let cache = file::Client(self.endpoint(cache));
        runtime::spawn(async move {
            // An error is an answer too: there may be no volume.
            if time::with_deadline(REPLAY_NS_MAX, cache.usage())
                .await
                .is_some()
            {
                let more_ns = time::now_ns() - now_ns;
                let duration_ns = recovered.duration_ns + more_ns;
                tasks.recovered(&Recovered {
                    duration_ns,
                    ..recovered
                });
            } else {
                log::warn!(
                    "the cache has not recovered in {} s",
                    REPLAY_NS_MAX / 1_000_000_000
                );
            }
        });
    }

    /// Tasks that were restarted together serve again.
    fn recovered(&self, recovered: &Recovered) {
        let Recovered {
            culprit,
            members,
            duration_ns,
        } = recovered;
        for &member in members {
            self.histories.borrow_mut()[member].recovered(*duration_ns);
        }
        let name = self.name(*culprit);
        let count = members.len();
        tell(&events::recovery(time::now_ns(), name, count, *duration_ns));
        let ms = *duration_ns as f64 / 1e6;
        match count {
            1 => log::info!("{name} was restarted and serves after {ms:.1} ms"),
            _ => {
                log::info!("{name} died; {count} tasks were restarted and serve after {ms:.1} ms")
            }
        }
    }

    /// Since when a task serves, nanoseconds since boot; none if it does not.
    pub fn serves_since(&self, task: usize) -> Option<u64> {
        match self.policy.borrow().state(task) {
            State::Running(since_ns) => Some(since_ns),
            _ => None,
        }
    }

    /// Ends a task that does not answer.
    pub fn silence(&self, task: usize) {
        self.end_silent(task, Silence::Pings, "does not answer and is ended");
    }

    /// Ends a task that answers, but has not done what it was asked for in the time it was given.
    pub fn end_overdue(&self, task: usize) {
        let words = "has kept a caller waiting for too long and is ended";
        self.end_silent(task, Silence::Requests, words);
    }

    fn end_silent(&self, task: usize, silence: Silence, words: &str) {
        // `BadState`: it has just died by itself.
        if manage::kill(self.role(task), Cause::Killed).is_ok() {
            log::error!("{} {words}", self.name(task));
            self.silenced.borrow_mut()[task] = Some(silence);
        }
    }
}

/// Tells programs of an event.
pub fn tell(event: &str) {
    log::info!(target: "event", "{event}");
}

/// Whether a role has an instance.
pub fn is_alive(info: &TaskInfo) -> bool {
    info.state == TaskState::Ready as u32 || info.state == TaskState::Waiting as u32
}
