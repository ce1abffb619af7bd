//! A TwinFS on the device of its first peer, as a task.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::rc::Rc;

use runtime::{start, time::SystemClock};
use storage::{
    block,
    file::serve_store,
    twinfs::{Config, TwinFs},
};
use storage_tasks::{argument, switch};

runtime::main!(run);

/// Calls at work at a time.
const CALLS_MAX: usize = 64;

async fn run() {
    let (_, device) = start::peers()
        .next()
        .expect("the description names a device");
    let defaults = Config::default();
    let config = Config {
        cache_blocks: argument("cache_blocks", defaults.cache_blocks),
        overwrite: argument("overwrite", defaults.overwrite),
        twins: switch("twins", defaults.twins),
        ..defaults
    };
    let store = Rc::new(TwinFs::with_config(
        block::Client(device),
        SystemClock::new(),
        config,
    ));
    runtime::serve(CALLS_MAX, move |request| {
        let store = store.clone();
        async move {
            let (send, receive) = (request.send(), request.receive());
            let reply = serve_store(&*store, request.message(), send, receive).await;
            request.reply(&reply);
        }
    })
    .await;
}
