//! Deaths: a task can be killed between two polls, and in the middle of one: before one of its effects (a call,
//! an answer, bytes in lent or surviving memory) it is unwound. Destructors run, but nothing that they do has
//! an effect. Seen from outside that is a trap at this program counter.
//!
//! Of a poll's effects most are stores, hundreds of them at times. So that deaths come between what others see as well (a
//! change is committed and answered, and what is left to do was not begun), a fuse can count messages alone.

use std::{panic::resume_unwind, rc::Rc};

use super::{Kernel, RoleId, State};

/// What becomes of something that a task does.
enum Effect {
    /// It is done.
    Done,
    /// Nothing: the task is dead, and only its destructors run.
    Void,
    /// The task dies before it.
    Death,
}

/// What a fuse counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// All effects of the next poll. If it has fewer, the task dies at its end.
    Effects,
    /// Calls and answers, of however many polls.
    Messages,
}

/// Kills a task before one of its effects.
#[derive(Clone, Copy)]
pub(super) struct Fuse {
    pub role: RoleId,
    counted: Counted,
    /// Those of the effects that are counted, before it dies.
    left: u32,
}

impl Fuse {
    /// Whether the task dies at the end of a poll, if it lives that long.
    pub fn ends_with_poll(self) -> bool {
        self.counted == Counted::Effects
    }
}

/// What unwinds a task that dies in the middle of a poll.
pub(super) struct Dead;

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

/// Whose future is being polled.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub role: RoleId,
    /// Nothing it does counts any more.
    pub doomed: Option<Cause>,
    /// What will doom it.
    pub fuse: Option<Fuse>,
}

impl Kernel {
    /// A death that nobody has taken note of.
    pub fn report(&self) -> Option<Report> {
        self.state.borrow_mut().reports.pop_front()
    }

    /// Ends the running task, here.
    pub fn exit(&self) {
        if let Some(running) = &mut self.state.borrow_mut().running {
            running.doomed.get_or_insert(Cause::Exited);
        }
        resume_unwind(Box::new(Dead));
    }

    /// Ends a role's instance now, if it has one. `asked` if the manager knows already.
    pub fn kill(self: &Rc<Self>, role: RoleId, asked: bool) {
        if self.end(role, Cause::Killed) && !asked {
            self.state.borrow_mut().tell(role, Cause::Killed);
        }
    }

    /// Kills a role's instance between two polls, if it has one.
    pub fn kill_at_once(self: &Rc<Self>, role: RoleId) {
        if self.is_up(role) {
            self.kill(role, false);
            self.state.borrow_mut().kills += 1;
        }
    }

    /// How many instances were killed by [`Self::kill_at_once`] and [`Self::kill_soon`] since this was asked last.
    pub fn take_kills(&self) -> u64 {
        std::mem::take(&mut self.state.borrow_mut().kills)
    }

    /// Ends a role's instance in the middle of a poll, after so many effects of those that are counted.
    pub fn kill_soon(&self, role: RoleId, counted: Counted, effects: u32) {
        self.state.borrow_mut().fuse = Some(Fuse {
            role,
            counted,
            left: effects,
        });
    }

    /// Takes a role out for good: who calls it is told that it is gone.
    pub fn stop(self: &Rc<Self>, role: RoleId) {
        self.end(role, Cause::Killed);
        let mut state = self.state.borrow_mut();
        state.roles[role].stopped = true;
        state.refuse_queued(role);
    }

    /// Ends the instance. Says whether there was one.
    pub(super) fn end(self: &Rc<Self>, role: RoleId, cause: Cause) -> bool {
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

    /// Whether what the running task is about to do has an effect. If it is to die just here, this does not
    /// return.
    pub(super) fn effect(&self) -> bool {
        self.effect_of(false)
    }

    /// As [`Self::effect`], of a call or an answer.
    pub(super) fn message(&self) -> bool {
        self.effect_of(true)
    }

    fn effect_of(&self, is_message: bool) -> bool {
        match self.state.borrow_mut().effect(is_message) {
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

    /// Ends every task. Tasks hold the kernel, and the kernel its tasks: without this neither would go.
    pub fn shut_down(self: &Rc<Self>) {
        let roles = self.state.borrow().roles.len();
        for role in 0..roles {
            self.end(role, Cause::Killed);
        }
    }
}

impl State {
    /// Has the manager hear of a death.
    pub(super) fn tell(&mut self, role: RoleId, cause: Cause) {
        let generation = self.roles[role].generation;
        self.reports.push_back(Report {
            role,
            generation,
            cause,
        });
    }

    fn effect(&mut self, is_message: bool) -> Effect {
        let Some(running) = &mut self.running else {
            return Effect::Done;
        };
        if running.doomed.is_some() {
            return Effect::Void;
        }
        match &mut running.fuse {
            Some(fuse) if fuse.counted == Counted::Messages && !is_message => {}
            Some(Fuse { left: 0, .. }) => {
                running.doomed = Some(Cause::Killed);
                return Effect::Death;
            }
            Some(fuse) => fuse.left -= 1,
            None => {}
        }
        Effect::Done
    }
}
