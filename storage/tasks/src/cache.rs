//! The cache over the logical layer, as a task.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::rc::Rc;

use runtime::{start, surviving::RoleMemory, time::SystemClock};
use storage::{
    cache::{Cache, Config, Trust},
    file::{Client, serve, stays_pending},
    succession::Succession,
};
use storage_tasks::{argument, switch};

runtime::main!(run);

/// Calls at work at a time: more than naming can have in flight, so that the one that it keeps
/// pending never takes the place of another.
const CALLS_MAX: usize = 300;

async fn run() {
    let (_, logical) = start::peers()
        .next()
        .expect("the description names the logical layer");
    let defaults = Config::default();
    let config = Config {
        pages: argument("pages", defaults.pages),
        log_pages: argument("log_pages", defaults.log_pages),
        files: argument("files", defaults.files),
        read_ahead_pages: argument("read_ahead_pages", defaults.read_ahead_pages),
        verify_reads: switch("verify_reads", defaults.verify_reads),
        roll_forward: switch("roll_forward", defaults.roll_forward),
        ..defaults
    };
    if start::is_restart() && !config.roll_forward {
        log::error!(
            "an instance has died, and no log is kept (roll_forward=off): what was not synced is lost"
        );
        log::info!(target: storage::EVENT, r#"{{"event":"loss","reason":"no log is kept","files":0}}"#);
        log::info!(target: storage::EVENT, r#"{{"event":"reverted","files":[],"more":true}}"#);
    }
    let memory =
        RoleMemory::open(config.memory_pages()).expect("the kernel keeps memory for a role");
    let trust = match start::argument("memory") {
        Some("discard") => Trust::Discard,
        _ => Trust::Verify,
    };
    let cache = Cache::revive(Client(logical), SystemClock::new(), config, memory, trust);
    let background = cache.clone();
    runtime::spawn(async move { background.background().await });
    let callers = Rc::new(Succession::default());
    runtime::serve(CALLS_MAX, move |request| {
        let (cache, callers) = (cache.clone(), callers.clone());
        async move {
            let mut turn = None;
            if !stays_pending(request.message()) {
                turn = callers.turn(request.from(), request.generation()).await;
                if turn.is_none() {
                    return;
                }
            }
            let (send, receive) = (request.send(), request.receive());
            let reply = serve(&cache, request.message(), send, receive).await;
            request.reply(&reply);
            drop(turn);
        }
    })
    .await;
}
