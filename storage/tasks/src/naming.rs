//! Naming over the cache, as a task. It mounts the volume at start, and makes a checkpoint every few
//! seconds, or sooner when the cache asks for one.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::rc::Rc;

use runtime::{
    start,
    surviving::RoleMemory,
    system,
    time::{SystemClock, sleep, with_deadline},
};
use storage::{
    Error,
    file::{Client, FileService, Resuming},
    naming::{CALLS_MAX, ClientId, Limits, Naming, SURVIVING_PAGES_MAX},
    succession::Succession,
    transport::{Message, answer},
    vfs,
};
use storage_tasks::argument;

runtime::main!(run);

/// Seconds between checkpoints, as in the paper's evaluation.
const SYNC_SECONDS: u64 = 5;

/// Bytes of directories and their indexes: what leaves room for the rest in the 32 MiB that the stacks
/// give to naming.
const DIRECTORY_BYTES: usize = 16 << 20;

/// Exit code that says: the cache has lost what naming stands on, start naming anew from what there is.
const RESTART: u64 = 75;

/// How long to wait before a checkpoint that could not be made is tried again.
const RETRY_NS: u64 = 1_000_000_000;

async fn run() {
    let (_, endpoint) = start::peers()
        .next()
        .expect("the description names the cache");
    let limits = Limits {
        directory_bytes: argument("directory_bytes", DIRECTORY_BYTES),
        ..Limits::default()
    };
    let cache = Resuming::new(Client(endpoint));
    // For the call that is made to stay pending until there is a reason.
    let patient = Resuming::new(Client(endpoint.with_patience(u64::MAX)));
    let watched = cache.clone();
    runtime::spawn(async move {
        watched.lost().await;
        log::error!("ends itself: the cache has lost what was not synced");
        system::exit(RESTART);
    });
    let (memory, clock) = (RoleMemory::open(SURVIVING_PAGES_MAX), SystemClock::new());
    let naming = match (memory, start::argument("memory")) {
        (Ok(memory), Some("discard")) => {
            Naming::with_memory_discarded(cache.clone(), clock, limits, memory)
        }
        (Ok(memory), _) => Naming::with_memory(cache.clone(), clock, limits, memory),
        (Err(error), _) => {
            log::error!("no memory that outlives naming, its end would be noticed: {error:?}");
            Naming::new(cache.clone(), clock, limits)
        }
    };
    let naming = Rc::new(naming);
    match naming.mount().await {
        Ok(()) => log::info!("volume mounted"),
        Err(Error::NotFormatted) => log::info!("no volume yet: format makes one"),
        Err(error) => log::error!("cannot mount the volume: {error}"),
    }
    let watched = naming.clone();
    runtime::spawn(async move {
        let period_ns = argument("sync_seconds", SYNC_SECONDS).max(1) * 1_000_000_000;
        let period = async || with_deadline(period_ns, patient.early_sync_wanted()).await;
        watched
            .keep_synced(period, async || sleep(RETRY_NS).await)
            .await
    });
    let callers = Rc::new(Succession::default());
    runtime::serve(CALLS_MAX, move |request| {
        let (naming, callers) = (naming.clone(), callers.clone());
        async move {
            let id = ClientId {
                role: request.from(),
                generation: request.generation(),
            };
            if request.from() == start::MANAGER
                && let Some(role) = vfs::Call::decode(request.message())
                    .ok()
                    .and_then(|it| it.gone())
            {
                naming.client_gone(role).await;
                request.reply(&answer(Ok(())));
                return;
            }
            let Some(_turn) = callers.turn(request.from(), request.generation()).await else {
                return;
            };
            let (send, receive) = (request.send(), request.receive());
            let reply = |message: &Message| request.reply(message);
            naming
                .serve(id, request.message(), send, receive, reply)
                .await;
        }
    })
    .await;
}
