//! The end of an instance: who is told, what is let go, and what is printed.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::fmt::Write;

use abi::{Cause, DeathReport, Error, LAST_WORDS_BYTES, Registers, Rights, TaskState};
use kernel_core::{
    RoleSet, archive,
    calls::CallId,
    image::{Image, symbol},
};

use crate::{
    cpu::{entry::Frame, ioapic},
    kernel::{Kernel, MANAGER},
    memory::copy,
};

/// Words of a stack that are looked through for a way back.
const STACK_WORDS_MAX: u64 = 512;
/// Functions of a stack that are named.
const CALLERS_MAX: usize = 12;
/// How often the kernel starts a manager again that died by itself.
const MANAGER_CRASHES_MAX: u64 = 16;

/// Why an instance ends.
#[derive(Clone, Copy)]
pub struct Reason {
    /// The cause.
    pub cause: Cause,
    /// Processor exception number, where there was one.
    pub vector: u32,
    /// Faulting address, or exit code.
    pub address: u64,
    /// The processor's error code.
    pub error: u64,
}

impl Reason {
    /// A cause that needs no more words.
    pub fn of(cause: Cause) -> Self {
        Self {
            cause,
            vector: 0,
            address: 0,
            error: 0,
        }
    }
}

fn registers(frame: &Frame) -> Registers {
    Registers {
        general: [
            frame.rax, frame.rbx, frame.rcx, frame.rdx, frame.rsi, frame.rdi, frame.rbp, frame.rsp,
            frame.r8, frame.r9, frame.r10, frame.r11, frame.r12, frame.r13, frame.r14, frame.r15,
        ],
        rip: frame.rip,
        rflags: frame.rflags,
    }
}

impl Kernel {
    /// Ends the instance of a role. Everyone who waits for it is told; everything it held is let
    /// go, but for what a device may still be writing to.
    #[cold]
    #[inline(never)]
    pub fn end_task(&mut self, role: usize, reason: Reason) {
        let mut doomed = self.end_one(role, reason);
        while let Some(other) = doomed.pop() {
            doomed.merge(self.end_one(other, Reason::of(Cause::Quota)));
        }
    }

    /// Ends one instance; returns the roles that cannot go on because of it.
    fn end_one(&mut self, role: usize, reason: Reason) -> RoleSet {
        let now_ns = self.clock.now_ns();
        let mut doomed = RoleSet::default();
        if !self.tasks[role].is_alive() {
            return doomed;
        }
        self.report_death(role, reason, now_ns);

        // First of all it owns nothing any more: its own pages need no frames in their place.
        let task = &mut self.tasks[role];
        task.state = TaskState::Absent;
        task.wait = None;
        let space = task.space.take();
        loop {
            let pinned = self.calls.pinned_calls_of(role).next();
            let Some(call) = pinned else { break };
            doomed.merge(self.detach_pins(call));
        }
        let mut wake = self.calls.role_died(role);
        while let Some(other) = wake.pop() {
            self.wake(other);
        }
        self.run_queue.remove(role);
        if self.current == Some(role) {
            self.stop_current(now_ns);
        }
        self.msi_owners
            .iter_mut()
            .filter(|owner| owner.is_some_and(|(of, _)| of == role))
            .for_each(|owner| *owner = None);
        let task = &mut self.tasks[role];
        let lines = task.isa_interrupts;
        (0..ioapic::LINES)
            .filter(|line| lines & (1 << line) != 0)
            .for_each(|line| {
                ioapic::set(line, false);
            });
        if let Some(device) = task.device {
            self.devices.set_bus_mastery(device, false);
        }
        if let Some(space) = space {
            if self.loaded == space.root() {
                self.kernel_space.load();
                self.loaded = self.kernel_space.root;
            }
            space.destroy(&mut self.frames);
        }
        if role == MANAGER {
            self.restart_manager(reason.cause);
        } else {
            self.tasks[MANAGER].deaths.insert(role);
            self.wake(MANAGER);
        }
        doomed
    }

    /// Nobody restarts the restart manager but the kernel. What a user asked for is no crash.
    fn restart_manager(&mut self, cause: Cause) {
        if !matches!(cause, Cause::Injected | Cause::Killed) {
            self.manager_crashes += 1;
        }
        if self.manager_crashes > MANAGER_CRASHES_MAX {
            panic!("the manager crashed {} times", self.manager_crashes);
        }
        let task = &self.tasks[MANAGER];
        let Some(spec) = task.spec.clone() else {
            return;
        };
        if let Err(error) = self.spawn(MANAGER, &spec) {
            panic!("the manager cannot be started again: {error}");
        }
    }

    /// Keeps the report and prints it.
    fn report_death(&mut self, role: usize, reason: Reason, now_ns: u64) {
        let task = &mut self.tasks[role];
        let mut report = DeathReport {
            role: role as u64,
            generation: task.generation,
            cause: reason.cause as u32,
            vector: reason.vector,
            address: reason.address,
            error: reason.error,
            registers: registers(&task.context.frame),
            time_ns: now_ns,
            last_words_len: 0,
            last_words: [0; LAST_WORDS_BYTES],
        };
        let len = task.last_words.len().min(LAST_WORDS_BYTES);
        report.last_words[..len].copy_from_slice(&task.last_words[..len]);
        report.last_words_len = len as u64;
        task.report = Some(Box::new(report));
        // The manager is never done, and nobody else tells of its end.
        if reason.cause == Cause::Exit && reason.address == 0 && role != MANAGER {
            return;
        }
        // What somebody wanted is no error; who killed for a reason of its own says so itself.
        let level = match reason.cause {
            Cause::Injected => 3,
            Cause::Killed => 4,
            _ => 1,
        };
        let lines = self.describe_death(role, &report);
        for line in lines {
            self.log_as(role, level, &line);
        }
    }

    fn describe_death(&self, role: usize, report: &DeathReport) -> heapless::Vec<String, 4> {
        let task = &self.tasks[role];
        let file = archive::find(self.archive, task.program.as_str()).unwrap_or_default();
        let name = |address: u64| match symbol(file, address) {
            Some((name, offset)) => format!("{:#}+{offset:#x}", rustc_demangle::demangle(name)),
            None => String::from("?"),
        };
        let cause = Cause::from_number(report.cause);
        let rip = report.registers.rip;
        let mut first = format!("died: {cause} at {rip:#x} in {}", name(rip));
        // Writing to a string cannot fail.
        let _ = match cause {
            Cause::Exit => write!(first, ", code {}", report.address),
            Cause::BadAccess | Cause::StackOverrun => {
                write!(first, ", touching {:#x}", report.address)
            }
            Cause::Exception => write!(first, ", exception {}", report.vector),
            _ => Ok(()),
        };
        let mut lines = heapless::Vec::new();
        let _ = lines.push(first);
        if report.last_words_len > 0 {
            let words = &report.last_words[..report.last_words_len as usize];
            let _ = lines.push(format!("last words: {}", String::from_utf8_lossy(words)));
        }
        if matches!(cause, Cause::Injected | Cause::Exit | Cause::Killed) {
            return lines;
        }
        let names = [
            "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ];
        let mut general = String::from("registers:");
        for (name, value) in names.iter().zip(report.registers.general) {
            let _ = write!(general, " {name}={value:x}");
        }
        let _ = lines.push(general);
        let mut callers = String::from("return addresses on the stack:");
        let mut found = 0;
        if let (Some(space), Ok(image)) = (&task.space, Image::parse(file)) {
            let rsp = report.registers.general[7] & !7;
            for word in 0..STACK_WORDS_MAX {
                let mut bytes = [0; 8];
                if found == CALLERS_MAX || copy::read(space, rsp + word * 8, &mut bytes).is_err() {
                    break;
                }
                let address = u64::from_le_bytes(bytes);
                if image.is_code(address) {
                    let _ = write!(callers, " {}", name(address));
                    found += 1;
                }
            }
        }
        if found > 0 {
            let _ = lines.push(callers);
        }
        lines
    }

    /// Takes the pages pinned through a call away from the device, as far as their owners are
    /// concerned, because the call ends.
    #[cold]
    #[inline(never)]
    pub fn detach_and_end(&mut self, call: CallId) {
        let mut doomed = self.detach_pins(call);
        while let Some(owner) = doomed.pop() {
            self.end_task(owner, Reason::of(Cause::Quota));
        }
    }

    /// Gives the owners of pages pinned through a call other frames, because it ends: the device
    /// may still use the old ones. Returns the owners for whom there was no frame; they cannot go
    /// on.
    ///
    /// A page can be pinned through several calls. What the device of another call writes to the old
    /// frame would never reach the owner, so such a call ends as well, with `PeerDied`, and whoever
    /// made it issues it again, as after any death of a driver.
    fn detach_pins(&mut self, first: CallId) -> RoleSet {
        let mut doomed = RoleSet::default();
        let mut ending = Vec::from([first]);
        while let Some(call) = ending.pop() {
            let mut swapped = Vec::new();
            for pin in self.pins.through(call) {
                self.calls.uncount_pin(&pin.chain);
                pin.chain.clear();
                let owner = &mut self.tasks[pin.owner];
                let frames = &mut self.frames;
                match owner.replace_frame(frames, pin.owner, pin.address, pin.frame) {
                    Ok(true) => {
                        self.counters.frames_swapped += 1;
                        swapped.push(pin.frame);
                    }
                    Ok(false) => {}
                    Err(_) => doomed.insert(pin.owner),
                }
            }
            swapped.sort_unstable();
            for request in self.pins.writing_to(&swapped) {
                // Pages of a request follow each other.
                if ending.last() != Some(&request) {
                    ending.push(request);
                }
            }
            if call != first
                && let Some(caller) = self.calls.fail(call, Error::PeerDied)
            {
                self.wake(caller);
            }
        }
        doomed
    }

    /// Ends a task that did what its rights do not allow.
    #[cold]
    #[inline(never)]
    pub fn end_for_bad_call(&mut self, role: usize) {
        self.end_task(role, Reason::of(Cause::BadCall));
    }

    /// Ends the running task for a processor exception.
    pub fn end_for_exception(&mut self, role: usize, vector: u64, error: u64, address: u64) {
        const PAGE_FAULT: u64 = 14;
        const FETCH: u64 = 1 << 4;
        let rsp = self.tasks[role].context.frame.rsp;
        let cause = if vector != PAGE_FAULT {
            Cause::Exception
        } else if super::spawn::is_stack_guard(role, address)
            || (error & FETCH == 0 && super::spawn::is_stack_guard(role, rsp))
        {
            Cause::StackOverrun
        } else {
            Cause::BadAccess
        };
        let address = if vector == PAGE_FAULT { address } else { 0 };
        self.end_task(
            role,
            Reason {
                cause,
                vector: vector as u32,
                address,
                error,
            },
        );
    }

    /// Whether a running task may do what only some may; if not, it dies.
    pub fn require(&mut self, role: usize, rights: Rights) -> bool {
        let allowed = self.tasks[role].rights.intersects(rights);
        if !allowed {
            self.end_for_bad_call(role);
        }
        allowed
    }
}
