//! A file store in memory, for the tests of the logical layer: simple, with exact checkpoints,
//! and with faults on request.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use storage::{
    BLOCK_BYTES, Error, Result,
    buffer::Sink,
    checksum::Checksum,
    file::{
        AttributeChange, Attributes, Checkpoint, FileNumber, FileStore, MAPPING_FILE, ResyncRange,
        StoreFormat, StoreInfo, Timestamp, Usage, Write,
    },
};

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Info,
    Load,
    Create,
    Delete,
    Read,
    Write,
    Setattr,
    Sync,
    Finish,
}

#[derive(Clone, Default)]
struct File {
    attributes: Attributes,
    blocks: BTreeMap<u64, Rc<[u8]>>,
}

#[derive(Clone, Default)]
struct State {
    files: BTreeMap<u64, File>,
}

/// The next `times` calls fail, after `spared` that do not.
struct Fault {
    call: Call,
    error: Error,
    spared: u32,
    times: u32,
}

/// What survives the store's process: its disk, and the faults the test has put on it.
#[derive(Default)]
pub struct Disk {
    format: RefCell<Option<StoreFormat>>,
    checkpoints: RefCell<Vec<(Checkpoint, State)>>,
    faults: RefCell<Vec<Fault>>,
    /// Blocks that read as corrupt, by physical file.
    pub corrupt: RefCell<Vec<u64>>,
    /// The checkpoint before the newest was lost, and not forgotten as it should be.
    unfinished: Cell<bool>,
    /// Blocks that files may have in all.
    pub capacity: Cell<u64>,
    pub reads: Cell<u32>,
    pub calls: RefCell<Vec<Call>>,
}

impl Disk {
    pub fn new() -> Rc<Self> {
        let disk = Self::default();
        disk.capacity.set(100_000);
        Rc::new(disk)
    }

    /// The next `times` calls fail with `error`.
    pub fn fail(&self, call: Call, error: Error, times: u32) {
        self.fail_after(call, error, 0, times);
    }

    /// As [`Self::fail`], when `spared` calls have passed.
    pub fn fail_after(&self, call: Call, error: Error, spared: u32, times: u32) {
        self.faults.borrow_mut().push(Fault {
            call,
            error,
            spared,
            times,
        });
    }

    pub fn heal(&self) {
        self.faults.borrow_mut().clear();
        self.corrupt.borrow_mut().clear();
    }

    /// The checkpoint before the newest is not there any more, by mistake.
    pub fn lose_the_one_before(&self) {
        let mut checkpoints = self.checkpoints.borrow_mut();
        while checkpoints.len() > 1 {
            checkpoints.remove(0);
        }
        self.unfinished.set(true);
    }

    /// An independent copy, as of now.
    pub fn image(&self) -> Rc<Self> {
        let copy = Self::new();
        *copy.format.borrow_mut() = *self.format.borrow();
        *copy.checkpoints.borrow_mut() = self.checkpoints.borrow().clone();
        copy
    }

    /// Physical files at the last checkpoint, without the mapping.
    pub fn files(&self) -> usize {
        let checkpoints = self.checkpoints.borrow();
        checkpoints
            .last()
            .map_or(0, |(_, state)| state.files.len() - 1)
    }

    fn enter(&self, call: Call) -> Result<()> {
        self.calls.borrow_mut().push(call);
        let mut faults = self.faults.borrow_mut();
        let hit = faults
            .iter_mut()
            .find(|fault| fault.call == call && fault.times > 0);
        hit.map_or(Ok(()), |fault| {
            if fault.spared > 0 {
                fault.spared -= 1;
                return Ok(());
            }
            fault.times -= 1;
            Err(fault.error)
        })
    }
}

pub struct Memory {
    disk: Rc<Disk>,
    state: RefCell<Option<State>>,
}

impl Memory {
    pub fn new(disk: &Rc<Disk>) -> Self {
        Self {
            disk: disk.clone(),
            state: RefCell::new(None),
        }
    }

    fn look<T>(&self, file: FileNumber, at: impl FnOnce(&File) -> T) -> Result<T> {
        let state = self.state.borrow();
        let state = state.as_ref().ok_or(Error::NotLoaded)?;
        state.files.get(&file.0).map(at).ok_or(Error::NotFound)
    }

    /// Changes a file, unless there is no room for the blocks `more`; as a disk does, this ends the time in
    /// which the checkpoint before the last can be loaded.
    fn change(&self, file: FileNumber, more: &[u64], by: impl FnOnce(&mut File)) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let files = &mut state.as_mut().ok_or(Error::NotLoaded)?.files;
        let used: usize = files.values().map(|file| file.blocks.len()).sum();
        let file = files.get_mut(&file.0).ok_or(Error::NotFound)?;
        let new = more
            .iter()
            .filter(|block| !file.blocks.contains_key(block))
            .count();
        if (used + new) as u64 > self.disk.capacity.get() && new > 0 {
            return Err(Error::NoSpace);
        }
        by(file);
        file.attributes.blocks = file.blocks.len() as u64;
        drop(state);
        self.unstable();
        Ok(())
    }

    fn unstable(&self) {
        let mut checkpoints = self.disk.checkpoints.borrow_mut();
        if checkpoints.len() > 1 {
            checkpoints.remove(0);
        }
    }
}

impl FileStore for Memory {
    async fn format(&self, format: &StoreFormat) -> Result<()> {
        let mut state = State::default();
        state.files.insert(MAPPING_FILE.0, File::default());
        let present = (1 << format.stores) - 1;
        let first = Checkpoint {
            timestamp: Timestamp(1),
            present,
        };
        *self.disk.format.borrow_mut() = Some(*format);
        *self.disk.checkpoints.borrow_mut() = vec![(first, state)];
        *self.state.borrow_mut() = None;
        Ok(())
    }

    async fn info(&self) -> Result<StoreInfo> {
        self.disk.enter(Call::Info)?;
        let format = self.disk.format.borrow().ok_or(Error::NotFormatted)?;
        let checkpoints = self.disk.checkpoints.borrow();
        let newest = checkpoints.last().ok_or(Error::NotFormatted)?.0;
        let previous = checkpoints.len().checked_sub(2).map(|i| checkpoints[i].0);
        Ok(StoreInfo {
            volume: format.volume,
            index: format.index,
            stores: format.stores,
            algorithm: format.algorithm,
            newest,
            previous,
            finished: previous.is_none() && !self.disk.unfinished.get(),
        })
    }

    async fn load(&self, checkpoint: Timestamp) -> Result<()> {
        self.disk.enter(Call::Load)?;
        let mut checkpoints = self.disk.checkpoints.borrow_mut();
        let found = checkpoints
            .iter()
            .position(|(it, _)| it.timestamp == checkpoint);
        let found = found.ok_or(Error::NoCheckpoint)?;
        checkpoints.truncate(found + 1);
        *self.state.borrow_mut() = Some(checkpoints[found].1.clone());
        Ok(())
    }

    async fn finish(&self, checkpoint: Timestamp) -> Result<()> {
        self.disk.enter(Call::Finish)?;
        let newest = self
            .disk
            .checkpoints
            .borrow()
            .last()
            .map(|it| it.0.timestamp);
        assert_eq!(newest, Some(checkpoint), "the newest is finished");
        self.unstable();
        Ok(())
    }

    async fn resync_ranges(&self, _: u64) -> Result<heapless::Vec<ResyncRange, 4>> {
        Ok(heapless::Vec::new())
    }

    async fn prewrite(&self, _: FileNumber, _: u64, _: &[Checksum]) -> Result<bool> {
        Ok(false)
    }

    async fn create(&self, attributes: &Attributes) -> Result<FileNumber> {
        self.disk.enter(Call::Create)?;
        let mut state = self.state.borrow_mut();
        let files = &mut state.as_mut().ok_or(Error::NotLoaded)?.files;
        // Numbers that differ from store to store, so that a mix-up shows.
        let part = self
            .disk
            .format
            .borrow()
            .map_or(0, |format| u64::from(format.index));
        let number = files
            .last_key_value()
            .map_or(0, |(last, _)| last + 1 + part);
        files.insert(
            number,
            File {
                attributes: *attributes,
                blocks: BTreeMap::new(),
            },
        );
        drop(state);
        self.unstable();
        Ok(FileNumber(number))
    }

    async fn delete(&self, file: FileNumber) -> Result<()> {
        self.disk.enter(Call::Delete)?;
        self.look(file, |_| ())?;
        if let Some(state) = self.state.borrow_mut().as_mut() {
            state.files.remove(&file.0);
        }
        self.unstable();
        Ok(())
    }

    async fn read(&self, file: FileNumber, offset: u64, mut data: Sink<'_>) -> Result<usize> {
        self.disk.enter(Call::Read)?;
        self.disk.reads.set(self.disk.reads.get() + 1);
        if self.disk.corrupt.borrow().contains(&file.0) {
            // What a store may leave in the buffer before it notices.
            data.zero(0, data.len())?;
            return Err(Error::Corrupt);
        }
        assert!(
            offset.is_multiple_of(4096) && data.len().is_multiple_of(4096),
            "whole blocks"
        );
        data.zero(0, data.len())?;
        self.look(file, |file| {
            for i in 0..data.len() / BLOCK_BYTES {
                let block = offset / BLOCK_BYTES as u64 + i as u64;
                if let Some(bytes) = file.blocks.get(&block) {
                    data.copy_from(i * BLOCK_BYTES, bytes)?;
                }
            }
            let left = file.attributes.size.saturating_sub(offset);
            Ok(left.min(data.len() as u64) as usize)
        })?
    }

    async fn write(&self, write: Write<'_>) -> Result<()> {
        self.disk.enter(Call::Write)?;
        let algorithm = self
            .disk
            .format
            .borrow()
            .map(|it| it.algorithm)
            .unwrap_or_default();
        let data = write.data.to_vec()?;
        assert!(write.offset.is_multiple_of(4096) && data.len().is_multiple_of(4096));
        assert_eq!(data.len() / BLOCK_BYTES, write.checksums.len());
        let first = write.offset / BLOCK_BYTES as u64;
        let touched: Vec<u64> = (first..).take(write.checksums.len()).collect();
        self.change(write.file, &touched, |file| {
            let blocks = data.chunks(BLOCK_BYTES).zip(write.checksums);
            for (i, (bytes, checksum)) in (first..).zip(blocks) {
                assert_eq!(
                    algorithm.of(bytes),
                    *checksum,
                    "the checksum that came along"
                );
                file.blocks.insert(i, bytes.into());
            }
            file.attributes.size = write.size;
            file.attributes.modified_ns = write.modified_ns;
        })
    }

    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        self.disk.enter(Call::Write)?;
        self.change(file, &[], |file| {
            file.blocks.retain(|block, _| block * 4096 < size);
            if let Some(last) = file.blocks.get_mut(&(size / 4096)) {
                let kept = (size % 4096) as usize;
                *last = last
                    .iter()
                    .enumerate()
                    .map(|(i, b)| *b * u8::from(i < kept))
                    .collect();
            }
            file.attributes.size = size;
            file.attributes.modified_ns = modified_ns;
        })
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.look(file, |file| file.attributes)
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.disk.enter(Call::Setattr)?;
        self.change(file, &[], |file| change.apply(&mut file.attributes))
    }

    async fn sync(&self, checkpoint: Checkpoint) -> Result<()> {
        self.disk.enter(Call::Sync)?;
        let state = self.state.borrow().clone().ok_or(Error::NotLoaded)?;
        let mut checkpoints = self.disk.checkpoints.borrow_mut();
        if let Some((last, _)) = checkpoints.last() {
            assert!(checkpoint.timestamp > last.timestamp, "time goes forward");
        }
        checkpoints.push((checkpoint, state));
        let surplus = checkpoints.len().saturating_sub(2);
        checkpoints.drain(..surplus);
        Ok(())
    }

    async fn usage(&self) -> Result<Usage> {
        let state = self.state.borrow();
        let files = &state.as_ref().ok_or(Error::NotLoaded)?.files;
        let used: usize = files.values().map(|file| file.blocks.len()).sum();
        let blocks = self.disk.capacity.get();
        let blocks_free = blocks.saturating_sub(used as u64);
        Ok(Usage {
            blocks,
            blocks_free,
            files: 1 << 20,
            files_free: 1 << 19,
            stores: 1,
            stores_present: 1,
        })
    }
}
