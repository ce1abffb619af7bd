//! Accidents of the whole machine: a reset, or a failure of the power, at once, later, or at a point.
//!
//! At a point means that the task which passes it is ended there. When the manager hears of its death,
//! it has the power fail and does nothing else: so nothing that the task would have done next is done.

use alloc::{rc::Rc, vec::Vec};

use manager::{
    control::Target,
    events,
    injection::{MachineFault, What},
};
use runtime::{manage, time};
use storage::{Error, Result};

use super::{AFTER_MS_MAX, Active, filters::FILTER_NS};
use crate::{
    kills,
    stack_of_tasks::{Tasks, tell},
};

/// How long the console has to pass on what the disks have lost, nanoseconds. They are settled by then.
const TOLD_NS: u64 = 100_000_000;

impl Active {
    /// Whether it ends the machine.
    pub fn is_accident(&self) -> bool {
        matches!(self.what, What::Machine(_))
    }

    /// Whether it has its times, and is not kept by a task.
    pub fn is_timed(&self) -> bool {
        match self.what {
            What::Task(fault) => fault.is_timed(),
            What::Machine(fault) => fault.point.is_none(),
            What::Disk(_) => true,
        }
    }
}

impl Tasks {
    /// The filter before the disk that is meant, if it is one. [`Error::NotFound`], [`Error::NotPermitted`]:
    /// no such disk, no filters.
    pub fn disk_of(&self, target: &Target, fault: MachineFault) -> Result<Option<usize>> {
        if !fault.power {
            return Ok(None);
        }
        if self.filters().next().is_none() {
            return Err(Error::NotPermitted);
        }
        match target {
            Target::All => Ok(None),
            Target::Role(name) => self.filter(name).map(Some),
        }
    }

    /// Has it wait for its time or its point.
    pub fn begin_accident(self: &Rc<Self>, active: Active, fault: MachineFault) -> Result<()> {
        if fault.after_ms > AFTER_MS_MAX {
            return Err(Error::BadArgument);
        }
        self.check_target(&active)?;
        if fault.point.is_some() {
            return self.keep_armed(active);
        }
        let number = active.number;
        self.keep(active)?;
        let tasks = self.clone();
        runtime::spawn(async move {
            time::sleep(u64::from(fault.after_ms) * 1_000_000).await;
            tasks.accident(|it| it.number == number);
        });
        Ok(())
    }

    /// Whether the task that has just died was to end the machine, or that is under way: then nobody is
    /// started again.
    pub fn ends_the_machine(self: &Rc<Self>) -> bool {
        self.count_marks();
        self.power_fails.get() || self.accident(|it| it.is_accident() && it.hits > 0)
    }

    fn accident(self: &Rc<Self>, meant: impl Fn(&Active) -> bool) -> bool {
        let found = {
            let injections = self.injections.borrow();
            let active = injections.iter().find(|it| meant(it));
            active.and_then(|active| match active.what {
                What::Machine(fault) => {
                    let disk = self.disk_of(&active.target, fault).unwrap_or(None);
                    Some((disk, fault))
                }
                _ => None,
            })
        };
        let Some((disk, fault)) = found else {
            return false;
        };
        self.power_fails.set(true);
        let tasks = self.clone();
        runtime::spawn(async move {
            if let Err(error) = tasks.end_by_accident(disk, fault).await {
                log::error!("the machine does not end: {error}");
            }
        });
        true
    }

    /// The machine starts again at this moment; if the power of all disks fails, a part of what was not
    /// flushed is lost, on all disks or on that behind one filter.
    ///
    /// Does not return, but for [`Error::NotPermitted`].
    pub async fn end_by_accident(&self, one: Option<usize>, fault: MachineFault) -> Result<()> {
        if fault.power {
            self.cut_the_power(one, fault.seed).await;
        }
        manage::power(kills::RESET).map_err(|_| Error::NotPermitted)
    }

    async fn cut_the_power(&self, one: Option<usize>, seed: u64) {
        log::info!("the power fails, seed {seed}");
        let filters: Vec<usize> = self.filters().collect();
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
                Some(Ok(settled)) => {
                    let name = self.name(filter);
                    log::info!(
                        "{name}: of {} sectors that were not flushed {} are on the disk",
                        settled.unflushed,
                        settled.kept
                    );
                    tell(&events::power_cut(time::now_ns(), name, settled));
                }
                _ => log::error!("{} was lost as a whole", self.name(filter)),
            }
        }
        time::sleep(TOLD_NS).await;
    }
}
