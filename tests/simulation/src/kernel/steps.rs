//! Steps: of all that could happen next, one thing is taken at random.

use std::rc::Rc;

use super::{Kernel, RoleId, State};

/// Something that could happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// A future was woken: slot, and which future of those that had the slot.
    Poll(usize, u64),
    /// A role has an event: the first of its queue.
    Event(RoleId),
    /// Something outside of the tasks: a request of a disk, a report for the manager.
    Outside(usize, u64),
}

/// What a step did, for the one who runs the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A task went on.
    Inside,
    /// It is the turn of this source outside ([`Kernel::offer`]), with this number.
    Outside(usize, u64),
    /// Nothing can happen before the first timer; the time is now that of the timer.
    Waited,
    /// Nothing can ever happen any more.
    Stalled,
}

impl Kernel {
    /// Says that source `source` outside of the tasks has something to do; [`Step::Outside`] says when.
    pub fn offer(&self, source: usize, number: u64) {
        self.state
            .borrow_mut()
            .ready
            .push(Ready::Outside(source, number));
    }

    /// As [`Self::offer`], but not before a time, in nanoseconds.
    pub fn alarm(&self, at_ns: u64, source: usize, number: u64) {
        let mut state = self.state.borrow_mut();
        state.alarms.insert((at_ns, number), source);
    }

    /// Takes one of the things that could happen.
    pub fn step(self: &Rc<Self>) -> Step {
        let chosen = {
            let mut state = self.state.borrow_mut();
            let step_ns = 1 + state.random.number() % state.step_ns_max;
            state.now_ns += step_ns;
            state.fire_timers();
            self.take_woken(&mut state);
            match state.choose() {
                Some(chosen) => {
                    state.steps += 1;
                    chosen
                }
                None => {
                    let Some(deadline_ns) = state.next_time() else {
                        return Step::Stalled;
                    };
                    state.now_ns = state.now_ns.max(deadline_ns);
                    state.fire_timers();
                    self.take_woken(&mut state);
                    return Step::Waited;
                }
            }
        };
        match chosen {
            Ready::Poll(slot, number) => self.poll(slot, number),
            Ready::Event(role) => self.deliver(role),
            Ready::Outside(source, number) => {
                self.state.borrow_mut().note(3, source as u64, number);
                return Step::Outside(source, number);
            }
        }
        Step::Inside
    }

    fn take_woken(&self, state: &mut State) {
        self.woken.take(|slot, number| {
            state.ready.push(Ready::Poll(slot, number));
        });
        let now_ns = state.now_ns;
        while let Some(first) = state.alarms.first_entry()
            && first.key().0 <= now_ns
        {
            let ((_, number), source) = first.remove_entry();
            state.ready.push(Ready::Outside(source, number));
        }
    }
}

impl State {
    /// One of the things that can happen, at random.
    fn choose(&mut self) -> Option<Ready> {
        let mut chosen = None;
        // A thing whose role has ended is no thing; a slow role's turn comes every eighth time.
        for attempt in 0.. {
            if self.ready.is_empty() {
                break;
            }
            let index = self.random.below(self.ready.len() as u64) as usize;
            let ready = self.ready[index];
            let role = match ready {
                Ready::Poll(slot, number) => self.futures.role(slot, number),
                Ready::Event(role) => Some(role),
                Ready::Outside(..) => Some(usize::MAX),
            };
            let Some(role) = role else {
                self.ready.swap_remove(index);
                continue;
            };
            if Some(role) == self.slow && attempt < 8 && self.random.below(8) != 0 {
                continue;
            }
            self.ready.swap_remove(index);
            chosen = Some(ready);
            break;
        }
        chosen
    }

    pub(super) fn note(&mut self, kind: u64, first: u64, second: u64) {
        let word =
            kind ^ first.rotate_left(8) ^ second.rotate_left(24) ^ self.now_ns.rotate_left(40);
        self.hash = (self.hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if log::log_enabled!(target: "trace", log::Level::Trace) {
            let what = match kind {
                0 => format!("poll {} future {second}", self.roles[first as usize].name),
                1 => format!("{} gets call {second}", self.roles[first as usize].name),
                2 => format!(
                    "{} gets the answer {second}",
                    self.roles[first as usize].name
                ),
                _ => format!("outside {first}: {second}"),
            };
            log::trace!(target: "trace", "step {}: {what}", self.steps);
        }
    }
}
