//! The second serial port: lines of JSON for programs; see `applications::link`.
//!
//! Commands with a number run at once, beside each other; commands as plain text one after the
//! other, as in a script.

use alloc::{
    collections::{BTreeMap, VecDeque},
    format,
    rc::Rc,
    string::String,
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell},
    pin::pin,
};

use applications::{
    link::{self, LINE_BYTES_MAX, Order},
    records::Record,
};
use futures_util::future::{Either, select};
use runtime::time::sleep;

use crate::{output::Output, shell::Shell, signal::Signal, uart::Uart};

/// Commands at work at a time.
const RUNNING_MAX: usize = 8;
/// Plain commands that wait.
const WAITING_MAX: usize = 64;
/// How long a command may take to leave off by itself.
const STOP_NS: u64 = 2_000_000_000;

/// The console of programs.
pub struct Link {
    uart: Rc<Uart>,
    lost: Cell<u64>,
    running: Cell<usize>,
    waiting: RefCell<VecDeque<String>>,
    cancel: RefCell<BTreeMap<u64, Rc<Signal>>>,
    arrived: Signal,
}

impl Link {
    /// A console on this port.
    pub fn new(uart: Rc<Uart>) -> Self {
        Self {
            uart,
            lost: Cell::new(0),
            running: Cell::new(0),
            waiting: RefCell::default(),
            cancel: RefCell::default(),
            arrived: Signal::default(),
        }
    }

    /// Sends a line, waiting for room.
    pub async fn send(&self, line: &str) {
        self.uart.write(line.as_bytes()).await;
    }

    /// Sends a line if there is room.
    pub fn try_send(&self, line: &str) -> bool {
        self.uart.try_write(line.as_bytes())
    }

    /// Waits until everything is on its way out of the machine.
    pub async fn flush(&self, patience_ns: u64) {
        self.uart.flush(patience_ns).await;
    }

    /// Sends a record of the log, if there is room.
    pub fn record(&self, record: &Record<'_>) {
        let lost = self.lost.get();
        if lost > 0 && self.try_send(&link::lost(lost)) {
            self.lost.set(0);
        }
        if !self.try_send(&link::record(record)) {
            self.lost.set(self.lost.get() + 1);
        }
    }

    /// Reads lines and runs them, for ever.
    pub async fn serve(self: Rc<Self>, shell: Rc<Shell>) {
        let (link, in_order) = (self.clone(), shell.clone());
        runtime::spawn(async move { link.run_in_order(&in_order).await });
        let mut line = Vec::new();
        let mut too_long = false;
        loop {
            match self.uart.read().await {
                b'\n' | b'\r' => {
                    if too_long {
                        let id = link::id_of_beginning(&String::from_utf8_lossy(&line));
                        let error = format!("expected a line of at most {LINE_BYTES_MAX} bytes");
                        self.send(&link::done(id, Err(&error))).await;
                    } else {
                        let text = String::from_utf8_lossy(&line).trim().into();
                        self.take(&shell, text).await;
                    }
                    line.clear();
                    too_long = false;
                }
                _ if line.len() >= LINE_BYTES_MAX => too_long = true,
                byte => line.push(byte),
            }
        }
    }

    async fn take(self: &Rc<Self>, shell: &Rc<Shell>, line: String) {
        if line.is_empty() {
            return;
        }
        match link::parse(&line) {
            Ok(Order::Run {
                id: Some(id),
                command,
            }) => {
                if self.running.get() >= RUNNING_MAX || self.cancel.borrow().contains_key(&id) {
                    let error = "expected less than eight commands at a time, of different ids";
                    return self.send(&link::done(Some(id), Err(error))).await;
                }
                self.running.set(self.running.get() + 1);
                // Before the command runs: the next line may be there already.
                let cancel = Rc::new(Signal::default());
                self.cancel.borrow_mut().insert(id, cancel.clone());
                let (link, shell) = (self.clone(), shell.clone());
                runtime::spawn(async move {
                    link.run(&shell, Some(id), &command, &cancel).await;
                    link.running.set(link.running.get() - 1);
                });
            }
            Ok(Order::Run { id: None, command }) => {
                if self.waiting.borrow().len() >= WAITING_MAX {
                    let error = "expected at most 64 commands waiting";
                    return self.send(&link::done(None, Err(error))).await;
                }
                self.waiting.borrow_mut().push_back(command);
                self.arrived.raise();
            }
            Ok(Order::Cancel(id)) => {
                if let Some(cancel) = self.cancel.borrow().get(&id) {
                    cancel.raise();
                }
            }
            Err((id, error)) => self.send(&link::done(id, Err(&error))).await,
        }
    }

    async fn run_in_order(self: &Rc<Self>, shell: &Rc<Shell>) {
        loop {
            let arrived = self.arrived.raised();
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                Some(command) => self.run(shell, None, &command, &Signal::default()).await,
                None => arrived.await,
            }
        }
    }

    async fn run(
        self: &Rc<Self>,
        shell: &Rc<Shell>,
        id: Option<u64>,
        command: &str,
        cancel: &Signal,
    ) {
        let output = Output::link(self.clone(), id);
        let command = pin!(shell.run_line(&output, command));
        let patience = pin!(async {
            cancel.raised().await;
            output.stop();
            sleep(STOP_NS).await;
        });
        let result = match select(command, patience).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err("given up: it did not leave off".into()),
        };
        if let Some(id) = id {
            self.cancel.borrow_mut().remove(&id);
        }
        let line = match &result {
            Ok(value) => link::done(id, Ok(value)),
            Err(failure) => link::done(id, Err(&failure.0)),
        };
        self.send(&line).await;
    }
}
