//! The layers placed in tasks, as in `storage/tasks`.

use std::rc::Rc;

use storage::{
    Error,
    block::{self, Client as BlockClient},
    cache::{self, Cache, Trust},
    clock::Clock,
    file::{self, FileService, Resuming, StoreClient},
    logical::Logical,
    naming::{CALLS_MAX, ClientId, Limits, Naming},
    succession::Succession,
    surviving::Heap,
    transport::Message,
    twinfs::{self, TwinFs},
};

use crate::{
    disk::FaultyDisk,
    kernel::{Endpoint, Handler, Kernel, Request, VirtualClock},
};

/// Serves with `$reply`, an expression over `message`, `send` and `receive` that gives the answer.
macro_rules! handler {
    ($server:expr, |$layer:ident, $request:ident, $send:ident, $receive:ident| $reply:expr) => {{
        let server = Rc::new($server);
        let handler: Handler = Rc::new(move |$request: Request| {
            let $layer = server.clone();
            Box::pin(async move {
                let ($send, $receive) = ($request.send(), $request.receive());
                let reply = $reply.await;
                $request.reply(&reply);
            })
        });
        handler
    }};
}

/// A disk's driver. The device is reset first.
pub async fn driver(kernel: Rc<Kernel>, disk: Rc<FaultyDisk>) {
    disk.device().reset();
    let handler = handler!(disk, |disk, request, send, receive| block::serve(
        &**disk,
        request.message(),
        send,
        receive
    ));
    kernel.serve(512, handler);
}

/// A file store on a device.
pub async fn store(kernel: Rc<Kernel>, device: Endpoint, config: twinfs::Config) {
    let clock = VirtualClock(kernel.clone());
    let store = TwinFs::with_config(BlockClient(device), clock, config);
    let handler = handler!(store, |store, request, send, receive| file::serve_store(
        &*store,
        request.message(),
        send,
        receive
    ));
    kernel.serve(64, handler);
}

/// The logical layer.
pub async fn logical(kernel: Rc<Kernel>, stores: Vec<Option<Endpoint>>) {
    let clients = stores.into_iter().map(|store| store.map(StoreClient));
    let logical = Rc::new(Logical::new(clients.collect()));
    let (watched, ends) = (logical.clone(), kernel.clone());
    kernel.spawn(async move {
        let reason = watched.restart_needed().await;
        log::info!("logical ends itself: {reason}");
        ends.exit();
    });
    let handler = handler!(logical, |logical, request, send, receive| file::serve(
        &**logical,
        request.message(),
        send,
        receive
    ));
    kernel.serve(64, handler);
}

/// Has a task die between two stores to the memory that outlives it, too. What its destructors do then is
/// not stored.
fn die_at_stores(kernel: &Rc<Kernel>, memory: &Heap) {
    struct EndsMemory<'a>(Option<&'a Heap>);
    impl Drop for EndsMemory<'_> {
        fn drop(&mut self) {
            if let Some(memory) = self.0 {
                memory.end_instance();
            }
        }
    }
    let (kernel, ending) = (kernel.clone(), memory.clone());
    memory.before_each_store(move |_| {
        // This may be where the task is unwound.
        let mut ends = EndsMemory(Some(&ending));
        if kernel.may_store() {
            ends.0 = None;
        }
    });
}

/// The cache. It goes on with what its predecessor has left in `memory`.
pub async fn cache(kernel: Rc<Kernel>, below: Endpoint, config: cache::Config, memory: Heap) {
    let clock = VirtualClock(kernel.clone());
    die_at_stores(&kernel, &memory);
    let cache = Cache::revive(file::Client(below), clock, config, memory, Trust::Verify);
    let (background, ends) = (cache.clone(), cache.clone());
    kernel.at_end(move || ends.end());
    kernel.spawn(async move { background.background().await });
    let callers = Rc::new(Succession::default());
    let handler: Handler = Rc::new(move |request: Request| {
        let (cache, callers) = (cache.clone(), callers.clone());
        Box::pin(async move {
            let mut turn = None;
            if !file::stays_pending(request.message()) {
                turn = callers.turn(request.from(), request.generation()).await;
                if turn.is_none() {
                    return;
                }
            }
            let (send, receive) = (request.send(), request.receive());
            let reply = file::serve(&cache, request.message(), send, receive).await;
            request.reply(&reply);
            drop(turn);
        })
    });
    kernel.serve(300, handler);
}

/// How long to wait after a call that keeps watch has failed.
const RETRY_NS: u64 = 1_000_000_000;

/// Naming, with what an earlier instance has left in memory. It mounts the volume at start, and makes a
/// checkpoint every so often.
pub async fn naming<C: Clock + 'static>(
    kernel: Rc<Kernel>,
    below: Endpoint,
    clock: C,
    memory: Heap,
    period_ns: u64,
) {
    die_at_stores(&kernel, &memory);
    let below = Resuming::new(file::Client(below));
    let (watched, ends) = (below.clone(), kernel.clone());
    kernel.spawn(async move {
        watched.lost().await;
        log::error!("naming ends itself: the cache has lost what was not synced");
        ends.exit();
    });
    let naming = Naming::with_memory(below.clone(), clock, Limits::default(), memory);
    let naming = Rc::new(naming);
    match naming.mount().await {
        Ok(()) | Err(Error::NotFormatted) => {}
        Err(error) => log::error!("naming cannot mount the volume: {error}"),
    }
    let (watched, time) = (naming.clone(), kernel.clone());
    kernel.spawn(async move {
        let period = async || {
            time.with_deadline(period_ns, below.early_sync_wanted())
                .await
        };
        watched
            .keep_synced(period, async || time.sleep(RETRY_NS).await)
            .await
    });
    let callers = Rc::new(Succession::default());
    let handler: Handler = Rc::new(move |request: Request| {
        let (naming, callers) = (naming.clone(), callers.clone());
        Box::pin(async move {
            let Some(_turn) = callers.turn(request.from(), request.generation()).await else {
                return;
            };
            let client = ClientId {
                role: request.from(),
                generation: request.generation(),
            };
            let (send, receive) = (request.send(), request.receive());
            let reply = |message: &Message| request.reply(message);
            naming
                .serve(client, request.message(), send, receive, reply)
                .await;
        })
    });
    kernel.serve(CALLS_MAX, handler);
}
