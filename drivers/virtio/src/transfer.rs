//! A request that was accepted: its memory, and the parts in which the device gets it.
//!
//! The future that serves a request may be dropped at any time (its client died or gave up). What
//! the device may still touch then lives on in the parts: each holds its [`Transfer`], and only
//! when the last holder is gone are the pages unpinned and the request no longer *live*. So memory
//! under DMA is never released early, and `attach` can wait for everything accepted before it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    vec::Vec,
};
use core::{
    cell::{Cell, RefCell},
    task::{Context, Poll, Waker},
};

use storage::{Error, Result, buffer::Lent};

use crate::{Piece, Pieces, Platform, bounce::Borrowed, wait::WaitList};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// From the device into memory.
    Read,
    /// From memory to the device.
    Write,
    /// Empty the device's cache.
    Flush,
    /// Forget sectors.
    Discard,
    /// Zero sectors.
    WriteZeroes,
}

impl Operation {
    /// The request type (5.2.6).
    pub fn number(self) -> u32 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Flush => 4,
            Self::Discard => 11,
            Self::WriteZeroes => 13,
        }
    }

    /// Whether it moves data.
    pub fn has_data(self) -> bool {
        matches!(self, Self::Read | Self::Write)
    }
}

/// Who is live, and what is pinned.
pub struct Ledger<P> {
    /// The platform that pins.
    pub platform: P,
    next: Cell<u64>,
    live: RefCell<BTreeSet<u64>>,
    /// Transfers that hold pins of a request: two parts of one request may be under way.
    pins: RefCell<BTreeMap<u64, u32>>,
    ended: WaitList,
}

impl<P: Platform> Ledger<P> {
    /// Nobody, nothing.
    pub fn new(platform: P) -> Rc<Self> {
        Rc::new(Self {
            platform,
            next: Cell::new(0),
            live: RefCell::default(),
            pins: RefCell::default(),
            ended: WaitList::default(),
        })
    }

    /// Waits until no request that is live now is live any more.
    pub async fn drained(&self) {
        let before = self.next.get();
        self.ended
            .until(|| {
                self.live
                    .borrow()
                    .first()
                    .is_none_or(|&oldest| oldest >= before)
                    .then_some(())
            })
            .await;
    }
}

/// An accepted request.
pub struct Transfer<P: Platform> {
    ledger: Rc<Ledger<P>>,
    sequence: u64,
    /// Requests of whose grants we pinned a part, each once.
    tokens: Vec<u64>,
    pieces: Pieces,
    bounce: Option<Borrowed<P>>,
    /// Parts that have not ended.
    outstanding: Cell<u32>,
    error: Cell<Option<Error>>,
    abandoned: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl<P: Platform> Transfer<P> {
    /// A request without data; it is live from now.
    pub fn new(ledger: &Rc<Ledger<P>>) -> Self {
        let sequence = ledger.next.get();
        ledger.next.set(sequence + 1);
        ledger.live.borrow_mut().insert(sequence);
        Self {
            ledger: ledger.clone(),
            sequence,
            tokens: Vec::new(),
            pieces: Pieces::default(),
            bounce: None,
            outstanding: Cell::new(0),
            error: Cell::new(None),
            abandoned: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Pins lent memory and appends it.
    pub fn pin(&mut self, lent: &Lent<'_>) -> Result<()> {
        let token = lent.memory.token();
        if !self.tokens.contains(&token) {
            self.tokens.push(token);
            *self.ledger.pins.borrow_mut().entry(token).or_insert(0) += 1;
        }
        self.ledger.platform.pin(lent, &mut self.pieces)
    }

    /// Uses `len` bytes of the bounce buffer instead of what was pinned.
    pub fn bounce(&mut self, borrowed: Borrowed<P>, len: usize) {
        use crate::DmaMemory as _;
        self.pieces = Pieces::default();
        let whole = Piece {
            address: borrowed.memory().bus_address(),
            len: len as u32,
        };
        assert!(
            self.pieces.push(whole),
            "a bounced request has data and fits"
        );
        self.bounce = Some(borrowed);
    }

    /// The bounce buffer, if the data went through it.
    pub fn bounced(&self) -> Option<&P::Memory> {
        self.bounce.as_ref().map(Borrowed::memory)
    }

    /// Where the data are.
    pub fn pieces(&self) -> &Pieces {
        &self.pieces
    }

    /// A part was accepted.
    pub fn part_begins(&self) {
        self.outstanding.set(self.outstanding.get() + 1);
    }

    /// A part ended. The first error stays.
    pub fn part_ends(&self, result: Result<()>) {
        if let Err(error) = result
            && self.error.get().is_none()
        {
            self.error.set(Some(error));
        }
        self.outstanding.set(self.outstanding.get() - 1);
        if self.outstanding.get() == 0
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Whether nobody wants the parts that the device was not given yet: the request's future is
    /// gone, or another part failed.
    pub fn is_moot(&self) -> bool {
        self.abandoned.get() || self.error.get().is_some()
    }
}

impl<P: Platform> Drop for Transfer<P> {
    fn drop(&mut self) {
        for token in &self.tokens {
            let mut pins = self.ledger.pins.borrow_mut();
            let count = pins.get_mut(token).expect("counted when pinned");
            *count -= 1;
            if *count == 0 {
                pins.remove(token);
                drop(pins);
                self.ledger.platform.unpin(*token);
            }
        }
        self.ledger.live.borrow_mut().remove(&self.sequence);
        self.ledger.ended.wake_all();
    }
}

/// A part of a transfer that fits one request to the device.
pub struct Part<P: Platform> {
    /// What it is a part of.
    pub transfer: Rc<Transfer<P>>,
    /// What to do.
    pub operation: Operation,
    /// First sector; zero for a flush.
    pub sector: u64,
    /// Where in the transfer's data it starts, bytes.
    pub start: usize,
    /// Bytes of data, or sectors of a discard or write-zeroes; zero for a flush.
    pub count: u32,
    /// Times the device was given it.
    pub attempts: u32,
}

impl<P: Platform> Part<P> {
    /// Its data, in pieces of at most `piece_max` bytes.
    pub fn pieces(&self, piece_max: u32) -> impl Iterator<Item = Piece> + '_ {
        self.transfer
            .pieces
            .range(self.start, self.count as usize, piece_max)
    }
}

/// Waits until all parts of a transfer have ended. Dropped before, it abandons the transfer.
pub struct Completion<P: Platform>(pub Rc<Transfer<P>>);

impl<P: Platform> Future for Completion<P> {
    type Output = Result<()>;

    fn poll(self: core::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let transfer = &self.0;
        if transfer.outstanding.get() > 0 {
            *transfer.waker.borrow_mut() = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(transfer.error.get().map_or(Ok(()), Err))
    }
}

impl<P: Platform> Drop for Completion<P> {
    fn drop(&mut self) {
        if self.0.outstanding.get() > 0 {
            self.0.abandoned.set(true);
        }
    }
}
