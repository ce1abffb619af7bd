//! The rules, at each event.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{
    medium::Medium,
    references::{References, references},
    trace::Event,
};
use crate::format::{Block, Kind, LOG_BLOCKS, LogBlock, ROOT_PLACES, Root, RootPlace};

/// Breaches of the rules that are told; the first ones say it.
const BREACHES_MAX: usize = 10;

/// What a trace contained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Blocks written.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Root blocks written.
    pub roots: u64,
    /// Root blocks erased, or overwritten with a copy of the newest.
    pub erasures: u64,
    /// Syncs that returned.
    pub synced: u64,
    /// Blocks overwritten in place, with a record of it on the medium.
    pub overwrites: u64,
}

/// A checkpoint that a crash may lead back to.
struct Held {
    root: Box<Root>,
    references: References,
}

/// Reads a trace, event by event.
#[derive(Default)]
pub struct Checker {
    medium: Medium,
    /// Checkpoints that may be loaded, oldest first.
    held: Vec<Held>,
    /// Blocks overwritten in place since the newest of them.
    overwritten: HashSet<u64>,
    /// What the log on the medium announces: file and block, and the checksums.
    announced: HashMap<(u64, u64), Vec<u64>>,
    /// The newest checkpoint of which a sync has returned: nothing goes back behind it.
    synced: u64,
    /// What the trace contained.
    pub counts: Counts,
    /// What broke a rule, as text with the number of the event.
    pub breaches: Vec<String>,
}

impl Checker {
    /// A checker of what happens to a disk that holds these blocks; all others are zeros.
    pub fn new(blocks: impl IntoIterator<Item = (u64, Rc<Block>)>) -> Self {
        let mut checker = Self::default();
        for (place, block) in blocks {
            checker.medium.write(place, block);
        }
        checker.medium.end_write();
        checker.medium.flush(0);
        let mut roots: Vec<Box<Root>> = Vec::new();
        for place in ROOT_PLACES {
            if let RootPlace::Root(root) = Root::read(checker.medium.flushed(place), place) {
                roots.push(root);
            }
        }
        roots.sort_by_key(|root| root.timestamp);
        for root in roots {
            // What is wrong in an older checkpoint is what the newer has overwritten.
            let (references, _) = references(&root, None, &checker.medium);
            checker.held.push(Held { root, references });
        }
        checker.forget_unreachable();
        checker
    }

    /// Takes the next event.
    pub fn event(&mut self, event: &Event) {
        self.counts.events += 1;
        match event {
            Event::Write { sector, data } => {
                for (place, block) in self.medium.blocks(*sector, data) {
                    self.counts.writes += 1;
                    self.write(place, block);
                }
                self.medium.end_write();
            }
            Event::Flush { late } => {
                self.counts.flushes += 1;
                self.flush(*late);
            }
            Event::Synced(checkpoint) => {
                self.counts.synced += 1;
                let newest = self.newest_flushed().map(|held| held.root.timestamp);
                if newest.is_none_or(|newest| newest < *checkpoint) {
                    self.breach(format!(
                        "a sync returned checkpoint {checkpoint}, whose root is not on the medium"
                    ));
                } else if newest == Some(*checkpoint) && !self.is_copied() {
                    self.breach(format!(
                        "a sync returned checkpoint {checkpoint}, whose root is on the medium once only"
                    ));
                }
                self.synced = self.synced.max(*checkpoint);
            }
        }
    }

    fn breach(&mut self, what: String) {
        if self.breaches.len() < BREACHES_MAX {
            self.breaches
                .push(format!("event {}: {what}", self.counts.events));
        }
    }

    fn write(&mut self, place: u64, block: Rc<Block>) {
        if ROOT_PLACES.contains(&place) {
            self.write_root(place, &block);
        } else if LOG_BLOCKS.contains(&place) {
            self.write_log(place, &block);
        } else if self.medium.newest(place) != &block {
            self.write_block(place, &block);
        }
        self.medium.write(place, block);
    }

    /// Nothing that a checkpoint needs is overwritten while that may be loaded, but for data of the newest on the
    /// medium that are announced: who goes back to another has no use for what the log says.
    fn write_block(&mut self, place: u64, block: &Block) {
        let mut overwrites = false;
        for index in 0..self.held.len() {
            let held = &self.held[index];
            let Some(&reference) = held.references.get(&place) else {
                continue;
            };
            let timestamp = held.root.timestamp;
            let sum = held.root.algorithm.of(block);
            let announced = match reference.kind {
                Kind::Data(file, block) if !reference.protected => {
                    let sums = self.announced.get(&(file, block));
                    sums.is_some_and(|sums| sums.contains(&sum))
                        && self.newest_flushed().map(|newest| newest.root.sum)
                            == Some(held.root.sum)
                }
                _ => false,
            };
            if announced {
                overwrites = true;
            } else {
                self.breach(format!(
                    "{} at {place} is overwritten; checkpoint {timestamp} may still be loaded and needs it",
                    reference.kind
                ));
            }
        }
        if overwrites {
            self.counts.overwrites += 1;
            self.overwritten.insert(place);
        }
    }

    /// A log block that announces what may have been overwritten since stays whole.
    fn write_log(&mut self, place: u64, _block: &Block) {
        let Some(newest) = self.newest_flushed() else {
            return;
        };
        let before = LogBlock::read(self.medium.flushed(place), place, &newest.root);
        if before.is_some() {
            let timestamp = newest.root.timestamp;
            self.breach(format!(
                "log block {place} of checkpoint {timestamp} is written again while it is needed"
            ));
        }
    }

    fn write_root(&mut self, place: u64, block: &Block) {
        let root = match Root::read(block, place) {
            RootPlace::Zeros => {
                self.counts.erasures += 1;
                return;
            }
            RootPlace::Copy(root) => {
                self.counts.erasures += 1;
                let newest = self.newest_flushed().map(|held| held.root.sum);
                // That of one store goes with the root: whichever arrives, the checkpoint is whole.
                let goes_with_it = root.present.count_ones() == 1
                    && self.held.iter().any(|held| held.root.sum == root.sum);
                if newest != Some(root.sum) && !goes_with_it {
                    let timestamp = root.timestamp;
                    self.breach(format!(
                        "the root of checkpoint {timestamp} is copied, and is not the newest on the medium"
                    ));
                }
                return;
            }
            RootPlace::Bad(why) => return self.breach(format!("at {place}, {why}")),
            RootPlace::Root(root) => root,
        };
        self.counts.roots += 1;
        let newest = self.newest_flushed();
        if let Some(newest) = newest.map(|held| held.root.timestamp)
            && newest + 1 != root.timestamp
        {
            let timestamp = root.timestamp;
            self.breach(format!(
                "checkpoint {timestamp} follows checkpoint {newest}"
            ));
        }
        let newest = self.newest_flushed();
        let before = newest.map(|held| (&*held.root, &held.references));
        let (references, mut unsound) = references(&root, before, &self.medium);
        // What was overwritten in place and has the same pointer still is different now.
        for place in &self.overwritten {
            if let Some(reference) = references.get(place)
                && root.algorithm.of(&self.medium.flushed(*place)[..]) != reference.sum
                && !unsound.iter().any(|it| it.place == *place)
            {
                unsound.push(super::references::Unsound {
                    kind: reference.kind,
                    place: *place,
                    why: "is not on the medium",
                });
            }
        }
        for found in unsound {
            self.breach(format!(
                "the root of checkpoint {} is written, and {} at {} {}",
                root.timestamp, found.kind, found.place, found.why
            ));
        }
        self.held.push(Held { root, references });
    }

    fn flush(&mut self, late: usize) {
        let had = self.newest_flushed().map(|held| held.root.timestamp);
        self.medium.flush(late);
        self.forget_unreachable();
        let newest = self.newest_flushed().map(|held| held.root.timestamp);
        let erased = |place: &u64| matches!(self.at(*place), RootPlace::Zeros);
        if ROOT_PLACES.iter().all(erased) {
            // `format` has begun: the volume is gone, and its syncs with it.
            self.synced = 0;
        } else if newest.unwrap_or(0) < self.synced {
            let synced = self.synced;
            self.breach(format!(
                "the root of checkpoint {synced} is gone, though a sync had returned"
            ));
        } else if let (Some(had), None) = (had, newest) {
            self.breach(format!(
                "checkpoint {had} was the only one, and its root is gone"
            ));
        }
        if newest != had {
            self.overwritten.clear();
        }
        self.announced.clear();
        let Some(newest) = self.newest_flushed() else {
            return;
        };
        let mut announced: HashMap<(u64, u64), Vec<u64>> = HashMap::new();
        for place in LOG_BLOCKS {
            let Some(log) = LogBlock::read(self.medium.flushed(place), place, &newest.root) else {
                continue;
            };
            for record in log.records {
                let sums = announced.entry((record.file, record.block)).or_default();
                sums.push(record.sum);
            }
        }
        self.announced = announced;
    }

    fn at(&self, place: u64) -> RootPlace {
        Root::read(self.medium.flushed(place), place)
    }

    /// The checkpoint that a crash leads back to if nothing unflushed is there.
    fn newest_flushed(&self) -> Option<&Held> {
        let flushed = |held: &&Held| {
            ROOT_PLACES.iter().any(|&place| {
                matches!(self.at(place), RootPlace::Root(root) if root.sum == held.root.sum)
            })
        };
        self.held
            .iter()
            .filter(flushed)
            .max_by_key(|held| held.root.timestamp)
    }

    /// Whether the root of that is on the medium a second time.
    fn is_copied(&self) -> bool {
        let newest = self.newest_flushed().map(|held| held.root.sum);
        let is_copy = |&place: &u64| matches!(self.at(place), RootPlace::Copy(root) if Some(root.sum) == newest);
        ROOT_PLACES.iter().any(is_copy)
    }

    /// After a flush: a root that cannot be there is no checkpoint any more; nor is one before the newest that is
    /// there for certain, unless several stores took part in that and it follows.
    fn forget_unreachable(&mut self) {
        let mut there = Vec::new();
        for place in ROOT_PLACES {
            let unflushed = self.medium.unflushed(place);
            for block in unflushed.chain([self.medium.flushed(place)]) {
                if let RootPlace::Root(root) = Root::read(block, place) {
                    there.push(root.sum);
                }
            }
        }
        self.held.retain(|held| there.contains(&held.root.sum));
        self.held.sort_by_key(|held| held.root.timestamp);
        let Some(newest) = self.newest_flushed() else {
            return;
        };
        let way_back = newest.root.present.count_ones() > 1;
        let newest = newest.root.timestamp;
        self.held.retain(|held| {
            let timestamp = held.root.timestamp;
            timestamp >= newest || way_back && timestamp + 1 == newest
        });
    }
}
