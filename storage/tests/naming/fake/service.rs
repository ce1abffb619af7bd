//! The calls of the fake: each checks what it may, gives way, and lets the fault strike.

use std::collections::BTreeMap;

use storage::{
    Error, Result,
    buffer::Sink,
    file::{
        Attachment, AttributeChange, Attributes, FileNumber, FileService, Timestamp, Usage,
        VolumeFormat, Write,
    },
};

use super::{Changing, Fake, File};
use crate::fsck;

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
        // Held, but a format takes all away.
        let there = (self.0.borrow().files.get(&file.0)).map(|file| file.read(offset, &mut bytes));
        let count = there.ok_or(Error::NotFound)?;
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

    async fn history(&self) -> Result<u64> {
        Ok(self.0.borrow().history)
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
        let range = first.0..first.0 + bits.len() as u64 * 8;
        let state = self.0.borrow();
        let there = state.files.range(range.clone()).map(|(&number, _)| number);
        // After a crash of the system the checkpoint's files are there again.
        let deleted = state.freed.range(range).copied();
        for number in there.chain(deleted) {
            let bit = (number - first.0) as usize;
            bits[bit / 8] |= 1 << (bit % 8);
            used = used.max(bit / 8 + 1);
        }
        bitmap.copy_from(0, &bits[..used])?;
        Ok(used)
    }
}
