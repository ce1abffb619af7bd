//! A virtio block device as a task.
#![no_std]
#![no_main]

use drivers::block::{REQUESTS_MAX, VirtioBlk};

runtime::main!(run);

async fn run() {
    let disk = match VirtioBlk::new() {
        Ok(disk) => disk,
        Err(error) => {
            log::error!("virtio-blk: {error}");
            runtime::system::exit(1);
        }
    };
    let worker = disk.clone();
    runtime::spawn(async move {
        worker.work().await;
        // The driver has said why.
        runtime::system::exit(1);
    });
    runtime::serve(REQUESTS_MAX, move |request| {
        let disk = disk.clone();
        async move { disk.serve(request).await }
    })
    .await;
}
