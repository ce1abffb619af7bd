//! Faults on request: rules go to the filters before disks, everything else into the tasks themselves.
//!
//! Injections have numbers of one sequence, whoever keeps them. Those that happen at once have one too,
//! and nothing is left of them. What waits or repeats is listed until it is over:
//!
//! ```text
//!   of a disk       a rule, which its filter keeps and counts down         filters.rs
//!   of a task       at times: the manager's timer strikes                  timed.rs
//!                   at a request, a point, by chance: the task keeps it    armed.rs
//!   of the machine  at a time; at a point, by a task that ends there       machine.rs
//! ```

mod armed;
mod filters;
mod machine;
mod timed;

use alloc::{
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};

use abi::{Fault, When};
use manager::{
    control::Target,
    injection::{EVERY_MS_MIN, INJECTIONS_MAX, Injection, Listed, TaskFault, What},
};
use runtime::time;
use storage::{
    Error, Result,
    faulty::{Random, Rule},
    point::Point,
};

use crate::stack_of_tasks::Tasks;

use self::{armed::Armed, filters::FILTER_NS};

/// Longest wait before a fault, milliseconds: an hour.
const AFTER_MS_MAX: u32 = 3_600_000;

/// An injection that waits or repeats.
pub struct Active {
    number: u32,
    target: Target,
    what: What,
    hits: u64,
    misses: u64,
    choice: Random,
    /// In whom it waits for its moment, if it is one that tasks keep.
    armed: Option<Armed>,
}

impl Active {
    fn new(number: u32, target: Target, what: What) -> Self {
        let seed = match what {
            What::Task(fault) => fault.seed,
            What::Machine(fault) => fault.seed,
            What::Disk(rule) => rule.seed,
        };
        Self {
            number,
            target,
            what,
            hits: 0,
            misses: 0,
            choice: Random::new(seed),
            armed: None,
        }
    }

    /// How often it will yet happen; none for until it is switched off.
    fn left(&self) -> Option<u64> {
        let count = match self.what {
            What::Task(fault) => fault.count,
            _ => Some(1),
        };
        count.map(|count| count.saturating_sub(self.hits))
    }

    /// The fault of a task that it is, if it is one.
    fn what_of_task(&self) -> Option<Fault> {
        match self.what {
            What::Task(fault) => fault.fault(),
            _ => None,
        }
    }

    /// The point that it waits for, if it does.
    fn point(&self) -> Option<u32> {
        match self.what {
            What::Task(fault) => match fault.when() {
                When::Point(number) => Some(number),
                _ => None,
            },
            What::Machine(fault) => fault.point,
            What::Disk(_) => None,
        }
    }
}

/// Of the same seed the same ones, all equally likely.
fn choose(random: &mut Random, candidates: &[usize]) -> Option<usize> {
    let index = random.below(candidates.len() as u64) as usize;
    candidates.get(index).copied()
}

impl Tasks {
    /// Injects; returns the number. Errors as of [`manager::control::Control::inject`].
    pub async fn inject(self: &Rc<Self>, injection: Injection, from: u64) -> Result<u32> {
        let number = self.next_number().await;
        let Injection { target, what } = injection;
        match what {
            What::Disk(rule) => self.add_rule(&target, number, rule).await?,
            What::Task(fault) => self.begin(Active::new(number, target, what), fault, from)?,
            What::Machine(fault) => {
                let disk = self.disk_of(&target, fault)?;
                if fault.after_ms == 0 && fault.point.is_none() {
                    self.end_by_accident(disk, fault).await?;
                } else {
                    self.begin_accident(Active::new(number, target, what), fault)?;
                }
            }
        }
        Ok(number)
    }

    /// A number that nobody has: also an earlier instance of the manager has given some.
    pub(super) async fn next_number(&self) -> u32 {
        let listed = self.injections().await;
        let highest = listed.iter().map(|it| it.number).max().unwrap_or(0);
        let number = self.injection_number.get().max(highest) + 1;
        self.injection_number.set(number);
        number
    }

    async fn add_rule(&self, target: &Target, number: u32, rule: Rule) -> Result<()> {
        let Target::Role(name) = target else {
            return Err(Error::BadArgument);
        };
        let filter = self.control(self.filter(name)?);
        let added = time::with_deadline(FILTER_NS, filter.add(number, rule));
        added.await.unwrap_or(Err(Error::Busy))
    }

    fn begin(self: &Rc<Self>, mut active: Active, fault: TaskFault, from: u64) -> Result<()> {
        let repeats = fault.every_ms > 0;
        let sound = fault.fault().is_some()
            && fault.after_ms <= AFTER_MS_MAX
            && (!repeats || fault.every_ms >= EVERY_MS_MIN)
            && (fault.is_timed() || (!repeats && fault.after_ms == 0));
        if !sound {
            return Err(Error::BadArgument);
        }
        self.check_target(&active)?;
        if !fault.is_timed() {
            return self.keep_armed(active);
        }
        if fault.after_ms == 0 && !repeats {
            return self.strike(&mut active, fault, from);
        }
        let number = active.number;
        self.keep(active)?;
        runtime::spawn(timed::drive(self.clone(), number, fault));
        Ok(())
    }

    /// Whether there is such a task, and it is one that comes where the injection waits.
    fn check_target(&self, active: &Active) -> Result<()> {
        let program = match &active.target {
            // The target is a disk, not who comes there.
            _ if matches!(active.what, What::Machine(_)) => None,
            Target::All => None,
            Target::Role(name) if name == stack::MANAGER => Some(stack::MANAGER),
            Target::Role(name) => {
                let task = self.find(name).ok_or(Error::NotFound)?;
                if self.is_out(task) {
                    return Err(Error::NotPermitted);
                }
                Some(self.stack.tasks[task].program.as_str())
            }
        };
        let Some(number) = active.point() else {
            return Ok(());
        };
        let point = Point::from_number(number).ok_or(Error::BadArgument)?;
        let comes = |program: &str| program == point.layer();
        let somebody_comes = match program {
            Some(program) => comes(program),
            None => self.stack.tasks.iter().any(|task| comes(&task.program)),
        };
        match somebody_comes {
            true => Ok(()),
            false => Err(Error::BadArgument),
        }
    }

    fn room_for_one(&self) -> Result<()> {
        match self.injections.borrow().len() < INJECTIONS_MAX {
            true => Ok(()),
            false => Err(Error::NoMemory),
        }
    }

    fn keep(&self, active: Active) -> Result<()> {
        self.room_for_one()?;
        self.injections.borrow_mut().push(active);
        Ok(())
    }

    /// Everything that is in force, in the filters too.
    pub async fn injections(self: &Tasks) -> Vec<Listed> {
        let mut listed = self.rules().await;
        self.count_marks();
        let active = self.injections.borrow();
        listed.extend(active.iter().map(|active| Listed {
            number: active.number,
            target: match &active.target {
                Target::Role(name) => name.to_string(),
                Target::All => "all".into(),
            },
            what: active.what,
            hits: active.hits,
            left: active.left(),
            misses: active.misses,
            armed: active.armed.as_ref().map(|armed| self.name_of(armed)),
        }));
        listed.sort_by_key(|it| it.number);
        listed
    }

    fn name_of(&self, armed: &Armed) -> String {
        let task = armed.task.map(|task| self.name(task));
        task.unwrap_or(stack::MANAGER).into()
    }

    /// Switches one off, or all; how many that were. [`Error::NotFound`] if there is none of this
    /// number.
    pub async fn switch_off(&self, number: Option<u32>) -> Result<u32> {
        self.count_marks();
        let meant = |it: u32| number.is_none_or(|number| number == it);
        let mut removed = 0;
        self.injections.borrow_mut().retain(|active| {
            if meant(active.number) {
                removed += 1;
                self.disarm(active);
            }
            !meant(active.number)
        });
        removed += self.remove_rules(meant).await;
        if removed == 0 && number.is_some() {
            return Err(Error::NotFound);
        }
        Ok(removed)
    }
}
