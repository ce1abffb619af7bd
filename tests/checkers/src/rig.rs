//! The whole stack in one piece on disks in memory, as the checkers need it.

use std::{future::poll_fn, rc::Rc, task::Poll};

use storage::{
    block::ram::RamDisk,
    cache,
    logical::Logical,
    naming,
    twinfs::{Config, Overwrite, TwinFs},
};
use storage_host::System;
use tests::stack::{Collapsed, TestClock};

/// When the cache writes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// At a sync only.
    Ample,
    /// After every call.
    Eager,
}

/// Disks, or what is left of a mirror.
pub type Disks = Vec<Option<Rc<RamDisk>>>;

/// The whole stack on disks.
#[must_use]
pub fn stack(disks: &Disks, clock: &TestClock, cache: Cache, overwrite: Overwrite) -> Collapsed {
    let config = Config {
        overwrite,
        ..Config::default()
    };
    let store = |disk: &Option<Rc<RamDisk>>| {
        Some(TwinFs::with_config(disk.clone()?, clock.clone(), config))
    };
    let logical = Logical::new(disks.iter().map(store).collect());
    let config = cache::Config {
        pages: 512,
        dirty_percent: if cache == Cache::Eager { 0 } else { 40 },
        ..cache::Config::default()
    };
    System::new(logical, clock.clone(), config, naming::Limits::default())
}

/// Lets everything else go on once.
pub async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
