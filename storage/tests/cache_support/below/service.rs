//! The calls of the layer below.

use storage::{
    Error, Result,
    buffer::Sink,
    file::{
        Attachment, AttributeChange, Attributes, FileNumber, FileService, Resume, Timestamp, Usage,
        VolumeFormat, Write,
    },
};

use super::{Below, Kind, PAGE, StoredFile, Volume, yield_now};

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

    async fn resume(&self, from: &Resume) -> Result<Attachment> {
        let is_there = {
            let mut state = self.state();
            state.resumed = Some(*from);
            from.checkpoints().contains(&Timestamp(state.timestamp))
        };
        if is_there {
            self.attach().await
        } else {
            Err(Error::NoCheckpoint)
        }
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
            if let Some(error) = state.create_errors.pop() {
                return Err(error);
            }
            if state.now.files.len() >= state.files_max {
                return Err(Error::NoSpace);
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
                files: state.files_max as u64,
                files_free: (state.files_max - state.now.files.len()) as u64,
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
