//! A 16550 serial port, by interrupts.
//!
//! | register | read | write |
//! | --- | --- | --- |
//! | 0 | received byte | byte to send |
//! | 1 | | interrupt enable: bit 0 received, bit 1 transmitter empty |
//! | 2 | interrupt cause: bit 0 clear if there is one | FIFO control |
//! | 3 | | line control: 8 bits, no parity, one stop bit; bit 7 opens the divisor |
//! | 4 | | modem control: bit 0 ready, bit 1 request to send, bit 3 interrupts on |
//! | 5 | status: bit 0 a byte was received, bit 5 the transmitter is empty | |
//!
//! Output waits in a queue; when the transmitter is empty it takes 16 bytes in one system call. As
//! long as there is nothing to send, its interrupt is off.
//!
//! An interrupt that got lost would make the console deaf for ever, for nothing else tells of what is typed. So a
//! port from which nothing is heard is looked at once a second; if there is something, its interrupts are taken
//! to be lost, and it is looked at more often until they come again.
//!
//! *Why not the `uart_16550` crate?* Its register accesses are one byte at a time, a system call
//! each, and its back end is an unsafe trait; the console has no unsafe code.
//!
//! Source: National Semiconductor PC16550D data sheet, section 8.

use alloc::collections::VecDeque;
use core::{
    cell::{Cell, RefCell},
    pin::pin,
};

use futures_util::future::{Either, select};
use runtime::{
    device::{Interrupt, port_read, port_write},
    time::sleep,
};

use crate::signal::{Signal, yield_now};

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const INTERRUPT_CAUSE: u16 = 2;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;

const RECEIVED: u8 = 1;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// Bytes that the transmitter takes when it is empty.
const FIFO_BYTES: usize = 16;
/// Bytes sent before other futures of the task get a turn.
const BURST_BYTES: usize = 4096;
/// Bytes that may wait to be sent before who writes more waits; one write may go beyond.
const OUTPUT_BYTES: usize = 32 << 10;
/// Bytes received that may wait to be read; the sender is held back then, in the port's own FIFO.
const INPUT_BYTES: usize = 16 << 10;
/// How long a transmitter that is not empty is left alone, should its interrupt get lost.
const STALLED_NS: u64 = 50_000_000;
/// How long a port is left alone from which nothing is heard: at first, and after a look that found something
/// which no interrupt had told of.
const LOOK_NS_MAX: u64 = 1_000_000_000;
const LOOK_NS_MIN: u64 = 1_000_000;

/// One port.
pub struct Uart {
    base: u16,
    interrupt: Interrupt,
    interrupts_on: Cell<u8>,
    output: RefCell<VecDeque<u8>>,
    input: RefCell<VecDeque<u8>>,
    queued: Signal,
    sent: Signal,
    received: Signal,
    taken: Signal,
}

impl Uart {
    /// Sets the port up: 115,200 bits a second, 8 bits, FIFOs on.
    #[must_use]
    pub fn new(base: u16, interrupt_line: u64) -> Self {
        let uart = Self {
            base,
            interrupt: Interrupt::isa(interrupt_line),
            interrupts_on: Cell::new(0),
            output: RefCell::default(),
            input: RefCell::default(),
            queued: Signal::default(),
            sent: Signal::default(),
            received: Signal::default(),
            taken: Signal::default(),
        };
        uart.set(INTERRUPT_ENABLE, 0);
        uart.set(LINE_CONTROL, 0x80);
        // The divisor takes the places of data and interrupt enable.
        uart.set(DATA, 1);
        uart.set(INTERRUPT_ENABLE, 0);
        uart.set(LINE_CONTROL, 3);
        // Switching the FIFOs on empties them: what was sent before we were here is taken first.
        uart.receive();
        // FIFOs on, an interrupt when fourteen bytes are there, or fewer and for four times the time of one
        // no more.
        uart.set(FIFO_CONTROL, 0b1100_0001);
        uart.set(MODEM_CONTROL, 0b1011);
        uart.enable(RECEIVED);
        uart
    }

    fn get(&self, register: u16) -> u8 {
        port_read(self.base + register)
    }

    fn set(&self, register: u16, value: u8) {
        self.send(register, &[value]);
    }

    fn send(&self, register: u16, bytes: &[u8]) {
        // Refused only if the description does not give us the port; then there is nobody to tell.
        let _ = port_write(self.base + register, bytes);
    }

    fn enable(&self, interrupts: u8) {
        if self.interrupts_on.replace(interrupts) != interrupts {
            self.set(INTERRUPT_ENABLE, interrupts);
        }
    }

    /// Moves bytes between the port and the queues, for ever.
    pub async fn drive(&self) {
        let mut look_ns = LOOK_NS_MAX;
        loop {
            // Prepared before looking, so that nothing that happens in between is missed.
            let queued = self.queued.raised();
            let taken = self.taken.raised();
            self.receive();
            if self.transmit() {
                yield_now().await;
                continue;
            }
            if self.cause_pending() && !self.input_full() {
                yield_now().await;
                continue;
            }
            let stalled = !self.output.borrow().is_empty();
            let patience = sleep(if stalled {
                STALLED_NS.min(look_ns)
            } else {
                look_ns
            });
            let (queued, taken, patience) = (pin!(queued), pin!(taken), pin!(patience));
            let changed = select(select(queued, taken), patience);
            match select(pin!(self.interrupt.fired()), changed).await {
                Either::Left(_) => {
                    self.receive();
                    self.interrupt.done();
                    look_ns = LOOK_NS_MAX;
                }
                Either::Right((Either::Left(_), _)) => {}
                Either::Right((Either::Right(_), _)) if self.receive() => {
                    // It may have fired and nobody heard it: then it would not fire again.
                    self.interrupt.done();
                    look_ns = LOOK_NS_MIN;
                }
                Either::Right((Either::Right(_), _)) => {
                    look_ns = LOOK_NS_MAX.min(2 * look_ns);
                }
            }
        }
    }

    /// Whether the port has a reason to interrupt. It may have raised its line while that was
    /// masked, and would not raise it again.
    fn cause_pending(&self) -> bool {
        self.get(INTERRUPT_CAUSE) & 1 == 0
    }

    fn input_full(&self) -> bool {
        self.input.borrow().len() >= INPUT_BYTES
    }

    /// Takes what there is; whether there was anything.
    fn receive(&self) -> bool {
        let mut news = false;
        while !self.input_full() && self.get(LINE_STATUS) & RECEIVED != 0 {
            let byte = self.get(DATA);
            self.input.borrow_mut().push_back(byte);
            news = true;
        }
        if news {
            self.received.raise();
        }
        news
    }

    /// Sends while the port takes bytes; whether there is more that it would take.
    fn transmit(&self) -> bool {
        let mut output = self.output.borrow_mut();
        let mut sent = 0;
        while !output.is_empty() && self.get(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
            if sent >= BURST_BYTES {
                break;
            }
            let mut batch = [0; FIFO_BYTES];
            let len = output.len().min(FIFO_BYTES);
            for (place, byte) in batch.iter_mut().zip(output.drain(..len)) {
                *place = byte;
            }
            self.send(DATA, &batch[..len]);
            sent += len;
        }
        let left = !output.is_empty();
        drop(output);
        self.enable(if left { RECEIVED | 2 } else { RECEIVED });
        if sent > 0 {
            self.sent.raise();
        }
        left && sent >= BURST_BYTES
    }

    /// The next byte received.
    pub async fn read(&self) -> u8 {
        loop {
            let received = self.received.raised();
            if let Some(byte) = self.input.borrow_mut().pop_front() {
                self.taken.raise();
                return byte;
            }
            received.await;
        }
    }

    /// Queues bytes, all at once, as soon as there is room.
    pub async fn write(&self, bytes: &[u8]) {
        loop {
            let sent = self.sent.raised();
            if self.try_write(bytes) {
                return;
            }
            sent.await;
        }
    }

    /// Queues bytes, all at once, if there is room now.
    pub fn try_write(&self, bytes: &[u8]) -> bool {
        let mut output = self.output.borrow_mut();
        if output.len() >= OUTPUT_BYTES {
            return false;
        }
        output.extend(bytes);
        drop(output);
        self.queued.raise();
        true
    }

    /// Waits until everything queued was sent, or a time has passed.
    pub async fn flush(&self, patience_ns: u64) {
        let empty = async {
            loop {
                let sent = self.sent.raised();
                if self.output.borrow().is_empty() {
                    return;
                }
                sent.await;
            }
        };
        runtime::time::with_deadline(patience_ns, empty).await;
    }
}
