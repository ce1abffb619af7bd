//! The file system as one client sees it.

use alloc::rc::Rc;

use serde::Serialize;

use super::{
    CallKey, Naming,
    asked::Asked,
    chores::Aim,
    descriptors::{ClientId, OpenFile},
    journal::Effect,
    volume::Volume,
};
use crate::{
    Error, Result,
    buffer::{Sink, Source},
    clock::Clock,
    file::{FileService, VolumeFormat, Work},
    vfs::{Descriptor, FileSystem, OpenFlags, SeekFrom, SetTime, Stat, StatFs},
};

/// Formats that may overtake one operation.
const FORMATS_MAX: usize = 8;

/// [`FileSystem`] for one client of [`Naming`]. Nothing is kept here: one can be made for each
/// call.
pub struct Client<'a, F, C> {
    naming: &'a Naming<F, C>,
    id: ClientId,
    /// The call, if it comes as a message. What it leaves to do is then done after the reply.
    call: Option<CallKey>,
}

impl<'a, F: FileService, C: Clock> Client<'a, F, C> {
    pub(super) fn new(naming: &'a Naming<F, C>, id: ClientId, call: Option<CallKey>) -> Self {
        Self { naming, id, call }
    }

    /// How a call begins that changes something.
    fn asked(&self) -> Asked<'a> {
        Asked::new(&self.naming.journal, self.call)
    }

    /// Does what is left to do, unless there is a reply to be given first.
    async fn tidy(&self, volume: &Volume) {
        if self.call.is_none() {
            self.naming.tidy(volume).await;
        }
    }

    /// Closes what an older instance of the client left open.
    async fn admit(&self) -> Result<()> {
        let left = self.naming.descriptors.borrow_mut().admit(self.id)?;
        if left.is_empty() {
            return Ok(());
        }
        self.naming.forget_descriptors(self.id.role, left);
        let volume = self.naming.volume.borrow().clone();
        if let Some(volume) = volume {
            self.naming.tidy(&volume).await;
        }
        Ok(())
    }

    /// How a call on a descriptor or a volume begins.
    async fn enter(&self) -> Result<Rc<Volume>> {
        self.admit().await?;
        self.naming.mounted().await
    }

    /// Runs an operation on the mounted volume. If a format has put another in its place meanwhile
    /// and `is_void` says that the outcome counts for nothing then, runs it again on that one.
    async fn on_volume<T>(
        &self,
        is_void: impl Fn(&Result<T>) -> bool,
        mut operation: impl AsyncFnMut(&Rc<Volume>) -> Result<T>,
    ) -> Result<T> {
        self.admit().await?;
        for _ in 0..FORMATS_MAX {
            let volume = self.naming.mounted().await?;
            let result = operation(&volume).await;
            if self.naming.is_current(&volume) || !is_void(&result) {
                return result;
            }
        }
        Err(Error::Busy)
    }

    /// Runs an operation that changes nothing.
    async fn look<T>(&self, operation: impl AsyncFnMut(&Rc<Volume>) -> Result<T>) -> Result<T> {
        self.on_volume(|_| true, operation).await
    }

    /// Runs an operation that changes names or attributes.
    async fn attempt<T>(
        &self,
        aim: Aim,
        mut operation: impl AsyncFnMut(&Rc<Volume>) -> Result<T>,
    ) -> Result<T> {
        self.on_volume(Result::is_err, async |volume| {
            let operation = async || operation(volume).await;
            let result = self.naming.with_room(volume, aim, operation).await;
            if result.is_err() {
                self.tidy(volume).await;
            }
            result
        })
        .await
    }

    /// Runs an operation that changes names, commits it, and does what it leaves to do.
    async fn change<T: Serialize>(
        &self,
        aim: Aim,
        operation: impl AsyncFnMut(&Rc<Volume>) -> Result<T>,
    ) -> Result<T> {
        let asked = self.asked();
        let result = self.attempt(aim, operation).await;
        asked.end(&result);
        self.tidy_mounted().await;
        result
    }

    /// Runs an operation that changes the attributes of one file.
    async fn change_attributes(
        &self,
        mut operation: impl AsyncFnMut(&Volume, &Asked<'_>) -> Result<()>,
    ) -> Result<()> {
        let asked = self.asked();
        let change = async |volume: &Rc<Volume>| operation(volume, &asked).await;
        let result = self.attempt(Aim::Add, change).await;
        asked.end(&result);
        self.tidy_mounted().await;
        result
    }

    /// Does what is left to do on the volume that is mounted now.
    async fn tidy_mounted(&self) {
        let volume = self.naming.volume.borrow().clone();
        if let Some(volume) = volume {
            self.tidy(&volume).await;
        }
    }

    /// How a call on a descriptor begins.
    async fn enter_open(&self, descriptor: Descriptor) -> Result<(Rc<Volume>, Rc<OpenFile>)> {
        let volume = self.enter().await?;
        let file = self.naming.descriptors.borrow().get(self.id, descriptor)?;
        Ok((volume, file))
    }

    /// How it ends: if the descriptor was closed meanwhile, this was the last to hold the file.
    async fn leave_open(&self, volume: &Volume, file: Rc<OpenFile>) {
        drop(file);
        self.tidy(volume).await;
    }

    /// Runs a call that changes nothing but where the descriptor is.
    async fn move_on<T: Serialize>(
        &self,
        descriptor: Descriptor,
        operation: impl AsyncFnOnce(&Volume, &OpenFile) -> Result<T>,
    ) -> Result<T> {
        let (volume, file) = self.enter_open(descriptor).await?;
        let asked = self.asked();
        let turn = file.turn.lock().await;
        let before = file.position.get();
        let result = operation(&volume, &file).await;
        drop(turn);
        if file.position.get() != before {
            asked.end_moved(&result, &file);
        }
        self.leave_open(&volume, file).await;
        result
    }
}

impl<F: FileService, C: Clock> FileSystem for Client<'_, F, C> {
    async fn format(&self, format: &VolumeFormat) -> Result<()> {
        self.admit().await?;
        let asked = self.asked();
        let result = self.naming.format_volume(format).await;
        asked.end(&result);
        result
    }

    async fn mount(&self) -> Result<()> {
        self.enter().await.map(|_| ())
    }

    async fn open(&self, path: &[u8], flags: OpenFlags, mode: u32) -> Result<Descriptor> {
        let asked = self.asked();
        let opened = self
            .attempt(Aim::Add, async |volume| {
                self.naming.open(volume, self.id, path, flags, mode).await
            })
            .await;
        let file = opened.and_then(|descriptor| {
            let descriptors = self.naming.descriptors.borrow();
            descriptors.get(self.id, descriptor)
        });
        match file
            .as_ref()
            .ok()
            .and_then(|file| Some((file, file.state()?)))
        {
            Some((file, state)) => asked.end_with(&opened, Effect::Set(state), &file.record),
            None => asked.end(&opened),
        }
        self.tidy_mounted().await;
        opened
    }

    async fn close(&self, descriptor: Descriptor) -> Result<()> {
        let (volume, file) = self.enter_open(descriptor).await?;
        let asked = self.asked();
        // A call that moves the descriptor says what a successor makes of it until it has ended.
        let turn = file.turn.lock().await;
        let state = file.state();
        let result = self
            .naming
            .descriptors
            .borrow_mut()
            .close(self.id, descriptor);
        let result = result.map(|_| ());
        match state.filter(|_| result.is_ok()) {
            Some(state) => asked.end_with(&result, Effect::Closed(state), &file.record),
            None => asked.end(&result),
        }
        drop(turn);
        self.leave_open(&volume, file).await;
        result
    }

    async fn read(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Sink<'_>,
    ) -> Result<usize> {
        let Some(offset) = offset else {
            let read = async |_: &_, file: &_| self.naming.read_on(file, data).await;
            return self.move_on(descriptor, read).await;
        };
        let (volume, file) = self.enter_open(descriptor).await?;
        let result = self.naming.read(&file, offset, data).await;
        self.leave_open(&volume, file).await;
        result
    }

    async fn write(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Source<'_>,
    ) -> Result<usize> {
        let (volume, file) = self.enter_open(descriptor).await?;
        let result = if let Some(offset) = offset {
            // Made again, it does the same again.
            self.naming.write(&volume, &file, offset, data).await
        } else {
            let asked = self.asked();
            let turn = file.turn.lock().await;
            let result = self.naming.write_on(&volume, &file, data, &asked).await;
            drop(turn);
            asked.end_moved(&result, &file);
            result
        };
        self.leave_open(&volume, file).await;
        result
    }

    async fn seek(&self, descriptor: Descriptor, to: SeekFrom) -> Result<u64> {
        let seek = async |_: &_, file: &_| self.naming.seek(file, to).await;
        self.move_on(descriptor, seek).await
    }

    async fn truncate(&self, descriptor: Descriptor, size: u64) -> Result<()> {
        let (volume, file) = self.enter_open(descriptor).await?;
        let asked = self.asked();
        let truncate = async || self.naming.truncate(&volume, &file, size, &asked).await;
        let result = self.naming.with_room(&volume, Aim::Remove, truncate).await;
        asked.end(&result);
        self.leave_open(&volume, file).await;
        result
    }

    async fn fstat(&self, descriptor: Descriptor) -> Result<Stat> {
        let (volume, file) = self.enter_open(descriptor).await?;
        let result = self.naming.fstat(&volume, &file).await;
        self.leave_open(&volume, file).await;
        result
    }

    async fn fsync(&self, descriptor: Descriptor) -> Result<()> {
        let (volume, file) = self.enter_open(descriptor).await?;
        let result = self.naming.sync().await;
        self.leave_open(&volume, file).await;
        result.map(|_| ())
    }

    async fn readdir(&self, descriptor: Descriptor, data: Sink<'_>) -> Result<usize> {
        let list = async |volume: &_, file: &_| self.naming.readdir(volume, file, data).await;
        self.move_on(descriptor, list).await
    }

    async fn stat(&self, path: &[u8], follow: bool) -> Result<Stat> {
        self.look(async |volume| self.naming.stat(volume, path, follow).await)
            .await
    }

    async fn mkdir(&self, path: &[u8], mode: u32) -> Result<()> {
        self.change(Aim::Add, async |volume| {
            self.naming.mkdir(volume, path, mode).await
        })
        .await
    }

    async fn rmdir(&self, path: &[u8]) -> Result<()> {
        self.change(Aim::Remove, async |volume| {
            self.naming.rmdir(volume, path).await
        })
        .await
    }

    async fn unlink(&self, path: &[u8]) -> Result<()> {
        self.change(Aim::Remove, async |volume| {
            self.naming.unlink(volume, path).await
        })
        .await
    }

    async fn rename(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.change(Aim::Add, async |volume| {
            self.naming.rename(volume, from, to).await
        })
        .await
    }

    async fn link(&self, from: &[u8], to: &[u8]) -> Result<()> {
        self.change(Aim::Add, async |volume| {
            self.naming.link(volume, from, to).await
        })
        .await
    }

    async fn symlink(&self, target: &[u8], path: &[u8]) -> Result<()> {
        self.change(Aim::Add, async |volume| {
            self.naming.symlink(volume, target, path).await
        })
        .await
    }

    async fn readlink(&self, path: &[u8], mut data: Sink<'_>) -> Result<usize> {
        self.look(async |volume| self.naming.readlink(volume, path, data.reborrow()).await)
            .await
    }

    async fn chmod(&self, path: &[u8], mode: u32) -> Result<()> {
        self.change_attributes(async |volume, asked| {
            self.naming.chmod(volume, path, mode, asked).await
        })
        .await
    }

    async fn chown(&self, path: &[u8], uid: u32, gid: u32) -> Result<()> {
        self.change_attributes(async |volume, asked| {
            self.naming.chown(volume, path, (uid, gid), asked).await
        })
        .await
    }

    async fn utimes(&self, path: &[u8], accessed: SetTime, modified: SetTime) -> Result<()> {
        self.change_attributes(async |volume, asked| {
            self.naming
                .utimes(volume, path, (accessed, modified), asked)
                .await
        })
        .await
    }

    async fn statfs(&self) -> Result<StatFs> {
        self.look(async |volume| self.naming.statfs(volume).await)
            .await
    }

    async fn work(&self) -> Result<Work> {
        self.admit().await?;
        self.naming.below.work().await
    }

    async fn sync(&self) -> Result<u64> {
        self.admit().await?;
        self.naming.sync().await.map(|timestamp| timestamp.0)
    }
}
