//! The caller's end of a service that outlives its own death: calls that died are issued again.
//!
//! The cache is rebuilt from memory that outlives it ([`crate::cache`]), so a call that it was working on
//! when it died has happened or has not, and to issue it again is right in either case: a `write`, `truncate`
//! or `setattr` twice is as once, a second `sync` makes another checkpoint. Only `create` and `delete` notice:
//! one that finds its file there, or gone, after a death, has happened before it.
//!
//! If the service could not be rebuilt, it answers [`Error::NotLoaded`] until it is attached to again, as it
//! is at an older state than what it has promised. Nothing is answered to the caller from then on, because
//! what he knows does not fit what there is: he waits for [`Resuming::lost`], and begins anew.

use alloc::rc::Rc;
use core::{cell::Cell, future::pending};

use super::{
    Attachment, AttributeChange, Attributes, FileNumber, FileService, Timestamp, Usage,
    VolumeFormat, Work, Write,
};
use crate::{Error, Result, buffer::Sink, waiting::Signal};

/// Deaths under one and the same call, before it is given up. Whoever restarts the service gives up before.
const DEATHS_MAX: usize = 10_000;

struct Inner<S> {
    service: S,
    attached: Cell<bool>,
    /// Formats under way, during which nothing is loaded and nothing lost.
    formats: Cell<usize>,
    lost: Cell<bool>,
    lost_changed: Signal,
}

/// A [`FileService`] whose calls are issued again when the service has died. Clones are the same.
pub struct Resuming<S>(Rc<Inner<S>>);

impl<S> Clone for Resuming<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Counts a format while it is under way.
struct Formatting<'a>(&'a Cell<usize>);

impl<'a> Formatting<'a> {
    fn begin(formats: &'a Cell<usize>) -> Self {
        formats.set(formats.get() + 1);
        Self(formats)
    }
}

impl Drop for Formatting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<S: FileService> Resuming<S> {
    /// Calls to `service`.
    pub fn new(service: S) -> Self {
        Self(Rc::new(Inner {
            service,
            attached: Cell::new(false),
            formats: Cell::new(0),
            lost: Cell::new(false),
            lost_changed: Signal::default(),
        }))
    }

    /// Completes when the service has lost what it had promised.
    pub async fn lost(&self) {
        self.0.lost_changed.until(|| self.0.lost.get()).await;
    }

    /// Issues a call until it is answered. Says whether an instance died of it or with it.
    async fn issue<T>(&self, mut call: impl AsyncFnMut(&S) -> Result<T>) -> (Result<T>, bool) {
        let inner = &*self.0;
        for deaths in 0..DEATHS_MAX {
            match call(&inner.service).await {
                Err(Error::PeerDied) => {}
                Err(Error::NotLoaded) if inner.attached.get() && inner.formats.get() == 0 => {
                    inner.lost.set(true);
                    inner.lost_changed.notify();
                    return pending().await;
                }
                result => return (result, deaths > 0),
            }
        }
        (Err(Error::PeerDied), true)
    }

    async fn again<T>(&self, call: impl AsyncFnMut(&S) -> Result<T>) -> Result<T> {
        self.issue(call).await.0
    }

    /// Issues a call that must not find its own effect.
    async fn once(&self, done: Error, call: impl AsyncFnMut(&S) -> Result<()>) -> Result<()> {
        match self.issue(call).await {
            (Err(error), true) if error == done => Ok(()),
            (result, _) => result,
        }
    }

    fn attached(&self, result: Result<Attachment>) -> Result<Attachment> {
        if result.is_ok() {
            self.0.attached.set(true);
        }
        result
    }
}

impl<S: FileService> FileService for Resuming<S> {
    async fn attach(&self) -> Result<Attachment> {
        self.attached(self.again(async |service| service.attach().await).await)
    }

    async fn format(&self, format: &VolumeFormat) -> Result<Attachment> {
        let _formatting = Formatting::begin(&self.0.formats);
        self.attached(
            self.again(async |service| service.format(format).await)
                .await,
        )
    }

    async fn create(&self, file: FileNumber, attributes: &Attributes) -> Result<()> {
        self.once(Error::Exists, async |service| {
            service.create(file, attributes).await
        })
        .await
    }

    async fn delete(&self, file: FileNumber) -> Result<()> {
        self.once(Error::NotFound, async |service| service.delete(file).await)
            .await
    }

    async fn read(&self, file: FileNumber, offset: u64, mut data: Sink<'_>) -> Result<usize> {
        self.again(async |service| service.read(file, offset, data.reborrow()).await)
            .await
    }

    async fn write(&self, write: Write<'_>) -> Result<usize> {
        self.again(async |service| service.write(write.clone()).await)
            .await
    }

    async fn truncate(&self, file: FileNumber, size: u64, modified_ns: u64) -> Result<()> {
        self.again(async |service| service.truncate(file, size, modified_ns).await)
            .await
    }

    async fn getattr(&self, file: FileNumber) -> Result<Attributes> {
        self.again(async |service| service.getattr(file).await)
            .await
    }

    async fn setattr(&self, file: FileNumber, change: &AttributeChange) -> Result<()> {
        self.again(async |service| service.setattr(file, change).await)
            .await
    }

    async fn sync(&self) -> Result<Timestamp> {
        self.again(async |service| service.sync().await).await
    }

    async fn early_sync_wanted(&self) -> Result<()> {
        self.again(async |service| service.early_sync_wanted().await)
            .await
    }

    async fn history(&self) -> Result<u64> {
        self.again(async |service| service.history().await).await
    }

    async fn usage(&self) -> Result<Usage> {
        self.again(async |service| service.usage().await).await
    }

    async fn work(&self) -> Result<Work> {
        self.again(async |service| service.work().await).await
    }

    async fn numbers(&self, first: FileNumber, mut bitmap: Sink<'_>) -> Result<usize> {
        self.again(async |service| service.numbers(first, bitmap.reborrow()).await)
            .await
    }
}
