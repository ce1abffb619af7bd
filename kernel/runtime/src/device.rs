//! What drivers use: their device's registers, interrupts, DMA memory and pins, and ports.

use core::{
    future::poll_fn,
    task::{Poll, Waker},
};

use abi::{DmaAddress, INTERRUPTS_MAX, MsiTarget};
use storage::buffer::{Lent, Side};

use crate::{fault, local::Local, system};

pub use crate::system::{
    Result, allocate_interrupt, configuration_read, configuration_write, device_quiesced,
    dma_allocate, map_bar, port_read, port_write,
};

struct Line {
    fired: bool,
    waker: Option<Waker>,
}

static LINES: Local<[Line; INTERRUPTS_MAX]> = Local::new(
    [const {
        Line {
            fired: false,
            waker: None,
        }
    }; INTERRUPTS_MAX],
);

pub(crate) fn interrupted(id: u64) {
    if fault::deaf_to_interrupts() {
        return;
    }
    let waker = {
        let mut lines = LINES.borrow();
        let Some(line) = lines.get_mut(id as usize) else {
            return;
        };
        line.fired = true;
        line.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// An interrupt of the task's device or of one of its ISA lines.
pub struct Interrupt {
    id: u64,
    is_isa: bool,
}

impl Interrupt {
    /// The ISA interrupt of a line that the description gives the task.
    #[must_use]
    pub fn isa(line: u64) -> Self {
        Self {
            id: line,
            is_isa: true,
        }
    }

    /// The interrupt that a message of the device raises.
    #[must_use]
    pub fn message(target: &MsiTarget) -> Self {
        Self {
            id: u64::from(target.interrupt),
            is_isa: false,
        }
    }

    /// Waits until it has fired since the last time this was asked.
    pub async fn fired(&self) {
        poll_fn(|context| {
            let mut lines = LINES.borrow();
            let Some(line) = lines.get_mut(self.id as usize) else {
                return Poll::Pending;
            };
            if core::mem::take(&mut line.fired) {
                return Poll::Ready(());
            }
            line.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Lets an ISA interrupt fire again, now that its cause is gone. Messages need no leave.
    pub fn done(&self) {
        if self.is_isa {
            system::interrupt_done(self.id);
        }
    }
}

/// Pins lent memory for the device; returns how many pieces it is in. It stays pinned until
/// [`unpin`] of its request.
pub fn pin(lent: &Lent<'_>, into: &mut [DmaAddress]) -> Result<usize> {
    let side = match lent.side {
        Side::Send => abi::Side::Send,
        Side::Receive => abi::Side::Receive,
    };
    system::pin(
        lent.memory.token(),
        side,
        lent.offset as u64,
        lent.len as u64,
        into,
    )
}

/// Releases everything pinned for a request, once the device is done with it.
pub fn unpin(token: u64) {
    system::unpin(token);
}
