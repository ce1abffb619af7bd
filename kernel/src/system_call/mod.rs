//! System calls: which there are is in `abi::system_call`; here is what each does.
//!
//! Every handler gets the running role and the arguments, checks both, and returns a number or an
//! [`Error`]. A task that does what its rights do not allow is ended, which is not an error that it
//! could go on from.

mod calls;
mod device;
mod inject;
mod manage;
mod task;

use abi::{Error, system_call as number};

use crate::kernel::Kernel;

/// What a handler returns: `None` if the task does not go on with a result of this call.
type Outcome = Result<Option<u64>, Error>;

/// The arguments of a system call.
#[derive(Clone, Copy)]
struct Arguments([u64; 6]);

/// A result as the task sees it.
pub fn result(result: Result<u64, Error>) -> u64 {
    result.unwrap_or_else(|error| error as i64 as u64)
}

impl Kernel {
    /// Serves the system call that the running task entered by.
    pub fn system_call(&mut self) {
        self.counters.system_calls += 1;
        let Some(role) = self.current else { return };
        let frame = &self.tasks[role].context.frame;
        let number = frame.rax;
        let arguments = Arguments([
            frame.rdi, frame.rsi, frame.rdx, frame.r10, frame.r8, frame.r9,
        ]);
        let outcome = self.dispatch(role, number, arguments);
        if self.tasks[role].is_alive() && self.current == Some(role) {
            match outcome {
                Ok(None) => {}
                Ok(Some(value)) => self.tasks[role].context.frame.rax = value,
                Err(error) => self.tasks[role].context.frame.rax = result(Err(error)),
            }
        }
    }

    /// The system calls that every call between tasks makes; the others are kept out of the way, so
    /// that the path that matters is in few pages.
    fn dispatch(&mut self, role: usize, number: u64, arguments: Arguments) -> Outcome {
        let Arguments([a, b, c, d, e, _]) = arguments;
        match number {
            number::SUBMIT => self.submit(role, a),
            number::WAIT => self.wait(role, a, b, c),
            number::REPLY => self.reply(role, a, b),
            number::COPY_FROM => self.copy_from(role, a, b, c, d, e),
            number::COPY_TO => self.copy_to(role, a, b, c, d),
            _ => self.dispatch_rest(role, number, arguments),
        }
    }

    #[inline(never)]
    fn dispatch_rest(&mut self, role: usize, number: u64, arguments: Arguments) -> Outcome {
        let Arguments([a, b, c, d, e, f]) = arguments;
        match number {
            number::EXIT => self.exit(role, a),
            number::PANIC => self.panicked(role, a, b),
            number::LOG => self.add_log(role, a, b, c),
            number::GROW_HEAP => self.grow_heap(role, a),
            number::CANCEL => self.cancel(role, a),
            number::PIN => self.pin(role, (a, b), (c, d), (e, f)),
            number::UNPIN => self.unpin(role, a),
            number::DMA_ALLOCATE => self.dma_allocate(role, a, b),
            number::DEVICE_QUIESCED => self.device_quiesced(role),
            number::CONFIGURATION_READ => self.configuration_read(role, a, b),
            number::CONFIGURATION_WRITE => self.configuration_write(role, a, b, c),
            number::MAP_BAR => self.map_bar(role, a, b),
            number::ALLOCATE_INTERRUPT => self.allocate_interrupt(role, a),
            number::INTERRUPT_DONE => self.interrupt_done(role, a),
            number::PORT_READ => self.read_port(role, a),
            number::PORT_WRITE => self.write_port(role, a, b, c),
            number::ROLE_MEMORY => self.role_memory(role, a, b),
            number::READ_LOG => self.read_log(role, a, b),
            number::TASKS => self.list_tasks(role, a, b),
            number::COUNTERS => self.read_counters(role, a),
            number::DEVICES => self.list_devices(role, a, b),
            number::DECLARE => self.declare(role, a),
            number::SPAWN => self.spawn_by_manager(role, a, b),
            number::KILL => self.kill(role, a, b),
            number::STOP => self.stop(role, a),
            number::DEATH_REPORT => self.death_report(role, a, b),
            number::READ_ARCHIVE => self.read_archive(role, a, b, c, d),
            number::POWER => self.power(role, a),
            number::FAULT_ENTRY => self.fault_entry(role, a),
            number::INJECT => self.inject(role, a, [b, c, d, e]),
            number::MARK => self.mark(role, a),
            _ => Err(Error::NoSuchSystemCall),
        }
    }
}
