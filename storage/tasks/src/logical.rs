//! The logical layer over the file stores that are its peers, as a task.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::rc::Rc;

use runtime::{start, system};
use storage::{
    file::{StoreClient, serve},
    logical::Logical,
};

runtime::main!(run);

/// Calls at work at a time.
const CALLS_MAX: usize = 64;

/// Exit code that says: a store died, start us all from the last checkpoint.
const RESTART: u64 = 75;

async fn run() {
    let stores = start::peers()
        .map(|(_, store)| Some(StoreClient(store)))
        .collect();
    let logical = Rc::new(Logical::new(stores));
    let watched = logical.clone();
    runtime::spawn(async move {
        let reason = watched.restart_needed().await;
        log::info!("ends itself: {reason}");
        system::exit(RESTART);
    });
    runtime::serve(CALLS_MAX, move |request| {
        let logical = logical.clone();
        async move {
            let (send, receive) = (request.send(), request.receive());
            let reply = serve(&*logical, request.message(), send, receive).await;
            request.reply(&reply);
        }
    })
    .await;
}
