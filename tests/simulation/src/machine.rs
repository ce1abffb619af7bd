//! One boot of the machine: the stack in tasks, the disks, and the restart manager, from power on to the
//! next power cut.
//!
//! The manager's rules are those of the guest (`manager::policy`); here is only what carries them out. It
//! hears of a death some steps after it, and carries out its actions one at a time, between anything else.

use std::{
    cell::RefCell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use futures_util::FutureExt as _;
use manager::policy::{Action, Death, Member, Policy};
use stack::Role;
use storage::{
    clock::Clock,
    faulty::{Action as Fault, Armed, Direction, Overlay, Persistence, Rule},
    naming::SURVIVING_PAGES_MAX,
    surviving::Heap,
};
use tests::random::Random;

use crate::{
    disk::{Disk, FaultyDisk, Medium, Sleeper},
    kernel::{Cause, Endpoint, Kernel, Report, RoleId, Schedule, Step},
    mix::Mix,
    oracle::Oracle,
    programs,
};

/// The manager, among what is outside of the tasks. Disks follow.
const MANAGER: usize = 0;

/// The time that naming gives to files: the oracle's.
#[derive(Clone)]
pub struct Stamps(pub Rc<RefCell<Oracle>>);

impl Clock for Stamps {
    fn now_ns(&self) -> u64 {
        self.0.borrow().stamp_ns()
    }
}

/// What the manager has to do.
#[derive(Debug)]
enum Job {
    Hear(Report),
    Act(Action),
    /// A new instance has answered.
    Answered(RoleId),
    /// The time of a pause is over.
    Tick,
}

/// What has come of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something happened.
    Went,
    /// Only time has passed.
    Waited,
}

/// Why a machine cannot go on.
#[derive(Debug)]
pub enum Halt {
    /// Nothing in the stack can happen any more.
    Stalled,
    /// The manager has given up: with why.
    GaveUp(String),
}

/// What a disk has done wrong since power on, in requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misdeeds {
    /// Anything but being slow.
    pub all: u64,
    /// Of these, what it did not say and what stays.
    pub lies: u64,
    /// Of these, writes that went elsewhere.
    pub strays: u64,
}

impl Misdeeds {
    fn add(&mut self, armed: &Armed) {
        let acted = armed.acted;
        match armed.rule.action {
            Fault::Slow { .. } => return,
            Fault::ReadError | Fault::WriteError | Fault::Dead => {}
            Fault::Corrupt { .. } if armed.rule.direction == Direction::Reads => {}
            Fault::MisdirectedWrite { .. } => {
                self.lies += acted;
                self.strays += acted;
            }
            Fault::Corrupt { .. }
            | Fault::TornWrite { .. }
            | Fault::LostWrite
            | Fault::LostFlush => self.lies += acted,
        }
        self.all += acted;
    }
}

/// A machine that is on.
pub struct Machine {
    /// Its kernel.
    pub kernel: Rc<Kernel>,
    mix: Mix,
    disks: Vec<Option<Rc<FaultyDisk>>>,
    lies: Vec<Option<Rc<Overlay>>>,
    /// Memory of the cache, which outlives its instances, not the machine.
    memory: Heap,
    stamps: Stamps,
    policy: Policy,
    jobs: VecDeque<Job>,
    ticks: u64,
    /// What outlives naming.
    naming_memory: Heap,
}

impl Machine {
    /// Switches on, with these media.
    #[must_use]
    pub fn boot(
        mix: &Mix,
        boot: u64,
        media: Vec<Option<Medium>>,
        oracle: &Rc<RefCell<Oracle>>,
        now_ns: u64,
    ) -> Self {
        let all = mix.roles.all();
        let schedule = Schedule {
            seed: Random::new(mix.schedule.seed ^ boot.rotate_left(32)).number(),
            ..mix.schedule
        };
        let names = all.iter().map(|(name, _)| name.clone()).collect();
        let kernel = Kernel::new(names, &schedule, now_ns);
        let (mut disks, mut lies) = (Vec::new(), Vec::new());
        for (number, medium) in media.into_iter().enumerate() {
            lies.push(medium.as_ref().map(|medium| medium.lies.clone()));
            disks.push(medium.map(|Medium { truth, lies }| {
                let disk = Disk::new(&kernel, MANAGER + 1 + number, mix.sectors[number], truth);
                let over = Persistence::Overlay(lies);
                Rc::new(FaultyDisk::new(disk, Sleeper(kernel.clone()), over))
            }));
        }
        let members = all.iter().enumerate().map(|(number, (_, role))| Member {
            role: *role,
            // Drivers can stand in for each other, and so can file stores; nobody else can.
            class: match role {
                Role::Driver => 0,
                Role::Storage if number < mix.roles.logical() => 1,
                _ => number,
            },
            optional: false,
            restart: *role != Role::Application,
        });
        let mut machine = Self {
            policy: Policy::new(members.collect()),
            kernel,
            mix: mix.clone(),
            disks,
            lies,
            memory: Heap::new(mix.cache.memory_pages()),
            stamps: Stamps(oracle.clone()),
            jobs: VecDeque::new(),
            ticks: 0,
            naming_memory: Heap::new(SURVIVING_PAGES_MAX),
        };
        for role in 0..=machine.mix.roles.naming() {
            machine.policy.started(role);
            machine.start(role);
        }
        machine
    }

    /// The way to a role.
    #[must_use]
    pub fn endpoint(&self, role: RoleId) -> Endpoint {
        Endpoint {
            kernel: self.kernel.clone(),
            role,
        }
    }

    /// Starts an instance of a role of the stack.
    fn start(&mut self, role: RoleId) {
        let (kernel, roles) = (self.kernel.clone(), self.mix.roles);
        let is_restart = kernel.generation(role) > 0;
        let disk = |number: usize| self.disks[number].clone();
        if role < roles.store(0) {
            let Some(disk) = disk(role) else {
                kernel.stop(role);
                self.policy.stopped(role);
                return;
            };
            kernel.start(role, programs::driver(kernel.clone(), disk));
        } else if role < roles.logical() {
            let device = self.endpoint(roles.driver(role - roles.store(0)));
            let store = programs::store(kernel.clone(), device, self.mix.store);
            kernel.start(role, store);
        } else if role == roles.logical() {
            let stores = (0..roles.disks).map(|it| Some(self.endpoint(roles.store(it))));
            let logical = programs::logical(kernel.clone(), stores.collect());
            kernel.start(role, logical);
        } else if role == roles.cache() {
            let below = self.endpoint(roles.logical());
            if is_restart {
                self.memory = self.memory.next_instance();
            }
            let memory = self.memory.clone();
            let cache = programs::cache(kernel.clone(), below, self.mix.cache, memory);
            kernel.start(role, cache);
        } else if role == roles.naming() {
            let (below, period_ns) = (self.endpoint(roles.cache()), self.mix.period_ns);
            let stamps = self.stamps.clone();
            if is_restart {
                self.naming_memory = self.naming_memory.next_instance();
            }
            let memory = self.naming_memory.clone();
            let naming = programs::naming(kernel.clone(), below, stamps, memory, period_ns);
            kernel.start(role, naming);
        }
        self.add(Job::Answered(role));
    }

    fn add(&mut self, job: Job) {
        self.jobs.push_back(job);
        self.kernel.offer(MANAGER, 0);
    }

    /// One step.
    ///
    /// # Errors
    /// If nothing can go on, or the manager gives up: with why.
    pub fn step(&mut self) -> Result<Progress, Halt> {
        let step = self.kernel.step();
        while let Some(report) = self.kernel.report() {
            self.add(Job::Hear(report));
        }
        match step {
            Step::Inside => {}
            Step::Waited => return Ok(Progress::Waited),
            Step::Stalled => return Err(Halt::Stalled),
            Step::Outside(MANAGER, 0) => self.manage()?,
            Step::Outside(MANAGER, _) => self.add(Job::Tick),
            Step::Outside(source, number) => {
                if let Some(disk) = &self.disks[source - MANAGER - 1] {
                    disk.device().end(number);
                }
            }
        }
        Ok(Progress::Went)
    }

    fn manage(&mut self) -> Result<(), Halt> {
        let now_ns = self.kernel.now_ns();
        let actions = match self.jobs.pop_front() {
            // Of an instance that was replaced meanwhile: dropped.
            Some(Job::Hear(report)) if report.generation < self.kernel.generation(report.role) => {
                Vec::new()
            }
            Some(Job::Hear(Report { role, cause, .. })) => {
                let death = match cause {
                    Cause::Killed => Death::Injected,
                    Cause::Exited => Death::Crash,
                };
                log::debug!(
                    "the manager hears that {} died: {cause:?}",
                    self.kernel.name(role)
                );
                self.policy.died(role, death, now_ns, now_ns)
            }
            Some(Job::Act(action)) => {
                self.act(action)?;
                Vec::new()
            }
            Some(Job::Answered(role)) => {
                if self.kernel.is_up(role) {
                    self.policy.answered(role, now_ns);
                }
                Vec::new()
            }
            Some(Job::Tick) => self.policy.tick(now_ns),
            None => Vec::new(),
        };
        // Before it hears of anything else.
        for action in actions.into_iter().rev() {
            self.jobs.push_front(Job::Act(action));
            self.kernel.offer(MANAGER, 0);
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Result<(), Halt> {
        log::debug!("the manager: {action:?}");
        match action {
            Action::Kill(role) => self.kernel.kill(role, true),
            Action::Spawn(role) => {
                if !self.kernel.is_up(role) {
                    self.start(role);
                }
            }
            Action::Stop(role) => self.kernel.stop(role),
            Action::Wait(at_ns) => {
                self.ticks += 1;
                self.kernel.alarm(at_ns, MANAGER, self.ticks);
            }
            Action::GiveUp(role) => {
                let name = self.kernel.name(role);
                return Err(Halt::GaveUp(format!(
                    "{name} crashed too often: the manager gives up"
                )));
            }
        }
        Ok(())
    }

    /// What a disk has done wrong. Rules that are done and made room for others count no more.
    #[must_use]
    pub fn misdeeds(&self, disk: usize) -> Misdeeds {
        let mut misdeeds = Misdeeds::default();
        if let Some(disk) = &self.disks[disk] {
            disk.rules().iter().for_each(|armed| misdeeds.add(armed));
        }
        misdeeds
    }

    /// How many rules a disk has, done or not.
    #[must_use]
    pub fn rules(&self, disk: usize) -> usize {
        self.disks[disk]
            .as_ref()
            .map_or(0, |disk| disk.rules().len())
    }

    /// A disk begins to fail by a rule, which names no kind of block. Says whether it does: past the most rules that
    /// there can be, nothing more goes wrong.
    pub fn harm(&self, disk: usize, rule: Rule) -> bool {
        let Some(disk) = &self.disks[disk] else {
            return false;
        };
        log::info!("a disk fails: {rule:?}");
        let added = disk.add(None, rule).now_or_never();
        added.is_some_and(|added| added.is_ok())
    }

    /// Power off: what is on the media, with an order and a subset of the unflushed writes of the seed's
    /// choice.
    #[must_use]
    pub fn cut(self, random: &mut Random) -> Vec<Option<Medium>> {
        let disks = self.disks.iter().zip(&self.lies);
        let cut = |(disk, lies): (&Option<Rc<FaultyDisk>>, &Option<Rc<Overlay>>)| {
            Some(Medium {
                truth: disk.as_ref()?.device().cut(random),
                lies: lies.clone()?,
            })
        };
        let media = disks.map(cut).collect();
        self.switch_off();
        media
    }

    /// Ends every task. Tasks hold the kernel, and the kernel its tasks; memory that outlives them is held by what is called
    /// before each store to it. Without this none of it would ever go.
    fn switch_off(&self) {
        self.kernel.shut_down();
        self.memory.end_instance();
        self.naming_memory.end_instance();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // After a violation destructors may find anything; what they say then is of no interest.
        let _ = catch_unwind(AssertUnwindSafe(|| self.switch_off()));
    }
}

#[cfg(test)]
mod after {
    use storage::block::ram::RamDisk;

    use super::*;
    use crate::{case::Case, oracle::Rules};

    /// A machine that has run for some steps, so that every task holds what it holds.
    fn machine() -> Machine {
        let mix = Mix::of(&Case::new(1));
        let rules = Rules {
            in_place: false,
            tight: false,
            distrust: false,
        };
        let oracle = Rc::new(RefCell::new(Oracle::new(Vec::new(), 1, rules)));
        let blank = |&sectors: &u64| {
            Some(Medium {
                truth: RamDisk::new(sectors),
                lies: Rc::default(),
            })
        };
        let media = mix.sectors.iter().map(blank).collect();
        let mut machine = Machine::boot(&mix, 1, media, &oracle, 0);
        for _ in 0..500 {
            machine.step().expect("it goes on");
        }
        machine
    }

    /// Hours of runs must not take the host's memory.
    #[test]
    fn nothing_of_a_machine_that_is_off_stays_however_it_went_off() {
        let ends: [fn(Machine); 3] = [
            |machine| drop(machine.cut(&mut Random::new(1))),
            drop,
            |machine| {
                let violation = catch_unwind(AssertUnwindSafe(|| {
                    let _machine = machine;
                    std::panic::resume_unwind(Box::new("a violation"));
                }));
                assert!(violation.is_err());
            },
        ];
        for end in ends {
            let machine = machine();
            let kernel = Rc::downgrade(&machine.kernel);
            end(machine);
            assert_eq!(kernel.strong_count(), 0);
        }
    }
}
