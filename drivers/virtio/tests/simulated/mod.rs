//! A driver, a device and the memory between them, without hardware.

#![allow(dead_code, reason = "each test program uses a part of this")]

pub mod device;
pub mod machine;
pub mod registers;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use futures_util::task::noop_waker;
use storage::{
    Result,
    block::BlockDevice,
    buffer::{Side, Sink, Source},
};
use virtio::{Driver, Options, Turn};

use device::Device;
use machine::{Loan, Machine, Pins};
use registers::Registers;

/// Rounds that no test needs.
const ROUNDS_MAX: u32 = 2_000_000;

/// All of it together, with a clock that only moves when nothing else does.
pub struct Rig {
    pub machine: Rc<Machine>,
    pub device: Rc<RefCell<Device>>,
    pub driver: Driver<Registers, Pins>,
    loans: Rc<RefCell<BTreeMap<u64, Rc<Loan>>>>,
    pub now_ns: Cell<u64>,
    until_ns: Cell<u64>,
    pub last_turn: Cell<Option<Turn>>,
    /// No interrupt arrives.
    pub is_deaf: Cell<bool>,
}

impl Rig {
    pub fn new(sectors: usize, features: u64) -> Self {
        let machine = Machine::new();
        let device = Device::new(&machine, sectors, features);
        let loans = Rc::default();
        let platform = Pins {
            machine: machine.clone(),
            loans: Rc::clone(&loans),
        };
        let driver = Driver::new(Registers(device.clone()), platform, Options::default());
        Self {
            machine,
            device,
            driver,
            loans,
            now_ns: Cell::new(1000),
            until_ns: Cell::new(0),
            last_turn: Cell::new(None),
            is_deaf: Cell::new(false),
        }
    }

    fn turn(&self) {
        let turn = self.driver.turn(self.now_ns.get());
        self.last_turn.set(Some(turn));
        self.until_ns.set(match turn {
            Turn::Until(until_ns) => until_ns,
            Turn::Failed(_) => u64::MAX,
        });
    }

    /// What a task does around the driver, once; whether anything happened without waiting.
    pub fn step(&self) -> bool {
        let mut context = Context::from_waker(futures_util::task::noop_waker_ref());
        let work = pin!(self.driver.work()).poll(&mut context).is_ready();
        let mut interrupts = std::mem::take(&mut self.device.borrow_mut().interrupts);
        if self.is_deaf.get() {
            interrupts = (false, false);
        }
        if interrupts.0 {
            self.driver.completed();
        }
        if interrupts.1 {
            self.driver.configuration_changed();
        }
        let due = work || interrupts.0 || interrupts.1 || self.until_ns.get() <= self.now_ns.get();
        if due {
            self.turn();
        }
        let moved = self.device.borrow_mut().step();
        due || moved
    }

    /// Lets time pass until `until_ns`, or until nothing is left to happen.
    pub fn settle(&self) {
        while self.step() {}
    }

    /// Polls once.
    pub fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&noop_waker()))
    }

    /// Runs until `future` is done. Time passes only when nothing else can happen.
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        for _ in 0..ROUNDS_MAX {
            if let Poll::Ready(output) = Self::poll(future.as_mut()) {
                return output;
            }
            if !self.step() {
                assert_ne!(
                    self.until_ns.get(),
                    u64::MAX,
                    "stuck: nobody will do anything any more"
                );
                self.now_ns.set(self.until_ns.get().max(self.now_ns.get()));
            }
        }
        panic!("no end");
    }

    /// Memory that a task lends for a request.
    pub fn lend(&self, lens: &[usize], offset: usize) -> Rc<Loan> {
        use storage::buffer::LentMemory as _;
        let loan = Rc::new(self.machine.lend(lens, offset));
        self.loans.borrow_mut().insert(loan.token(), loan.clone());
        loan
    }

    /// A pattern of this length.
    pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
        (0..len)
            .map(|index| (index / 512 * 31 + index * 7) as u8 ^ seed)
            .collect()
    }

    pub async fn write(&self, sector: u64, loan: &Loan) -> Result<()> {
        let lent = loan.lent(Side::Send, 0, loan.len());
        self.driver.write(sector, Source::lent(lent)).await
    }

    pub async fn read(&self, sector: u64, loan: &Loan) -> Result<()> {
        let lent = loan.lent(Side::Receive, 0, loan.len());
        self.driver.read(sector, Sink::lent(lent)).await
    }
}
