//! A file service in memory that fails the test when naming breaks the rules of `FileService`.
//!
//! It checks: nothing before `attach` or `format`; no call on a file that is not there (but
//! `getattr`, which may ask); no number reused before the next checkpoint; nothing that changes
//! state while a `sync` runs; no read or write beside a truncate or a delete of the same file; and
//! that every checkpoint holds a whole file system (see `fsck`). Every call gives way a few times,
//! from a seed, so that calls interleave.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use storage::{
    BLOCK_BYTES, Error, Result,
    buffer::Sink,
    checksum::Algorithm,
    file::{
        Attachment, AttributeChange, Attributes, FileNumber, FileService, Timestamp, Usage,
        VolumeFormat, Write,
    },
};

use crate::fsck;

/// A file: its attributes and the blocks that are not holes.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct File {
    pub attributes: Attributes,
    pub blocks: BTreeMap<u64, Vec<u8>>,
}

impl File {
    /// Bytes from `offset` on, up to the end.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let len = self
            .attributes
            .size
            .saturating_sub(offset)
            .min(into.len() as u64) as usize;
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES as u64) as usize;
            let step = (BLOCK_BYTES - within).min(len - done);
            let target = &mut into[done..done + step];
            match self.blocks.get(&(at / BLOCK_BYTES as u64)) {
                Some(block) => target.copy_from_slice(&block[within..within + step]),
                None => target.fill(0),
            }
            done += step;
        }
        len
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES as u64) as usize;
            let step = (BLOCK_BYTES - within).min(data.len() - done);
            let block = self.blocks.entry(at / BLOCK_BYTES as u64);
            let block = block.or_insert_with(|| vec![0; BLOCK_BYTES]);
            block[within..within + step].copy_from_slice(&data[done..done + step]);
            done += step;
        }
        self.attributes.size = self.attributes.size.max(offset + data.len() as u64);
    }

    fn truncate(&mut self, size: u64) {
        let block_bytes = BLOCK_BYTES as u64;
        self.blocks.retain(|&block, _| block * block_bytes < size);
        if let Some(last) = self.blocks.get_mut(&(size / block_bytes)) {
            last[(size % block_bytes) as usize..].fill(0);
        }
        self.attributes.size = size;
    }

    /// All bytes of a small file.
    pub fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.attributes.size as usize];
        self.read(0, &mut bytes);
        bytes
    }
}

/// What the volume holds.
pub type Files = BTreeMap<u64, File>;

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The call fails and has no effect.
    Fail(Error),
    /// The call has its effect and fails all the same.
    FailAfter(Error),
    /// A write of data takes half of them, and further ones fail until a sync. Any other call
    /// fails and has no effect.
    Half(Error),
    /// The call has no effect and never returns; nothing comes after it.
    Hang,
    /// The call has its effect and never returns; nothing comes after it.
    HangAfter,
}

#[derive(Default)]
struct Busy {
    shared: u32,
    exclusive: bool,
}

#[derive(Default)]
pub struct State {
    pub files: Files,
    /// What the last checkpoint holds.
    pub checkpoint: Files,
    pub timestamp: u64,
    formatted: bool,
    attached: bool,
    syncing: bool,
    changing: u32,
    busy: BTreeMap<u64, Busy>,
    pub freed: BTreeSet<u64>,
    /// Calls by name since the last `take_calls`.
    calls: Vec<&'static str>,
    /// Calls that change state until the fault strikes.
    fault: Option<(u64, Fault)>,
    hung: bool,
    /// Why data cannot be written before the next sync.
    pub short: Option<Error>,
    /// Nor can they after it.
    pub short_for_good: bool,
    seed: u64,
    /// Whether hostile contents excuse calls on files that are not there.
    pub lenient: bool,
    /// Whether checkpoints are checked.
    pub unchecked: bool,
    pub syncs: u64,
}

/// The fake; clones share what they hold.
#[derive(Clone, Default)]
pub struct Fake(pub Rc<RefCell<State>>);

/// Gives way `0` times or more.
struct GiveWay(u32);

impl Future for GiveWay {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Counts a creation for as long as it lasts.
struct Changing(Fake);

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.0.borrow_mut().changing -= 1;
    }
}

/// Marks a file busy for as long as a call on it lasts.
struct Hold {
    fake: Fake,
    file: u64,
    exclusive: bool,
    changes: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.fake.0.borrow_mut();
        let busy = state.busy.get_mut(&self.file).expect("held");
        if self.exclusive {
            busy.exclusive = false;
        } else {
            busy.shared -= 1;
        }
        state.changing -= u32::from(self.changes);
    }
}

impl Fake {
    pub fn new(seed: u64) -> Self {
        let fake = Self::default();
        fake.0.borrow_mut().seed = seed | 1;
        fake
    }

    /// The same volume as a restarted naming layer finds it: nothing below has changed.
    pub fn restarted(&self) -> Self {
        let fake = Self::new(self.0.borrow().seed);
        {
            let (mut new, old) = (fake.0.borrow_mut(), self.0.borrow());
            new.files = old.files.clone();
            new.checkpoint = old.checkpoint.clone();
            new.timestamp = old.timestamp;
            new.formatted = old.formatted;
            new.freed = old.freed.clone();
            new.lenient = old.lenient;
            new.unchecked = old.unchecked;
        }
        fake
    }

    /// The volume as it is after the power failed: the last checkpoint.
    pub fn after_power_failure(&self) -> Self {
        let fake = self.restarted();
        {
            let mut state = fake.0.borrow_mut();
            state.files = state.checkpoint.clone();
            state.freed.clear();
        }
        fake
    }

    /// Lets a fault strike at the `after`th call from now that changes state, counted from zero.
    pub fn set_fault(&self, after: u64, fault: Fault) {
        self.0.borrow_mut().fault = Some((after, fault));
    }

    /// Takes the fault away; whether it was still to strike.
    pub fn clear_fault(&self) -> bool {
        self.0.borrow_mut().fault.take().is_some()
    }

    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.borrow_mut().calls)
    }

    pub fn files(&self) -> Files {
        self.0.borrow().files.clone()
    }

    fn give_way(&self) -> GiveWay {
        let mut state = self.0.borrow_mut();
        state.seed = state
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        GiveWay(((state.seed >> 33) % 3) as u32)
    }

    fn hold(
        &self,
        name: &'static str,
        file: FileNumber,
        exclusive: bool,
        changes: bool,
    ) -> Result<Hold> {
        let mut state = self.0.borrow_mut();
        state.calls.push(name);
        assert!(state.attached, "{name} before attach");
        assert!(
            !(changes && state.syncing),
            "{name} of {} while a sync runs",
            file.0
        );
        if !state.files.contains_key(&file.0) {
            assert!(
                state.lenient || name == "getattr",
                "{name} of {}, which is not there",
                file.0
            );
            return Err(Error::NotFound);
        }
        let busy = state.busy.entry(file.0).or_default();
        assert!(
            !busy.exclusive,
            "{name} of {} beside a truncate or a delete",
            file.0
        );
        if exclusive {
            assert_eq!(
                busy.shared, 0,
                "{name} of {} beside other calls on it",
                file.0
            );
            busy.exclusive = true;
        } else {
            busy.shared += 1;
        }
        state.changing += u32::from(changes);
        drop(state);
        Ok(Hold {
            fake: self.clone(),
            file: file.0,
            exclusive,
            changes,
        })
    }

    /// Lets the fault strike, or not; whether the call is to have its effect, and how it ends.
    async fn strike(&self) -> (bool, Result<()>) {
        self.strike_write(false).await
    }

    /// The same for a write, which may be one that can be made by halves.
    async fn strike_write(&self, takes_halves: bool) -> (bool, Result<()>) {
        if takes_halves && let Some(error) = self.0.borrow().short {
            return (false, Err(error));
        }
        let fault = {
            let mut state = self.0.borrow_mut();
            match &mut state.fault {
                None => None,
                Some((0, fault)) => {
                    let fault = *fault;
                    state.fault = None;
                    state.hung = matches!(fault, Fault::Hang | Fault::HangAfter);
                    Some(fault)
                }
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
            }
        };
        if self.0.borrow().hung && fault != Some(Fault::HangAfter) {
            std::future::pending::<()>().await;
        }
        match fault {
            Some(Fault::Fail(error)) => (false, Err(error)),
            Some(Fault::FailAfter(error)) => (true, Err(error)),
            Some(Fault::Half(error)) if takes_halves => {
                self.0.borrow_mut().short = Some(error);
                (true, Ok(()))
            }
            Some(Fault::Half(error)) => (false, Err(error)),
            // The reply never comes: see `reply`.
            Some(Fault::Hang | Fault::HangAfter) | None => (true, Ok(())),
        }
    }

    fn put(&self, number: FileNumber, offset: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0
                .borrow_mut()
                .files
                .get_mut(&number.0)
                .expect("held")
                .write(offset, bytes);
        }
    }

    /// Where a call returns, unless it hangs.
    async fn reply<T>(&self, result: Result<T>) -> Result<T> {
        if self.0.borrow().hung {
            std::future::pending::<()>().await;
        }
        result
    }

    /// Lets calls return again after a hang.
    pub fn heal(&self) {
        self.0.borrow_mut().hung = false;
    }

    fn attachment(&self) -> Attachment {
        Attachment {
            volume: 7,
            checkpoint: Timestamp(self.0.borrow().timestamp),
            algorithm: Algorithm::Xxh64,
            first_file: FileNumber(1),
            stores: 2,
            stores_present: 2,
        }
    }
}

impl FileService for Fake {
    async fn attach(&self) -> Result<Attachment> {
        self.give_way().await;
        if !self.0.borrow().formatted {
            return Err(Error::NotFormatted);
        }
        self.0.borrow_mut().attached = true;
        Ok(self.attachment())
    }

    async fn format(&self, _: &VolumeFormat) -> Result<Attachment> {
        self.give_way().await;
        let mut state = self.0.borrow_mut();
        assert_eq!(state.changing, 0, "format beside changes");
        state.files.clear();
        state.freed.clear();
        state.formatted = true;
        state.attached = true;
        state.timestamp = 1;
        drop(state);
        Ok(self.attachment())
    }

    async fn create(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        {
            let mut state = self.0.borrow_mut();
            state.calls.push("create");
            assert!(state.attached && !state.syncing, "create while a sync runs");
            assert!(file.0 != 0, "zero is no file");
            assert!(
                !state.freed.contains(&file.0),
                "{} reused before a checkpoint",
                file.0
            );
            state.changing += 1;
        }
        let changing = Changing(self.clone());
        self.give_way().await;
        let (effect, result) = self.strike().await;
        drop(changing);
        if self.0.borrow().files.contains_key(&file.0) {
            return Err(Error::Exists);
        }
        if effect {
            let attributes = Attributes {
                size: 0,
                blocks: 0,
                ..*attributes
            };
            let new = File {
                attributes,
                blocks: BTreeMap::new(),
            };
            self.0.borrow_mut().files.insert(file.0, new);
        }
        self.reply(result).await
    }

    async fn delete(&self, file: FileNumber) -> Result<()> {
        let hold = self.hold("delete", file, true, true)?;
        self.give_way().await;
        let (effect, result) = self.strike().await;
        if effect {
            let mut state = self.0.borrow_mut();
            state.files.remove(&file.0);
            state.freed.insert(file.0);
        }
        drop(hold);
        self.reply(result).await
    }

    async fn read(&self, file: FileNumber, offset: u64, mut data: Sink<'_>) -> Result<usize> {
        let _hold = self.hold("read", file, false, false)?;
        self.give_way().await;
        let mut bytes = vec![0; data.len()];
        let count = self.0.borrow().files[&file.0].read(offset, &mut bytes);
        self.give_way().await;
        data.copy_from(0, &bytes[..count])?;
        Ok(count)
    }

    async fn write(&self, write: Write<'_>) -> Result<usize> {
        let _hold = self.hold("write", write.file, false, true)?;
        assert!(
            write.checksums.is_empty(),
            "above the cache there are no checksums"
        );
        assert!(!write.data.is_empty(), "a write of nothing");
        self.give_way().await;
        let bytes = write.data.to_vec()?;
        // A cache may copy page by page: who reads meanwhile must have been kept away. What is
        // protected is small and goes in one piece.
        let protected = self.0.borrow().files[&write.file.0]
            .attributes
            .class
            .protected;
        let half = if protected { 0 } else { bytes.len() / 2 };
        let (effect, result) = self.strike_write(half > 0).await;
        let mut taken = bytes.len();
        if effect {
            self.put(write.file, write.offset, &bytes[..half]);
            self.give_way().await;
            if half > 0 && self.0.borrow().short.is_some() {
                taken = half;
            } else {
                self.put(write.file, write.offset + half as u64, &bytes[half..]);
            }
            let mut state = self.0.borrow_mut();
            let file = state.files.get_mut(&write.file.0).expect("held");
            file.attributes.modified_ns = write.modified_ns;
            file.attributes.changed_ns = write.modified_ns;
        }
        self.give_way().await;
        self.reply(result.map(|()| taken)).await
    }

    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        let _hold = self.hold("truncate", file, true, true)?;
        self.give_way().await;
        let (effect, result) = self.strike().await;
        if effect {
            let mut state = self.0.borrow_mut();
            let file = state.files.get_mut(&file.0).expect("held");
            file.truncate(size);
            file.attributes.modified_ns = modified_ns;
            file.attributes.changed_ns = modified_ns;
        }
        self.reply(result).await
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        // It may be asked beside anything; beside a delete either answer is right.
        drop(self.hold("getattr", file, false, false)?);
        self.give_way().await;
        let mut attributes = {
            let state = self.0.borrow();
            let file = state.files.get(&file.0).ok_or(Error::NotFound)?;
            Attributes {
                blocks: file.blocks.len() as u64,
                ..file.attributes
            }
        };
        attributes.logical = FileNumber(0);
        self.give_way().await;
        Ok(attributes)
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        let _hold = self.hold("setattr", file, false, true)?;
        self.give_way().await;
        let (effect, result) = self.strike().await;
        if effect {
            let mut state = self.0.borrow_mut();
            change.apply(&mut state.files.get_mut(&file.0).expect("held").attributes);
        }
        self.reply(result).await
    }

    async fn sync(&self) -> Result<Timestamp> {
        {
            let mut state = self.0.borrow_mut();
            state.calls.push("sync");
            assert!(!state.syncing, "two syncs at a time");
            assert_eq!(state.changing, 0, "a sync while changes are under way");
            state.syncing = true;
        }
        for _ in 0..5 {
            self.give_way().await;
        }
        let (effect, result) = self.strike().await;
        let mut state = self.0.borrow_mut();
        state.syncing = false;
        if !effect {
            result?;
        }
        if !state.unchecked {
            fsck::check_whole(&state.files);
        }
        state.checkpoint = state.files.clone();
        state.freed.clear();
        state.timestamp += 1;
        state.syncs += 1;
        if !state.short_for_good {
            state.short = None;
        }
        result.map(|()| Timestamp(state.timestamp))
    }

    async fn usage(&self) -> Result<Usage> {
        let files = self.0.borrow().files.len() as u64;
        Ok(Usage {
            blocks: 1 << 20,
            blocks_free: 1 << 19,
            files: 1 << 20,
            files_free: (1 << 20) - files,
            stores: 2,
            stores_present: 2,
        })
    }

    async fn numbers(&self, first: FileNumber, mut bitmap: Sink<'_>) -> Result<usize> {
        assert!(first.0.is_multiple_of(8));
        self.0.borrow_mut().calls.push("numbers");
        self.give_way().await;
        let mut bits = vec![0_u8; bitmap.len()];
        let mut used = 0;
        for (&number, _) in self
            .0
            .borrow()
            .files
            .range(first.0..first.0 + bits.len() as u64 * 8)
        {
            let bit = (number - first.0) as usize;
            bits[bit / 8] |= 1 << (bit % 8);
            used = bit / 8 + 1;
        }
        bitmap.copy_from(0, &bits[..used])?;
        Ok(used)
    }
}
