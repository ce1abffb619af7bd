//! Faults of tasks that happen now or at times, and series of kills, which are such faults.

use alloc::{rc::Rc, vec::Vec};

use abi::{Cause, Fault, Order, When};
use manager::{
    control::{KILLS_MAX, Progress, Series, Target},
    events,
    injection::{TaskFault, What},
};
use runtime::{manage, time};
use stack::Role;
use storage::{Error, Result};

use super::{Active, choose};
use crate::{
    kills,
    stack_of_tasks::{Tasks, tell},
};

impl Tasks {
    /// Has the fault happen to its target, or to one of all.
    pub fn strike(self: &Rc<Self>, active: &mut Active, fault: TaskFault, from: u64) -> Result<()> {
        let what = fault.fault().ok_or(Error::BadArgument)?;
        let seed = fault.seed.wrapping_add(active.hits);
        let role = match &active.target {
            Target::Role(name) if name == stack::MANAGER => runtime::start::role(),
            Target::Role(name) => self.role(self.find(name).ok_or(Error::NotFound)?),
            target => {
                let candidates = self.candidates(target);
                self.role(choose(&mut active.choice, &candidates).ok_or(Error::Busy)?)
            }
        };
        let now = move || match what {
            Fault::Kill => manage::kill(role, Cause::Injected),
            _ => manage::inject(role, Order::Suffer(what), fault.argument, seed, When::Now),
        };
        // Who asks for its own fault, or for the manager's, hears of it first.
        if role == from || role == runtime::start::role() {
            active.hits += 1;
            kills::later(move || {
                let _ = now();
            });
            return Ok(());
        }
        now().map_err(|error| match error {
            abi::Error::BadState => Error::Busy,
            _ => Error::NotPermitted,
        })?;
        active.hits += 1;
        Ok(())
    }

    /// One of those that have their times happens. Says whether it goes on.
    fn strike_again(self: &Rc<Self>, number: u32, fault: TaskFault) -> bool {
        let mut injections = core::mem::take(&mut *self.injections.borrow_mut());
        let found = injections.iter_mut().find(|it| it.number == number);
        let goes_on = found.is_some_and(|active| {
            // Nobody there just now is no reason to end.
            if self.strike(active, fault, u64::MAX).is_err() {
                active.misses += 1;
                if fault.every_ms == 0 {
                    // It is in the list no more, as if it had happened.
                    tell(&events::missed(time::now_ns(), number));
                }
            }
            self.note_series(active, true);
            let goes_on = fault.every_ms > 0 && active.left() != Some(0);
            if !goes_on {
                self.note_series(active, false);
            }
            goes_on
        });
        if !goes_on {
            injections.retain(|it| it.number != number);
        }
        self.injections.borrow_mut().extend(injections);
        goes_on
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
        let mut tasks = self.everybody();
        tasks.retain(wanted);
        tasks
    }

    /// Begins a series of kills.
    pub async fn start_series(self: &Rc<Self>, series: Series) -> Result<()> {
        let countable = series
            .count
            .is_none_or(|count| (1..=KILLS_MAX).contains(&count));
        if series.every_ms < super::EVERY_MS_MIN || !countable {
            return Err(Error::BadArgument);
        }
        let fault = TaskFault {
            seed: series.seed,
            after_ms: series.every_ms,
            every_ms: series.every_ms,
            count: series.count,
            ..TaskFault::new(Fault::Kill)
        };
        let number = self.next_number().await;
        // Not before the number is there: another may have begun while the filters were asked.
        if self.series_progress().running {
            return Err(Error::Busy);
        }
        let active = Active::new(number, series.target, What::Task(fault));
        self.check_target(&active)?;
        self.keep(active)?;
        self.series.set((
            number,
            Progress {
                running: true,
                count: series.count,
                ..Progress::default()
            },
        ));
        runtime::spawn(drive(self.clone(), number, fault));
        Ok(())
    }

    fn note_series(&self, active: &Active, running: bool) {
        let (number, progress) = self.series.get();
        if number == active.number {
            let (kills, misses) = (active.hits, active.misses);
            let progress = Progress {
                running,
                kills,
                misses,
                ..progress
            };
            self.series.set((number, progress));
        }
    }

    /// How the last series goes, or how it ended.
    pub fn series_progress(&self) -> Progress {
        let (number, progress) = self.series.get();
        let running = self
            .injections
            .borrow()
            .iter()
            .any(|it| it.number == number);
        Progress {
            running,
            ..progress
        }
    }

    /// Ends the series.
    pub fn stop_series(&self) -> Progress {
        let (number, _) = self.series.get();
        self.injections
            .borrow_mut()
            .retain(|it| it.number != number);
        self.series_progress()
    }
}

/// Has an injection happen at its times, until it is over or switched off.
pub async fn drive(tasks: Rc<Tasks>, number: u32, fault: TaskFault) {
    let mut next_ns = time::now_ns() + u64::from(fault.after_ms) * 1_000_000;
    loop {
        time::sleep(next_ns.saturating_sub(time::now_ns())).await;
        if !tasks.strike_again(number, fault) {
            return;
        }
        next_ns += u64::from(fault.every_ms) * 1_000_000;
    }
}
