//! What a task is told when it waits, and waking it when there is something to tell.

use abi::{EVENTS_MAX, Error, Event, EventKind, Rights, TaskState};

use super::Wait;
use crate::{kernel::Kernel, memory::copy};

impl Kernel {
    /// Lets a waiting task run again.
    pub fn wake(&mut self, role: usize) {
        if self.tasks[role].state == TaskState::Waiting {
            self.tasks[role].state = TaskState::Ready;
            self.run_queue.push(role);
        }
    }

    fn has_events(&self, role: usize) -> bool {
        let task = &self.tasks[role];
        self.calls.has_events(role)
            || task.deaths.0 != 0
            || task.interrupts_fired != 0
            || (task.rights.contains(Rights::READ_LOG) && self.log_news)
    }

    /// `WAIT`: returns at once if there is something to tell, else the task waits.
    pub fn begin_wait(&mut self, role: usize, wait: Wait) -> Result<Option<u64>, Error> {
        let task = &mut self.tasks[role];
        let now_ns = self.clock.now_ns();
        task.last_wait_ns = now_ns;
        if wait.max == 0 || wait.max > EVENTS_MAX {
            return Err(Error::BadArgument);
        }
        let bytes = (wait.max * size_of::<Event>()) as u64;
        copy::probe_running(wait.events, bytes)?;
        if self.has_events(role) || wait.deadline_ns <= now_ns {
            return self.deliver(role, wait).map(Some);
        }
        let task = &mut self.tasks[role];
        task.state = TaskState::Waiting;
        task.wait = Some(wait);
        self.next_deadline_ns = self.next_deadline_ns.min(wait.deadline_ns);
        Ok(None)
    }

    /// Tells a task what it waited for, just before it runs again: its address space is loaded.
    pub fn finish_wait(&mut self, role: usize) {
        if let Some(wait) = self.tasks[role].wait.take() {
            let result = self.deliver(role, wait);
            self.tasks[role].context.frame.rax = crate::system_call::result(result);
        }
    }

    /// Writes up to as many events as fit; returns how many.
    ///
    /// Interrupts and deaths come first because they are few and urgent, cancellations before
    /// requests because a request may come from the next instance of the same client.
    fn deliver(&mut self, role: usize, wait: Wait) -> Result<u64, Error> {
        let mut count = 0;
        while count < wait.max {
            let Some(event) = self.next_event(role) else {
                break;
            };
            let address = wait.events + (count * size_of::<Event>()) as u64;
            copy::write_running(address, &event)?;
            count += 1;
        }
        Ok(count as u64)
    }

    fn next_event(&mut self, role: usize) -> Option<Event> {
        let event = |kind: EventKind| Event {
            kind: kind as u32,
            ..Event::BLANK
        };
        let task = &mut self.tasks[role];
        if task.interrupts_fired != 0 {
            let id = task.interrupts_fired.trailing_zeros() as usize;
            task.interrupts_fired &= task.interrupts_fired - 1;
            let times = core::mem::take(&mut task.interrupts[id]);
            return Some(Event {
                id: id as u64,
                status: i64::from(times),
                ..event(EventKind::Interrupt)
            });
        }
        if let Some(dead) = task.deaths.pop() {
            return Some(Event {
                role: dead as u32,
                ..event(EventKind::Death)
            });
        }
        if let Some(id) = self.calls.next_cancelled(role) {
            return Some(Event {
                id: id.number(),
                ..event(EventKind::Cancelled)
            });
        }
        if let Some(reply) = self.calls.next_reply(role) {
            self.counters.replies += 1;
            return Some(Event {
                role: reply.callee as u32,
                id: reply.id.number(),
                status: reply.status,
                message: reply.message,
                ..event(EventKind::Reply)
            });
        }
        if let Some(request) = self.calls.next_request(role) {
            self.tasks[role].requests += 1;
            return Some(Event {
                role: request.caller as u32,
                id: request.id.number(),
                status: self.tasks[request.caller].generation as i64,
                send_len: request.send_len as u64,
                receive_len: request.receive_len as u64,
                message: *request.message,
                ..event(EventKind::Request)
            });
        }
        if self.log_news && self.tasks[role].rights.contains(Rights::READ_LOG) {
            self.log_news = false;
            return Some(event(EventKind::Log));
        }
        None
    }

    /// An interrupt for a task.
    pub fn interrupt(&mut self, role: usize, id: usize) {
        let task = &mut self.tasks[role];
        task.interrupts[id] = task.interrupts[id].saturating_add(1);
        task.interrupts_fired |= 1 << id;
        self.wake(role);
    }
}
