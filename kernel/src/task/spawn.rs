//! Starting an instance: a fresh address space, the program, a stack, and who it is.

use alloc::boxed::Box;

use abi::{
    ARGUMENTS_BYTES_MAX, Error, Name, PEERS_MAX, Peer, Rights, START_INFO_ADDRESS, SpawnSpec,
    Start, StartInfo, TaskState,
};
use kernel_core::{PAGE, RoleSet, archive, frames::Frames, image::Image};

use super::programs::Programs;
use crate::{
    cpu::{entry::Context, ioapic},
    kernel::Kernel,
    memory::{
        PageFlags, copy,
        layout::{self, stack_stagger, stagger},
        space::{AddressSpace, MapError},
    },
};

impl From<MapError> for Error {
    fn from(error: MapError) -> Self {
        match error {
            MapError::NoMemory | MapError::Quota => Self::NoMemory,
            MapError::Occupied => Self::BadAddress,
        }
    }
}

impl Kernel {
    /// Starts an instance in a role that has none; returns its generation.
    pub fn spawn(&mut self, role: usize, spec: &SpawnSpec) -> Result<u64, Error> {
        let task = self.tasks.get(role).ok_or(Error::NotFound)?;
        if task.state != TaskState::Absent {
            return Err(Error::BadState);
        }
        let peer_count = spec.peer_count as usize;
        let arguments_len = spec.arguments_len as usize;
        if peer_count > PEERS_MAX || arguments_len > ARGUMENTS_BYTES_MAX {
            return Err(Error::BadArgument);
        }
        let peers = &spec.peers[..peer_count];
        if peers.iter().any(|&peer| peer as usize >= self.tasks.len()) {
            return Err(Error::NotFound);
        }
        let device = match spec.device {
            u64::MAX => None,
            address => Some(self.devices.find(address as u32).ok_or(Error::NotFound)?),
        };
        let taken = |other: &crate::task::Task| other.is_alive() && other.device == device;
        if device.is_some() && self.tasks.iter().any(taken) {
            return Err(Error::BadState);
        }
        let program = spec.program;
        let file = archive::find(self.archive, program.as_str()).ok_or(Error::NotFound)?;
        let image = Image::parse(file).map_err(|_| Error::BadArgument)?;

        let mut info = StartInfo {
            name: task.name,
            role: role as u64,
            generation: task.generation + 1,
            start: if task.generation == 0 {
                Start::Fresh
            } else {
                Start::Restart
            } as u64,
            clock: self.clock.counter,
            epoch_ns: self.clock.epoch_ns,
            peer_count: peer_count as u64,
            peers: [Peer::NONE; PEERS_MAX],
            arguments_len: arguments_len as u64,
            arguments: spec.arguments,
        };
        let mut callable = RoleSet::default();
        for (entry, &peer) in info.peers.iter_mut().zip(peers) {
            *entry = Peer {
                name: self.tasks[peer as usize].name,
                role: peer,
            };
            callable.insert(peer as usize);
        }
        let rights = Rights::from_bits_truncate(spec.rights);
        if rights.contains(Rights::MANAGE) {
            callable = RoleSet(u64::MAX >> (64 - abi::ROLES_MAX));
        }

        let quota = spec.quota_pages;
        let mut space = AddressSpace::new(&mut self.frames, self.kernel_space, quota)?;
        let stack = match build(
            &mut self.frames,
            &mut self.programs,
            &mut space,
            (role, program),
            &image,
            &info,
        ) {
            Ok(stack) => stack,
            Err(error) => {
                space.destroy(&mut self.frames);
                return Err(error);
            }
        };
        let task = &mut self.tasks[role];
        task.program = program;
        task.generation += 1;
        task.rights = rights;
        task.peers = callable;
        task.ports = spec.ports;
        task.isa_interrupts = spec.isa_interrupts as u16;
        task.device = device;
        task.quota_pages = quota;
        task.space = Some(space);
        task.heap_end = layout::HEAP + stagger(role, 1);
        task.dma_end = layout::DMA + stagger(role, 2);
        task.registers_end = layout::REGISTERS + stagger(role, 3);
        task.wait = None;
        task.fault_entry = 0;
        task.interrupts = Default::default();
        task.interrupts_fired = 0;
        task.device_interrupts = 0;
        task.last_words.clear();
        task.state = TaskState::Ready;
        *task.context = Context::new(image.entry, stack);
        task.spec = Some(Box::new(*spec));
        let lines = task.isa_interrupts;
        (0..ioapic::LINES)
            .filter(|line| lines & (1 << line) != 0)
            .for_each(|line| {
                ioapic::set(line, true);
            });
        let generation = task.generation;
        self.run_queue.push(role);
        Ok(generation)
    }
}

/// Maps the program, the stack and the start information; returns the stack's top.
fn build(
    frames: &mut Frames,
    programs: &mut Programs,
    space: &mut AddressSpace,
    (role, program): (usize, Name),
    image: &Image<'_>,
    info: &StartInfo,
) -> Result<u64, Error> {
    let writable = PageFlags::WRITABLE | PageFlags::NO_EXECUTE;
    for segment in &image.segments {
        let flags = match (segment.writable, segment.executable) {
            (true, _) => writable,
            (false, true) => PageFlags::empty(),
            (false, false) => PageFlags::NO_EXECUTE,
        };
        let first = segment.address & !(PAGE - 1);
        for page in (first..segment.address + segment.len).step_by(PAGE as usize) {
            if let Some(frame) = programs.take(frames, &program, page) {
                if let Err(error) = space.map(frames, page, frame, flags) {
                    frames.release(frame);
                    return Err(error.into());
                }
                continue;
            }
            let frame = space.map_new(frames, page, flags)?;
            let start = page.max(segment.address);
            let from = (start - segment.address) as usize;
            let to = ((page + PAGE - segment.address) as usize).min(segment.data.len());
            if from < to {
                let target = layout::direct(frame.address() + (start - page));
                let data = &segment.data[from..to];
                // SAFETY: the frame was taken for this page; the data end with the page at most.
                unsafe { target.copy_from_nonoverlapping(data.as_ptr(), data.len()) };
            }
            if !segment.writable {
                programs.keep(frames, program, page, frame);
            }
        }
    }
    let top =
        layout::STACK + (layout::GUARD_PAGES + layout::STACK_PAGES) * PAGE + stack_stagger(role);
    for page in 1..=layout::STACK_PAGES {
        space.map_new(frames, top - page * PAGE, writable)?;
    }
    for page in 0..size_of::<StartInfo>().div_ceil(abi::PAGE_BYTES) as u64 {
        space.map_new(
            frames,
            START_INFO_ADDRESS + page * PAGE,
            PageFlags::NO_EXECUTE,
        )?;
    }
    copy::initialise(space, START_INFO_ADDRESS, info)?;
    // As after a call: the stack is off a multiple of 16 by the return address there is not.
    Ok(top - 8)
}

/// Whether an address is in the unmapped pages below a role's stack.
pub fn is_stack_guard(role: usize, address: u64) -> bool {
    let bottom = layout::STACK + layout::GUARD_PAGES * PAGE + stack_stagger(role);
    (bottom - layout::GUARD_PAGES * PAGE..bottom).contains(&address)
}
