//! Faults on request: a task is taken to an entry of its own, as by a signal.
//!
//! The kernel knows nothing of faults. It pushes what the manager says and the program counter on the
//! task's own stack and lets the task go on at the place that it has named; everything that
//! happens then is the task's own doing, within its own rights.

use abi::{Cause, Error, Rights};

use super::Outcome;
use crate::{
    kernel::Kernel,
    memory::{copy, layout::USER_END},
    task::death::Reason,
};

/// What code that was interrupted may use below its stack pointer (System V ABI for x86-64,
/// section 3.2.2).
const RED_ZONE_BYTES: u64 = 128;

impl Kernel {
    pub(super) fn fault_entry(&mut self, role: usize, entry: u64) -> Outcome {
        // The processor must never be sent back to an address that is no address.
        if entry >= USER_END {
            return Err(Error::BadAddress);
        }
        self.tasks[role].fault_entry = entry;
        Ok(Some(0))
    }

    pub(super) fn mark(&mut self, role: usize, which: u64) -> Outcome {
        let which = usize::try_from(which).unwrap_or(usize::MAX);
        let mark = self.tasks[role].marks.get_mut(which);
        let mark = mark.ok_or(Error::BadArgument)?;
        *mark = mark.wrapping_add(1);
        Ok(Some(0))
    }

    pub(super) fn inject(&mut self, role: usize, target: u64, words: [u64; 4]) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        let target = self.role(target)?;
        let task = &mut self.tasks[target];
        if !task.is_alive() || task.fault_entry == 0 {
            return Err(Error::BadState);
        }
        let frame = &mut task.context.frame;
        let [fault, argument, seed, when] = words;
        let pushed = [fault, argument, seed, when, frame.rip];
        let bytes = size_of_val(&pushed) as u64;
        let stack = frame.rsp.wrapping_sub(RED_ZONE_BYTES + bytes);
        let (rip, rsp) = (&mut frame.rip, &mut frame.rsp);
        (*rip, *rsp) = (task.fault_entry, stack);
        let space = task.space.as_ref().ok_or(Error::BadState)?;
        // A task without room on its stack has overrun it.
        if copy::write_value(space, stack, &pushed).is_err() {
            let cause = Reason::of(Cause::StackOverrun);
            self.end_task(target, cause);
            return Ok(if target == role { None } else { Some(0) });
        }
        self.wake(target);
        Ok(Some(0))
    }
}
