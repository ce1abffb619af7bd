//! Where a command writes: the terminal, or the lines of JSON of the second port.

use alloc::{
    rc::Rc,
    string::{String, ToString},
};
use core::cell::Cell;

use applications::link;
use runtime::time::now_ns;
use workload::Go;

use crate::{link_session::Link, terminal::Terminal};

/// Shortest time between two reports of progress, nanoseconds.
const PROGRESS_NS: u64 = 250_000_000;

/// Which of the two.
#[derive(Clone)]
enum Where {
    Terminal(Rc<Terminal>),
    Link(Rc<Link>, Option<u64>),
}

/// Where a command writes, and whether it shall go on.
pub struct Output {
    to: Where,
    stopped: Cell<bool>,
    told_ns: Cell<u64>,
}

impl Output {
    /// To the terminal.
    pub fn terminal(terminal: Rc<Terminal>) -> Self {
        Self::new(Where::Terminal(terminal))
    }

    /// To the second port, as answers to the command of this number.
    pub fn link(link: Rc<Link>, id: Option<u64>) -> Self {
        Self::new(Where::Link(link, id))
    }

    fn new(to: Where) -> Self {
        Self {
            to,
            stopped: Cell::new(false),
            told_ns: Cell::new(0),
        }
    }

    /// Writes a line, waiting for room.
    pub async fn line(&self, text: &str) {
        match &self.to {
            Where::Terminal(terminal) => terminal.line(text).await,
            Where::Link(link, id) => link.send(&link::output(*id, text)).await,
        }
    }

    /// Writes lines.
    pub async fn lines(&self, lines: impl IntoIterator<Item = String>) {
        for line in lines {
            self.line(&line).await;
        }
    }

    /// Shows how far the command is, not too often; returns whether to go on. `total` is zero if
    /// that is not known.
    pub fn progress(&self, text: impl FnOnce() -> String, done: u64, total: u64) -> Go {
        let now_ns = now_ns();
        if now_ns.saturating_sub(self.told_ns.get()) >= PROGRESS_NS {
            self.told_ns.set(now_ns);
            match &self.to {
                Where::Terminal(terminal) => terminal.progress(&text(), done, total),
                Where::Link(link, id) => {
                    link.try_send(&link::progress(*id, &text(), done, total));
                }
            }
        }
        self.go()
    }

    /// Asks the user; nothing if there is nobody to ask.
    pub async fn ask(&self, question: &str) -> Option<String> {
        match &self.to {
            Where::Terminal(terminal) => Some(terminal.ask(question).await),
            Where::Link(..) => None,
        }
    }

    /// Asks the command to leave off.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// Whether to go on.
    pub fn go(&self) -> Go {
        if self.stopped.get() { Go::Stop } else { Go::On }
    }

    /// Everything that was written is on its way out of the machine.
    pub async fn flush(&self) {
        const PATIENCE_NS: u64 = 1_000_000_000;
        match &self.to {
            Where::Terminal(terminal) => terminal.flush(PATIENCE_NS).await,
            Where::Link(link, _) => link.flush(PATIENCE_NS).await,
        }
    }
}

/// Why a command failed, in a line.
#[derive(Debug)]
pub struct Failure(pub String);

impl<T: ToString> From<T> for Failure {
    fn from(error: T) -> Self {
        Self(error.to_string())
    }
}

impl Failure {
    /// What went wrong with what.
    pub fn about(what: impl core::fmt::Display, error: impl core::fmt::Display) -> Self {
        Self(alloc::format!("{what}: {error}"))
    }
}
