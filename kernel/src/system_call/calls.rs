//! Calls and grants: submitting, waiting, replying, copying, pinning.

use alloc::vec::Vec;

use abi::{
    COPY_BYTES_MAX, CallDescriptor, DmaAddress, Error, GRANT_BYTES_MAX, Grant, Memory, Message,
    PIN_BYTES_MAX, SEGMENTS_MAX, Segment, Side, TaskState,
};
use kernel_core::{
    PAGE,
    calls::{CallId, Lent, Origin, Piece},
    frames::Frame,
    pins::{Chain, Pin},
};

use super::Outcome;
use crate::{kernel::Kernel, memory::copy, task::Wait};

type LentList = heapless::Vec<Lent, SEGMENTS_MAX>;

fn side(number: u64) -> Result<Side, Error> {
    match number {
        0 => Ok(Side::Send),
        1 => Ok(Side::Receive),
        _ => Err(Error::BadArgument),
    }
}

impl Kernel {
    /// Reads the segments that a task wants to lend. Its own memory must be its own; what was lent
    /// to it is checked when the call is entered in the table.
    fn read_grant(
        &self,
        role: usize,
        grant: Grant,
        writes: bool,
        list: &mut LentList,
    ) -> Result<(), Error> {
        if grant.count > SEGMENTS_MAX as u64 {
            return Err(Error::BadArgument);
        }
        let space = self.space(role)?;
        let mut total = 0usize;
        for index in 0..grant.count {
            let at = grant
                .segments
                .checked_add(index * size_of::<Segment>() as u64)
                .ok_or(Error::BadAddress)?;
            let segment: Segment = copy::read_running(at)?;
            let len = usize::try_from(segment.len).map_err(|_| Error::BadAddress)?;
            // Before anything as long as this is looked through.
            total = total.saturating_add(len);
            if total > GRANT_BYTES_MAX {
                return Err(Error::BadArgument);
            }
            let parent = CallId::from_number(segment.token);
            let part = |side| {
                let offset = segment.address as usize;
                Origin::Part {
                    parent,
                    side,
                    offset,
                }
            };
            let origin = match segment.memory {
                number if number == Memory::Own as u32 => {
                    if !space.may_lend(segment.address, segment.len, writes) {
                        return Err(Error::BadAddress);
                    }
                    Origin::Own {
                        address: segment.address,
                    }
                }
                number if number == Memory::LentSend as u32 => part(Side::Send),
                number if number == Memory::LentReceive as u32 => part(Side::Receive),
                _ => return Err(Error::BadArgument),
            };
            list.push(Lent { origin, len })
                .map_err(|_| Error::BadArgument)?;
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, role: usize, descriptor: u64) -> Outcome {
        let call: CallDescriptor = copy::read_running(descriptor)?;
        let callee = call.callee as usize;
        if callee >= self.tasks.len() || self.tasks[role].peers.0 & (1 << callee) == 0 {
            self.end_for_bad_call(role);
            return Ok(None);
        }
        // Filled in place: they are large, and most calls lend little.
        let (mut send, mut receive) = (LentList::new(), LentList::new());
        self.read_grant(role, call.send, false, &mut send)?;
        self.read_grant(role, call.receive, true, &mut receive)?;
        if self.tasks[callee].state == TaskState::Stopped {
            return Err(Error::PeerGone);
        }
        let id = self
            .calls
            .submit(role, callee, &call.message, &send, &receive)?;
        if call.patience_ns != u64::MAX {
            let now_ns = self.clock.now_ns();
            self.calls
                .set_due(id, now_ns.saturating_add(call.patience_ns));
        }
        self.counters.calls += 1;
        self.tasks[role].calls += 1;
        self.wake(callee);
        Ok(Some(id.number()))
    }

    pub(super) fn cancel(&mut self, role: usize, call: u64) -> Outcome {
        let id = CallId::from_number(call);
        if self.calls.has_pins(id) && self.calls.is_callers(id, role) {
            self.detach_and_end(id);
            if !self.tasks[role].is_alive() {
                return Ok(None);
            }
        }
        if let Some(callee) = self.calls.cancel(role, id)? {
            self.wake(callee);
        }
        Ok(Some(0))
    }

    pub(super) fn wait(&mut self, role: usize, events: u64, max: u64, deadline_ns: u64) -> Outcome {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        self.begin_wait(
            role,
            Wait {
                events,
                max,
                deadline_ns,
            },
        )
    }

    pub(super) fn reply(&mut self, role: usize, token: u64, message: u64) -> Outcome {
        let message: Message = copy::read_running(message)?;
        let id = CallId::from_number(token);
        if self.calls.has_pins(id) && self.calls.is_callees(id, role) {
            self.detach_and_end(id);
            if !self.tasks[role].is_alive() {
                return Ok(None);
            }
        }
        let caller = self.calls.reply(role, id, message)?;
        self.wake(caller);
        Ok(Some(0))
    }

    /// Copies between the running task and a grant, in the direction that `from_grant` says.
    fn copy_grant(
        &mut self,
        role: usize,
        (token, side): (u64, Side),
        (offset, address, len): (u64, u64, u64),
        from_grant: bool,
    ) -> Outcome {
        if len > COPY_BYTES_MAX as u64 {
            return Err(Error::BadArgument);
        }
        let range = (offset as usize, len as usize);
        let (tasks, mut at) = (&self.tasks, address);
        self.calls.resolve(
            role,
            CallId::from_number(token),
            side,
            range,
            &mut |piece, _| {
                let space = tasks[piece.owner].space.as_ref().ok_or(Error::NoSuchCall)?;
                let running = at;
                at = at.wrapping_add(piece.len as u64);
                if from_grant {
                    copy::to_running(space, piece.address, running, piece.len)
                } else {
                    copy::from_running(running, space, piece.address, piece.len)
                }
            },
        )?;
        self.counters.copies += 1;
        self.counters.bytes_copied += len;
        Ok(Some(len))
    }

    pub(super) fn copy_from(
        &mut self,
        role: usize,
        token: u64,
        which: u64,
        offset: u64,
        into: u64,
        len: u64,
    ) -> Outcome {
        self.copy_grant(role, (token, side(which)?), (offset, into, len), true)
    }

    pub(super) fn copy_to(
        &mut self,
        role: usize,
        token: u64,
        offset: u64,
        from: u64,
        len: u64,
    ) -> Outcome {
        self.copy_grant(role, (token, Side::Receive), (offset, from, len), false)
    }

    /// Pins a part of a grant for the running driver's device: first everything is looked up, then
    /// everything is pinned, so that a failure pins nothing.
    pub(super) fn pin(
        &mut self,
        role: usize,
        (token, which): (u64, u64),
        (offset, len): (u64, u64),
        (into, max): (u64, u64),
    ) -> Outcome {
        if self.tasks[role].device.is_none() {
            self.end_for_bad_call(role);
            return Ok(None);
        }
        if len == 0 || len > PIN_BYTES_MAX {
            return Err(Error::BadArgument);
        }
        let (token, side) = (CallId::from_number(token), side(which)?);
        let mut pages: Vec<Pin> = Vec::with_capacity((len / PAGE) as usize + 2);
        let mut addresses: Vec<DmaAddress> = Vec::new();
        let tasks = &self.tasks;
        let room = self.pins.room(role);
        let mut look_up = |piece: Piece, chain: &Chain| {
            let space = tasks[piece.owner].space.as_ref().ok_or(Error::NoSuchCall)?;
            let end = piece.address + piece.len as u64;
            let mut at = piece.address;
            while at < end {
                let address = at & !(PAGE - 1);
                let step = (address + PAGE).min(end) - at;
                if pages.len() == room || addresses.len() as u64 > max {
                    return Err(Error::NoRoom);
                }
                let frame: Frame = space
                    .frame_at(address, side == Side::Receive)
                    .ok_or(Error::BadAddress)?;
                let bus = frame.address() + (at - address);
                match addresses.last_mut() {
                    Some(last) if last.address + last.len == bus => last.len += step,
                    _ => addresses.push(DmaAddress {
                        address: bus,
                        len: step,
                    }),
                }
                let chain = chain.clone();
                let (driver, owner) = (role, piece.owner);
                pages.push(Pin {
                    driver,
                    frame,
                    owner,
                    address,
                    written: side == Side::Receive,
                    chain,
                    token,
                });
                at += step;
            }
            Ok(())
        };
        let range = (offset as usize, len as usize);
        self.calls.resolve(role, token, side, range, &mut look_up)?;
        if addresses.len() as u64 > max {
            return Err(Error::NoRoom);
        }
        let space = self.space(role)?;
        for (index, address) in addresses.iter().enumerate() {
            copy::write_value(
                space,
                into + (index * size_of::<DmaAddress>()) as u64,
                address,
            )?;
        }
        self.counters.pages_pinned += pages.len() as u64;
        for pin in &pages {
            self.frames.hold(pin.frame);
            self.calls.count_pin(&pin.chain);
        }
        self.pins.add(pages);
        Ok(Some(addresses.len() as u64))
    }

    pub(super) fn unpin(&mut self, role: usize, token: u64) -> Outcome {
        if self.tasks[role].device.is_none() {
            self.end_for_bad_call(role);
            return Ok(None);
        }
        let token = CallId::from_number(token);
        let (frames, calls) = (&mut self.frames, &mut self.calls);
        self.pins.take_request(role, token, |pin| {
            frames.release(pin.frame);
            calls.uncount_pin(&pin.chain);
        });
        Ok(Some(0))
    }
}
