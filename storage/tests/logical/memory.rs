//! A file store in memory, for the tests of the logical layer: simple, with exact checkpoints,
//! and with faults on request.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use storage::{
    BLOCK_BYTES, Error, Result,
    buffer::Sink,
    checksum::Checksum,
    file::{
        AttributeChange, Attributes, Checkpoint, FileNumber, FileStore, MAPPING_FILE, ResyncRange,
        StoreFormat, StoreInfo, Timestamp, Usage, Write,
    },
};

use crate::disk::{Call, Disk, File, State};

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
        self.disk.enter(Call::Info).await?;
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
        self.disk.enter(Call::Load).await?;
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
        self.disk.enter(Call::Finish).await?;
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

    async fn resync_ranges(&self, skip: u64) -> Result<heapless::Vec<ResyncRange, 4>> {
        let ranges = self.disk.ranges.borrow();
        Ok(ranges.iter().skip(skip as usize).take(4).copied().collect())
    }

    async fn prewrite(&self, _: FileNumber, _: u64, _: &[Checksum]) -> Result<bool> {
        Ok(false)
    }

    async fn create(&self, attributes: &Attributes) -> Result<FileNumber> {
        self.disk.enter(Call::Create).await?;
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
        self.disk.enter(Call::Delete).await?;
        self.look(file, |_| ())?;
        if let Some(state) = self.state.borrow_mut().as_mut() {
            state.files.remove(&file.0);
        }
        self.unstable();
        Ok(())
    }

    async fn read(&self, file: FileNumber, offset: u64, mut data: Sink<'_>) -> Result<usize> {
        self.disk.enter(Call::Read).await?;
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
        self.disk.enter(Call::Write).await?;
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
        self.disk.enter(Call::Write).await?;
        let stopped = self.disk.stop_at.take();
        let size = stopped.map_or(size, |blocks| blocks * BLOCK_BYTES as u64);
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
        })?;
        stopped.map_or(Ok(()), |_| Err(Error::NoMemory))
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.disk.enter(Call::Getattr).await?;
        self.look(file, |file| file.attributes)
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.disk.enter(Call::Setattr).await?;
        self.change(file, &[], |file| change.apply(&mut file.attributes))
    }

    async fn sync(&self, checkpoint: Checkpoint) -> Result<()> {
        self.disk.enter(Call::Sync).await?;
        let state = self.state.borrow().clone().ok_or(Error::NotLoaded)?;
        let mut checkpoints = self.disk.checkpoints.borrow_mut();
        if let Some((last, _)) = checkpoints.last() {
            assert!(checkpoint.timestamp > last.timestamp, "time goes forward");
        }
        checkpoints.push((checkpoint, state));
        self.disk.ranges.borrow_mut().clear();
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
