//! The file calls, on the copies that the mapping names.

use alloc::vec::Vec;

use super::{
    Logical,
    entry::{Copies, Copy, ENTRY_BYTES, Entry},
    mapping::{FILE_NUMBER_MAX, place},
    volume::Volume,
};
use crate::{
    BLOCK_BYTES, Error, Result,
    buffer::Sink,
    checksum::Checksum,
    file::{
        Attachment, AttributeChange, Attributes, FileNumber, FileService, FileStore, Redundancy,
        Resume, Timestamp, Usage, VolumeFormat, Write,
    },
};

impl<S: FileStore> FileService for Logical<S> {
    /// Loads the volume, unless it is loaded; then it only says again what it is.
    async fn attach(&self) -> Result<Attachment> {
        let _barrier = self.barrier.lock().await;
        match self.volume() {
            Ok(volume) => Ok(volume.attachment()),
            Err(_) => self.load(None).await,
        }
    }

    async fn resume(&self, from: &Resume) -> Result<Attachment> {
        let _barrier = self.barrier.lock().await;
        match self.volume() {
            Ok(volume) => Ok(volume.attachment()),
            Err(_) => self.load(Some(from)).await,
        }
    }

    async fn format(&self, format: &VolumeFormat) -> Result<Attachment> {
        let change = self.stores.change();
        let _barrier = self.barrier.lock().await;
        let result = self.make(format).await;
        change.done();
        result
    }

    /// [`Error::BadArgument`] for a number that no file can have (0, or above 2³² − 1).
    async fn create(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        let change = self.stores.change();
        let result = self.create_copies(file, attributes).await;
        change.done();
        result
    }

    async fn delete(&self, file: FileNumber) -> Result<()> {
        let change = self.stores.change();
        let result = self.delete_copies(file).await;
        change.done();
        result
    }

    async fn read(&self, file: FileNumber, offset: u64, mut data: Sink<'_>) -> Result<usize> {
        let volume = self.volume()?;
        let _shared = volume.calls.read().await;
        let entry = self.entry(&volume, file).await?;
        self.on_any(&volume, file, &entry.copies, async |store, physical| {
            store.read(physical, offset, data.reborrow()).await
        })
        .await
    }

    async fn write(&self, write: Write<'_>) -> Result<usize> {
        let bytes = write.data.len();
        let blocks = bytes / BLOCK_BYTES;
        let whole = bytes.is_multiple_of(BLOCK_BYTES)
            && write.offset.is_multiple_of(BLOCK_BYTES as u64)
            && write.checksums.len() == blocks
            && blocks > 0;
        let end = write.offset.checked_add(bytes as u64).filter(|_| whole);
        let range = write.offset..end.ok_or(Error::BadArgument)?;
        let change = self.stores.change();
        let result = self
            .change_copies(write.file, range, async |store: &S, physical| {
                store
                    .write(Write {
                        file: physical,
                        ..write.clone()
                    })
                    .await
            })
            .await;
        change.done();
        result.map(|()| bytes)
    }

    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        let change = self.stores.change();
        let result = self
            .change_copies(file, size..u64::MAX, async |store: &S, physical| {
                store.truncate(physical, size, modified_ns).await
            })
            .await;
        change.done();
        result
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        let volume = self.volume()?;
        let _shared = volume.calls.read().await;
        let entry = self.entry(&volume, file).await?;
        let attributes = self
            .on_any(&volume, file, &entry.copies, async |store, physical| {
                let attributes = store.getattr(physical).await?;
                // A copy that says it is another file's is no copy.
                if attributes.logical == file {
                    Ok(attributes)
                } else {
                    Err(Error::Corrupt)
                }
            })
            .await?;
        Ok(Attributes {
            class: entry.class,
            logical: FileNumber(0),
            ..attributes
        })
    }

    /// What a copy says to it is only whether another one is of use: the write tells all else. A file
    /// without a copy says nothing of the others.
    async fn prewrite(
        &self,
        file: FileNumber,
        offset: u64,
        checksums: &[Checksum],
    ) -> Result<bool> {
        let volume = self.volume()?;
        let entry = self.entry(&volume, file).await?;
        let copies = volume.at_work(&entry.copies);
        let outcomes = self
            .on_all(&volume, &copies, async |store: &S, physical| {
                store.prewrite(physical, offset, checksums).await
            })
            .await;
        Ok(copies.is_empty() || outcomes.iter().any(|(_, useful)| *useful != Ok(false)))
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        let guard = self.stores.change();
        let result = self
            .change_copies(file, 0..0, async |store: &S, physical| {
                store.setattr(physical, change).await
            })
            .await;
        guard.done();
        result
    }

    async fn sync(&self) -> Result<Timestamp> {
        let change = self.stores.change();
        let result = self.take_checkpoint().await;
        change.done();
        result
    }

    /// The least room that any store at work has: what a mirrored file can count on.
    async fn usage(&self) -> Result<Usage> {
        let volume = self.volume()?;
        let usages = self.usages(&volume).await?;
        let Attachment {
            stores,
            stores_present,
            ..
        } = volume.attachment();
        let least = |of: fn(&Usage) -> u64| usages.iter().map(|(_, it)| of(it)).min().unwrap_or(0);
        Ok(Usage {
            blocks: least(|usage| usage.blocks),
            blocks_free: least(|usage| usage.blocks_free),
            files: least(|usage| usage.files),
            files_free: least(|usage| usage.files_free),
            stores,
            stores_present,
        })
    }

    async fn numbers(&self, first: FileNumber, bitmap: Sink<'_>) -> Result<usize> {
        let volume = self.volume()?;
        self.used_numbers(&volume, first, bitmap).await
    }
}

impl<S: FileStore> Logical<S> {
    async fn create_copies(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        let volume = &*self.volume()?;
        if file.0 == 0 || file.0 > FILE_NUMBER_MAX {
            return Err(Error::BadArgument);
        }
        if self.find_entry(volume, file).await?.is_some() {
            return Err(Error::Exists);
        }
        self.reserve(volume, place(file).0).await?;
        let stores: Copies = match attributes.class.redundancy {
            Redundancy::Mirror => volume.mapping_copies(),
            Redundancy::Single => {
                let usages = self.usages(volume).await?;
                let roomiest = usages.iter().max_by_key(|(_, usage)| usage.blocks_free);
                roomiest.map(|&(copy, _)| copy).into_iter().collect()
            }
        };
        let attributes = Attributes {
            size: 0,
            blocks: 0,
            logical: file,
            ..*attributes
        };
        let outcomes = self
            .on_all(volume, &stores, async |store, _| {
                store.create(&attributes).await
            })
            .await;
        let settled = self.settle(volume, outcomes)?;
        // A store that finds no room for an inode because its metadata are corrupt finds none for the next,
        // either: every file from now on would have a copy less, and nobody would know.
        for copy in settled.bad {
            volume.take_out(copy.store, Error::Corrupt);
        }
        let copies: Copies = settled
            .done
            .iter()
            .map(|&(copy, physical)| Copy {
                store: copy.store,
                physical,
            })
            .collect();
        let result = match settled.refused {
            Some((_, error)) => Err(error),
            None => {
                let entry = Entry {
                    class: attributes.class,
                    copies: copies.clone(),
                };
                self.put_entry(volume, file, &entry.encode()).await
            }
        };
        if result.is_err() {
            let undone = self
                .on_all(volume, &copies, async |store, file| {
                    store.delete(file).await
                })
                .await;
            // A copy that stays is a file without a name in the mapping: room lost, nothing else.
            let _ = self.settle(volume, undone);
        }
        result
    }

    async fn delete_copies(&self, file: FileNumber) -> Result<()> {
        let volume = &*self.volume()?;
        let _shared = volume.calls.read().await;
        let mut entry = self.entry(volume, file).await?;
        let copies = volume.at_work(&entry.copies);
        if !copies.is_empty() {
            let outcomes = self
                .on_all(volume, &copies, async |store, file| {
                    store.delete(file).await
                })
                .await;
            match self.settle(volume, outcomes) {
                Err(Error::Corrupt) => {
                    log::error!("file {}: deleted, though its copies are corrupt", file.0);
                }
                settled => {
                    let settled = settled?;
                    if let Some((_, error)) = settled.refused {
                        let gone = |copy: &Copy| settled.done.iter().any(|(it, ())| it == copy);
                        entry.copies.retain(|copy| !gone(copy));
                        self.put_entry(volume, file, &entry.encode()).await?;
                        return Err(error);
                    }
                }
            }
        }
        self.put_entry(volume, file, &[0; ENTRY_BYTES]).await
    }

    /// Changes all copies of a file; `range` is what of its data may change.
    async fn change_copies(
        &self,
        file: FileNumber,
        range: core::ops::Range<u64>,
        call: impl AsyncFn(&S, FileNumber) -> Result<()>,
    ) -> Result<()> {
        let volume = self.volume()?;
        let shared = volume.calls.read().await;
        let entry = self.entry(&volume, file).await?;
        let copies = volume.at_work(&entry.copies);
        let outcomes = self.on_all(&volume, &copies, call).await;
        drop(shared);
        self.finish(&volume, file, outcomes, range).await
    }

    /// The usage of each store at work that answers. [`Error::Device`] if none does.
    async fn usages(&self, volume: &Volume) -> Result<Vec<(Copy, Usage)>> {
        let stores = volume.mapping_copies();
        let outcomes = self
            .on_all(volume, &stores, async |store, _| store.usage().await)
            .await;
        let answers = outcomes
            .into_iter()
            .filter_map(|(copy, it)| Some((copy, it.ok()?)));
        let answers: Vec<_> = answers.collect();
        if answers.is_empty() {
            Err(Error::Device)
        } else {
            Ok(answers)
        }
    }
}
