//! The driver: which phase the device is in, and what goes to it and comes back.
//!
//! ```text
//!                 write status 0              status reads 0, features, queue, DRIVER_OK
//!      Start ───────────────► Resetting ──────────────────────────────► Running
//!                              │    ▲                                    │
//!            reset takes longer│    │ request overdue, ring broken,      │
//!               than reset_ns, │    │ DEVICE_NEEDS_RESET                 │
//!             bring-up refused │    └────────────────────────────────────┘
//!                              ▼
//!                            Failed   the task says why and ends
//! ```
//!
//! | phase     | device status           | requests                                             |
//! | --------- | ----------------------- | ---------------------------------------------------- |
//! | Start     | unknown                 | wait; an earlier instance's may still be under DMA   |
//! | Resetting | 0 written, not yet read | wait; those the device has keep their memory         |
//! | Running   | DRIVER_OK               | go to the device as slots are free                   |
//! | Failed    | any                     | fail with `Error::Device`                            |
//!
//! A request that fails, or that the device has when it is reset, is given to it again, at most
//! [`Options::attempts_max`] times in all. Nothing here blocks or spins: [`Driver::turn`] does what
//! there is to do and says when it wants to be called again.

use alloc::{collections::VecDeque, rc::Rc, vec::Vec};
use core::cell::{Cell, RefCell};

use storage::Error;
use virtio_drivers::transport::{DeviceStatus, Transport};

use crate::{
    Fault, Limits, Platform,
    bounce::Bounce,
    lookout::Lookout,
    queue::Queue,
    reset::QUEUE,
    slot::{Outcome, Slots},
    transfer::{Ledger, Part},
    wait::WaitList,
};

/// How patient the driver is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Time that the device has for a request, nanoseconds.
    pub timeout_ns: u64,
    /// Time that it has to reset itself, nanoseconds.
    pub reset_ns: u64,
    /// Times a request is given to the device before it fails.
    pub attempts_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout_ns: 10_000_000_000,
            reset_ns: 5_000_000_000,
            attempts_max: 3,
        }
    }
}

/// Time between two looks at a device that resets itself.
const RESET_LOOK_NS: u64 = 1_000_000;

/// Most parts that wait for a free slot. A client that asks for more is told to wait.
pub const PENDING_MAX: usize = 8192;

/// What a turn leaves to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing before this time (nanoseconds, `u64::MAX` for never), unless the device interrupts or
    /// a request comes.
    Until(u64),
    /// Nothing any more.
    Failed(Fault),
}

/// Why a running device is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// A request took longer than [`Options::timeout_ns`].
    Overdue,
    /// The used ring makes no sense.
    RingBroken,
    /// The device handed back a request that it did not have.
    UnknownRequest(u32),
    /// The device handed back a request without an answer.
    Unanswered(u32),
    /// `DEVICE_NEEDS_RESET`.
    NeedsReset,
}

impl core::fmt::Display for Trouble {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Overdue => f.write_str("a request is overdue"),
            Self::RingBroken => f.write_str("it returned more requests than it had"),
            Self::UnknownRequest(head) => write!(f, "it returned request {head}, which it had not"),
            Self::Unanswered(head) => write!(f, "it returned request {head} without an answer"),
            Self::NeedsReset => f.write_str("it says that it needs a reset"),
        }
    }
}

pub enum Phase {
    Start,
    Resetting { deadline_ns: u64 },
    Running,
    Failed(Fault),
}

/// A part that the device has.
pub struct InFlight<P: Platform> {
    pub part: Part<P>,
    deadline_ns: u64,
}

pub struct Rings<M> {
    pub limits: Limits,
    pub queue: Queue<M>,
    pub slots: Slots<M>,
}

pub struct Inner<T, P: Platform> {
    pub transport: T,
    pub options: Options,
    pub phase: Phase,
    /// From the first time the device came up.
    pub rings: Option<Rings<P::Memory>>,
    /// Parts that wait for a slot, at most [`PENDING_MAX`] and those taken back from the device.
    pub pending: VecDeque<Part<P>>,
    /// By slot.
    pub in_flight: Vec<Option<InFlight<P>>>,
    pub free: Vec<u16>,
    /// No request that the device has is overdue before this time.
    check_ns: u64,
    lookout: Lookout,
}

/// A virtio block device behind its registers `T`.
pub struct Driver<T, P: Platform> {
    pub(crate) ledger: Rc<Ledger<P>>,
    pub(crate) bounce: Rc<Bounce<P>>,
    pub(crate) inner: RefCell<Inner<T, P>>,
    phase_changed: WaitList,
    worker: WaitList,
    work: Cell<bool>,
    suspect: Cell<bool>,
}

impl<T: Transport, P: Platform> Driver<T, P> {
    /// Touches nothing yet: the first turn resets the device.
    pub fn new(transport: T, platform: P, options: Options) -> Self {
        Self {
            ledger: Ledger::new(platform),
            bounce: Bounce::new(),
            inner: RefCell::new(Inner {
                transport,
                options,
                phase: Phase::Start,
                rings: None,
                pending: VecDeque::new(),
                in_flight: Vec::new(),
                free: Vec::new(),
                check_ns: u64::MAX,
                lookout: Lookout::default(),
            }),
            phase_changed: WaitList::default(),
            worker: WaitList::default(),
            work: Cell::new(false),
            suspect: Cell::new(false),
        }
    }

    /// Takes back what the device is done with, gives it what waits (one notification for all of
    /// it), and looks after resets. Call it when an interrupt came, when [`Self::work`] says so, and
    /// at the time that the last turn named.
    pub fn turn(&self, now_ns: u64) -> Turn {
        self.work.set(false);
        let mut inner = self.inner.borrow_mut();
        let settled = inner.settled();
        let turn = inner.turn(now_ns, self.suspect.take(), &self.ledger.platform);
        let changed = settled != inner.settled();
        drop(inner);
        if changed {
            self.phase_changed.wake_all();
        }
        turn
    }

    /// Waits until a request came that the device has not been told of.
    pub async fn work(&self) {
        self.worker.until(|| self.work.get().then_some(())).await;
    }

    /// The device raised its queue's interrupt: the next turn takes what it handed back.
    pub fn completed(&self) {
        self.inner.borrow_mut().lookout.heard();
    }

    /// The device raised its configuration interrupt: the next turn looks at its status.
    pub fn configuration_changed(&self) {
        self.suspect.set(true);
        self.worker_wake();
    }

    pub(crate) fn worker_wake(&self) {
        if !self.work.replace(true) {
            self.worker.wake_all();
        }
    }

    /// What was negotiated, as soon as it was. [`Error::Device`] once the device is given up.
    pub(crate) async fn limits(&self) -> storage::Result<Limits> {
        self.phase_changed
            .until(|| {
                let inner = self.inner.borrow();
                match (&inner.phase, &inner.rings) {
                    (Phase::Failed(_), _) => Some(Err(Error::Device)),
                    (_, Some(rings)) => Some(Ok(rings.limits)),
                    (_, None) => None,
                }
            })
            .await
    }
}

impl<T: Transport, P: Platform> Inner<T, P> {
    /// What [`Driver::limits`] waits for: whether there are limits, and whether it is all over.
    fn settled(&self) -> (bool, bool) {
        (self.rings.is_some(), matches!(self.phase, Phase::Failed(_)))
    }

    fn turn(&mut self, now_ns: u64, suspect: bool, platform: &P) -> Turn {
        if let Phase::Start = self.phase {
            self.begin_reset(now_ns);
        }
        if let Phase::Resetting { deadline_ns } = self.phase {
            if self.reset_finished() {
                if let Err(fault) = self.initialise(platform) {
                    self.stop_device();
                    self.fail(fault);
                }
            } else if now_ns >= deadline_ns {
                self.fail(Fault::ResetUnfinished);
            } else {
                return Turn::Until(now_ns.saturating_add(RESET_LOOK_NS));
            }
        }
        if let Phase::Failed(fault) = self.phase {
            return Turn::Failed(fault);
        }
        match self.run(now_ns, suspect) {
            Ok(()) => Turn::Until(self.check_ns.min(self.lookout.next_ns())),
            Err(trouble) => {
                log::warn!("virtio-blk: resetting the device: {trouble}");
                self.begin_reset(now_ns);
                Turn::Until(now_ns)
            }
        }
    }

    /// Tells the device that it is of no use to us (3.1.1); it was reset and has no requests.
    fn stop_device(&mut self) {
        self.transport.set_status(DeviceStatus::FAILED);
    }

    fn run(&mut self, now_ns: u64, suspect: bool) -> Result<(), Trouble> {
        let found = self.collect()?;
        if suspect
            && self
                .transport
                .get_status()
                .contains(DeviceStatus::DEVICE_NEEDS_RESET)
        {
            return Err(Trouble::NeedsReset);
        }
        self.look_for_overdue(now_ns)?;
        self.submit(now_ns);
        let is_busy = self.free.len() < self.in_flight.len();
        self.lookout.looked(now_ns, found, is_busy);
        Ok(())
    }

    /// Takes everything that the device handed back; whether it was anything.
    fn collect(&mut self) -> Result<bool, Trouble> {
        let mut found = false;
        loop {
            let Some(rings) = &mut self.rings else {
                return Ok(found);
            };
            // Every round takes a request that the device has, or ends: so this ends.
            match rings.queue.pop() {
                Err(_) => return Err(Trouble::RingBroken),
                Ok(None) if rings.queue.arm() => {}
                Ok(None) => return Ok(found),
                Ok(Some(used)) => {
                    found = true;
                    let unknown = Trouble::UnknownRequest(used.head);
                    let slot = rings.slots.of_head(used.head).ok_or(unknown)?;
                    let place = self.in_flight.get_mut(usize::from(slot)).ok_or(unknown)?;
                    let part = &place.as_ref().ok_or(unknown)?.part;
                    let outcome = rings.slots.outcome(slot, part, used.len);
                    if outcome == Outcome::Unanswered {
                        // It stays where it is, with its memory, until a reset is seen to finish.
                        return Err(Trouble::Unanswered(used.head));
                    }
                    let part = place.take().ok_or(unknown)?.part;
                    self.free.push(slot);
                    self.ended(part, outcome);
                }
            }
        }
    }

    fn ended(&mut self, part: Part<P>, outcome: Outcome) {
        match outcome {
            Outcome::Done => part.transfer.part_ends(Ok(())),
            Outcome::Unsupported => {
                log::warn!("virtio-blk: {:?} is unsupported", part.operation);
                part.transfer.part_ends(Err(Error::Device));
            }
            Outcome::Failed { .. } | Outcome::Unanswered => {
                log::warn!(
                    "virtio-blk: {:?} at sector {}, attempt {}: {outcome:?}",
                    part.operation,
                    part.sector,
                    part.attempts
                );
                self.again(part);
            }
        }
    }

    /// Gives a part to the device once more, unless it had its chances.
    pub fn again(&mut self, part: Part<P>) {
        if part.attempts >= self.options.attempts_max {
            part.transfer.part_ends(Err(Error::Device));
        } else {
            self.pending.push_front(part);
        }
    }

    fn look_for_overdue(&mut self, now_ns: u64) -> Result<(), Trouble> {
        if now_ns < self.check_ns {
            return Ok(());
        }
        let deadlines = self
            .in_flight
            .iter()
            .flatten()
            .map(|in_flight| in_flight.deadline_ns);
        self.check_ns = deadlines.min().unwrap_or(u64::MAX);
        if self.check_ns <= now_ns {
            Err(Trouble::Overdue)
        } else {
            Ok(())
        }
    }

    fn submit(&mut self, now_ns: u64) {
        let Some(rings) = &mut self.rings else { return };
        let deadline_ns = now_ns.saturating_add(self.options.timeout_ns);
        while let Some(&slot) = self.free.last() {
            let Some(mut part) = self.pending.pop_front() else {
                break;
            };
            if part.transfer.is_moot() {
                part.transfer.part_ends(Err(Error::Device));
                continue;
            }
            self.free.pop();
            part.attempts += 1;
            rings
                .slots
                .submit(slot, &part, &mut rings.queue, &rings.limits);
            self.in_flight[usize::from(slot)] = Some(InFlight { part, deadline_ns });
            self.check_ns = self.check_ns.min(deadline_ns);
        }
        if rings.queue.publish() {
            self.transport.notify(QUEUE);
        }
    }
}
