//! Naming over the cache over whatever comes below: what a host program sees of the stack.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::future::join;
use storage::{
    block::BlockDevice,
    cache::{Cache, Config},
    clock::Clock,
    file::FileService,
    logical::Logical,
    naming::{Client, ClientId, Limits, Naming},
    twinfs::TwinFs,
};

/// The upper half of the stack over a file service: a logical layer, or the way to one.
pub struct System<L, C> {
    cache: Cache<L, C>,
    naming: Naming<Cache<L, C>, C>,
}

impl<L: FileService + 'static, C: Clock + Clone + 'static> System<L, C> {
    /// A stack that is not mounted yet. The first call mounts it; or format it.
    pub fn new(below: L, clock: C, config: Config, limits: Limits) -> Self {
        let cache = Cache::new(below, clock.clone(), config);
        let naming = Naming::new(cache.clone(), clock, limits);
        Self { cache, naming }
    }

    /// The file system as the client of this number sees it: a program, with its descriptors.
    pub fn client(&self, role: u64) -> Client<'_, Cache<L, C>, C> {
        self.naming.client(ClientId {
            role,
            generation: 0,
        })
    }

    /// The cache, for its statistics.
    pub fn cache(&self) -> &Cache<L, C> {
        &self.cache
    }

    /// The naming layer, for the periodic sync.
    pub fn naming(&self) -> &Naming<Cache<L, C>, C> {
        &self.naming
    }

    /// Carries out `work` and, beside it, what the stack does by itself: writing back, and syncing
    /// when the cache wants it.
    ///
    /// # Panics
    ///
    /// If nothing can go on any more: then the stack has a deadlock. Everything below must be in
    /// this process and this thread.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let early_syncs = async {
            loop {
                if self.cache.early_sync_wanted().await.is_ok() {
                    // If it fails, the next sync that is asked for tells its caller.
                    let _ = self.naming.sync().await;
                }
            }
        };
        let mut background = pin!(join(self.cache.background(), early_syncs));
        let mut work = pin!(work);
        run_until_stalled(poll_fn(|context| {
            if let Poll::Ready(result) = work.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            let _: Poll<((), ())> = background.as_mut().poll(context);
            Poll::Pending
        }))
    }
}

/// Notes that something may go on.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn run_until_stalled<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(woken.clone());
    loop {
        woken.0.store(false, Ordering::Relaxed);
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending if woken.0.load(Ordering::Relaxed) => {}
            Poll::Pending => panic!("the stack has stalled: nothing in it can go on"),
        }
    }
}

/// The whole stack over disks, `None` for a missing one.
pub fn stack<D, C>(
    disks: impl IntoIterator<Item = Option<D>>,
    clock: C,
) -> System<Logical<TwinFs<D, C>>, C>
where
    D: BlockDevice + 'static,
    C: Clock + Clone + 'static,
{
    let store = |disk: Option<D>| disk.map(|disk| TwinFs::new(disk, clock.clone()));
    let logical = Logical::new(disks.into_iter().map(store).collect());
    System::new(logical, clock, Config::default(), Limits::default())
}
