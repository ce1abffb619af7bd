//! The block-device suite as a task: checks the device that is its first peer, and overwrites it.
//!
//! Arguments: `seed` (1), `window` in sectors (2048; 0 checks nothing and leaves the device as it
//! is), `reads` (0): after the checks, so many 4 KiB reads are timed, one at a time and 32 at a time.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{rc::Rc, vec};
use core::cell::Cell;

use conformance::Options;
use futures_util::future::join_all;
use runtime::{start, time};
use storage::{
    block::{BlockDevice, Client},
    buffer::Sink,
};

runtime::main!(run);

fn number(key: &str, otherwise: u64) -> u64 {
    start::argument(key)
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

async fn run() {
    let Some((name, endpoint)) = start::peers().next() else {
        log::error!("conformance: no device to check; name it as the first peer");
        runtime::system::exit(1);
    };
    let device = Client(endpoint);
    let options = Options {
        seed: number("seed", 1),
        window_sectors: number("window", 2048),
        ..Options::default()
    };
    if options.window_sectors > 0 {
        match conformance::run(&device, &options).await {
            Ok(passed) => log::info!("conformance: {passed} checks passed on {name}"),
            Err(failure) => {
                log::error!("conformance: {name}: {failure}");
                runtime::system::exit(1);
            }
        }
    }
    let reads = number("reads", 0);
    for depth in [1, 32] {
        if reads > 0
            && let Err(error) = time_reads(&device, reads, depth).await
        {
            log::error!("conformance: a timed read failed: {error}");
            runtime::system::exit(1);
        }
    }
}

/// Times `reads` reads of 4 KiB, `depth` of them in flight, at places that jump about.
async fn time_reads(device: &impl BlockDevice, reads: u64, depth: u64) -> storage::Result<()> {
    let geometry = device.attach().await?;
    let pages = (geometry.sectors / 8).max(1);
    let next = Rc::new(Cell::new(0));
    let start_ns = time::now_ns();
    let lanes = (0..depth).map(|_| async {
        let mut page = vec![0; storage::BLOCK_BYTES];
        while next.get() < reads {
            let index = next.replace(next.get() + 1);
            // A step that is odd and large visits the pages in an order no read-ahead guesses.
            let sector = index.wrapping_mul(40_503) % pages * 8;
            device.read(sector, Sink::local(&mut page)).await?;
        }
        Ok(())
    });
    let result: storage::Result<()> = join_all(lanes).await.into_iter().collect();
    result?;
    let elapsed_ns = (time::now_ns() - start_ns).max(1);
    log::info!(
        "conformance: {reads} reads of 4 KiB at depth {depth}: {} ns each, {} a second",
        elapsed_ns / reads,
        reads * 1_000_000_000 / elapsed_ns
    );
    Ok(())
}
