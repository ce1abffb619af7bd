//! Faults on request: rules go to the filters before disks, everything else into the tasks themselves.
//!
//! Injections have numbers of one sequence, whoever keeps them. Those that happen at once have one too,
//! and nothing is left of them. Filters are asked with a deadline: the manager waits for no task.

use alloc::{rc::Rc, string::ToString, vec::Vec};

use abi::{Cause, Fault};
use manager::{
    control::Target,
    injection::{EVERY_MS_MIN, INJECTIONS_MAX, Injection, Listed, TaskFault, What},
    series::Choice,
};
use runtime::{Endpoint, manage, time};
use stack::Role;
use storage::{
    Error, Result,
    faulty::{self, Rule},
};

use crate::{kills, stack_of_tasks::Tasks};

/// The program that is a filter of faulty disks.
const FILTER: &str = "faulty";

/// How long a filter may take to answer, nanoseconds.
const FILTER_NS: u64 = 5_000_000_000;

/// Longest wait before a fault, milliseconds: an hour.
const AFTER_MS_MAX: u32 = 3_600_000;

/// An injection that waits or repeats.
pub struct Active {
    number: u32,
    target: Target,
    fault: TaskFault,
    hits: u64,
    choice: Choice,
}

impl Active {
    fn left(&self) -> Option<u64> {
        let count = self.fault.count;
        count.map(|count| count.saturating_sub(self.hits))
    }
}

impl Tasks {
    fn filters(&self) -> impl Iterator<Item = usize> {
        let tasks = 0..self.stack.tasks.len();
        tasks.filter(|&task| self.stack.tasks[task].program == FILTER && !self.is_out(task))
    }

    /// The filter of this name, or the one before the driver of this name.
    fn filter(&self, name: &str) -> Result<usize> {
        let task = self.find(name).ok_or(Error::NotFound)?;
        let mut filters = self.filters();
        let before = |&filter: &usize| {
            filter == task || self.stack.tasks[filter].calls.iter().any(|it| it == name)
        };
        filters.find(before).ok_or(Error::NotPermitted)
    }

    fn control(&self, filter: usize) -> faulty::Client<Endpoint> {
        faulty::Client(self.endpoint(filter))
    }

    /// Injects; returns the number. [`Error::NotFound`] for a task or disk there is not;
    /// [`Error::NotPermitted`] if no filter is before the disk, or the task is out for good;
    /// [`Error::Busy`] if it is between two instances; [`Error::BadArgument`]; [`Error::NoMemory`] for
    /// more than there can be.
    pub async fn inject(self: &Rc<Self>, injection: Injection, from: u64) -> Result<u32> {
        let number = self.next_number().await;
        match injection.what {
            What::Disk(rule) => {
                let Target::Role(name) = &injection.target else {
                    return Err(Error::BadArgument);
                };
                self.add_rule(name, number, rule).await?;
            }
            What::Task(fault) => self.begin(number, injection.target, fault, from)?,
        }
        Ok(number)
    }

    /// A number that nobody has: also an earlier instance of the manager has given some.
    async fn next_number(&self) -> u32 {
        let listed = self.injections().await;
        let highest = listed.iter().map(|it| it.number).max().unwrap_or(0);
        let number = self.injection_number.get().max(highest) + 1;
        self.injection_number.set(number);
        number
    }

    async fn add_rule(&self, name: &str, number: u32, rule: Rule) -> Result<()> {
        let filter = self.control(self.filter(name)?);
        let added = time::with_deadline(FILTER_NS, filter.add(number, rule));
        added.await.unwrap_or(Err(Error::Busy))
    }

    fn begin(
        self: &Rc<Self>,
        number: u32,
        target: Target,
        fault: TaskFault,
        from: u64,
    ) -> Result<()> {
        let repeats = fault.every_ms > 0;
        let sound = fault.fault().is_some()
            && fault.after_ms <= AFTER_MS_MAX
            && (!repeats || fault.every_ms >= EVERY_MS_MIN);
        if !sound {
            return Err(Error::BadArgument);
        }
        if let Target::Role(name) = &target
            && name != stack::MANAGER
        {
            let task = self.find(name).ok_or(Error::NotFound)?;
            if self.is_out(task) {
                return Err(Error::NotPermitted);
            }
        }
        let mut active = Active {
            number,
            choice: Choice::new(fault.seed),
            target,
            fault,
            hits: 0,
        };
        if fault.after_ms == 0 && !repeats {
            return self.strike(&mut active, from);
        }
        let mut injections = self.injections.borrow_mut();
        if injections.len() >= INJECTIONS_MAX {
            return Err(Error::NoMemory);
        }
        injections.push(active);
        runtime::spawn(drive(self.clone(), number, fault));
        Ok(())
    }

    /// Has the fault happen to its target, or to one of all.
    fn strike(self: &Rc<Self>, active: &mut Active, from: u64) -> Result<()> {
        let fault = active.fault.fault().ok_or(Error::BadArgument)?;
        let seed = active.fault.seed.wrapping_add(active.hits);
        let role = match &active.target {
            Target::Role(name) if name == stack::MANAGER => runtime::start::role(),
            Target::Role(name) => self.role(self.find(name).ok_or(Error::NotFound)?),
            target => {
                let candidates = self.candidates(target);
                let chosen = active.choice.choose(&candidates).ok_or(Error::Busy)?;
                self.role(chosen)
            }
        };
        let (argument, when) = (active.fault.argument, active.fault.when());
        let now = move || match (fault, when) {
            (Fault::Kill, abi::When::Now) => manage::kill(role, Cause::Injected),
            _ => manage::inject(role, fault, argument, seed, when),
        };
        active.hits += 1;
        // Who asks for its own fault, or for the manager's, hears of it first.
        if role == from || role == runtime::start::role() {
            kills::later(move || {
                let _ = now();
            });
            return Ok(());
        }
        now().map_err(|error| match error {
            abi::Error::BadState => Error::Busy,
            _ => Error::NotPermitted,
        })
    }

    /// One of those that wait or repeat happens. Says whether it goes on.
    fn strike_again(self: &Rc<Self>, number: u32) -> bool {
        let mut injections = core::mem::take(&mut *self.injections.borrow_mut());
        let found = injections.iter_mut().find(|it| it.number == number);
        let goes_on = found.is_some_and(|active| {
            // Nobody there just now is no reason to end.
            let _ = self.strike(active, u64::MAX);
            active.fault.every_ms > 0 && active.left() != Some(0)
        });
        if !goes_on {
            injections.retain(|it| it.number != number);
        }
        self.injections.borrow_mut().extend(injections);
        goes_on
    }

    /// Everything that is in force, in the filters too.
    pub async fn injections(&self) -> Vec<Listed> {
        let mut listed = Vec::new();
        for filter in self.filters() {
            let asked = self.control(filter);
            let Some(Ok(rules)) = time::with_deadline(FILTER_NS, asked.rules()).await else {
                continue;
            };
            listed.extend(rules.iter().map(|armed| Listed {
                number: armed.number,
                target: self.name(filter).into(),
                what: What::Disk(armed.rule),
                hits: armed.acted,
                left: armed.left(),
            }));
        }
        let active = self.injections.borrow();
        listed.extend(active.iter().map(|active| Listed {
            number: active.number,
            target: match &active.target {
                Target::Role(name) => name.to_string(),
                Target::All => "all".into(),
            },
            what: What::Task(active.fault),
            hits: active.hits,
            left: active.left(),
        }));
        listed.sort_by_key(|it| it.number);
        listed
    }

    /// Switches one off, or all; how many that were. [`Error::NotFound`] if there is none of this
    /// number.
    pub async fn switch_off(&self, number: Option<u32>) -> Result<u32> {
        let meant = |it: u32| number.is_none_or(|number| number == it);
        let before = self.injections.borrow().len();
        self.injections.borrow_mut().retain(|it| !meant(it.number));
        let mut removed = (before - self.injections.borrow().len()) as u32;
        for filter in self.filters() {
            let asked = self.control(filter);
            let Some(Ok(rules)) = time::with_deadline(FILTER_NS, asked.rules()).await else {
                continue;
            };
            for rule in rules.iter().filter(|rule| meant(rule.number)) {
                let gone = time::with_deadline(FILTER_NS, asked.remove(rule.number)).await;
                removed += u32::from(gone == Some(Ok(())));
            }
        }
        if removed == 0 && number.is_some() {
            return Err(Error::NotFound);
        }
        Ok(removed)
    }

    /// The power of all disks fails at this moment, and the machine starts again. Of what was not
    /// flushed, a part that follows from the seed is on the disks, or, if one disk is named, on that one;
    /// the others then lose nothing.
    ///
    /// Does not return, but for [`Error::NotFound`], [`Error::NotPermitted`]: no such disk, no filters.
    pub async fn power_cut(&self, disk: Option<&str>, seed: u64) -> Result<()> {
        let one = disk.map(|name| self.filter(name)).transpose()?;
        let filters: Vec<usize> = self.filters().collect();
        if filters.is_empty() {
            return Err(Error::NotPermitted);
        }
        log::info!("the power fails, seed {seed}");
        for &filter in &filters {
            let cut = time::with_deadline(FILTER_NS, self.control(filter).cut()).await;
            if !matches!(cut, Some(Ok(()))) {
                log::error!("{} cannot be cut", self.name(filter));
            }
        }
        for (index, &filter) in (0..).zip(&filters) {
            // Each disk loses something else.
            let loses = one.is_none_or(|one| one == filter);
            let seed = loses.then_some(seed.wrapping_add(index << 32));
            let asked = self.control(filter);
            match time::with_deadline(FILTER_NS, asked.settle(seed)).await {
                Some(Ok((kept, lost))) => log::info!(
                    "{}: of what was not flushed {kept} sectors are on the disk, {lost} are lost",
                    self.name(filter)
                ),
                _ => log::error!("{} was lost as a whole", self.name(filter)),
            }
        }
        manage::power(kills::RESET).map_err(|_| Error::NotPermitted)
    }

    /// Whom something that happens to any task may happen to now.
    pub fn candidates(&self, target: &Target) -> Vec<usize> {
        let wanted = |task: &usize| match target {
            Target::Role(name) => self.name(*task) == name.as_str(),
            Target::All => matches!(
                self.stack.tasks[*task].role,
                Role::Driver | Role::Storage | Role::Cache
            ),
        };
        let tasks = 0..self.stack.tasks.len();
        tasks
            .filter(|task| wanted(task) && self.is_up(*task))
            .collect()
    }
}

/// Has an injection happen at its times, until it is over or switched off.
async fn drive(tasks: Rc<Tasks>, number: u32, fault: TaskFault) {
    let mut next_ns = time::now_ns() + u64::from(fault.after_ms) * 1_000_000;
    loop {
        time::sleep(next_ns.saturating_sub(time::now_ns())).await;
        if !tasks.strike_again(number) {
            return;
        }
        next_ns += u64::from(fault.every_ms) * 1_000_000;
    }
}
