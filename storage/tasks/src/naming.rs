//! Naming over the cache, as a task. It mounts the volume at start, and makes a checkpoint every few
//! seconds, or sooner when the cache asks for one.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::rc::Rc;

use runtime::{
    start, system,
    time::{SystemClock, sleep, with_deadline},
};
use storage::{
    Error,
    file::{Client, FileService, Resuming},
    naming::{ClientId, Limits, Naming},
    vfs::serve,
};
use storage_tasks::argument;

runtime::main!(run);

/// Calls at work at a time.
const CALLS_MAX: usize = 128;

/// Seconds between checkpoints, as in the paper's evaluation.
const SYNC_SECONDS: u64 = 5;

/// Bytes of directories and their indexes: what leaves room for the rest in the 32 MiB that the stacks
/// give to naming.
const DIRECTORY_BYTES: usize = 16 << 20;

/// Exit code that says: the cache has lost what naming stands on, start naming anew from what there is.
const RESTART: u64 = 75;

/// How long to wait after a call that keeps watch has failed.
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
    let naming = Rc::new(Naming::new(cache.clone(), SystemClock::new(), limits));
    let mounted = if start::is_restart() {
        // Numbers that the instance before has freed are free only after a checkpoint, and only it
        // knew which they are.
        naming.sync().await.map(|_| ())
    } else {
        naming.mount().await
    };
    match mounted {
        Ok(()) => log::info!("volume mounted"),
        Err(Error::NotFormatted) => log::info!("no volume yet: format makes one"),
        Err(error) => log::error!("cannot mount the volume: {error}"),
    }
    let watched = naming.clone();
    runtime::spawn(async move {
        let period_ns = argument("sync_seconds", SYNC_SECONDS).max(1) * 1_000_000_000;
        loop {
            if let Some(Err(_)) = with_deadline(period_ns, patient.early_sync_wanted()).await {
                // There is no volume.
                sleep(RETRY_NS).await;
            }
            if let Err(error) = watched.sync_periodic().await {
                log::error!("cannot make a checkpoint: {error}");
                sleep(RETRY_NS).await;
            }
        }
    });
    runtime::serve(CALLS_MAX, move |request| {
        let naming = naming.clone();
        async move {
            let id = ClientId {
                role: request.from(),
                generation: request.generation(),
            };
            let (send, receive) = (request.send(), request.receive());
            let reply = serve(&naming.client(id), request.message(), send, receive).await;
            request.reply(&reply);
        }
    })
    .await;
}
