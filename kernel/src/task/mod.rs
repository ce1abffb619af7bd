//! Tasks: roles and the instances in them.

pub mod death;
pub mod events;
pub mod programs;
pub mod spawn;

use alloc::{boxed::Box, vec::Vec};

use abi::{DeathReport, INTERRUPTS_MAX, MARKS_MAX, Name, Rights, SpawnSpec, TaskInfo, TaskState};
use kernel_core::{
    PAGE, RoleSet,
    frames::{Frame, Frames},
};

use crate::{
    cpu::entry::Context,
    memory::{
        self, layout,
        space::{AddressSpace, MapError},
    },
};

/// What a task waits for.
#[derive(Clone, Copy)]
pub struct Wait {
    /// Where its events go.
    pub events: u64,
    /// How many fit.
    pub max: usize,
    /// When it wants to go on all the same, monotonic nanoseconds.
    pub deadline_ns: u64,
}

/// Memory that a device may still know, of one instance of its driver.
pub struct DmaMemory {
    /// First frame.
    pub first: Frame,
    /// How many.
    pub count: usize,
    /// Which instance allocated it.
    pub generation: u64,
}

/// A role, and the instance in it if there is one.
pub struct Task {
    pub name: Name,
    pub program: Name,
    pub generation: u64,
    pub state: TaskState,
    pub rights: Rights,
    /// Roles it may call.
    pub peers: RoleSet,
    pub ports: [[u16; 2]; 2],
    pub isa_interrupts: u16,
    /// Index of its device.
    pub device: Option<usize>,
    pub quota_pages: u64,
    pub context: Box<Context>,
    pub space: Option<AddressSpace>,
    pub heap_end: u64,
    pub dma_end: u64,
    pub registers_end: u64,
    pub wait: Option<Wait>,
    /// Where it goes on when a fault is injected; zero for nowhere.
    pub fault_entry: u64,
    /// How often each interrupt fired since the task was told, and which did, one bit each.
    pub interrupts: [u32; INTERRUPTS_MAX],
    pub interrupts_fired: u32,
    pub device_interrupts: usize,
    /// Deaths that the manager has not been told of.
    pub deaths: RoleSet,
    /// What it said last.
    pub last_words: Vec<u8>,
    pub report: Option<Box<DeathReport>>,
    /// Frames that outlive its instances, by their place.
    pub role_memory: Vec<Frame>,
    pub dma_memory: Vec<DmaMemory>,
    /// How it was started, for the kernel to start the manager again.
    pub spec: Option<Box<SpawnSpec>>,
    pub calls: u64,
    pub requests: u64,
    pub cpu_ns: u64,
    pub switches: u64,
    pub last_wait_ns: u64,
    /// What its instances count.
    pub marks: [u32; MARKS_MAX],
}

impl Task {
    /// A role without an instance.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            program: Name::EMPTY,
            generation: 0,
            state: TaskState::Absent,
            rights: Rights::empty(),
            peers: RoleSet::default(),
            ports: [[0; 2]; 2],
            isa_interrupts: 0,
            device: None,
            quota_pages: 0,
            context: Box::new(Context::new(0, 0)),
            space: None,
            heap_end: 0,
            dma_end: 0,
            registers_end: 0,
            wait: None,
            fault_entry: 0,
            interrupts: [0; INTERRUPTS_MAX],
            interrupts_fired: 0,
            device_interrupts: 0,
            deaths: RoleSet::default(),
            last_words: Vec::new(),
            report: None,
            role_memory: Vec::new(),
            dma_memory: Vec::new(),
            spec: None,
            calls: 0,
            requests: 0,
            cpu_ns: 0,
            switches: 0,
            last_wait_ns: 0,
            marks: [0; MARKS_MAX],
        }
    }

    /// Whether there is an instance.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, TaskState::Ready | TaskState::Waiting)
    }

    /// Puts a fresh frame with the same contents in the place of `old`, a page of the task's at
    /// `address`: in its address space if there still is an instance, and in the memory that outlives
    /// it. Says whether `old` was there.
    ///
    /// Errors: [`MapError::NoMemory`]. Then what outlives the instance ends before that page, because a
    /// device may go on writing to it.
    pub fn replace_frame(
        &mut self,
        frames: &mut Frames,
        role: usize,
        address: u64,
        old: Frame,
    ) -> Result<bool, MapError> {
        let space = self.space.as_mut();
        let space = space.filter(|space| space.frame_at(address, false) == Some(old));
        let page = address.wrapping_sub(layout::role_memory(role)) / PAGE;
        let page = usize::try_from(page).unwrap_or(usize::MAX);
        let outlives = self.role_memory.get(page) == Some(&old);
        if space.is_none() && !outlives {
            return Ok(false);
        }
        let Some(fresh) = frames.allocate() else {
            if outlives {
                let lost = self.role_memory.drain(page..);
                lost.for_each(|frame| frames.release(frame));
            }
            return Err(MapError::NoMemory);
        };
        memory::copy_frame(old, fresh);
        if let Some(space) = space {
            frames.hold(fresh);
            space.replace(address, fresh);
            frames.release(old);
        }
        if outlives {
            frames.hold(fresh);
            self.role_memory[page] = fresh;
            frames.release(old);
        }
        frames.release(fresh);
        Ok(true)
    }

    /// A line of `ps`.
    pub fn info(&self, role: usize, backlog: usize) -> TaskInfo {
        TaskInfo {
            name: self.name,
            role: role as u64,
            generation: self.generation,
            state: self.state as u32,
            last_cause: self.report.as_ref().map_or(0, |report| report.cause),
            pages: self.space.as_ref().map_or(0, AddressSpace::pages),
            quota_pages: self.quota_pages,
            calls: self.calls,
            requests: self.requests,
            cpu_ns: self.cpu_ns,
            switches: self.switches,
            last_wait_ns: self.last_wait_ns,
            backlog: backlog as u64,
            due_ns: u64::MAX,
            waiting: 0,
            marks: self.marks,
        }
    }
}
