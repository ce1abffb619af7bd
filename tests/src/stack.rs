//! The whole stack over disks in memory, in one process: collapsed, or as tasks that can be killed.

use std::{cell::Cell, rc::Rc};

use storage::{
    block::ram::RamDisk,
    cache,
    checksum::Algorithm,
    clock::Clock,
    file::{self, VolumeFormat},
    logical::Logical,
    naming,
    twinfs::{self, Overwrite, TwinFs},
    vfs::FileSystem,
};
use storage_host::{Disk, Group, Kill, LogicalLink, Moment, System, Victim};

use crate::random::Random;

/// Sectors of a test's disk: 32 MiB.
pub const SECTORS: u64 = 65_536;

/// A clock that the test sets.
#[derive(Clone, Debug, Default)]
pub struct TestClock(Rc<Cell<u64>>);

impl TestClock {
    /// Sets the time.
    pub fn set(&self, now_ns: u64) {
        self.0.set(now_ns);
    }
}

impl Clock for TestClock {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }
}

/// The stack with all layers in one piece.
pub type Collapsed = System<Logical<TwinFs<Rc<RamDisk>, TestClock>>, TestClock>;

/// A file store of [`Tasks`].
pub type Store = TwinFs<Disk<RamDisk>, TestClock>;

/// The stack whose lower layers are tasks.
pub type Tasks = System<file::Client<LogicalLink<RamDisk, Store>>, TestClock>;

/// How large the cache is.
#[derive(Clone, Copy, Debug)]
pub enum CacheSize {
    /// Everything fits, so that only syncs write.
    Ample,
    /// As in the Loris paper: a tenth of the files of PostMark with 4,000 of them.
    Small,
    /// Next to nothing fits.
    Tiny,
    /// Nor can it remember much for a crash below.
    Forgetful,
}

impl CacheSize {
    /// One or the other, by turns.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) {
            Self::Ample
        } else {
            Self::Tiny
        }
    }
}

fn config(size: CacheSize) -> cache::Config {
    match size {
        CacheSize::Ample => cache::Config::default(),
        CacheSize::Small => cache::Config {
            pages: 1638,
            ..Default::default()
        },
        CacheSize::Forgetful => cache::Config {
            pages: 64,
            log_pages: 64,
            ..Default::default()
        },
        CacheSize::Tiny => cache::Config {
            pages: 64,
            log_pages: 100_000,
            dirty_percent: 10,
            dirty_percent_max: 20,
            ..Default::default()
        },
    }
}

fn store_config(overwrite: Overwrite) -> twinfs::Config {
    twinfs::Config {
        overwrite,
        ..Default::default()
    }
}

/// New disks.
#[must_use]
pub fn disks(count: usize) -> Vec<Option<Rc<RamDisk>>> {
    (0..count)
        .map(|_| Some(Rc::new(RamDisk::new(SECTORS))))
        .collect()
}

/// A collapsed stack over these disks, `None` for a missing one.
#[must_use]
pub fn collapsed(disks: &[Option<Rc<RamDisk>>], clock: &TestClock, size: CacheSize) -> Collapsed {
    collapsed_that(Overwrite::default(), disks, clock, size)
}

/// As [`collapsed`], of stores that overwrite data like this.
#[must_use]
pub fn collapsed_that(
    overwrite: Overwrite,
    disks: &[Option<Rc<RamDisk>>],
    clock: &TestClock,
    size: CacheSize,
) -> Collapsed {
    let store = |disk: &Option<Rc<RamDisk>>| {
        let config = store_config(overwrite);
        Some(TwinFs::with_config(disk.clone()?, clock.clone(), config))
    };
    let logical = Logical::new(disks.iter().map(store).collect());
    System::new(
        logical,
        clock.clone(),
        config(size),
        naming::Limits::default(),
    )
}

/// A stack of tasks over these disks, and the group to kill them in.
#[must_use]
pub fn tasks(
    disks: &[Option<Rc<RamDisk>>],
    clock: &TestClock,
    size: CacheSize,
) -> (Tasks, Rc<Group<RamDisk, Store>>) {
    tasks_that(Overwrite::default(), disks, clock, size)
}

/// As [`tasks`], of stores that overwrite data like this.
#[must_use]
pub fn tasks_that(
    overwrite: Overwrite,
    disks: &[Option<Rc<RamDisk>>],
    clock: &TestClock,
    size: CacheSize,
) -> (Tasks, Rc<Group<RamDisk, Store>>) {
    let time = clock.clone();
    let group = Group::new(disks.to_vec(), move |disk| {
        TwinFs::with_config(disk, time.clone(), store_config(overwrite))
    });
    let below = file::Client(LogicalLink(group.clone()));
    (
        System::new(
            below,
            clock.clone(),
            config(size),
            naming::Limits::default(),
        ),
        group,
    )
}

/// How the tests make volumes.
pub const FORMAT: VolumeFormat = VolumeFormat {
    volume: 0x5eed,
    algorithm: Algorithm::Xxh64,
    twin_offset: 16,
};

/// Formats.
pub async fn format<F: FileSystem>(system: &F, what: &str) {
    system
        .format(&FORMAT)
        .await
        .unwrap_or_else(|error| panic!("{what}: format: {error}"));
}

/// Runs a test with room for the futures of the whole stack, which an unoptimised build nests one
/// inside the other.
pub fn on_a_large_stack(test: impl FnOnce() + Send + 'static) {
    crate::logging::begin();
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test);
    if let Err(panic) = thread.expect("a thread").join() {
        std::panic::resume_unwind(panic);
    }
}

/// A kill of one of the tasks below the cache, at one of the next messages after the first `messages`.
#[must_use]
pub fn random_kill(random: &mut Random, messages: u64) -> Kill {
    let victims = [
        Victim::Logical,
        Victim::Store(0),
        Victim::Store(1),
        Victim::Driver(0),
        Victim::Driver(1),
    ];
    Kill {
        message: messages + random.below(60),
        victim: random.pick(&victims),
        moment: random.pick(&[Moment::Before, Moment::After]),
    }
}
