//! What the cache's tests share: a layer below that is made of memory and dies on command.
#![allow(dead_code)]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_executor::LocalPool;
use futures_util::{FutureExt, pin_mut, select_biased, task::LocalSpawnExt};
use storage::{
    Error, Result,
    buffer::{Sink, Source},
    cache::{Cache, Config},
    checksum::{Algorithm, Checksum},
    clock::Clock,
    file::{
        Attachment, AttributeChange, Attributes, FileNumber, FileService, Timestamp, Usage,
        VolumeFormat, Write,
    },
};

pub const PAGE: usize = 4096;

/// Numbers that a seed determines (xorshift64*).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Lets the others run once.
pub fn yield_now() -> impl Future<Output = ()> {
    struct Yield(bool);
    impl Future for Yield {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }
    Yield(false)
}

const fn crc32c_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut crc, mut bit) = (byte as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// CRC-32C, a byte at a time: shares nothing with what it checks.
fn crc32c(data: &[u8]) -> u64 {
    static TABLE: [u32; 256] = crc32c_table();
    let step = |crc: u32, &byte: &u8| (crc >> 8) ^ TABLE[((crc ^ u32::from(byte)) & 0xff) as usize];
    u64::from(!data.iter().fold(!0, step))
}

#[derive(Clone, Default)]
pub struct StoredFile {
    pub attributes: Attributes,
    pub data: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Volume {
    pub files: BTreeMap<FileNumber, StoredFile>,
}

impl Volume {
    fn blocks(&self) -> u64 {
        self.files
            .values()
            .map(|file| file.data.len().div_ceil(PAGE) as u64)
            .sum()
    }
}

/// Which call of a file is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Shared,
    Alone,
}

pub struct State {
    pub now: Volume,
    pub checkpoint: Volume,
    pub timestamp: u64,
    pub attached: bool,
    pub instance: u64,
    pub random: Random,
    /// Steps until the next crash; none: no crashes.
    pub crash_in: Option<u64>,
    /// Average steps between crashes.
    pub crash_every: Option<u64>,
    pub crashes: u64,
    /// Crash at these points of the next syncs.
    pub crash_in_sync: Vec<SyncPoint>,
    /// Crash in the next attach calls: how many.
    pub crash_in_attach: u64,
    /// Of ten instances, so many die soon after they were attached to.
    pub replay_crashes_of_ten: u64,
    /// Crash when this many state-changing calls have arrived since the attach: one entry an
    /// instance.
    pub crash_in_replay: Vec<u64>,
    changes_since_attach: u64,
    under_way: Vec<(FileNumber, Kind)>,
    changing: u64,
    syncing: bool,
    /// What the caller did wrong.
    pub violations: Vec<String>,
    /// Calls by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// Pages read.
    pub pages_read: u64,
    pub blocks_max: u64,
    /// Pretends that this many writes from now did happen, without doing the last of them.
    pub lose_write: Option<u64>,
    pub write_errors: Vec<Error>,
    /// Errors of the next calls for attributes.
    pub getattr_errors: Vec<Error>,
    /// Errors of the next deletes.
    pub delete_errors: Vec<Error>,
    /// The next truncation comes as far as this size, and fails.
    pub truncate_error: Option<(u64, Error)>,
    /// Writes under way: instance, file, and the size and time they carry.
    writes: Vec<(u64, FileNumber, u64, u64)>,
    pub sync_errors: Vec<Error>,
    /// Blocks that cannot be read.
    pub bad: Vec<(FileNumber, u64)>,
    /// Most pages in one write.
    pub write_pages_max: usize,
    /// Calls wait while this holds.
    pub held: bool,
    /// Answers to reads of this file are on their way for as long as this says so.
    pub held_reads: Option<FileNumber>,
    pub delay_max: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncPoint {
    Before,
    After,
}

/// The layer below.
#[derive(Clone)]
pub struct Below(pub Rc<RefCell<State>>);

impl Below {
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            now: Volume::default(),
            checkpoint: Volume::default(),
            timestamp: 1,
            attached: false,
            instance: 0,
            random: Random::new(seed),
            crash_in: None,
            crash_every: None,
            crashes: 0,
            crash_in_sync: Vec::new(),
            crash_in_attach: 0,
            replay_crashes_of_ten: 0,
            crash_in_replay: Vec::new(),
            changes_since_attach: 0,
            under_way: Vec::new(),
            changing: 0,
            syncing: false,
            violations: Vec::new(),
            calls: BTreeMap::new(),
            pages_read: 0,
            blocks_max: 1 << 20,
            lose_write: None,
            write_errors: Vec::new(),
            getattr_errors: Vec::new(),
            delete_errors: Vec::new(),
            truncate_error: None,
            writes: Vec::new(),
            sync_errors: Vec::new(),
            bad: Vec::new(),
            write_pages_max: 0,
            held: false,
            held_reads: None,
            delay_max: 3,
        })))
    }

    pub fn state(&self) -> std::cell::RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// The instance dies and loses all since its checkpoint.
    pub fn crash(&self) {
        let mut state = self.state();
        state.instance += 1;
        state.attached = false;
        state.crashes += 1;
        state.now = state.checkpoint.clone();
        state.under_way.clear();
        state.changing = 0;
        state.syncing = false;
        let every = state.crash_every;
        state.crash_in = every.map(|every| 1 + state.random.below(2 * every));
    }

    pub fn calls(&self, name: &str) -> u64 {
        self.state().calls.get(name).copied().unwrap_or(0)
    }

    fn step(&self) {
        let due = {
            let mut state = self.state();
            match &mut state.crash_in {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            }
        };
        if due {
            self.crash();
        }
    }

    async fn delay(&self, instance: u64) -> Result<()> {
        let max = self.state().delay_max;
        let steps = if max == 0 {
            0
        } else {
            self.state().random.below(max + 1)
        };
        for _ in 0..steps {
            yield_now().await;
            self.step();
        }
        while self.state().held {
            yield_now().await;
        }
        if self.state().instance == instance {
            Ok(())
        } else {
            Err(Error::PeerDied)
        }
    }

    /// Serves a call: `effect` happens at once at some time, the answer comes later. An answer that
    /// was sent before a crash may arrive after it.
    async fn serve<T>(
        &self,
        name: &'static str,
        file: Option<(FileNumber, Kind)>,
        changes: bool,
        effect: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        *self.state().calls.entry(name).or_default() += 1;
        let instance = self.state().instance;
        if !self.state().attached {
            self.delay(instance).await?;
            return Err(Error::NotLoaded);
        }
        let _entered = self.enter(name, instance, file, changes);
        self.delay(instance).await?;
        if changes {
            let mut state = self.state();
            state.changes_since_attach += 1;
            if state.crash_in_replay.first() == Some(&state.changes_since_attach) {
                state.crash_in_replay.remove(0);
                drop(state);
                self.crash();
                return Err(Error::PeerDied);
            }
        }
        let answer = effect(&mut self.state());
        let sent = self.state().random.one_in(2);
        while name == "read" && file.is_some_and(|it| self.state().held_reads == Some(it.0)) {
            yield_now().await;
        }
        match self.delay(instance).await {
            Err(error) if !sent => Err(error),
            _ => answer,
        }
    }

    /// Whether the instance is to die in this sync; it then has made a checkpoint or not.
    fn sync_dies(&self) -> bool {
        let mut state = self.state();
        if state.changing > 0 {
            state
                .violations
                .push("sync while calls change state".into());
        }
        let point = state.crash_in_sync.pop();
        if point == Some(SyncPoint::After) {
            state.checkpoint = state.now.clone();
            state.timestamp += 1;
        }
        point.is_some()
    }

    fn enter(
        &self,
        name: &'static str,
        instance: u64,
        file: Option<(FileNumber, Kind)>,
        changes: bool,
    ) -> Entered {
        let mut state = self.state();
        if changes && state.syncing {
            state.violations.push(format!("{name} while a sync runs"));
        }
        if let Some((number, kind)) = file {
            let conflict = state.under_way.iter().any(|&(other, with)| {
                other == number && (kind == Kind::Alone || with == Kind::Alone)
            });
            if conflict {
                state
                    .violations
                    .push(format!("{name} of {number:?} beside a conflicting call"));
            }
            state.under_way.push((number, kind));
        }
        state.changing += u64::from(changes);
        Entered {
            below: self.clone(),
            instance,
            file,
            changes,
        }
    }
}

/// A write under way.
struct Alike {
    below: Below,
    write: (u64, FileNumber, u64, u64),
}

impl Below {
    /// Notes a write while it lasts. Copies of a file may commit writes that are under way at once in
    /// different orders, so they must agree on what a write says of the whole file.
    fn alike(&self, write: &Write<'_>) -> Alike {
        let mut state = self.state();
        let write = (state.instance, write.file, write.size, write.modified_ns);
        if let Some(other) = state
            .writes
            .iter()
            .find(|other| (other.0, other.1) == (write.0, write.1) && **other != write)
        {
            let what = format!("writes at once that differ: {write:?} and {other:?}");
            state.violations.push(what);
        }
        state.writes.push(write);
        Alike {
            below: self.clone(),
            write,
        }
    }
}

impl Drop for Alike {
    fn drop(&mut self) {
        let mut state = self.below.state();
        let at = state.writes.iter().position(|write| *write == self.write);
        state.writes.swap_remove(at.expect("a write under way"));
    }
}

struct Entered {
    below: Below,
    instance: u64,
    file: Option<(FileNumber, Kind)>,
    changes: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.below.state();
        if state.instance != self.instance {
            return;
        }
        if let Some(entry) = self.file
            && let Some(at) = state.under_way.iter().position(|&other| other == entry)
        {
            state.under_way.swap_remove(at);
        }
        state.changing -= u64::from(self.changes);
    }
}

impl State {
    fn attachment(&self) -> Attachment {
        Attachment {
            volume: 77,
            checkpoint: Timestamp(self.timestamp),
            algorithm: Algorithm::Crc32c,
            first_file: FileNumber(2),
            stores: 1,
            stores_present: 1,
        }
    }

    fn file(&mut self, number: FileNumber) -> Result<&mut StoredFile> {
        self.now.files.get_mut(&number).ok_or(Error::NotFound)
    }

    fn check_write(&mut self, write: &Write<'_>, data: &[u8]) {
        let end = write.offset + data.len() as u64;
        let mut wrong = Vec::new();
        if !write.offset.is_multiple_of(PAGE as u64) || !data.len().is_multiple_of(PAGE) {
            wrong.push("not whole blocks".to_string());
        }
        if data.is_empty() || end.saturating_sub(write.size) >= PAGE as u64 {
            wrong.push(format!(
                "blocks up to {end} of a file of {} bytes",
                write.size
            ));
        }
        if end > write.size
            && data[(write.size - write.offset) as usize..]
                .iter()
                .any(|&b| b != 0)
        {
            wrong.push("last block not zero-padded".to_string());
        }
        let checksums: Vec<_> = data
            .chunks(PAGE)
            .map(|block| Checksum(crc32c(block)))
            .collect();
        if checksums != write.checksums {
            wrong.push("wrong checksums".to_string());
        }
        self.write_pages_max = self.write_pages_max.max(data.len() / PAGE);
        let file = write.file;
        self.violations.extend(
            wrong
                .into_iter()
                .map(|what| format!("write to {file:?}: {what}")),
        );
    }
}

impl FileService for Below {
    async fn attach(&self) -> Result<Attachment> {
        *self.state().calls.entry("attach").or_default() += 1;
        let instance = self.state().instance;
        self.delay(instance).await?;
        if self.state().crash_in_attach > 0 {
            self.state().crash_in_attach -= 1;
            self.crash();
            return Err(Error::PeerDied);
        }
        self.state().attached = true;
        self.state().changes_since_attach = 0;
        {
            let mut state = self.state();
            if state.random.below(10) < state.replay_crashes_of_ten {
                let after = 1 + state.random.below(30);
                state.crash_in_replay = vec![after];
            }
        }
        let attachment = self.state().attachment();
        self.delay(instance).await?;
        Ok(attachment)
    }

    async fn format(&self, _: &VolumeFormat) -> Result<Attachment> {
        let mut state = self.state();
        state.now = Volume::default();
        state.checkpoint = Volume::default();
        state.timestamp = 1;
        state.attached = true;
        Ok(state.attachment())
    }

    async fn create(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        let attributes = *attributes;
        self.serve("create", Some((file, Kind::Alone)), true, |state| {
            if attributes.size != 0 {
                state
                    .violations
                    .push(format!("create of {file:?} with a size"));
            }
            if state.now.files.contains_key(&file) {
                return Err(Error::Exists);
            }
            state.now.files.insert(
                file,
                StoredFile {
                    attributes,
                    data: Vec::new(),
                },
            );
            Ok(())
        })
        .await
    }

    async fn delete(&self, file: FileNumber) -> Result<()> {
        self.serve("delete", Some((file, Kind::Alone)), true, |state| {
            if let Some(error) = state.delete_errors.pop() {
                return Err(error);
            }
            state
                .now
                .files
                .remove(&file)
                .map(|_| ())
                .ok_or(Error::NotFound)
        })
        .await
    }

    async fn read(&self, file: FileNumber, offset: u64, mut data: Sink<'_>) -> Result<usize> {
        self.serve("read", Some((file, Kind::Shared)), false, |state| {
            if !offset.is_multiple_of(PAGE as u64) || !data.len().is_multiple_of(PAGE) {
                state
                    .violations
                    .push(format!("read of {file:?}: not whole blocks"));
            }
            state.pages_read += (data.len() / PAGE) as u64;
            let first = offset / PAGE as u64;
            let blocks = first..first + (data.len() / PAGE) as u64;
            if state
                .bad
                .iter()
                .any(|(bad, block)| *bad == file && blocks.contains(block))
            {
                return Err(Error::Corrupt);
            }
            let content = &state.file(file)?.data;
            let from = (offset as usize).min(content.len());
            let len = data.len().min(content.len() - from);
            data.copy_from(0, &content[from..from + len])?;
            // What lies beyond the end is nobody's business, and so may be anything.
            let rubbish = vec![0xee; data.len() - len];
            data.copy_from(len, &rubbish)?;
            Ok(len)
        })
        .await
    }

    async fn write(&self, write: Write<'_>) -> Result<usize> {
        let file = write.file;
        let _alike = self.alike(&write);
        self.serve("write", Some((file, Kind::Shared)), true, |state| {
            let data = write.data.to_vec()?;
            state.check_write(&write, &data);
            if let Some(error) = state.write_errors.pop() {
                return Err(error);
            }
            if let Some(left) = &mut state.lose_write {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    state.lose_write = None;
                    return state.file(file).map(|_| data.len());
                }
            }
            let grown = (write.size as usize).div_ceil(PAGE) as u64;
            let before = state.file(file)?.data.len().div_ceil(PAGE) as u64;
            if state.now.blocks() + grown.saturating_sub(before) > state.blocks_max {
                return Err(Error::NoSpace);
            }
            let stored = state.file(file)?;
            stored.data.resize(write.size as usize, 0);
            let at = write.offset as usize;
            let len = data.len().min(write.size as usize - at);
            stored.data[at..at + len].copy_from_slice(&data[..len]);
            stored.attributes.size = write.size;
            stored.attributes.modified_ns = write.modified_ns;
            stored.attributes.changed_ns = write.modified_ns;
            Ok(data.len())
        })
        .await
    }

    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        self.serve("truncate", Some((file, Kind::Alone)), true, |state| {
            let failure = state.truncate_error.take();
            let size = failure.map_or(size, |(reached, _)| reached);
            let stored = state.file(file)?;
            stored.data.resize(size as usize, 0);
            stored.attributes.size = size;
            stored.attributes.modified_ns = modified_ns;
            stored.attributes.changed_ns = modified_ns;
            failure.map_or(Ok(()), |(_, error)| Err(error))
        })
        .await
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.serve("getattr", Some((file, Kind::Shared)), false, |state| {
            if let Some(error) = state.getattr_errors.pop() {
                return Err(error);
            }
            let stored = state.file(file)?;
            let blocks = stored.data.len().div_ceil(PAGE) as u64;
            Ok(Attributes {
                blocks,
                ..stored.attributes
            })
        })
        .await
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.serve("setattr", Some((file, Kind::Shared)), true, |state| {
            change.apply(&mut state.file(file)?.attributes);
            Ok(())
        })
        .await
    }

    async fn sync(&self) -> Result<Timestamp> {
        if self.state().attached && self.sync_dies() {
            yield_now().await;
            self.crash();
            return Err(Error::PeerDied);
        }
        let attached = self.state().attached;
        self.state().syncing = attached;
        let answer = self
            .serve("sync", None, false, |state| {
                if let Some(error) = state.sync_errors.pop() {
                    return Err(error);
                }
                state.checkpoint = state.now.clone();
                state.timestamp += 1;
                Ok(Timestamp(state.timestamp))
            })
            .await;
        self.state().syncing = false;
        answer
    }

    async fn usage(&self) -> Result<Usage> {
        self.serve("usage", None, false, |state| {
            let blocks = state.blocks_max;
            let blocks_free = blocks.saturating_sub(state.now.blocks());
            Ok(Usage {
                blocks,
                blocks_free,
                files: 1 << 20,
                files_free: 1 << 20,
                stores: 1,
                stores_present: 1,
            })
        })
        .await
    }

    async fn numbers(&self, first: FileNumber, mut bitmap: Sink<'_>) -> Result<usize> {
        self.serve("numbers", None, false, |state| {
            let mut bits = vec![0u8; bitmap.len()];
            for number in state.now.files.keys() {
                let at = number.0.wrapping_sub(first.0) as usize;
                if at / 8 < bits.len() {
                    bits[at / 8] |= 1 << (at % 8);
                }
            }
            bitmap.copy_from(0, &bits)?;
            Ok(bits.len())
        })
        .await
    }
}

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
