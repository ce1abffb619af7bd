//! What naming remembers of a file: its attributes, who has it open, and the locks on it.
//!
//! Naming is the only one that changes files, so it need not ask for attributes again that it
//! knows. When a change failed half-way it forgets them and asks.

use core::cell::Cell;

use async_lock::Mutex;

use super::journal::{Journal, Undo};
use crate::{
    Error, Result,
    file::{AttributeChange, Attributes, FileNumber, FileService},
    lock::RwLock,
};

/// A file that is open or was used lately.
pub struct Inode {
    /// Its number.
    pub number: FileNumber,
    /// Data: shared by reads, exclusive for what changes the file, its attributes or its being.
    pub lock: RwLock,
    /// Descriptors that refer to it.
    pub opens: Cell<u32>,
    /// It has no name any more and an entry in the orphan directory: it ends with the last
    /// descriptor.
    pub orphan: Cell<bool>,
    /// It is deleted, or about to be.
    pub gone: Cell<bool>,
    /// A change of links that could not be made yet.
    owed: Cell<Owed>,
    attributes: Cell<Option<Attributes>>,
    loading: Mutex<()>,
    /// Counts changes, so that attributes that were asked for before one are not kept after it.
    changes: Cell<u64>,
    /// The checkpoint count at the last change of the data.
    data_changed_at: Cell<u64>,
    /// The checkpoint count when the number of blocks was asked for.
    blocks_known_at: Cell<u64>,
}

/// What is to be done to the links of a file, and could not be. Whoever asks is told that it was.
#[derive(Clone, Copy, Default)]
struct Owed {
    /// Links that are to be taken off.
    links: i32,
    /// The time of change that there is below, and what it is to be, unless something else has changed by then.
    changed_ns: Option<(u64, u64)>,
}

impl Inode {
    /// A file of which nothing is known, at this checkpoint count.
    pub fn unknown(number: FileNumber, checkpoints: u64) -> Self {
        Self {
            number,
            lock: RwLock::new(),
            opens: Cell::new(0),
            orphan: Cell::new(false),
            gone: Cell::new(false),
            owed: Cell::default(),
            attributes: Cell::new(None),
            loading: Mutex::new(()),
            changes: Cell::new(0),
            data_changed_at: Cell::new(checkpoints),
            blocks_known_at: Cell::new(0),
        }
    }

    /// A file that was created with these attributes.
    pub fn created(number: FileNumber, attributes: Attributes, checkpoints: u64) -> Self {
        let inode = Self::unknown(number, checkpoints);
        inode.attributes.set(Some(attributes));
        inode
    }

    /// The attributes; `blocks` may be out of date.
    pub async fn attributes<F: FileService>(&self, below: &F) -> Result<Attributes> {
        if self.gone.get() {
            return Err(Error::NotFound);
        }
        if let Some(attributes) = self.attributes.get() {
            return Ok(self.less_owed(attributes));
        }
        let _loading = self.loading.lock().await;
        match self.attributes.get() {
            Some(attributes) => Ok(self.less_owed(attributes)),
            None => self
                .ask(below)
                .await
                .map(|attributes| self.less_owed(attributes)),
        }
    }

    /// The attributes, `blocks` included. How many blocks a file has is settled when its data are
    /// written back, so a number from before the checkpoint that follows its last change is not
    /// kept.
    pub async fn attributes_with_blocks<F: FileService>(
        &self,
        below: &F,
        checkpoints: u64,
    ) -> Result<Attributes> {
        if self.gone.get() {
            return Err(Error::NotFound);
        }
        if let Some(attributes) = self.attributes.get()
            && self.blocks_known_at.get() > self.data_changed_at.get()
        {
            return Ok(self.less_owed(attributes));
        }
        let fresh = self.ask(below).await?;
        self.blocks_known_at.set(checkpoints);
        let known = self.attributes.get().unwrap_or(fresh);
        Ok(self.less_owed(Attributes {
            blocks: fresh.blocks,
            ..known
        }))
    }

    fn less_owed(&self, mut attributes: Attributes) -> Attributes {
        let owed = self.owed.get();
        attributes.links = attributes.links.saturating_add_signed(-owed.links);
        if let Some((from, to)) = owed.changed_ns
            && attributes.changed_ns == from
        {
            attributes.changed_ns = to;
        }
        attributes
    }

    async fn ask<F: FileService>(&self, below: &F) -> Result<Attributes> {
        let changes = self.changes.get();
        let attributes = below.getattr(self.number).await?;
        if self.gone.get() {
            return Err(Error::NotFound);
        }
        if self.changes.get() == changes {
            self.attributes.set(Some(attributes));
        }
        Ok(attributes)
    }

    /// Notes a change that the layer below has made.
    pub fn update(&self, change: impl FnOnce(&mut Attributes)) {
        self.changes.set(self.changes.get() + 1);
        if let Some(mut attributes) = self.attributes.get() {
            change(&mut attributes);
            self.attributes.set(Some(attributes));
        }
    }

    /// Notes that the data changed at this checkpoint count: the size is at least or exactly what
    /// `size` makes of it.
    pub fn data_changed(&self, checkpoints: u64, modified_ns: u64, size: impl FnOnce(u64) -> u64) {
        self.data_changed_at.set(checkpoints);
        self.update(|attributes| {
            attributes.size = size(attributes.size);
            attributes.modified_ns = modified_ns;
            attributes.changed_ns = modified_ns;
        });
    }

    /// Changes attributes, here and below. The caller holds the lock exclusively.
    pub async fn change<F: FileService>(&self, below: &F, change: &AttributeChange) -> Result<()> {
        let doubt = self.doubt();
        below.setattr(self.number, change).await?;
        self.update(|attributes| change.apply(attributes));
        doubt.settle();
        Ok(())
    }

    /// How many links there are below, of a file with these attributes.
    pub fn links_below(&self, attributes: &Attributes) -> u32 {
        attributes
            .links
            .saturating_add_signed(self.owed.get().links)
    }

    /// Changes how many links there are, and takes off what is owed. If the call fails the file is
    /// looked at: the change may have been made all the same. The caller holds the lock.
    pub async fn change_links<F: FileService>(
        &self,
        below: &F,
        journal: &Journal,
        by: i32,
        now_ns: u64,
    ) -> Result<()> {
        let before = self.attributes(below).await?;
        let links = before.links.saturating_add_signed(by);
        journal.step(Undo::Links {
            file: self.number,
            links: self.links_below(&before),
            changed_ns: before.changed_ns,
        });
        let change = AttributeChange {
            links: Some(links),
            changed_ns: Some(now_ns),
            ..AttributeChange::default()
        };
        let mut result = self.change(below, &change).await;
        if result.is_err()
            && self
                .ask(below)
                .await
                .is_ok_and(|found| found.links == links)
        {
            result = Ok(());
        }
        if result.is_ok() {
            self.owed.take();
        }
        result
    }

    /// Lowers how many links there are and sets the time of change; by nothing, it sets that alone. Whether this was
    /// done: else it is owed. The caller holds the lock.
    pub async fn lower_links<F: FileService>(
        &self,
        below: &F,
        journal: &Journal,
        by: u32,
        now_ns: u64,
    ) -> bool {
        let by = i32::try_from(by).unwrap_or(i32::MAX);
        let known = self.attributes(below).await;
        let there = self.attributes.get().filter(|_| known.is_ok());
        if self.change_links(below, journal, -by, now_ns).await.is_ok() {
            return true;
        }
        let owed = self.owed.get();
        self.owed.set(Owed {
            links: owed.links.saturating_add(by),
            changed_ns: there.map(|there| (there.changed_ns, now_ns)),
        });
        false
    }

    /// Makes the change of links that is owed, if there is one. The caller holds the lock.
    pub async fn pay<F: FileService>(&self, below: &F, journal: &Journal) -> Result<()> {
        let now_ns = self.attributes(below).await?.changed_ns;
        self.change_links(below, journal, 0, now_ns).await
    }

    /// To be settled when a change has ended well. If it is dropped before (an error, or a call
    /// that was given up), nobody knows what became of the change, and the attributes are
    /// forgotten.
    pub fn doubt(&self) -> Doubt<'_> {
        Doubt(Some(self))
    }
}

/// See [`Inode::doubt`].
pub struct Doubt<'a>(Option<&'a Inode>);

impl Doubt<'_> {
    /// The change is known to have been made.
    pub fn settle(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(inode) = self.0 {
            inode.changes.set(inode.changes.get() + 1);
            inode.attributes.set(None);
        }
    }
}
