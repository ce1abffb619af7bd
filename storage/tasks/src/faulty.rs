//! The filter of faulty disks between a file store and the driver of its first peer, as a task.
//!
//! Its rules outlive it. What its volatile cache held dies with it, as if the power of this one disk had
//! failed; the whole group goes back to the last checkpoint then, which was flushed.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::rc::Rc;
use runtime::{start, surviving::RoleMemory, time};
use storage::{
    block::{self, SECTOR_BYTES},
    faulty::{self, Armed, Faulty, KEPT_PAGES, Kept, Persistence, Timer, WriteCache},
};
use storage_tasks::argument;

runtime::main!(run);

/// Calls at work at a time: more than a store can have in flight, for after a cut they hang, and the
/// manager must still be heard.
const CALLS_MAX: usize = 300;

/// KiB that the volatile cache of the disk holds.
const WRITE_CACHE_KIB: u64 = 4096;

struct Sleep;

impl Timer for Sleep {
    async fn sleep_ms(&self, ms: u32) {
        time::sleep(u64::from(ms) * 1_000_000).await;
    }
}

/// The rules that an instance before has left, and where they are kept.
fn kept() -> (Option<Kept<RoleMemory>>, alloc::vec::Vec<Armed>) {
    let opened = RoleMemory::open(KEPT_PAGES).ok().and_then(Kept::open);
    let Some((kept, lost)) = opened else {
        log::error!("there is no memory to keep rules in: they go with this instance");
        return (None, alloc::vec::Vec::new());
    };
    if lost > 0 {
        log::error!("rules were overwritten in memory and are lost");
    }
    let rules = kept.rules();
    (Some(kept), rules)
}

async fn run() {
    let (_, device) = start::peers()
        .next()
        .expect("the description names a device");
    let sectors_max = argument("write_cache_kib", WRITE_CACHE_KIB) * 1024 / SECTOR_BYTES as u64;
    let cache = WriteCache::new(block::Client(device), sectors_max);
    let filter = Rc::new(Faulty::new(cache, Sleep, Persistence::Written));
    let (kept, rules) = kept();
    if let Err(error) = filter.restore(rules) {
        log::error!("the rules that were kept make no sense, and are dropped: {error}");
    }
    if let Some(mut kept) = kept {
        filter.keep_with(move |rules| kept.keep(rules));
    }
    runtime::serve(CALLS_MAX, move |request| {
        let filter = filter.clone();
        async move {
            let (send, receive) = (request.send(), request.receive());
            // Only the manager decides about faults; everybody else has a disk here, whatever they ask for.
            let reply = if request.from() == abi::MANAGER {
                faulty::serve(&*filter, request.message(), receive).await
            } else {
                block::serve(&*filter, request.message(), send, receive).await
            };
            request.reply(&reply);
        }
    })
    .await;
}
