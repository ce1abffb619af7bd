//! A cache that dies: with every death the layer below forgets too, and the next instance begins with
//! the memory that the last one left.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    rc::{Rc, Weak},
    task::Poll,
};

use storage::{
    Error, Result,
    buffer::Sink,
    cache::{Cache, Config, Statistics, Trust},
    file::{
        Attachment, AttributeChange, Attributes, FileNumber, FileService, Timestamp, Usage,
        VolumeFormat, Write,
    },
    surviving::Heap,
};

use super::{Below, Random, Ticks, yield_now};

type Mine = Cache<Below, Ticks, Heap>;

/// What a death in the middle of a store unwinds with.
struct Killed;

struct Instance {
    cache: Mine,
    background: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    is_dead: Cell<bool>,
}

struct Inner {
    config: Config,
    clock: Ticks,
    memory: RefCell<Heap>,
    instance: RefCell<Option<Rc<Instance>>>,
    /// The last one that died: the next one begins when nobody holds it any more.
    dead: RefCell<Weak<Instance>>,
    /// Numbers of the stores at which to die, ascending.
    deaths_at: RefCell<Vec<u64>>,
    deaths: Cell<u64>,
    trust: Cell<Trust>,
    /// No instance begins.
    is_held: Cell<bool>,
}

/// A cache whose instances die. Clones are the same.
#[derive(Clone)]
pub struct Mortal {
    pub below: Below,
    inner: Rc<Inner>,
}

impl Mortal {
    pub fn new(seed: u64, config: Config) -> Self {
        let inner = Inner {
            config,
            clock: Ticks::default(),
            memory: RefCell::new(Heap::new(config.memory_pages())),
            instance: RefCell::default(),
            dead: RefCell::default(),
            deaths_at: RefCell::default(),
            deaths: Cell::new(0),
            trust: Cell::new(Trust::Verify),
            is_held: Cell::new(false),
        };
        Self {
            below: Below::new(seed),
            inner: Rc::new(inner),
        }
    }

    /// Dies before these stores, counted from the first of all.
    pub fn die_at(&self, mut stores: Vec<u64>) {
        stores.sort_unstable();
        *self.inner.deaths_at.borrow_mut() = stores;
    }

    /// How many instances have died.
    pub fn deaths(&self) -> u64 {
        self.inner.deaths.get()
    }

    /// How many stores there have been.
    pub fn stores(&self) -> u64 {
        self.inner.memory.borrow().stores()
    }

    /// The next instance is to do that with what it finds.
    pub fn trust(&self, trust: Trust) {
        self.inner.trust.set(trust);
    }

    pub fn statistics(&self) -> Option<Statistics> {
        let instance = self.inner.instance.borrow();
        instance
            .as_ref()
            .map(|instance| instance.cache.statistics())
    }

    /// The instance dies now. Not to be called from within a call to it.
    pub fn kill(&self) {
        let instance = self.inner.instance.borrow_mut().take();
        if let Some(instance) = instance {
            self.bury(&instance);
        }
    }

    /// Kills the instance and waits until nothing of it is left; then `damage` may write into the memory.
    pub async fn kill_and(&self, damage: impl FnOnce(&Heap)) {
        self.inner.is_held.set(true);
        self.kill();
        self.buried().await;
        damage(&self.inner.memory.borrow());
        self.inner.is_held.set(false);
    }

    /// From now on the kernel has no more memory for it.
    pub fn stop_memory(&self) {
        self.inner.memory.borrow().stop_growing();
    }

    /// Writes by mistake into some of the pages of data, while an instance has them.
    pub fn strike_pages(&self, random: &mut Random) {
        let memory = self.inner.memory.borrow();
        for page in 0..memory.len() {
            // Not into the maps, one in 128, and the first page of the records: those are read at a revival.
            if page % 128 > 1 && random.one_in(4) {
                let offset = random.below(4000) as usize;
                let len = 1 + random.below(90) as usize;
                let bytes = random.bytes(len);
                assert!(memory.write_wild(page, offset, &bytes));
            }
        }
    }

    fn bury(&self, instance: &Rc<Instance>) {
        if instance.is_dead.replace(true) {
            return;
        }
        self.inner.deaths.set(self.inner.deaths.get() + 1);
        self.inner.memory.borrow().end_instance();
        self.inner.instance.borrow_mut().take();
        *self.inner.dead.borrow_mut() = Rc::downgrade(instance);
        instance.background.borrow_mut().take();
        instance.cache.end();
        self.below.crash();
    }

    async fn buried(&self) {
        while self.inner.dead.borrow().strong_count() > 0 {
            yield_now().await;
        }
    }

    /// The instance at work, a new one if the last one has died.
    async fn alive(&self) -> Rc<Instance> {
        loop {
            let instance = self.inner.instance.borrow().clone();
            if let Some(instance) = instance {
                return instance;
            }
            self.buried().await;
            while self.inner.is_held.get() {
                yield_now().await;
            }
            // Somebody else may have been faster.
            if self.inner.instance.borrow().is_none() {
                self.begin();
            }
        }
    }

    fn begin(&self) {
        let memory = self.inner.memory.borrow().next_instance();
        *self.inner.memory.borrow_mut() = memory.clone();
        let (inner, dying) = (Rc::downgrade(&self.inner), memory.clone());
        memory.before_each_store(move |stores| {
            let Some(inner) = inner.upgrade() else { return };
            let mut deaths_at = inner.deaths_at.borrow_mut();
            if deaths_at.first() == Some(&stores) {
                deaths_at.remove(0);
                dying.end_instance();
                drop(deaths_at);
                resume_unwind(Box::new(Killed));
            }
        });
        let Inner {
            config,
            clock,
            trust,
            ..
        } = &*self.inner;
        let (below, trust) = (self.below.clone(), trust.replace(Trust::Verify));
        let revive = || Cache::revive(below, clock.clone(), *config, memory, trust);
        let Some(cache) = self.or_killed(revive) else {
            self.inner.deaths.set(self.inner.deaths.get() + 1);
            self.below.crash();
            return;
        };
        let background = cache.clone();
        let background = Box::pin(async move { background.background().await });
        *self.inner.instance.borrow_mut() = Some(Rc::new(Instance {
            cache,
            background: RefCell::new(Some(background)),
            is_dead: Cell::new(false),
        }));
    }

    fn or_killed<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(done) => Some(done),
            Err(cause) if cause.is::<Killed>() => None,
            Err(other) => resume_unwind(other),
        }
    }

    /// Drives what the instances do in the background, for ever.
    pub async fn background(&self) {
        loop {
            let instance = self.alive().await;
            poll_fn(|context| {
                let background = instance.background.borrow_mut().take();
                let Some(mut background) = background else {
                    return Poll::Ready(());
                };
                if self
                    .or_killed(|| background.as_mut().poll(context))
                    .is_none()
                {
                    drop(background);
                    self.bury(&instance);
                    return Poll::Ready(());
                }
                if !instance.is_dead.get() {
                    *instance.background.borrow_mut() = Some(background);
                }
                context.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
            drop(instance);
            yield_now().await;
        }
    }

    async fn call<T>(&self, work: impl AsyncFnOnce(&Mine) -> Result<T>) -> Result<T> {
        let instance = self.alive().await;
        let mut work = pin!(work(&instance.cache));
        poll_fn(|context| {
            if instance.is_dead.get() {
                return Poll::Ready(Err(Error::PeerDied));
            }
            match self.or_killed(|| work.as_mut().poll(context)) {
                None => {
                    self.bury(&instance);
                    Poll::Ready(Err(Error::PeerDied))
                }
                Some(Poll::Ready(_)) if instance.is_dead.get() => Poll::Ready(Err(Error::PeerDied)),
                Some(Poll::Ready(result)) => Poll::Ready(result),
                Some(Poll::Pending) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl FileService for Mortal {
    async fn attach(&self) -> Result<Attachment> {
        self.call(async |cache| cache.attach().await).await
    }
    async fn format(&self, format: &VolumeFormat) -> Result<Attachment> {
        self.call(async |cache| cache.format(format).await).await
    }
    async fn create(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        self.call(async |cache| cache.create(file, attributes).await)
            .await
    }
    async fn delete(&self, file: FileNumber) -> Result<()> {
        self.call(async |cache| cache.delete(file).await).await
    }
    async fn read(&self, file: FileNumber, offset: u64, data: Sink<'_>) -> Result<usize> {
        self.call(async |cache| cache.read(file, offset, data).await)
            .await
    }
    async fn write(&self, write: Write<'_>) -> Result<usize> {
        self.call(async |cache| cache.write(write).await).await
    }
    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        self.call(async |cache| cache.truncate(file, size, modified_ns).await)
            .await
    }
    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.call(async |cache| cache.getattr(file).await).await
    }
    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.call(async |cache| cache.setattr(file, change).await)
            .await
    }
    async fn sync(&self) -> Result<Timestamp> {
        self.call(async |cache| cache.sync().await).await
    }
    async fn early_sync_wanted(&self) -> Result<()> {
        self.call(async |cache| cache.early_sync_wanted().await)
            .await
    }
    async fn history(&self) -> Result<u64> {
        self.call(async |cache| cache.history().await).await
    }
    async fn usage(&self) -> Result<Usage> {
        self.call(async |cache| cache.usage().await).await
    }
    async fn numbers(&self, first: FileNumber, bitmap: Sink<'_>) -> Result<usize> {
        self.call(async |cache| cache.numbers(first, bitmap).await)
            .await
    }
}
