//! The kernel's state, and the one loop of its life: something enters, something is done about it,
//! somebody runs next.

use alloc::{format, vec::Vec};

use abi::{Cause, Counters, Name, ROLES_MAX, Rights, SpawnSpec, TaskState};
use kernel_core::{
    calls::Calls,
    frames::{Frame, Frames},
    pins::Pins,
    run_queue::RunQueue,
};
use spin::Mutex;

use crate::{
    boot::Machine,
    cpu::{
        self, PerCpu, apic,
        clock::Clock,
        entry::{self, Context},
        ioapic,
    },
    device::{Devices, firmware},
    log,
    memory::{self, KernelSpace, layout},
    task::{Task, death::Reason, programs::Programs},
};

/// The restart manager's role, the only one that the kernel knows.
pub const MANAGER: usize = abi::MANAGER as usize;

/// How long a task runs before another that is ready gets its turn.
const SLICE_NS: u64 = 10_000_000;
/// How often it is looked whether the manager answers, at most.
const WATCH_NS: u64 = 1_000_000_000;
/// The manager's quota.
const MANAGER_QUOTA_PAGES: u64 = 4096;

/// Everything the kernel knows. One processor at a time holds it, with interrupts off.
pub struct Kernel {
    pub frames: Frames,
    pub kernel_space: KernelSpace,
    /// The address space that the processor has.
    pub loaded: Frame,
    pub archive: &'static [u8],
    pub devices: Devices,
    pub tasks: Vec<Task>,
    pub programs: Programs,
    pub calls: Calls,
    pub pins: Pins,
    pub run_queue: RunQueue,
    pub current: Option<usize>,
    pub clock: Clock,
    pub counters: Counters,
    /// No wait ends before.
    pub next_deadline_ns: u64,
    /// There are records that the console has not been told of.
    pub log_news: bool,
    /// Who gets each message-signalled interrupt, and as which of its own.
    pub msi_owners: [Option<(usize, usize)>; apic::MSI_VECTORS],
    /// How often the manager died by itself.
    pub manager_crashes: u64,
    /// When it was last looked whether it answers.
    manager_watched_ns: u64,
    /// Whether it was late then.
    manager_overdue: bool,
    per_cpu: &'static mut PerCpu,
    /// When the timer fires next.
    timer_ns: u64,
    /// When the running task began to run, and when its slice is over.
    running_since_ns: u64,
    slice_end_ns: u64,
}

// SAFETY: the only part that is not `Send` by itself is a pointer to the task state of this
// processor, which is used with the kernel's lock held.
unsafe impl Send for Kernel {}

static KERNEL: Mutex<Option<Kernel>> = Mutex::new(None);

/// Who runs next.
enum Next {
    Task(*const Context),
    Nobody,
}

/// Boots: from the loader's information to the first task.
#[unsafe(no_mangle)]
extern "C" fn boot(start_info: u64) -> ! {
    let machine = Machine::read(start_info).unwrap_or_else(|error| panic!("{error}"));
    let (frames, kernel_space) =
        memory::initialise(&machine).unwrap_or_else(|error| panic!("{error}"));
    let per_cpu = cpu::initialise();
    apic::initialise();
    ioapic::initialise();
    firmware::show_rom();
    let clock = Clock::calibrate();
    let archive = machine.archive;
    // SAFETY: the loader put the archive there; its frames were never given to anyone.
    let archive = unsafe {
        core::slice::from_raw_parts(
            layout::direct(archive.start),
            (archive.end - archive.start) as usize,
        )
    };
    let mut kernel = Kernel {
        loaded: kernel_space.root,
        frames,
        kernel_space,
        archive,
        devices: Devices::enumerate(),
        tasks: Vec::with_capacity(ROLES_MAX),
        programs: Programs::default(),
        calls: Calls::new(),
        pins: Pins::default(),
        run_queue: RunQueue::default(),
        current: None,
        clock,
        counters: Counters::default(),
        next_deadline_ns: u64::MAX,
        log_news: false,
        msi_owners: [None; apic::MSI_VECTORS],
        manager_crashes: 0,
        manager_watched_ns: 0,
        manager_overdue: false,
        per_cpu,
        timer_ns: u64::MAX,
        running_since_ns: 0,
        slice_end_ns: 0,
    };
    kernel.start_manager();
    *KERNEL.lock() = Some(kernel);
    run(|_| {});
}

/// Takes the kernel, does `work`, and runs whoever is next.
fn run(work: impl FnOnce(&mut Kernel)) -> ! {
    let next = {
        let mut guard = KERNEL.lock();
        let kernel = guard.as_mut().expect("booted");
        work(kernel);
        kernel.next()
    };
    match next {
        // SAFETY: `next` loaded its address space and made its context the one entries save into;
        // the lock is released, and nothing else is held.
        Next::Task(context) => unsafe { Context::resume(context) },
        // SAFETY: the lock is released, and nothing else is held.
        Next::Nobody => unsafe { entry::wait_for_interrupt() },
    }
}

#[unsafe(no_mangle)]
extern "C" fn enter_system_call() -> ! {
    run(Kernel::system_call)
}

#[unsafe(no_mangle)]
extern "C" fn enter_interrupt() -> ! {
    run(|kernel| {
        let role = kernel.current.expect("a task was interrupted");
        let frame = kernel.tasks[role].context.frame;
        match frame.vector {
            vector @ 0..32 => {
                let address = x86_64::registers::control::Cr2::read_raw();
                kernel.end_for_exception(role, vector, frame.error, address);
            }
            vector => kernel.device_interrupt(vector),
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn enter_from_idle(vector: u64) -> ! {
    run(|kernel| {
        let now_ns = kernel.clock.now_ns();
        kernel.counters.idle_ns += now_ns - kernel.running_since_ns;
        kernel.running_since_ns = now_ns;
        kernel.device_interrupt(vector);
    })
}

#[unsafe(no_mangle)]
extern "C" fn kernel_exception(vector: u64, error: u64, rip: u64, address: u64) -> ! {
    panic!("kernel exception {vector}, error {error:#x}, at {rip:#x}, touching {address:#x}");
}

impl Kernel {
    fn start_manager(&mut self) {
        let name = Name::new("manager").expect("short");
        self.tasks.push(Task::new(name));
        let spec = SpawnSpec {
            program: name,
            rights: (Rights::MANAGE | Rights::INSPECT).bits(),
            quota_pages: MANAGER_QUOTA_PAGES,
            device: u64::MAX,
            ports: [[0; 2]; 2],
            isa_interrupts: 0,
            peer_count: 0,
            peers: [0; abi::PEERS_MAX],
            arguments_len: 0,
            arguments: [0; abi::ARGUMENTS_BYTES_MAX],
        };
        let total_mib = self.frames.total() / 256;
        self.log_as(MANAGER, 3, &format!("kernel up, {total_mib} MiB of memory"));
        if let Err(error) = self.spawn(MANAGER, &spec) {
            panic!("no manager in the archive, or it cannot be started: {error}");
        }
    }

    /// Adds a record to the log in a role's name.
    pub fn log_as(&mut self, role: usize, level: u64, text: &str) {
        let now_ns = self.clock.now_ns();
        let name = self.tasks[role].name;
        log::add(now_ns, level, name.as_str(), text);
        self.log_news = true;
        for role in 0..self.tasks.len() {
            if self.tasks[role].rights.contains(Rights::READ_LOG) {
                self.wake(role);
            }
        }
    }

    /// Whatever but an exception interrupted.
    fn device_interrupt(&mut self, vector: u64) {
        self.counters.interrupts += 1;
        match vector {
            apic::TIMER_VECTOR => self.timer(),
            apic::SPURIOUS_VECTOR => return,
            _ => {
                if let Some(line) = vector.checked_sub(apic::ISA_VECTOR)
                    && (line as usize) < ioapic::LINES
                {
                    let line = line as usize;
                    ioapic::set(line, false);
                    let owner = self
                        .tasks
                        .iter()
                        .position(|task| task.is_alive() && task.isa_interrupts & (1 << line) != 0);
                    if let Some(role) = owner {
                        self.interrupt(role, line);
                    }
                } else if let Some(index) = vector.checked_sub(apic::MSI_VECTOR)
                    && let Some(Some((role, id))) = self.msi_owners.get(index as usize).copied()
                {
                    self.interrupt(role, id);
                }
            }
        }
        apic::end_of_interrupt();
    }

    /// Ends the manager if it keeps a caller waiting for longer than that said, at two looks in a row: after a machine
    /// has stood still, everybody is late at the first. Nobody watches the manager but the kernel. It is started again,
    /// as after any death.
    fn watch_manager(&mut self, now_ns: u64) {
        if now_ns < self.manager_watched_ns + WATCH_NS {
            return;
        }
        self.manager_watched_ns = now_ns;
        let (due_ns, waiting) = self.calls.due()[MANAGER];
        let is_overdue = due_ns <= now_ns && waiting == 0;
        let was_overdue = core::mem::replace(&mut self.manager_overdue, is_overdue);
        if is_overdue && was_overdue {
            self.manager_overdue = false;
            self.log_as(
                MANAGER,
                1,
                "has kept a caller waiting for too long and is ended",
            );
            self.end_task(MANAGER, Reason::of(Cause::Killed));
        }
    }

    /// Time has come for somebody, perhaps.
    fn timer(&mut self) {
        self.timer_ns = u64::MAX;
        let now_ns = self.clock.now_ns();
        self.watch_manager(now_ns);
        self.next_deadline_ns = u64::MAX;
        for role in 0..self.tasks.len() {
            let task = &self.tasks[role];
            if task.state != TaskState::Waiting {
                continue;
            }
            let deadline_ns = task.wait.map_or(u64::MAX, |wait| wait.deadline_ns);
            if deadline_ns <= now_ns {
                self.wake(role);
            } else {
                self.next_deadline_ns = self.next_deadline_ns.min(deadline_ns);
            }
        }
        if let Some(role) = self.current
            && now_ns >= self.slice_end_ns
            && !self.run_queue.is_empty()
        {
            self.run_queue.push(role);
            self.stop_current(now_ns);
        }
    }

    /// How long the running task has run since it was switched to, nanoseconds.
    pub fn running_ns(&self) -> u64 {
        self.clock.now_ns() - self.running_since_ns
    }

    /// Accounts for the running task and has it run no more.
    pub fn stop_current(&mut self, now_ns: u64) {
        if let Some(role) = self.current.take() {
            self.tasks[role].cpu_ns += now_ns - self.running_since_ns;
        }
        self.running_since_ns = now_ns;
    }

    /// Has the timer fire no later than at a time.
    fn ensure_timer(&mut self, now_ns: u64, at_ns: u64) {
        if at_ns < self.timer_ns {
            self.timer_ns = at_ns;
            self.clock.set_timer(at_ns.saturating_sub(now_ns));
        }
    }

    /// Who runs next: who ran, as long as it neither waits nor had its slice; else the first that
    /// is ready; else nobody.
    fn next(&mut self) -> Next {
        if let Some(role) = self.current
            && self.tasks[role].state == TaskState::Ready
        {
            if self.timer_ns == u64::MAX {
                let now_ns = self.clock.now_ns();
                self.ensure_timer(now_ns, self.next_deadline_ns.min(now_ns + SLICE_NS));
            }
            return Next::Task(&raw const *self.tasks[role].context);
        }
        let now_ns = self.clock.now_ns();
        self.stop_current(now_ns);
        while let Some(role) = self.run_queue.pop() {
            let task = &mut self.tasks[role];
            let Some(root) = task.space.as_ref().map(|space| space.root()) else {
                continue;
            };
            task.switches += 1;
            if self.loaded != root {
                self.loaded = root;
                memory::load(root);
                entry::forget_registers();
                self.counters.switches += 1;
            }
            self.finish_wait(role);
            let task = &self.tasks[role];
            cpu::set_frame(self.per_cpu, &task.context);
            let context = &raw const *task.context;
            self.current = Some(role);
            self.slice_end_ns = now_ns + SLICE_NS;
            self.ensure_timer(now_ns, self.next_deadline_ns.min(self.slice_end_ns));
            return Next::Task(context);
        }
        if self.next_deadline_ns != u64::MAX {
            self.ensure_timer(now_ns, self.next_deadline_ns);
        }
        Next::Nobody
    }
}
