//! Faults that tasks keep until their moment has come: a request, a point, chance.
//!
//! The task marks each time that one happens, and the kernel keeps the marks of a role beyond its
//! instance. So the manager knows what has happened, however it ended, whenever it looks: when somebody
//! asks, when a task dies or answers a ping, once a second. What has not happened yet when its task dies
//! goes on in the next instance, as soon as that answers.

use alloc::vec::Vec;

use abi::{Fault, MARKS_MAX, Order, When};
use manager::{
    control::Target,
    injection::{TaskFault, What},
};
use runtime::{inspect, manage, start};
use storage::{Error, Result, point::Point};

use super::{Active, choose};
use crate::stack_of_tasks::{Tasks, is_alive};

/// Who keeps an injection.
pub struct Armed {
    /// None for the manager itself.
    pub task: Option<usize>,
    role: u64,
    generation: u64,
    place: u16,
    /// What the mark of the place was when it was last looked at.
    marks: u32,
}

impl Tasks {
    /// Arms an injection and keeps it in the list. [`Error::Busy`] if nobody is there for it now.
    pub fn keep_armed(&self, mut active: Active) -> Result<()> {
        self.count_marks();
        // Before it is armed: what is not in the list could not be taken back.
        self.room_for_one()?;
        let mut injections = core::mem::take(&mut *self.injections.borrow_mut());
        let armed = self.arm(&mut active, &injections.iter().collect::<Vec<_>>());
        injections.append(&mut self.injections.borrow_mut());
        self.injections.replace(injections);
        armed?;
        self.keep(active)
    }

    /// Arms an injection in its target, or in one of all that come where it waits.
    fn arm(&self, active: &mut Active, others: &[&Active]) -> Result<()> {
        let (task, role, generation) = match &active.target {
            Target::Role(name) if name == stack::MANAGER => (None, start::role(), 0),
            target => {
                let mut candidates = match active.what {
                    // Whoever passes the point: the target is a disk.
                    What::Machine(_) => self.everybody(),
                    _ => self.candidates(target),
                };
                if let Some(point) = active.point().and_then(Point::from_number) {
                    let passes = |&task: &usize| self.stack.tasks[task].program == point.layer();
                    candidates.retain(passes);
                }
                let task = choose(&mut active.choice, &candidates).ok_or(Error::Busy)?;
                (Some(task), self.role(task), self.generation(task))
            }
        };
        let taken = |place: &u16| {
            let mut armed = others.iter().filter_map(|it| it.armed.as_ref());
            armed.any(|it| it.role == role && it.place == *place)
        };
        let mut places = 0..MARKS_MAX as u16;
        let place = places.find(|place| !taken(place)).ok_or(Error::NoMemory)?;
        let fault = match active.what {
            What::Task(fault) => fault,
            // The task that has the power fail is not to go on.
            What::Machine(it) => TaskFault::new(Fault::Kill).at(When::Point(it.point.unwrap_or(0))),
            What::Disk(_) => return Err(Error::BadArgument),
        };
        let times = match (&active.target, active.left()) {
            // The next time it is somebody else's turn.
            (Target::All, _) => 1,
            (_, None) => Order::ALWAYS,
            (_, Some(left)) => u32::try_from(left).unwrap_or(Order::ALWAYS),
        };
        let kind = fault.fault().ok_or(Error::BadArgument)?;
        let order = Order::Arm(kind, place, times);
        let seed = fault.seed.wrapping_add(active.hits);
        let marks = marks_of(role, place);
        manage::inject(role, order, fault.argument, seed, fault.when()).map_err(
            |error| match error {
                abi::Error::BadState => Error::Busy,
                _ => Error::NotPermitted,
            },
        )?;
        active.armed = Some(Armed {
            task,
            role,
            generation,
            place,
            marks,
        });
        Ok(())
    }

    /// Takes note of what has happened, forgets what is over, and arms again what an instance has taken
    /// with it.
    pub fn count_marks(&self) {
        if self.injections.borrow().iter().all(|it| it.is_timed()) {
            return;
        }
        let Ok(table) = inspect::tasks() else { return };
        let mut injections = core::mem::take(&mut *self.injections.borrow_mut());
        for active in &mut injections {
            // Who ends so that the machine does has no crash of its own either.
            let kills = active.is_accident() || active.what_of_task() == Some(Fault::Kill);
            let Some(armed) = &mut active.armed else {
                continue;
            };
            let Some(info) = table.get(armed.role as usize) else {
                continue;
            };
            let marks = info.marks[usize::from(armed.place)];
            let hits = marks.wrapping_sub(armed.marks);
            armed.marks = marks;
            active.hits += u64::from(hits);
            if hits > 0 && kills {
                self.killed
                    .borrow_mut()
                    .push((armed.role, armed.generation));
            }
            let is_gone =
                armed.task.is_some() && (!is_alive(info) || info.generation != armed.generation);
            if is_gone || (hits > 0 && active.target == Target::All) {
                active.armed = None;
            }
        }
        injections.retain(|it| it.is_timed() || it.left() != Some(0) || it.is_accident());
        for index in 0..injections.len() {
            let (before, rest) = injections.split_at_mut(index);
            let Some((active, after)) = rest.split_first_mut() else {
                continue;
            };
            if !active.is_timed() && active.armed.is_none() && active.left() != Some(0) {
                let others: Vec<_> = before.iter().chain(after.iter()).collect();
                let _ = self.arm(active, &others);
            }
        }
        injections.append(&mut self.injections.borrow_mut());
        self.injections.replace(injections);
    }

    /// Whether this instance of a role was ended by a kill that had waited in it: as any kill that was
    /// asked for, it is no crash. What is known of earlier instances is forgotten.
    pub fn take_killed(&self, role: u64, generation: u64) -> bool {
        let mut killed = self.killed.borrow_mut();
        let was = killed.contains(&(role, generation));
        killed.retain(|it| it.0 != role);
        was
    }

    /// Takes an injection back from who keeps it.
    pub fn disarm(&self, active: &Active) {
        if let Some(armed) = &active.armed {
            // `BadState`: it has died, and taken it along.
            let order = Order::Disarm(armed.place);
            let _ = manage::inject(armed.role, order, 0, 0, When::Now);
        }
    }

    /// What an earlier instance of the manager has armed in a task is nobody's any more.
    pub fn disarm_all(&self, task: usize) {
        let _ = manage::inject(self.role(task), Order::DisarmAll, 0, 0, When::Now);
    }
}

fn marks_of(role: u64, place: u16) -> u32 {
    let table = inspect::tasks().unwrap_or_default();
    let info = table.get(role as usize);
    info.map_or(0, |info| info.marks[usize::from(place)])
}
