//! The executor: futures of one task, polled when something woke them, between one wait and the next.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::{
    pin::Pin,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use abi::{Event, EventKind};

use crate::{call, device, fault, inspect, local::Local, manage, serve, system, time};

/// Events taken in one wait.
const EVENTS_MAX: usize = 32;

/// Polls after which events are looked at, though there is more to poll: no future keeps the task
/// from hearing.
const POLLS_MAX: usize = 256;

/// The program's own future.
const PROGRAM: usize = 0;

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
enum Slot {
    #[default]
    Empty,
    /// Taken out to be polled.
    Polled,
    Waiting(Task),
}

struct Tasks {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Whom to poll, and for each slot whether it is among them.
    ready: VecDeque<usize>,
    is_ready: Vec<bool>,
}

static TASKS: Local<Tasks> = Local::new(Tasks {
    slots: Vec::new(),
    free: Vec::new(),
    ready: VecDeque::new(),
    is_ready: Vec::new(),
});

/// Adds a future to the task. It runs until it is done, or the task ends.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    let future: Task = Box::pin(future);
    let mut tasks = TASKS.borrow();
    let slot = tasks.free.pop().unwrap_or_else(|| {
        tasks.slots.push(Slot::Empty);
        tasks.is_ready.push(false);
        tasks.slots.len() - 1
    });
    tasks.slots[slot] = Slot::Waiting(future);
    tasks.make_ready(slot);
}

impl Tasks {
    fn make_ready(&mut self, slot: usize) {
        if !core::mem::replace(&mut self.is_ready[slot], true) {
            self.ready.push_back(slot);
        }
    }
}

/// A waker is the number of a slot. A slot that has another future by now is polled once in vain.
const WAKER: RawWakerVTable = RawWakerVTable::new(
    |slot| RawWaker::new(slot, &WAKER),
    |slot| TASKS.borrow().make_ready(slot as usize),
    |slot| TASKS.borrow().make_ready(slot as usize),
    |_| {},
);

fn waker(slot: usize) -> Waker {
    // SAFETY: the functions of the table take the number for what it is; there is one thread.
    unsafe { Waker::from_raw(RawWaker::new(slot as *const (), &WAKER)) }
}

/// Polls the next ready future. Says whether there was one; nothing if the program is done.
fn poll_next() -> Option<bool> {
    let (slot, mut task) = {
        let mut tasks = TASKS.borrow();
        let Some(slot) = tasks.ready.pop_front() else {
            return Some(false);
        };
        tasks.is_ready[slot] = false;
        match core::mem::replace(&mut tasks.slots[slot], Slot::Polled) {
            Slot::Waiting(task) => (slot, task),
            other => {
                tasks.slots[slot] = other;
                return Some(true);
            }
        }
    };
    let done = task.as_mut().poll(&mut Context::from_waker(&waker(slot))) == Poll::Ready(());
    if done {
        // Outside of the borrow: what it owns may call the executor when it is dropped.
        drop(task);
        let mut tasks = TASKS.borrow();
        tasks.slots[slot] = Slot::Empty;
        tasks.free.push(slot);
        if slot == PROGRAM {
            return None;
        }
    } else {
        TASKS.borrow().slots[slot] = Slot::Waiting(task);
    }
    Some(true)
}

/// Runs the program until it is done.
pub fn run(program: impl Future<Output = ()> + 'static) {
    spawn(program);
    let mut events = [Event::BLANK; EVENTS_MAX];
    loop {
        let mut polls = 0;
        let turn = fault::turn();
        loop {
            let polled = match turn {
                fault::Turn::Poll => poll_next(),
                fault::Turn::Stand | fault::Turn::Spin => Some(false),
            };
            match polled {
                None => return,
                Some(false) => break,
                Some(true) => polls += 1,
            }
            if polls == POLLS_MAX {
                break;
            }
        }
        // What is due by now ends the wait at once.
        let idle = match turn {
            fault::Turn::Poll => TASKS.borrow().ready.is_empty(),
            fault::Turn::Stand => true,
            fault::Turn::Spin => false,
        };
        let deadline_ns = if idle { time::next_deadline_ns() } else { 0 };
        let count = system::wait(&mut events, deadline_ns);
        events[..count].iter().for_each(dispatch);
        time::wake_due();
    }
}

/// Forgets that a future was woken, for good: a fault on request. Of the program's own future and those
/// that it has spawned, the seed picks one.
pub(crate) fn lose_a_wake_up(seed: u64) {
    let mut tasks = TASKS.borrow();
    let waiting: Vec<usize> = (0..tasks.slots.len())
        .filter(|&slot| matches!(tasks.slots[slot], Slot::Waiting(_)) && !tasks.is_ready[slot])
        .collect();
    if !waiting.is_empty() {
        let slot = waiting[(seed % waiting.len() as u64) as usize];
        tasks.is_ready[slot] = true;
    }
}

fn dispatch(event: &Event) {
    match event.kind() {
        Some(EventKind::Request) => serve::request(event),
        Some(EventKind::Reply) => call::replied(event),
        Some(EventKind::Cancelled) => serve::cancelled(event.id),
        Some(EventKind::Interrupt) => device::interrupted(event.id),
        Some(EventKind::Death) => manage::died(event.role),
        Some(EventKind::Log) => inspect::log_news(),
        None => {}
    }
}
