//! What the restart manager may do, and what `ps` and `stats` are made of.

use abi::{
    ARCHIVE_READ_BYTES_MAX, Cause, Counters, DeviceInfo, Error, Name, ROLES_MAX, Rights, SpawnSpec,
    TaskInfo, TaskState,
};
use kernel_core::archive;

use super::Outcome;
use crate::{
    cpu::power,
    kernel::{Kernel, MANAGER},
    memory::copy,
    task::{Task, death::Reason},
};

impl Kernel {
    pub(super) fn role(&self, number: u64) -> Result<usize, Error> {
        usize::try_from(number)
            .ok()
            .filter(|&role| role < self.tasks.len())
            .ok_or(Error::NotFound)
    }

    pub(super) fn list_tasks(&mut self, role: usize, into: u64, max: u64) -> Outcome {
        if !self.require(role, Rights::INSPECT | Rights::MANAGE) {
            return Ok(None);
        }
        let count = self
            .tasks
            .len()
            .min(usize::try_from(max).unwrap_or(usize::MAX));
        let due = self.calls.due();
        for (index, task) in self.tasks.iter().enumerate().take(count) {
            let mut info = task.info(index, self.calls.backlog(index));
            (info.due_ns, info.waiting) = due[index];
            if self.current == Some(index) {
                info.cpu_ns += self.running_ns();
            }
            let at = into + (index * size_of::<TaskInfo>()) as u64;
            copy::write_value(self.space(role)?, at, &info)?;
        }
        Ok(Some(count as u64))
    }

    pub(super) fn read_counters(&mut self, role: usize, into: u64) -> Outcome {
        if !self.require(role, Rights::INSPECT | Rights::MANAGE) {
            return Ok(None);
        }
        let counters = Counters {
            frames_free: self.frames.free_count() as u64,
            frames_total: self.frames.total() as u64,
            ..self.counters
        };
        copy::write_value(self.space(role)?, into, &counters)?;
        Ok(Some(0))
    }

    pub(super) fn list_devices(&mut self, role: usize, into: u64, max: u64) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        let mut count = 0;
        for info in self
            .devices
            .infos()
            .take(usize::try_from(max).unwrap_or(usize::MAX))
        {
            let at = into + (count * size_of::<DeviceInfo>()) as u64;
            copy::write_value(self.space(role)?, at, &info)?;
            count += 1;
        }
        Ok(Some(count as u64))
    }

    pub(super) fn declare(&mut self, role: usize, name: u64) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        let name: Name = copy::read_value(self.space(role)?, name)?;
        if let Some(existing) = self.tasks.iter().position(|task| task.name == name) {
            return Ok(Some(existing as u64));
        }
        if self.tasks.len() >= ROLES_MAX {
            return Err(Error::NoRoom);
        }
        self.tasks.push(Task::new(name));
        Ok(Some(self.tasks.len() as u64 - 1))
    }

    pub(super) fn spawn_by_manager(&mut self, role: usize, target: u64, spec: u64) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        let spec: SpawnSpec = copy::read_value(self.space(role)?, spec)?;
        let target = self.role(target)?;
        self.spawn(target, &spec).map(Some)
    }

    pub(super) fn kill(&mut self, role: usize, target: u64, cause: u64) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        let target = self.role(target)?;
        let cause = Cause::from_number(u32::try_from(cause).unwrap_or(0));
        if !matches!(cause, Cause::Killed | Cause::Injected) {
            return Err(Error::BadArgument);
        }
        if !self.tasks[target].is_alive() {
            return Err(Error::BadState);
        }
        self.end_task(target, Reason::of(cause));
        Ok(if target == role { None } else { Some(0) })
    }

    pub(super) fn stop(&mut self, role: usize, target: u64) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        let target = self.role(target)?;
        if target == MANAGER || self.tasks[target].state != TaskState::Absent {
            return Err(Error::BadState);
        }
        self.tasks[target].state = TaskState::Stopped;
        let mut wake = self.calls.fail_requests(target, Error::PeerGone);
        while let Some(caller) = wake.pop() {
            self.wake(caller);
        }
        Ok(Some(0))
    }

    pub(super) fn death_report(&mut self, role: usize, target: u64, into: u64) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        let target = self.role(target)?;
        let report = self.tasks[target]
            .report
            .as_deref()
            .ok_or(Error::NotFound)?;
        copy::write_value(self.space(role)?, into, report)?;
        Ok(Some(0))
    }

    pub(super) fn read_archive(
        &mut self,
        role: usize,
        name: u64,
        offset: u64,
        into: u64,
        len: u64,
    ) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        let space = self.space(role)?;
        let name: Name = copy::read_value(space, name)?;
        let file = archive::find(self.archive, name.as_str()).ok_or(Error::NotFound)?;
        let rest = file.get(offset as usize..).unwrap_or_default();
        let part = &rest[..rest
            .len()
            .min(len.min(ARCHIVE_READ_BYTES_MAX as u64) as usize)];
        copy::write(space, into, part)?;
        Ok(Some(part.len() as u64))
    }

    pub(super) fn power(&mut self, role: usize, how: u64) -> Outcome {
        if !self.require(role, Rights::MANAGE) {
            return Ok(None);
        }
        power::leave(how)
    }
}
