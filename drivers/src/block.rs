//! The virtio-blk task: finds its device, serves block calls, looks after interrupts and time.

use alloc::{boxed::Box, rc::Rc};
use core::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

use runtime::{
    Request,
    device::Interrupt,
    start,
    time::{self, Sleep},
};
use virtio::{Driver, Options, Turn};

use crate::{
    SetupError,
    dma::Kernel,
    pci::{Function, Msix},
    transport::{PciTransport, Vectors},
};

/// Requests served at a time: twice as many as the device takes, so that it never runs dry.
pub const REQUESTS_MAX: usize = 2 * virtio::DEPTH_MAX as usize;

/// The driver over its hardware.
pub struct VirtioBlk {
    driver: Driver<PciTransport, Kernel>,
    queue: Interrupt,
    /// None if the device has one interrupt for everything.
    configuration: Option<Interrupt>,
}

impl VirtioBlk {
    /// Finds the device and prepares its interrupts. Arguments of the task: `timeout_ms` (for a
    /// request) and `reset_ms`.
    pub fn new() -> Result<Rc<Self>, SetupError> {
        let mut function = Function::default();
        let msix = Msix::new(&mut function)?;
        let refused = |error| SetupError::Refused("interrupt", error);
        let target = runtime::device::allocate_interrupt().map_err(refused)?;
        msix.direct(0, &target);
        let queue = Interrupt::message(&target);
        let mut vectors = Vectors {
            configuration: 0,
            queue: 0,
        };
        let mut configuration = None;
        if msix.entries() > 1 {
            let target = runtime::device::allocate_interrupt().map_err(refused)?;
            msix.direct(1, &target);
            vectors.configuration = 1;
            configuration = Some(Interrupt::message(&target));
        }
        let transport = PciTransport::new(&mut function, vectors)?;
        msix.enable()?;
        let defaults = Options::default();
        let options = Options {
            timeout_ns: milliseconds("timeout_ms", defaults.timeout_ns),
            reset_ns: milliseconds("reset_ms", defaults.reset_ns),
            ..defaults
        };
        let driver = Driver::new(transport, Kernel::default(), options);
        Ok(Rc::new(Self {
            driver,
            queue,
            configuration,
        }))
    }

    /// Gives the driver its turns until the device must be given up. All completions that came with
    /// an interrupt, and all requests that came with a batch of events, are one turn.
    pub async fn work(&self) {
        // Kept while the time does not change, and polled once: this future is woken by it then.
        let mut timer: Option<(u64, Pin<Box<Sleep>>)> = None;
        loop {
            let now_ns = time::now_ns();
            let until_ns = match self.driver.turn(now_ns) {
                Turn::Until(until_ns) => until_ns,
                Turn::Failed(_) => return,
            };
            if until_ns <= now_ns {
                continue;
            }
            if timer
                .as_ref()
                .is_none_or(|(set_ns, _)| *set_ns != until_ns || *set_ns <= now_ns)
            {
                let mut sleep = Box::pin(time::sleep(until_ns - now_ns));
                let is_over = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
                timer = Some((until_ns, sleep));
                if is_over.is_ready() {
                    continue;
                }
            }
            self.something().await;
        }
    }

    /// Waits for an interrupt or a request, or to be woken for any other reason.
    async fn something(&self) {
        let mut queue = pin!(self.queue.fired());
        let mut configuration = pin!(async {
            match &self.configuration {
                Some(interrupt) => interrupt.fired().await,
                None => core::future::pending().await,
            }
        });
        let mut requests = pin!(self.driver.work());
        let mut woken = false;
        poll_fn(|context| {
            // All of them are asked, so that each is heard of when it is ready next.
            let completed = queue.as_mut().poll(context).is_ready();
            let changed = configuration.as_mut().poll(context).is_ready();
            if completed {
                self.driver.completed();
            }
            if changed || completed && self.configuration.is_none() {
                self.driver.configuration_changed();
            }
            let requested = requests.as_mut().poll(context).is_ready();
            if completed || changed || requested || core::mem::replace(&mut woken, true) {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }

    /// Serves one block call.
    pub async fn serve(&self, request: Request) {
        let (send, receive) = (request.send(), request.receive());
        let reply = storage::block::serve(&self.driver, request.message(), send, receive).await;
        request.reply(&reply);
    }
}

/// An argument in milliseconds, as nanoseconds.
fn milliseconds(key: &str, otherwise_ns: u64) -> u64 {
    let argument = start::argument(key).and_then(|text| text.parse::<u64>().ok());
    argument.map_or(otherwise_ns, |ms| ms.saturating_mul(1_000_000))
}
