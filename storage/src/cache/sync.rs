//! Attach, format and sync: where the log begins anew.

use alloc::rc::Rc;

use super::{
    Inner,
    below::{Deaths, Phase},
};
use crate::{
    Error, Result,
    clock::Clock,
    file::{Attachment, FileService, Timestamp, VolumeFormat},
    point::{self, Point},
    surviving::Memory,
};

impl<L, C, M: Memory> Inner<L, C, M> {
    /// A checkpoint has everything that was sent down: the log begins anew.
    pub(super) fn new_base(&self, base: Timestamp) {
        {
            let mut link = self.link.borrow_mut();
            link.base = base;
            link.syncing = false;
            if let Some(attachment) = &mut link.attachment {
                attachment.checkpoint = base;
            }
        }
        // With this the checkpoint counts, and what was written down before is void.
        if let Some(volume) = self.volume_record() {
            self.pool.borrow_mut().ledger.begin_epoch(volume);
        }
        for record in self.log.borrow_mut().take() {
            let mut pool = self.pool.borrow_mut();
            pool.ledger.remove_file(record.id);
            let Some(file) = record.file else { continue };
            let mut state = file.state.borrow_mut();
            state.digest = 0;
            state.pages.retain(|_, id| {
                let out = pool.forget(*id);
                if out {
                    pool.remove(*id);
                }
                !out
            });
        }
        self.turns.clear();
        self.starved.set(false);
        self.room_made.notify();
    }

    /// Forgets everything. Calls under way find their files gone.
    fn reset(&self) {
        self.new_base(Timestamp::default());
        let files = self.files.borrow_mut().take();
        for file in files {
            self.drop_file(&file);
        }
        self.owes_since_ns.set(None);
    }
}

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Attaches, the first time. Later it says what was found then or after the last recovery: a
    /// caller that has restarted finds the cache as its predecessor left it.
    pub(super) async fn attach(self: &Rc<Self>) -> Result<Attachment> {
        let inner = Rc::clone(self);
        self.unfinished
            .run(async move { inner.attach_once().await })
            .await
    }

    async fn attach_once(self: &Rc<Self>) -> Result<Attachment> {
        let _gate = self.gate.write().await;
        match self.phase() {
            Phase::Stopped => return Err(Error::PeerGone),
            Phase::Detached => {}
            Phase::Attached | Phase::Broken | Phase::Recovering => {
                let attachment = self.link.borrow().attachment;
                return attachment.ok_or(Error::NotLoaded);
            }
        }
        let attachment = self.persist(async |lower: &L| lower.attach().await).await?;
        self.begin(attachment).await;
        Ok(attachment)
    }

    /// Makes a new volume. Everything known is forgotten, what was dirty too.
    pub(super) async fn format(self: &Rc<Self>, format: &VolumeFormat) -> Result<Attachment> {
        format.check()?;
        let _gate = self.gate.write().await;
        if self.phase() == Phase::Stopped {
            return Err(Error::PeerGone);
        }
        self.link_changed
            .until(|| self.phase() != Phase::Recovering)
            .await;
        self.enter(Phase::Detached);
        self.link.borrow_mut().attachment = None;
        self.pool.borrow_mut().ledger.forget_volume();
        self.reset();
        let attachment = self
            .persist(async |lower: &L| lower.format(format).await)
            .await?;
        self.begin(attachment).await;
        Ok(attachment)
    }

    /// Issues a call before there is anything to recover: a crash means to issue it again.
    async fn persist<T>(&self, mut call: impl AsyncFnMut(&L) -> Result<T>) -> Result<T> {
        let mut outcome = Err(Error::PeerDied);
        for _ in 0..=self.config.call_attempts {
            outcome = call(&self.lower).await;
            if !matches!(outcome, Err(Error::PeerDied)) {
                break;
            }
        }
        outcome
    }

    async fn begin(self: &Rc<Self>, attachment: Attachment) {
        {
            let mut link = self.link.borrow_mut();
            link.generation += 1;
            link.attachment = Some(attachment);
        }
        self.new_base(attachment.checkpoint);
        self.sync_failed.set(false);
        self.enter(Phase::Attached);
        self.note_space().await;
    }

    /// Learns how much room there is below. Without, the first write asks again.
    async fn note_space(self: &Rc<Self>) {
        if let Err(error) = self.refresh_space().await {
            ::log::warn!("cache: how full the volume is could not be found out: {error}");
        }
    }

    /// Writes everything back and makes a checkpoint.
    pub(super) async fn sync(self: &Rc<Self>) -> Result<Timestamp> {
        let _gate = self.gate.write().await;
        let outcome = self.checkpoint().await;
        self.sync_failed.set(outcome.is_err());
        outcome
    }

    /// A crash on the way undoes what has been written back, so it is written back once more.
    async fn checkpoint(self: &Rc<Self>) -> Result<Timestamp> {
        let mut deaths = Deaths::default();
        loop {
            let generation = self.ready().await?;
            self.write_back_everything(generation).await?;
            point::pass(Point::WrittenBack);
            let synced = self
                .attempt(generation, true, &mut async |lower: &L| {
                    // Told to the recovery: should this call die, there may be a new checkpoint.
                    self.link.borrow_mut().syncing = true;
                    self.write_down_volume();
                    lower.sync().await
                })
                .await;
            match synced {
                Ok(None) => self.survive(&mut deaths)?,
                Ok(Some(timestamp)) => {
                    point::pass(Point::SyncedBelow);
                    self.new_base(timestamp);
                    self.count(|count| count.syncs += 1);
                    self.note_space().await;
                    return Ok(timestamp);
                }
                Err(error) => {
                    self.link.borrow_mut().syncing = false;
                    self.write_down_volume();
                    return Err(error);
                }
            }
        }
    }
}
