//! The filter: every request meets the rules on its way to the disk.

use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::cell::{Cell, RefCell};

use super::{
    kind::Kind,
    kinds::Kinds,
    outcome::{Outcome, corrupt_read},
    overlay::Overlay,
    rule::{Action, Operation, Rule},
    rules::{Armed, BLOCK_SECTORS, Hit, Rules},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    block::{BlockDevice, Geometry, SECTOR_BYTES},
    buffer::{Sink, Source},
};

/// What delays requests.
pub trait Timer {
    /// Waits.
    fn sleep_ms(&self, ms: u32) -> impl Future<Output = ()>;
}

/// Where the outcome of a write that suffered a fault is kept.
#[derive(Clone)]
pub enum Persistence {
    /// It is written: the disk really holds it.
    Written,
    /// It lies over the disk, which holds the truth.
    Overlay(Rc<Overlay>),
}

/// A disk that fails by rules. See the module's description.
pub struct Faulty<D, T> {
    pub(super) device: D,
    timer: T,
    persistence: Persistence,
    pub(super) geometry: Cell<Option<Geometry>>,
    pub(super) rules: RefCell<Rules>,
    pub(super) kinds: RefCell<Kinds>,
    /// The types are being followed: a rule needs them.
    pub(super) learning: Cell<bool>,
    keep: RefCell<Option<Keep>>,
}

/// What keeps rules and how far they are.
type Keep = Box<dyn FnMut(&[Armed])>;

impl<D: BlockDevice, T: Timer> Faulty<D, T> {
    /// The disk `device`, without any rule.
    pub fn new(device: D, timer: T, persistence: Persistence) -> Self {
        Self {
            device,
            timer,
            persistence,
            geometry: Cell::new(None),
            rules: RefCell::default(),
            kinds: RefCell::default(),
            learning: Cell::new(false),
            keep: RefCell::new(None),
        }
    }

    /// Has `keep` told of the rules as they are whenever that changes; when one acts, before anything comes of
    /// it: it may be what ends the filter.
    pub fn keep_with(&self, keep: impl FnMut(&[Armed]) + 'static) {
        self.keep.replace(Some(Box::new(keep)));
    }

    fn keep(&self) {
        if let Some(keep) = &mut *self.keep.borrow_mut() {
            keep(self.rules.borrow().all());
        }
    }

    /// What is below.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Adds a rule, under this number or one that is free; returns it. A rule by type has the filter
    /// read the store's structures first.
    ///
    /// [`Error::BadArgument`] if it makes no sense; [`Error::Exists`] if there is one of this number;
    /// [`Error::NoMemory`] past [`super::RULES_MAX`].
    pub async fn add(&self, number: Option<u32>, rule: Rule) -> Result<u32> {
        rule.check().map_err(|_| Error::BadArgument)?;
        if matches!(rule.place, super::Place::Kind(_)) {
            self.learn().await;
        }
        let number = self.rules.borrow_mut().add(number, rule)?;
        self.keep();
        Ok(number)
    }

    /// Removes a rule; [`Error::NotFound`]. A disk that it killed lives again. What it did to what is
    /// stored stays.
    pub fn remove(&self, number: u32) -> Result<()> {
        self.rules.borrow_mut().remove(number)?;
        self.keep();
        Ok(())
    }

    /// All rules, and how far each is.
    pub fn rules(&self) -> Vec<Armed> {
        self.rules.borrow().all().to_vec()
    }

    /// Takes over the rules of an instance before; [`Error::Corrupt`], and none, if they make no sense.
    pub fn restore(&self, rules: Vec<Armed>) -> Result<()> {
        self.rules.borrow_mut().restore(rules)
    }

    /// The type of a block, as far as the filter knows it: rules by type have it read the store's
    /// structures.
    pub fn kind(&self, block: u64) -> Kind {
        self.kinds.borrow().of(block)
    }

    fn alive(&self) -> Result<Geometry> {
        if self.rules.borrow().is_dead() {
            return Err(Error::Device);
        }
        self.geometry.get().ok_or(Error::Device)
    }

    /// The rules that act on a request, and the faults of those that are no matter of its data: it
    /// is delayed, or fails.
    async fn meet(&self, operation: Operation, sector: u64, sectors: u64) -> Result<Vec<Hit>> {
        let geometry = self.alive()?;
        if !self.rules.borrow().concern(operation) {
            return Ok(Vec::new());
        }
        let hits = {
            let kinds = self.kinds.borrow();
            let mut rules = self.rules.borrow_mut();
            let end = sector.saturating_add(sectors);
            rules.hits(operation, sector..end, &geometry, |block| kinds.of(block))
        };
        self.keep();
        for hit in &hits {
            match hit.action {
                Action::Slow { ms } => self.timer.sleep_ms(ms).await,
                Action::ReadError | Action::WriteError | Action::Dead => return Err(Error::Device),
                _ => {}
            }
        }
        Ok(hits)
    }

    /// Notes what is about to be written, for the types of blocks.
    fn follow(&self, sector: u64, data: &[u8], geometry: &Geometry) {
        if !sector.is_multiple_of(BLOCK_SECTORS) {
            return;
        }
        let mut kinds = self.kinds.borrow_mut();
        for (block, content) in (sector / BLOCK_SECTORS..).zip(data.chunks_exact(BLOCK_BYTES)) {
            kinds.written(block, content, geometry.sectors / BLOCK_SECTORS);
        }
    }

    /// Has the disk hold the outcome of a write of `data` to `sector`.
    async fn commit(
        &self,
        sector: u64,
        data: &[u8],
        outcome: Outcome,
        geometry: &Geometry,
    ) -> Result<()> {
        match &self.persistence {
            Persistence::Written => {
                for (sector, bytes) in outcome.writes(geometry.transfer_bytes_max as usize) {
                    self.device.write(sector, Source::local(&bytes)).await?;
                }
                Ok(())
            }
            Persistence::Overlay(overlay) => {
                let mut old = alloc::vec![0; data.len()];
                self.device.read(sector, Sink::local(&mut old)).await?;
                overlay.apply(sector, &mut old);
                self.device.write(sector, Source::local(data)).await?;
                overlay.put(sector, data, &old, outcome)
            }
        }
    }

    fn written_well(&self, sector: u64, sectors: u64) {
        if let Persistence::Overlay(overlay) = &self.persistence {
            overlay.clear(sector, sectors);
        }
    }

    /// Discards and zeroes: they meet the rules for writes as far as these need no data.
    async fn erase(&self, sector: u64, sectors: u64) -> Result<Vec<Hit>> {
        let mut hits = self.meet(Operation::Write, sector, sectors).await?;
        hits.retain(|hit| !matches!(hit.action, Action::Slow { .. }));
        Ok(hits)
    }
}

impl<D: BlockDevice, T: Timer> BlockDevice for Faulty<D, T> {
    async fn attach(&self) -> Result<Geometry> {
        let geometry = self.device.attach().await?;
        self.geometry.set(Some(geometry));
        if self.rules.borrow().need_kinds() {
            self.learn().await;
        }
        self.alive()
    }

    async fn read(&self, sector: u64, mut data: Sink<'_>) -> Result<()> {
        let len = data.len();
        let sectors = (len / SECTOR_BYTES) as u64;
        let mut hits = self.meet(Operation::Read, sector, sectors).await?;
        self.device.read(sector, data.reborrow()).await?;
        let overlay = match &self.persistence {
            Persistence::Overlay(overlay) if !overlay.is_empty() => Some(overlay),
            _ => None,
        };
        if hits.is_empty() && overlay.is_none() {
            return Ok(());
        }
        let mut copy = alloc::vec![0; len];
        data.copy_to(0, &mut copy)?;
        if let Some(overlay) = overlay {
            overlay.apply(sector, &mut copy);
        }
        for hit in &mut hits {
            if let Action::Corrupt { bytes } = hit.action {
                corrupt_read(sector, &mut copy, hit, bytes);
            }
        }
        data.copy_from(0, &copy)
    }

    async fn write(&self, sector: u64, data: Source<'_>) -> Result<()> {
        let geometry = self.alive()?;
        let sectors = (data.len() / SECTOR_BYTES) as u64;
        let concern = self.rules.borrow().concern(Operation::Write);
        let content = if self.learning.get() || concern {
            Some(data.to_vec()?)
        } else {
            None
        };
        if let Some(content) = content.as_ref().filter(|_| self.learning.get()) {
            self.follow(sector, content, &geometry);
            self.learn_wanted().await;
        }
        let mut hits = self.meet(Operation::Write, sector, sectors).await?;
        hits.retain(|hit| !matches!(hit.action, Action::Slow { .. }));
        match content {
            Some(content) if !hits.is_empty() => {
                let mut outcome = Outcome::new(sector, &content);
                for hit in &mut hits {
                    outcome.suffer(hit, &geometry);
                }
                self.commit(sector, &content, outcome, &geometry).await
            }
            _ => {
                self.device.write(sector, data).await?;
                self.written_well(sector, sectors);
                Ok(())
            }
        }
    }

    async fn flush(&self) -> Result<()> {
        let hits = self.meet(Operation::Flush, 0, 0).await?;
        if hits.iter().any(|hit| hit.action == Action::LostFlush) {
            return Ok(());
        }
        self.device.flush().await
    }

    async fn discard(&self, sector: u64, sectors: u64) -> Result<()> {
        if self.erase(sector, sectors).await?.is_empty() {
            self.device.discard(sector, sectors).await?;
            self.written_well(sector, sectors);
        }
        Ok(())
    }

    async fn write_zeroes(&self, sector: u64, sectors: u64) -> Result<()> {
        if self.erase(sector, sectors).await?.is_empty() {
            self.device.write_zeroes(sector, sectors).await?;
            self.written_well(sector, sectors);
        }
        Ok(())
    }
}
