//! The futures of all tasks, and what wakes them.

use std::{
    mem::take,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use super::{
    Kernel, RoleId,
    deaths::{Cause, Dead, Fuse, Running},
};

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Futures that were woken since somebody looked, in the order of their wakings.
#[derive(Default)]
pub(super) struct Woken(Mutex<Vec<Arc<Bell>>>);

impl Woken {
    pub fn take(&self, mut each: impl FnMut(usize, u64)) {
        let mut woken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in woken.drain(..) {
            each(bell.slot, bell.number);
        }
    }
}

/// What wakes one future.
struct Bell {
    slot: usize,
    number: u64,
    /// It was woken and not polled since.
    rung: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            let woken = self.woken.clone();
            let mut woken = woken.0.lock().unwrap_or_else(PoisonError::into_inner);
            woken.push(self);
        }
    }
}

struct Slot {
    number: u64,
    role: RoleId,
    /// Taken out while it is polled.
    task: Option<Task>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// All futures, by slot.
#[derive(Default)]
pub(super) struct Futures {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    made: u64,
}

impl Futures {
    fn get(&mut self, slot: usize, number: u64) -> Option<&mut Slot> {
        let at = self.slots.get_mut(slot)?.as_mut()?;
        (at.number == number).then_some(at)
    }

    pub fn role(&self, slot: usize, number: u64) -> Option<RoleId> {
        let at = self.slots.get(slot)?.as_ref()?;
        (at.number == number).then_some(at.role)
    }

    pub fn remove(&mut self, slot: usize, number: u64) -> Option<Task> {
        self.get(slot, number)?;
        self.free.push(slot);
        self.slots[slot].take()?.task
    }
}

impl Kernel {
    pub(super) fn add_future(&self, role: RoleId, task: Task) {
        let mut state = self.state.borrow_mut();
        let futures = &mut state.futures;
        futures.made += 1;
        let number = futures.made;
        let slot = futures.free.pop().unwrap_or_else(|| {
            futures.slots.push(None);
            futures.slots.len() - 1
        });
        let bell = Arc::new(Bell {
            slot,
            number,
            rung: AtomicBool::new(false),
            woken: self.woken.clone(),
        });
        let waker = Waker::from(bell.clone());
        waker.wake_by_ref();
        futures.slots[slot] = Some(Slot {
            number,
            role,
            task: Some(task),
            bell,
            waker,
        });
        let Some(instance) = &mut state.roles[role].instance else {
            return;
        };
        instance.futures.push((slot, number));
    }

    /// Polls a future, in the name of its task.
    pub(super) fn poll(self: &Rc<Self>, slot: usize, number: u64) {
        let (role, mut task, waker) = {
            let mut state = self.state.borrow_mut();
            let Some(at) = state.futures.get(slot, number) else {
                return;
            };
            let Some(task) = at.task.take() else { return };
            at.bell.rung.store(false, Ordering::Relaxed);
            let (role, waker) = (at.role, at.waker.clone());
            state.note(0, role as u64, number);
            let fuse = state.fuse.take_if(|fuse| fuse.role == role);
            state.running = Some(Running {
                role,
                doomed: None,
                fuse,
            });
            (role, task, waker)
        };
        let poll = || task.as_mut().poll(&mut Context::from_waker(&waker));
        let polled = catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|payload| {
            if !payload.is::<Dead>() {
                // A panic of the stack.
                resume_unwind(payload);
            }
            Poll::Ready(())
        });
        if polled == Poll::Ready(()) {
            // Before the slot is given up: what it owns may still act when it is dropped.
            drop(task);
            let mut state = self.state.borrow_mut();
            drop(state.futures.remove(slot, number));
            if let Some(instance) = &mut state.roles[role].instance {
                instance.futures.retain(|&(_, other)| other != number);
            }
        } else if let Some(at) = self.state.borrow_mut().futures.get(slot, number) {
            at.task = Some(task);
        }
        let running = take(&mut self.state.borrow_mut().running);
        let Some(Running { doomed, fuse, .. }) = running else {
            return;
        };
        let ends_with_poll = fuse.is_some_and(Fuse::ends_with_poll);
        if let Some(cause) = doomed.or(ends_with_poll.then_some(Cause::Killed)) {
            self.end(role, cause);
            let mut state = self.state.borrow_mut();
            state.kills += u64::from(fuse.is_some());
            state.tell(role, cause);
        } else if let Some(fuse) = fuse {
            self.state.borrow_mut().fuse.get_or_insert(fuse);
        }
    }
}
