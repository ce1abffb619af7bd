//! What driver tasks may do: reach their own device, and nothing else.

use abi::{
    DMA_PAGES_MAX, Error, FIRST_DEVICE_INTERRUPT, INTERRUPTS_MAX, MsiTarget, PORT_BYTES_MAX,
};
use kernel_core::{PAGE, frames::Frame};

use super::Outcome;
use crate::{
    cpu::{apic, ioapic, serial},
    kernel::Kernel,
    memory::{self, PageFlags, copy},
    task::DmaMemory,
};

/// Where message-signalled interrupts are sent (Intel SDM volume 3, section 11.11).
const MSI_ADDRESS: u64 = 0xfee0_0000;

impl Kernel {
    /// The running task's device; a task without one dies.
    fn device_of(&mut self, role: usize) -> Option<usize> {
        let device = self.tasks[role].device;
        if device.is_none() {
            self.end_for_bad_call(role);
        }
        device
    }

    pub(super) fn dma_allocate(&mut self, role: usize, pages: u64, into: u64) -> Outcome {
        if self.device_of(role).is_none() {
            return Ok(None);
        }
        if pages == 0 || pages > DMA_PAGES_MAX {
            return Err(Error::BadArgument);
        }
        let count = pages as usize;
        let task = &mut self.tasks[role];
        let start = task.dma_end;
        let space = task.space.as_mut().ok_or(Error::BadState)?;
        if !space.is_valid(into, size_of::<u64>() as u64, true) {
            return Err(Error::BadAddress);
        }
        if !space.has_quota_for(pages) {
            return Err(Error::NoMemory);
        }
        let first = self
            .frames
            .allocate_contiguous(count)
            .ok_or(Error::NoMemory)?;
        let flags = PageFlags::WRITABLE | PageFlags::NO_EXECUTE | PageFlags::DMA;
        for page in 0..pages {
            let frame = Frame(first.0 + page);
            memory::zero(frame);
            self.frames.hold(frame);
            if let Err(error) = space.map(&mut self.frames, start + page * PAGE, frame, flags) {
                // Nobody keeps anything: neither the mapping nor the allocation.
                self.frames.release(frame);
                for mapped in 0..page {
                    if let Some(frame) = space.unmap(start + mapped * PAGE) {
                        self.frames.release(frame);
                    }
                }
                (0..pages).for_each(|page| self.frames.release(Frame(first.0 + page)));
                return Err(error.into());
            }
        }
        task.dma_end = start + pages * PAGE;
        let generation = task.generation;
        task.dma_memory.push(DmaMemory {
            first,
            count,
            generation,
        });
        copy::write_value(space, into, &first.address())?;
        Ok(Some(start))
    }

    /// The device was seen to be reset: what it knew of memory is void.
    pub(super) fn device_quiesced(&mut self, role: usize) -> Outcome {
        let Some(device) = self.device_of(role) else {
            return Ok(None);
        };
        let (frames, calls) = (&mut self.frames, &mut self.calls);
        self.pins.take_device(role, |pin| {
            frames.release(pin.frame);
            calls.uncount_pin(&pin.chain);
        });
        let task = &mut self.tasks[role];
        let generation = task.generation;
        for memory in task
            .dma_memory
            .extract_if(.., |memory| memory.generation != generation)
        {
            let range = memory.first.0..memory.first.0 + memory.count as u64;
            range.for_each(|frame| self.frames.release(Frame(frame)));
        }
        self.devices.set_bus_mastery(device, true);
        Ok(Some(0))
    }

    pub(super) fn configuration_read(&mut self, role: usize, offset: u64, width: u64) -> Outcome {
        let Some(device) = self.device_of(role) else {
            return Ok(None);
        };
        self.devices.read(device, offset, width).map(Some)
    }

    pub(super) fn configuration_write(
        &mut self,
        role: usize,
        offset: u64,
        width: u64,
        value: u64,
    ) -> Outcome {
        let Some(device) = self.device_of(role) else {
            return Ok(None);
        };
        self.devices
            .write(device, offset, width, value)
            .map(|()| Some(0))
    }

    pub(super) fn map_bar(&mut self, role: usize, bar: u64, len: u64) -> Outcome {
        let Some(device) = self.device_of(role) else {
            return Ok(None);
        };
        let bar = self.devices.bar(device, bar)?;
        self.devices.enable_memory(device);
        let task = &mut self.tasks[role];
        let space = task.space.as_mut().ok_or(Error::BadState)?;
        let start = task.registers_end;
        if !space.is_valid(len, size_of::<u64>() as u64, true) {
            return Err(Error::BadAddress);
        }
        let flags =
            PageFlags::WRITABLE | PageFlags::NO_EXECUTE | PageFlags::UNCACHED | PageFlags::DEVICE;
        for offset in (0..bar.len).step_by(PAGE as usize) {
            let frame = Frame::containing(bar.address + offset);
            if let Err(error) = space.map(&mut self.frames, start + offset, frame, flags) {
                for mapped in (0..offset).step_by(PAGE as usize) {
                    space.unmap(start + mapped);
                }
                return Err(error.into());
            }
        }
        task.registers_end = start + bar.len;
        copy::write_value(space, len, &bar.len)?;
        Ok(Some(start))
    }

    pub(super) fn allocate_interrupt(&mut self, role: usize, into: u64) -> Outcome {
        if self.device_of(role).is_none() {
            return Ok(None);
        }
        let id = FIRST_DEVICE_INTERRUPT + self.tasks[role].device_interrupts;
        let index = self
            .msi_owners
            .iter()
            .position(Option::is_none)
            .ok_or(Error::NoRoom)?;
        if id >= INTERRUPTS_MAX {
            return Err(Error::NoRoom);
        }
        let target = MsiTarget {
            address: MSI_ADDRESS | u64::from(apic::identity()) << 12,
            data: (apic::MSI_VECTOR + index as u64) as u32,
            interrupt: id as u32,
        };
        copy::write_value(self.space(role)?, into, &target)?;
        self.msi_owners[index] = Some((role, id));
        self.tasks[role].device_interrupts += 1;
        Ok(Some(id as u64))
    }

    pub(super) fn interrupt_done(&mut self, role: usize, line: u64) -> Outcome {
        let line = line as usize;
        if line >= ioapic::LINES || self.tasks[role].isa_interrupts & (1 << line) == 0 {
            self.end_for_bad_call(role);
            return Ok(None);
        }
        ioapic::set(line, true);
        Ok(Some(0))
    }

    /// Whether the running task may touch a port; if not, it dies.
    fn may_use_port(&mut self, role: usize, port: u64) -> bool {
        let allowed = self.tasks[role]
            .ports
            .iter()
            .any(|&[start, end]| (u64::from(start)..u64::from(end)).contains(&port));
        if !allowed {
            self.end_for_bad_call(role);
        }
        allowed
    }

    pub(super) fn read_port(&mut self, role: usize, port: u64) -> Outcome {
        if !self.may_use_port(role, port) {
            return Ok(None);
        }
        Ok(Some(u64::from(serial::port_read(port as u16))))
    }

    pub(super) fn write_port(&mut self, role: usize, port: u64, from: u64, len: u64) -> Outcome {
        if !self.may_use_port(role, port) {
            return Ok(None);
        }
        if len > PORT_BYTES_MAX as u64 {
            return Err(Error::BadArgument);
        }
        let mut bytes = [0; PORT_BYTES_MAX];
        let bytes = &mut bytes[..len as usize];
        copy::read(self.space(role)?, from, bytes)?;
        bytes
            .iter()
            .for_each(|&byte| serial::port_write(port as u16, byte));
        Ok(Some(len))
    }
}
