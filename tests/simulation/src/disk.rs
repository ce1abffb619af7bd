//! A disk: a medium, a volatile write cache above it, and requests that end when the executor says so.
//!
//! ```text
//!   driver task      read, write, flush
//!        │
//!     in flight      ended in any order; the memory of a write was taken when it was asked for
//!        │
//!    write cache     what reads see; a flush moves to the medium what had ended when it was asked for
//!        │
//!      medium        all that is left after a power cut, with a seeded subset of the rest, sector by
//!                    sector, in any order
//! ```
//!
//! It is hardware: it outlives every task, and forgets what is in flight only when a driver resets it.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use storage::{
    Error, Result,
    block::{BlockDevice, Geometry, SECTOR_BYTES, ram::RamDisk},
    buffer::{Sink, Source},
    faulty::{Faulty, Overlay, Timer},
};
use tests::random::Random;

use crate::kernel::Kernel;

/// A disk that fails by rules. What faults make of writes lies over the medium, which holds the truth.
pub type FaultyDisk = Faulty<Rc<Disk>, Sleeper>;

/// Delays requests.
pub struct Sleeper(pub Rc<Kernel>);

impl Timer for Sleeper {
    async fn sleep_ms(&self, ms: u32) {
        self.0.sleep(u64::from(ms) * 1_000_000).await;
    }
}

/// What is left of a disk when the power is off.
pub struct Medium {
    /// What was written to it.
    pub truth: RamDisk,
    /// What it makes of that.
    pub lies: Rc<Overlay>,
}

/// Most bytes in one request.
const TRANSFER_BYTES_MAX: u32 = 256 << 10;

#[derive(Clone)]
struct Write {
    sector: u64,
    data: Rc<[u8]>,
}

enum Work {
    Read {
        sector: u64,
        bytes: usize,
    },
    Write(Write),
    /// Covers the writes of the cache with lower numbers.
    Flush {
        covers: u64,
    },
}

/// A request that the disk has.
struct InFlight {
    work: Work,
    waker: Option<Waker>,
}

struct State {
    medium: RamDisk,
    /// The medium with the write cache on top.
    view: RamDisk,
    /// The write cache: what has ended, by the order in which it did.
    cached: BTreeMap<u64, Write>,
    ended: u64,
    in_flight: BTreeMap<u64, InFlight>,
    asked: u64,
    /// What came of requests that have ended, until somebody takes note.
    results: BTreeMap<u64, Vec<u8>>,
    drained: Vec<Waker>,
}

/// See the module's description.
pub struct Disk {
    kernel: Rc<Kernel>,
    source: usize,
    sectors: u64,
    state: RefCell<State>,
}

impl Disk {
    /// A disk with this medium, whose requests end when source `source` of the kernel has its turn.
    #[must_use]
    pub fn new(kernel: &Rc<Kernel>, source: usize, sectors: u64, medium: RamDisk) -> Rc<Self> {
        Rc::new(Self {
            kernel: kernel.clone(),
            source,
            sectors,
            state: RefCell::new(State {
                view: medium.snapshot(),
                medium,
                cached: BTreeMap::new(),
                ended: 0,
                in_flight: BTreeMap::new(),
                asked: 0,
                results: BTreeMap::new(),
                drained: Vec::new(),
            }),
        })
    }

    /// Ends a request in flight.
    pub fn end(&self, number: u64) {
        let mut state = self.state.borrow_mut();
        let Some(InFlight { work, waker }) = state.in_flight.remove(&number) else {
            return;
        };
        let result = match work {
            Work::Read { sector, bytes } => state.view.peek(sector, bytes),
            Work::Write(write) => {
                state.take(write);
                Vec::new()
            }
            Work::Flush { covers } => {
                let rest = state.cached.split_off(&covers);
                for write in std::mem::replace(&mut state.cached, rest).into_values() {
                    state.medium.poke(write.sector, &write.data);
                }
                Vec::new()
            }
        };
        if let Some(waker) = waker {
            state.results.insert(number, result);
            waker.wake();
        }
        if state.in_flight.is_empty() {
            state.drained.drain(..).for_each(Waker::wake);
        }
    }

    /// A new instance of the driver resets the device: what was in flight is over, done or not, or half
    /// done.
    pub fn reset(&self) {
        let mut state = self.state.borrow_mut();
        let in_flight = std::mem::take(&mut state.in_flight);
        for InFlight { work, .. } in in_flight.into_values() {
            let Work::Write(write) = work else { continue };
            let mut random = Random::new(self.kernel.random(u64::MAX));
            let torn: Vec<_> = write.sectors().filter(|_| random.one_in(2)).collect();
            torn.into_iter().for_each(|sector| state.take(sector));
        }
        state.results.clear();
        state.drained.drain(..).for_each(Waker::wake);
    }

    /// What is on the medium after a power cut.
    #[must_use]
    pub fn cut(&self, random: &mut Random) -> RamDisk {
        let state = self.state.borrow();
        let in_flight = state.in_flight.values().filter_map(|it| match &it.work {
            Work::Write(write) => Some(write),
            _ => None,
        });
        let writes: Vec<&Write> = state.cached.values().chain(in_flight).collect();
        let last = writes.len().saturating_sub(1);
        let lost = random.below(writes.len().max(1) as u64) as usize;
        let manner = random.below(6);
        // Older versions of a sector may land on newer ones.
        let mut order: Vec<usize> = (0..writes.len()).collect();
        if random.one_in(2) {
            for index in (1..order.len()).rev() {
                order.swap(index, random.below(index as u64 + 1) as usize);
            }
        }
        let whole: Vec<bool> = (0..writes.len()).map(|_| random.one_in(2)).collect();
        let medium = state.medium.snapshot();
        for index in order {
            for sector in writes[index].sectors() {
                let survives = match manner {
                    0 => false,
                    1 => true,
                    2 => random.one_in(2),
                    3 => whole[index],
                    4 => index == last,
                    _ => index != lost,
                };
                if survives {
                    medium.poke(sector.sector, &sector.data);
                }
            }
        }
        medium
    }

    async fn ask(&self, work: impl FnOnce(&State) -> Work) -> Vec<u8> {
        let number = {
            let mut state = self.state.borrow_mut();
            state.asked += 1;
            let number = state.asked;
            let work = work(&state);
            state
                .in_flight
                .insert(number, InFlight { work, waker: None });
            number
        };
        self.kernel.offer(self.source, number);
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if let Some(result) = state.results.remove(&number) {
                return Poll::Ready(result);
            }
            if let Some(request) = state.in_flight.get_mut(&number) {
                request.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn check(&self, sector: u64, bytes: usize) -> Result<()> {
        let sectors = (bytes / SECTOR_BYTES) as u64;
        let fits = sector
            .checked_add(sectors)
            .is_some_and(|end| end <= self.sectors);
        let whole = bytes > 0 && bytes.is_multiple_of(SECTOR_BYTES);
        if whole && fits && bytes <= TRANSFER_BYTES_MAX as usize {
            Ok(())
        } else {
            Err(Error::BadArgument)
        }
    }
}

impl Write {
    fn sectors(&self) -> impl Iterator<Item = Write> {
        (self.sector..)
            .zip(self.data.chunks(SECTOR_BYTES))
            .map(|(sector, data)| Write {
                sector,
                data: data.into(),
            })
    }
}

impl State {
    fn take(&mut self, write: Write) {
        self.view.poke(write.sector, &write.data);
        self.cached.insert(self.ended, write);
        self.ended += 1;
    }
}

impl BlockDevice for Disk {
    async fn attach(&self) -> Result<Geometry> {
        let asked = self.state.borrow().asked;
        poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            if state.in_flight.range(..=asked).next().is_none() {
                return Poll::Ready(());
            }
            state.drained.push(context.waker().clone());
            Poll::Pending
        })
        .await;
        Ok(Geometry {
            sectors: self.sectors,
            alignment_sectors: 1,
            transfer_bytes_max: TRANSFER_BYTES_MAX,
            read_only: false,
            flush: true,
            discard: false,
            write_zeroes: false,
        })
    }

    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        let bytes = data.len();
        self.check(sector, bytes)?;
        let read = self.ask(|_| Work::Read { sector, bytes }).await;
        data.copy_from(0, &read)
    }

    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        self.check(sector, data.len())?;
        let data = data.to_vec()?.into();
        self.ask(|_| Work::Write(Write { sector, data })).await;
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        let covers = |state: &State| Work::Flush {
            covers: state.ended,
        };
        self.ask(covers).await;
        Ok(())
    }

    async fn discard(&self, _: u64, _: u64) -> Result<()> {
        Err(Error::BadArgument)
    }

    async fn write_zeroes(&self, _: u64, _: u64) -> Result<()> {
        Err(Error::BadArgument)
    }
}
