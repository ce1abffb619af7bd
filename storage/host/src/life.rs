//! Tasks without a kernel: the life of one instance, what is lent to it, and when it is killed.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
};

use storage::{
    Error, Result,
    buffer::{Lent, LentMemory, Side, Sink, Source},
    transport::Message,
};

/// Who can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Victim {
    /// The driver of the disk in this slot. It restarts alone.
    Driver(usize),
    /// The file store in this slot. Logical and all stores restart.
    Store(usize),
    /// The logical layer. All stores restart as well.
    Logical,
}

/// Where in the life of a call its callee is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the request is seen.
    Before,
    /// When everything has been done, and only the reply is missing.
    After,
}

/// A kill to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// With which message between tasks, counted from the first one of all.
    pub message: u64,
    /// Whom; not necessarily who gets the message.
    pub victim: Victim,
    /// When.
    pub moment: Moment,
}

/// One instance of a task: calls to it end with its life.
#[derive(Default)]
pub(crate) struct Life {
    ended: Cell<bool>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
    calls: Cell<u64>,
}

impl Life {
    pub fn end(&self) {
        self.ended.set(true);
        for waker in self.waiting.take().into_values() {
            waker.wake();
        }
    }

    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Carries out a call of this instance; [`Error::PeerDied`] if the instance ends before it.
    /// `look` is called whenever the instance has run, and may end it: as a task that ends itself,
    /// it has sent the replies that were ready by then.
    pub async fn call<T>(&self, work: impl Future<Output = T>, look: impl Fn()) -> Result<T> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        let mut work = pin!(work);
        let _waiting = Waiting { life: self, call };
        poll_fn(|context| {
            if self.ended.get() {
                return Poll::Ready(Err(Error::PeerDied));
            }
            let polled = work.as_mut().poll(context);
            if self.ended.get() {
                return Poll::Ready(Err(Error::PeerDied));
            }
            look();
            if polled.is_ready() {
                return polled.map(Ok);
            }
            if self.ended.get() {
                return Poll::Ready(Err(Error::PeerDied));
            }
            self.waiting
                .borrow_mut()
                .insert(call, context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// A call under way, which may be given up.
struct Waiting<'a> {
    life: &'a Life,
    call: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.life.waiting.borrow_mut().remove(&self.call);
    }
}

/// All messages between tasks, and who dies with which of them.
#[derive(Default)]
pub(crate) struct Traffic {
    messages: Cell<u64>,
    kills: Cell<u64>,
    planned: RefCell<Vec<Kill>>,
    lives: RefCell<BTreeMap<Victim, Rc<Life>>>,
}

impl Traffic {
    pub fn messages(&self) -> u64 {
        self.messages.get()
    }

    pub fn kills(&self) -> u64 {
        self.kills.get()
    }

    pub fn plan(&self, kill: Kill) {
        self.planned.borrow_mut().push(kill);
    }

    /// A new instance of a role.
    pub fn born(&self, role: Victim) -> Rc<Life> {
        let life = Rc::<Life>::default();
        self.lives.borrow_mut().insert(role, life.clone());
        life
    }

    /// Ends the role's present instance, if there is one.
    pub fn kill(&self, victim: Victim) {
        let life = self.lives.borrow_mut().remove(&victim);
        if let Some(life) = life {
            self.kills.set(self.kills.get() + 1);
            life.end();
        }
    }

    /// Carries a message to an instance and its reply back. The memory is lent as a kernel would.
    pub async fn carry(
        &self,
        life: &Life,
        (send, receive): (Source<'_>, Sink<'_>),
        serve: impl AsyncFnOnce(Source<'_>, Sink<'_>) -> Message,
        look: impl Fn(),
    ) -> Result<Message> {
        let message = self.messages.get();
        self.messages.set(message + 1);
        self.strike(message, Moment::Before);
        let loan = Loan {
            send,
            receive: RefCell::new(receive),
            token: message,
        };
        let (send, receive) = loan.lend();
        let reply = life.call(serve(send, receive), look).await?;
        let had_ended = life.has_ended();
        self.strike(message, Moment::After);
        if life.has_ended() && !had_ended {
            Err(Error::PeerDied)
        } else {
            Ok(reply)
        }
    }

    fn strike(&self, message: u64, moment: Moment) {
        let due = |kill: &Kill| kill.message == message && kill.moment == moment;
        let victims: Vec<_> = self
            .planned
            .borrow_mut()
            .extract_if(.., |kill| due(kill))
            .collect();
        for kill in victims {
            self.kill(kill.victim);
        }
    }
}

/// Memory lent with one call: the callee reaches it by copying only.
struct Loan<'a> {
    send: Source<'a>,
    receive: RefCell<Sink<'a>>,
    token: u64,
}

impl Loan<'_> {
    fn lend(&self) -> (Source<'_>, Sink<'_>) {
        let lent = |side, len| Lent {
            memory: self,
            side,
            offset: 0,
            len,
        };
        let receive = self.receive.borrow().len();
        (
            Source::lent(lent(Side::Send, self.send.len())),
            Sink::lent(lent(Side::Receive, receive)),
        )
    }
}

impl LentMemory for Loan<'_> {
    fn copy_from(&self, side: Side, offset: usize, into: &mut [u8]) -> Result<()> {
        match side {
            Side::Send => self.send.copy_to(offset, into),
            Side::Receive => self.receive.borrow().copy_to(offset, into),
        }
    }

    fn copy_to(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.receive.borrow_mut().copy_from(offset, from)
    }

    fn token(&self) -> u64 {
        self.token
    }
}
