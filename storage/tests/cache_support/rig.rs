//! A cache at work over the layer below, and shorthands for its calls.

use std::{cell::Cell, rc::Rc};

use futures_executor::LocalPool;
use futures_util::{FutureExt, pin_mut, select_biased, task::LocalSpawnExt};
use storage::{
    Error, Result,
    buffer::{Sink, Source},
    cache::{Cache, Config},
    clock::Clock,
    file::{Attributes, FileNumber, FileService, Timestamp, Write},
};

use super::{Below, PAGE, yield_now};

/// A clock that goes on with every look at it.
#[derive(Clone, Default)]
pub struct Ticks(Rc<Cell<u64>>);

impl Clock for Ticks {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

/// A whole write from above.
pub fn write_of<'a>(file: FileNumber, offset: u64, data: &'a [u8], modified_ns: u64) -> Write<'a> {
    Write {
        file,
        offset,
        data: Source::local(data),
        checksums: &[],
        size: 0,
        modified_ns,
    }
}

/// Writes all of it, in as many calls as it takes; what came in the way if not.
pub async fn write_all(cache: &impl FileService, write: Write<'_>) -> Result<()> {
    let mut done = 0;
    while done < write.data.len() {
        let rest = Write {
            offset: write.offset + done as u64,
            data: write.data.slice(done, write.data.len() - done),
            ..write.clone()
        };
        done += cache.write(rest).await?;
    }
    Ok(())
}

/// A cache over `below`, attached, with its background at work.
pub struct Rig {
    pub below: Below,
    pub cache: Cache<Below, Ticks>,
    pub pool: LocalPool,
    seed: u64,
}

impl Rig {
    pub fn new(config: Config) -> Self {
        Self::with_seed(1, config)
    }

    pub fn with_seed(seed: u64, config: Config) -> Self {
        let below = Below::new(seed);
        let cache = Cache::new(below.clone(), Ticks::default(), config);
        let pool = LocalPool::new();
        let background = cache.clone();
        let task = async move { background.background().await };
        pool.spawner().spawn_local(task).expect("the pool runs");
        let mut rig = Self {
            below,
            cache,
            pool,
            seed,
        };
        rig.run(async |cache| cache.attach().await.expect("nothing is in the way"));
        rig
    }

    /// Runs `work` to its end. Panics if nothing moves any more.
    pub fn run<T>(&mut self, work: impl AsyncFnOnce(&Cache<Below, Ticks>) -> T) -> T {
        let cache = self.cache.clone();
        let result = self.pool.run_until(async {
            let work = work(&cache).fuse();
            let patience = async {
                for _ in 0..2_000_000 {
                    yield_now().await;
                }
            }
            .fuse();
            pin_mut!(work, patience);
            select_biased! { result = work => Some(result), () = patience => None }
        });
        let seed = self.seed;
        result.unwrap_or_else(|| panic!("seed {seed}: nothing moves any more"))
    }

    /// Creates a file and writes `data` to it.
    pub fn file(&mut self, number: u64, data: &[u8]) -> FileNumber {
        let file = FileNumber(number);
        self.run(async |cache| {
            cache
                .create(file, &Attributes::default())
                .await
                .expect("room for a file");
            for (index, part) in data.chunks(16 * PAGE).enumerate() {
                let offset = (index * 16 * PAGE) as u64;
                let mut written = write_all(cache, write_of(file, offset, part, 5)).await;
                if written == Err(Error::NoMemory) {
                    cache.sync().await.expect("a checkpoint");
                    written = write_all(cache, write_of(file, offset, part, 5)).await;
                }
                written.expect("room for data");
            }
        });
        file
    }

    pub fn sync(&mut self) -> Timestamp {
        self.run(async |cache| cache.sync().await.expect("a checkpoint"))
    }

    /// The content of a file as the cache gives it.
    pub fn content(&mut self, file: FileNumber) -> Result<Vec<u8>> {
        self.run(async |cache| {
            let size = cache.getattr(file).await?.size as usize;
            let mut bytes = vec![0xaa; size];
            let mut done = 0;
            while done < size {
                let to = size.min(done + 32 * PAGE);
                let sink = Sink::local(&mut bytes[done..to]);
                done += cache.read(file, done as u64, sink).await?;
            }
            Ok(bytes)
        })
    }

    /// What a cache that knows nothing finds of a file, after one more crash.
    pub fn stored(&mut self, file: FileNumber) -> Option<Vec<u8>> {
        self.below
            .state()
            .checkpoint
            .files
            .get(&file)
            .map(|stored| stored.data.clone())
    }

    pub fn no_violations(&self) {
        assert_eq!(self.below.state().violations, Vec::<String>::new());
    }
}
