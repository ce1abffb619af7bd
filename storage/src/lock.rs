//! A lock that calls of one task share or have alone, in the order in which they ask for it.
//!
//! ```text
//!   holds      waits, the first to ask on the left
//!   alone      shared shared alone shared     it leaves: the first two are given the lock and woken, nobody else
//!   shared ×2  alone shared                   both leave: the next is given it
//! ```
//!
//! Whoever leaves hands over: the lock belongs to the next from then on, who is woken once, for that. So nobody is woken to
//! find it taken, and nobody waits for ever.
//!
//! *Why not the one of `async-lock`?* There a writer may get in before the readers that were just woken. They wake
//! each other then, round and round, for as long as it stays: for a checkpoint that takes a second, a second of the processor.

use alloc::collections::VecDeque;
use core::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// In [`RwLock::holders`].
const ALONE: usize = usize::MAX;

/// The lock.
#[derive(Default)]
pub(crate) struct RwLock {
    /// How many share it, or [`ALONE`].
    holders: Cell<usize>,
    /// Who waits, the first to ask first.
    waiting: RefCell<VecDeque<Waiting>>,
    /// Tells those who wait apart.
    tickets: Cell<u64>,
}

struct Waiting {
    ticket: u64,
    alone: bool,
    waker: Waker,
}

/// Has the lock, shared or alone, until it is dropped.
#[must_use]
pub(crate) struct Guard<'a>(&'a RwLock);

/// Asks for the lock.
struct Acquire<'a> {
    lock: &'a RwLock,
    alone: bool,
    /// Of who waits, or was given the lock and does not know yet.
    ticket: Option<u64>,
}

impl RwLock {
    /// Nobody has it.
    pub const fn new() -> Self {
        Self {
            holders: Cell::new(0),
            waiting: RefCell::new(VecDeque::new()),
            tickets: Cell::new(0),
        }
    }

    /// Shares it with others who share it, once all have left who asked before to have it alone.
    pub async fn read(&self) -> Guard<'_> {
        self.acquire(false).await
    }

    /// Has it alone, once all have left who asked before.
    pub async fn write(&self) -> Guard<'_> {
        self.acquire(true).await
    }

    async fn acquire(&self, alone: bool) -> Guard<'_> {
        let acquire = Acquire {
            lock: self,
            alone,
            ticket: None,
        };
        acquire.await;
        Guard(self)
    }

    /// Takes it, if those who have it allow that.
    fn enter(&self, alone: bool) -> bool {
        let holders = match (self.holders.get(), alone) {
            (0, true) => ALONE,
            (_, true) | (ALONE, false) => return false,
            (holders, false) => holders + 1,
        };
        self.holders.set(holders);
        true
    }

    fn leave(&self) {
        let holders = self.holders.get();
        self.holders
            .set(if holders == ALONE { 0 } else { holders - 1 });
        self.hand_over();
    }

    /// Gives it to those at the front who can have it now.
    fn hand_over(&self) {
        loop {
            let next = {
                let mut waiting = self.waiting.borrow_mut();
                waiting.pop_front_if(|next| self.enter(next.alone))
            };
            // Not borrowed any more: a waker may run code that comes back here.
            let Some(next) = next else { return };
            next.waker.wake();
        }
    }
}

impl Future for Acquire<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (lock, alone) = (self.lock, self.alone);
        let mut waiting = lock.waiting.borrow_mut();
        let Some(ticket) = self.ticket else {
            if waiting.is_empty() && lock.enter(alone) {
                return Poll::Ready(());
            }
            let ticket = lock.tickets.get();
            lock.tickets.set(ticket + 1);
            waiting.push_back(Waiting {
                ticket,
                alone,
                waker: context.waker().clone(),
            });
            self.ticket = Some(ticket);
            return Poll::Pending;
        };
        if let Some(waits) = waiting.iter_mut().find(|waits| waits.ticket == ticket) {
            waits.waker.clone_from(context.waker());
            return Poll::Pending;
        }
        self.ticket = None;
        Poll::Ready(())
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut waiting = self.lock.waiting.borrow_mut();
        let place = waiting.iter().position(|waits| waits.ticket == ticket);
        let given_up = place.and_then(|place| waiting.remove(place));
        drop(waiting);
        match given_up {
            // Those behind may have waited for this one alone.
            Some(_) => self.lock.hand_over(),
            None => self.lock.leave(),
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use alloc::{boxed::Box, sync::Arc, task::Wake, vec::Vec};
    use core::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A call that asks for the lock, and how often it was woken.
    struct Call<'a> {
        asks: Option<Pin<Box<dyn Future<Output = Guard<'a>> + 'a>>>,
        has: Option<Guard<'a>>,
        wakes: Arc<Wakes>,
        polled: usize,
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl<'a> Call<'a> {
        fn new(lock: &'a RwLock, alone: bool) -> Self {
            let mut call = Self {
                asks: Some(match alone {
                    true => Box::pin(lock.write()),
                    false => Box::pin(lock.read()),
                }),
                has: None,
                wakes: Arc::default(),
                polled: 0,
            };
            call.poll();
            call
        }

        fn poll(&mut self) {
            let Some(asks) = &mut self.asks else { return };
            let waker = Waker::from(self.wakes.clone());
            if let Poll::Ready(guard) = asks.as_mut().poll(&mut Context::from_waker(&waker)) {
                (self.has, self.asks) = (Some(guard), None);
            }
        }

        /// Goes on, if it was woken since.
        fn go_on(&mut self) {
            let wakes = self.wakes.0.load(Ordering::Relaxed);
            if self.polled < wakes {
                self.polled = wakes;
                self.poll();
            }
        }
    }

    fn go_on(calls: &mut [Call<'_>]) {
        calls.iter_mut().for_each(Call::go_on);
    }

    fn holders(calls: &[Call<'_>]) -> Vec<bool> {
        calls.iter().map(|call| call.has.is_some()).collect()
    }

    fn calls<'a>(lock: &'a RwLock, kinds: &str) -> Vec<Call<'a>> {
        let of = |kind| Call::new(lock, kind == 'w');
        kinds.chars().map(of).collect()
    }

    #[test]
    fn it_is_had_alone_or_shared_in_the_order_of_asking() {
        let lock = RwLock::new();
        let mut all = calls(&lock, "rrwrwrr");
        let mut seen = Vec::new();
        for leaves in [0, 1, 2, 3, 4] {
            seen.push(holders(&all));
            all[leaves].has = None;
            go_on(&mut all);
        }
        seen.push(holders(&all));
        let expected = [
            "rr     ", " r     ", "  w    ", "   r   ", "    w  ", "     rr",
        ];
        for (seen, expected) in seen.iter().zip(expected) {
            let expected: Vec<_> = expected.chars().map(|it| it != ' ').collect();
            assert_eq!(*seen, expected);
        }
    }

    /// Two checkpoints in a row, and calls that wait for both.
    #[test]
    fn nobody_is_woken_who_cannot_have_it() {
        let lock = RwLock::new();
        let mut all = calls(&lock, "wwrrr");
        for leaves in 0..2 {
            all[leaves].has = None;
            for _ in 0..10 {
                go_on(&mut all);
            }
        }
        assert_eq!(holders(&all), [false, false, true, true, true]);
        let wakes = all.iter().map(|call| call.wakes.0.load(Ordering::Relaxed));
        assert_eq!(wakes.collect::<Vec<_>>(), [0, 1, 1, 1, 1]);
    }

    #[test]
    fn what_is_given_up_is_in_nobodys_way() {
        let lock = RwLock::new();
        let mut all = calls(&lock, "rwrwr");
        // It was in the way of the reader behind it.
        all[1].asks = None;
        go_on(&mut all);
        assert_eq!(holders(&all), [true, false, true, false, false]);
        // Given the lock, and given up before it took it.
        all[0].has = None;
        all[2].has = None;
        all[3].asks = None;
        go_on(&mut all);
        assert_eq!(holders(&all), [false, false, false, false, true]);
        all.clear();
        assert_eq!(holders(&calls(&lock, "w")), [true]);
    }
}
