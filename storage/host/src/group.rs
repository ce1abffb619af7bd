//! The restart group in one process: the logical layer, file stores and disk drivers as if each
//! were a task, joined by encoded messages, any of which can be killed at any message.
//!
//! What the restart manager does in the guest is done here when the next call comes: an instance
//! that has ended is replaced, with all the others of its group, by new ones without memory.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use storage::{
    Result,
    block::{self, BlockDevice},
    buffer::{Sink, Source},
    file::{self, FileStore, StoreClient},
    logical::Logical,
    transport::{Message, Transport},
};

use crate::life::{Kill, Life, Traffic, Victim};

/// What a file store has below it: a disk, behind its driver.
pub type Disk<D> = block::Client<DriverLink<D>>;

/// Makes a fresh instance of a file store on a disk.
type MakeStore<D, S> = Box<dyn Fn(Disk<D>) -> S>;

/// The logical layer, one file store for each disk, and the drivers, restartable.
pub struct Group<D, S> {
    disks: Vec<Option<Rc<D>>>,
    make: MakeStore<D, S>,
    traffic: Rc<Traffic>,
    instance: RefCell<Option<Rc<Instance<S>>>>,
    restarts: Cell<u64>,
}

struct Instance<S> {
    logical: Logical<StoreClient<StoreLink<S>>>,
    life: Rc<Life>,
    stores: Vec<Rc<Life>>,
}

impl<S> Instance<S> {
    fn end(&self) {
        self.life.end();
        self.stores.iter().for_each(|life| life.end());
    }
}

impl<D: BlockDevice, S: FileStore> Group<D, S> {
    /// A group over these disks; `None` is a missing one. Nothing runs before the first call.
    pub fn new(disks: Vec<Option<Rc<D>>>, make: impl Fn(Disk<D>) -> S + 'static) -> Rc<Self> {
        Rc::new(Self {
            disks,
            make: Box::new(make),
            traffic: Rc::default(),
            instance: RefCell::default(),
            restarts: Cell::new(0),
        })
    }

    /// Ends the present instance of a role; calls to it end with `PeerDied`.
    pub fn kill(&self, victim: Victim) {
        self.traffic.kill(victim);
    }

    /// Will kill.
    pub fn plan(&self, kill: Kill) {
        self.traffic.plan(kill);
    }

    /// Messages carried so far between the tasks, and from the cache to the logical layer.
    pub fn messages(&self) -> u64 {
        self.traffic.messages()
    }

    /// Instances ended by [`Self::kill`] and [`Self::plan`].
    pub fn kills(&self) -> u64 {
        self.traffic.kills()
    }

    /// How often logical and stores were started again.
    pub fn restarts(&self) -> u64 {
        self.restarts.get()
    }

    /// The instance at work, a new one if that has ended.
    fn instance(&self) -> Rc<Instance<S>> {
        let mut slot = self.instance.borrow_mut();
        if let Some(instance) = &*slot {
            if instance.logical.needs_restart().is_none() && !instance.life.has_ended() {
                return instance.clone();
            }
            instance.end();
            self.restarts.set(self.restarts.get() + 1);
        }
        let instance = Rc::new(self.start());
        *slot = Some(instance.clone());
        instance
    }

    fn start(&self) -> Instance<S> {
        let mut lives = Vec::new();
        let stores = self.disks.iter().enumerate().map(|(slot, disk)| {
            let driver = DriverLink {
                disk: disk.clone()?,
                slot,
                life: RefCell::new(self.traffic.born(Victim::Driver(slot))),
                traffic: self.traffic.clone(),
            };
            let life = self.traffic.born(Victim::Store(slot));
            lives.push(life.clone());
            let store = Rc::new((self.make)(block::Client(driver)));
            Some(StoreClient(StoreLink {
                store,
                life,
                traffic: self.traffic.clone(),
            }))
        });
        let logical = Logical::new(stores.collect());
        Instance {
            logical,
            life: self.traffic.born(Victim::Logical),
            stores: lives,
        }
    }
}

/// The way from the cache to the logical layer.
pub struct LogicalLink<D, S>(pub Rc<Group<D, S>>);

impl<D: BlockDevice, S: FileStore> Transport for LogicalLink<D, S> {
    async fn call(
        &self,
        request: &Message,
        send: Source<'_>,
        receive: Sink<'_>,
    ) -> Result<Message> {
        let instance = self.0.instance();
        let logical = &instance.logical;
        let serve = async |send: Source<'_>, receive: Sink<'_>| {
            file::serve(logical, request, send, receive).await
        };
        // What the task does when the layer asks for a restart: it ends.
        let look = || {
            if logical.needs_restart().is_some() {
                instance.end();
            }
        };
        self.0
            .traffic
            .carry(&instance.life, (send, receive), serve, look)
            .await
    }
}

/// The way from the logical layer to a file store.
pub struct StoreLink<S> {
    store: Rc<S>,
    life: Rc<Life>,
    traffic: Rc<Traffic>,
}

impl<S: FileStore> Transport for StoreLink<S> {
    async fn call(
        &self,
        request: &Message,
        send: Source<'_>,
        receive: Sink<'_>,
    ) -> Result<Message> {
        let serve = async |send: Source<'_>, receive: Sink<'_>| {
            file::serve_store(&*self.store, request, send, receive).await
        };
        self.traffic
            .carry(&self.life, (send, receive), serve, || {})
            .await
    }
}

/// The way from a file store to its disk's driver, which restarts alone.
pub struct DriverLink<D> {
    disk: Rc<D>,
    slot: usize,
    life: RefCell<Rc<Life>>,
    traffic: Rc<Traffic>,
}

impl<D: BlockDevice> Transport for DriverLink<D> {
    async fn call(
        &self,
        request: &Message,
        send: Source<'_>,
        receive: Sink<'_>,
    ) -> Result<Message> {
        if self.life.borrow().has_ended() {
            self.life
                .replace(self.traffic.born(Victim::Driver(self.slot)));
        }
        let life = self.life.borrow().clone();
        let serve = async |send: Source<'_>, receive: Sink<'_>| {
            block::serve(&*self.disk, request, send, receive).await
        };
        self.traffic
            .carry(&life, (send, receive), serve, || {})
            .await
    }
}
