//! Naming as a task that can be killed, and its clients: they see a delay, or the test fails.
//!
//! What survives a death is what survives it in the guest: the memory that outlives the instance, and the
//! layer below. A client's end issues the call again that the death has ended.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::Poll,
};

use futures_executor::block_on;
use storage::{
    Error, Result,
    buffer::{Sink, Source},
    naming::{ClientId, Limits, Naming, SURVIVING_PAGES_MAX},
    surviving::Heap,
    transport::{Message, Transport},
    vfs::{self, FileSystem},
};

use crate::{
    fake::{Fake, Fault},
    support::{CLIENT, FORMAT, TestNaming, Ticks},
};

/// When naming dies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Death {
    /// At this call below from now that changes something: before its effect or after it.
    Call(u64, Fault),
    /// Before this store to surviving memory from now.
    Store(u64),
}

/// What is done to memory by mistake.
pub type Damage = Box<dyn FnOnce(&Heap)>;

/// The task, what is below it, and what outlives it.
pub struct World {
    pub fake: RefCell<Fake>,
    memory: RefCell<Heap>,
    naming: RefCell<Option<Rc<TestNaming>>>,
    limits: Limits,
    /// The instance has been killed at a store.
    killed: Rc<Cell<bool>>,
    pub deaths: Cell<u64>,
    /// Calls that the instance works on.
    at_work: Cell<u64>,
    /// Replies up to one that naming forgets to give, to whom.
    loses: Cell<Option<(ClientId, u64)>>,
    /// Clients give their calls up, which naming hears when it replies.
    pub is_deaf: Cell<bool>,
    /// The next instance gives up what it finds.
    pub discards: Cell<bool>,
    /// What happens to the memory between one instance and the next.
    pub damage: RefCell<Option<Damage>>,
    /// Deaths to come, one for each instance; the last element is the next.
    plan: RefCell<Vec<Option<Death>>>,
}

impl World {
    /// With a new, empty volume.
    pub fn new(seed: u64, limits: Limits) -> Rc<Self> {
        let world = Rc::new(Self {
            fake: RefCell::new(Fake::new(seed)),
            memory: RefCell::new(Heap::new(SURVIVING_PAGES_MAX)),
            naming: RefCell::new(None),
            limits,
            killed: Rc::default(),
            deaths: Cell::new(0),
            at_work: Cell::new(0),
            loses: Cell::new(None),
            is_deaf: Cell::new(false),
            damage: RefCell::default(),
            discards: Cell::new(false),
            plan: RefCell::default(),
        });
        block_on(world.client().format(&FORMAT)).expect("format");
        world
    }

    pub fn client(self: &Rc<Self>) -> vfs::Client<Link> {
        self.client_of(CLIENT)
    }

    pub fn client_of(self: &Rc<Self>, id: ClientId) -> vfs::Client<Link> {
        vfs::Client::new(Link(self.clone(), id))
    }

    /// The instance at work; a new one if there is none.
    pub fn naming(&self) -> Rc<TestNaming> {
        if self.is_dead() {
            self.bury();
        }
        let mut naming = self.naming.borrow_mut();
        if let Some(naming) = &*naming {
            return naming.clone();
        }
        if let Some(Some(death)) = self.plan.borrow_mut().pop() {
            self.arm(death);
        }
        let (below, memory) = (self.fake.borrow().clone(), self.memory.borrow().clone());
        let new = Rc::new(match self.discards.take() {
            true => Naming::with_memory_discarded(below, Ticks::default(), self.limits, memory),
            false => Naming::with_memory(below, Ticks::default(), self.limits, memory),
        });
        *naming = Some(new.clone());
        new
    }

    fn arm(&self, death: Death) {
        match death {
            Death::Call(after, fault) => self.fake.borrow().set_fault(after, fault),
            Death::Store(after) => {
                let (memory, fake) = (self.memory.borrow().clone(), self.fake.borrow().clone());
                let (from, killed) = (memory.stores(), self.killed.clone());
                self.memory.borrow().before_each_store(move |stores| {
                    if stores >= from + after && !killed.get() {
                        killed.set(true);
                        memory.end_instance();
                        fake.hang();
                    }
                });
            }
        }
    }

    /// Lets this instance die so, and those that come after it as the others say, one each.
    pub fn kill(&self, deaths: &[Death]) {
        let mut plan: Vec<_> = deaths.iter().rev().copied().map(Some).collect();
        if let Some(Some(first)) = plan.pop() {
            self.naming();
            self.arm(first);
        }
        *self.plan.borrow_mut() = plan;
    }

    /// No more deaths; whether one was still to come.
    pub fn spare(&self) -> bool {
        let was_to_come = !self.is_dead() && self.fake.borrow().clear_fault();
        let is_armed = self.memory.borrow();
        if !self.is_dead() {
            is_armed.before_each_store(|_| {});
        }
        let planned = !self.plan.take().is_empty();
        was_to_come || planned
    }

    pub fn is_dead(&self) -> bool {
        self.killed.get() || self.fake.borrow().is_hung()
    }

    /// Waits until all calls of a dead instance have ended. Those who wait for one another are to be polled
    /// together, as in `join!`.
    async fn all_ended(&self) {
        poll_fn(|context| {
            if self.is_dead() && self.at_work.get() > 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Waits until the instance dies that came after so many deaths.
    async fn died_since(&self, deaths: u64) {
        poll_fn(|context| {
            if self.is_dead() || self.deaths.get() > deaths {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Clears the dead instance away.
    pub fn bury(&self) {
        self.deaths.set(self.deaths.get() + 1);
        let dead = self.naming.take();
        assert!(
            dead.is_none_or(|dead| Rc::strong_count(&dead) == 1),
            "a call of the dead instance lives on"
        );
        self.killed.set(false);
        let fake = self.fake.borrow().restarted();
        *self.fake.borrow_mut() = fake;
        let memory = self.memory.borrow().next_instance();
        if let Some(damage) = self.damage.take() {
            damage(&memory);
        }
        *self.memory.borrow_mut() = memory;
    }

    /// Naming forgets to give this client the reply that comes so many replies from now: he waits until it dies.
    pub fn lose_reply(&self, client: ClientId, after: u64) {
        self.loses.set(Some((client, after)));
    }

    fn loses_reply(&self, client: ClientId) -> bool {
        match self.loses.get() {
            Some((loser, 0)) if loser == client => {
                self.loses.set(None);
                true
            }
            Some((loser, after)) if loser == client => {
                self.loses.set(Some((loser, after - 1)));
                false
            }
            _ => false,
        }
    }

    /// Waits until a reply was lost.
    pub async fn until_lost(&self) {
        poll_fn(|context| {
            if self.loses.get().is_none() {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Pages of memory that outlives naming.
    pub fn pages(&self) -> usize {
        self.memory.borrow().len()
    }

    /// Words that naming has stored to memory that outlives it.
    pub fn stores(&self) -> u64 {
        self.memory.borrow().stores()
    }

    /// Kills the instance here and now, between two calls.
    pub fn die(&self) {
        self.naming();
        self.memory.borrow().end_instance();
        self.killed.set(true);
    }
}

/// The way from a client to naming.
pub struct Link(Rc<World>, ClientId);

impl Transport for Link {
    async fn call(
        &self,
        request: &Message,
        send: Source<'_>,
        receive: Sink<'_>,
    ) -> Result<Message> {
        let Self(world, id) = self;
        world.all_ended().await;
        let naming = world.naming();
        world.at_work.set(world.at_work.get() + 1);
        let deaths = world.deaths.get();
        let is_lost = Cell::new(false);
        let reply = RefCell::new(None);
        {
            let give = |message: &Message| {
                // The dead give no answers.
                let is_heard = !world.is_dead() && !world.is_deaf.get();
                is_lost.set(is_heard && world.loses_reply(*id));
                if is_heard && !is_lost.get() {
                    *reply.borrow_mut() = Some(message.clone());
                }
                is_heard || world.is_dead()
            };
            let mut serving = pin!(naming.serve(*id, request, send, receive, give));
            poll_fn(|context| {
                // A call whose instance has died ends then; what is dropped with it stores nothing.
                let progress = serving.as_mut().poll(context);
                if world.is_dead() {
                    world.memory.borrow().end_instance();
                    return Poll::Ready(());
                }
                progress
            })
            .await;
        }
        drop(naming);
        world.at_work.set(world.at_work.get() - 1);
        if is_lost.get() {
            world.died_since(deaths).await;
        }
        match world.is_deaf.get() {
            true => Err(Error::PeerGone),
            false => reply.take().ok_or(Error::PeerDied),
        }
    }
}
