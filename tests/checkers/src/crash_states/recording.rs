//! A workload is run once; every crash state comes from what the disks recorded.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc};

use storage::{
    block::ram::{History, Operation, RamDisk},
    twinfs::Overwrite,
    vfs::FileSystem,
};
use tests::{
    model::Model,
    overwrites::Overwrites,
    stack::{FORMAT, TestClock},
};

use crate::{
    flush_order::{Checker, blocks_of, of_disk},
    format::Block,
    rig::{Cache, Disks, stack, yield_once},
};

use super::{
    call::{Call, make_tree},
    workload::{Workload, salt},
};

/// Sectors of a disk: the smallest volume there is, 4 MiB.
const SECTORS: u64 = 8192;

/// What a workload runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// How many disks are mirrored.
    pub disks: usize,
    /// When the cache writes back.
    pub cache: Cache,
    /// A disk that is much slower than the other.
    pub slow: Option<usize>,
    /// What becomes of data that are overwritten.
    pub overwrite: Overwrite,
}

impl Setup {
    /// All there are for so many disks.
    #[must_use]
    pub fn all(disks: usize) -> Vec<Self> {
        let slow: &[Option<usize>] = if disks == 1 {
            &[None]
        } else {
            &[None, Some(0), Some(1)]
        };
        let mut all = Vec::new();
        for cache in [Cache::Ample, Cache::Eager] {
            let with = |overwrite, slow| Self {
                disks,
                cache,
                slow,
                overwrite,
            };
            all.extend(slow.iter().map(|&slow| with(Overwrite::Relocate, slow)));
            all.push(with(Overwrite::InPlace, None));
        }
        all
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cache = match self.cache {
            Cache::Ample => "ample",
            Cache::Eager => "eager",
        };
        let overwrite = match self.overwrite {
            Overwrite::Relocate => "",
            Overwrite::InPlace => "-in-place",
            Overwrite::Unlogged => "-unlogged",
        };
        write!(f, "{}-{cache}{overwrite}", self.disks)?;
        match self.slow {
            Some(slow) => write!(f, "-slow{slow}"),
            None => Ok(()),
        }
    }
}

/// A volume with the tree, at rest.
pub struct Base {
    disks: Vec<Rc<RamDisk>>,
    blocks: Vec<Vec<(u64, Rc<Block>)>>,
    /// What is in it.
    pub model: Model,
}

impl Base {
    /// Makes it.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let disks: Disks = (0..count)
            .map(|_| Some(Rc::new(RamDisk::new(SECTORS))))
            .collect();
        let (clock, mut model) = (TestClock::default(), Model::new());
        clock.set(1);
        model.at(1);
        let system = stack(&disks, &clock, Cache::Ample, Overwrite::Relocate);
        system.run(async {
            let client = system.client(0);
            client.format(&FORMAT).await.expect("a new volume");
            make_tree(&client, &mut model).await;
            client.sync().await.expect("a sync");
        });
        let disks: Vec<Rc<RamDisk>> = disks.into_iter().flatten().collect();
        let blocks = disks.iter().map(|disk| blocks_of(disk, SECTORS / 8));
        Self {
            blocks: blocks.collect(),
            disks,
            model,
        }
    }

    fn copy(&self) -> Vec<Rc<RamDisk>> {
        let copy = |disk: &Rc<RamDisk>| Rc::new(disk.snapshot());
        self.disks.iter().map(copy).collect()
    }
}

/// A call, by what the disks had taken when it began and when it returned.
struct Span {
    call: Call,
    begin: usize,
    end: usize,
    /// The checkpoints before and after it.
    before: u64,
    after: u64,
    /// What there is after it.
    model: Model,
}

/// What came of a workload.
pub struct Recording {
    /// What each disk held at first, and its events.
    pub histories: Vec<History>,
    /// Which disk took the next of its events, as they happened.
    order: Vec<usize>,
    /// What is in each checkpoint.
    pub checkpoints: BTreeMap<u64, Model>,
    /// What became of data that were overwritten.
    pub overwrite: Overwrite,
    spans: Vec<Span>,
}

/// Polls without a write or flush after which nothing more comes by itself: more than a slow disk takes.
const QUIET_POLLS: usize = 3 * SLOW_POLLS as usize;
/// How long a slow disk takes for a request, in polls.
const SLOW_POLLS: u32 = 12;

impl Recording {
    /// Runs a workload, and a sync after it.
    #[must_use]
    pub fn new(base: &Base, setup: Setup, workload: &Workload) -> Self {
        let (disks, clock) = (base.copy(), TestClock::default());
        let order: Rc<RefCell<Vec<usize>>> = Rc::default();
        for (number, disk) in disks.iter().enumerate() {
            disk.record();
            match setup.slow {
                Some(slow) if slow == number => disk.delay(SLOW_POLLS),
                _ => disk.delay(1),
            }
            let order = order.clone();
            // Asked right before the disk takes it.
            disk.fault(move |operation| {
                if !matches!(operation, Operation::Read { .. }) {
                    order.borrow_mut().push(number);
                }
                Ok(())
            });
        }
        let mut model = base.model.clone();
        let mut checkpoints = BTreeMap::new();
        let mut spans: Vec<Span> = Vec::new();
        let held: Disks = disks.iter().cloned().map(Some).collect();
        let system = stack(&held, &clock, setup.cache, setup.overwrite);
        let taken = || order.borrow().len();
        system.run(async {
            let client = system.client(0);
            let mut checkpoint = client.statfs().await.expect("a volume").checkpoint;
            checkpoints.insert(checkpoint, model.clone());
            let mut is_newer = false;
            let calls = workload.0.iter().copied().chain([Call::Sync]);
            for (place, call) in calls.enumerate() {
                clock.set(salt(place));
                let begin = taken();
                let before = model.clone();
                model.at(salt(place));
                let expected = call.model(&mut model, salt(place)).map(drop);
                let found = call.system(&client, &before, salt(place)).await;
                let end = taken();
                assert_eq!(found, expected, "{call}: found, expected");
                if setup.cache == Cache::Eager {
                    let mut quiet = 0;
                    while quiet < QUIET_POLLS {
                        let before = taken();
                        yield_once().await;
                        quiet = if taken() == before { quiet + 1 } else { 0 };
                    }
                }
                let now = client.statfs().await.expect("a volume").checkpoint;
                assert!(call.is_sync() || now == checkpoint, "{call}: it synced");
                // Or whoever lies about a sync would be believed, as the checkpoint says when there was one.
                let lies = call.is_sync() && is_newer && now == checkpoint;
                assert!(!lies, "{call}: it did not sync");
                is_newer = !call.is_sync();
                if now != checkpoint {
                    checkpoints.insert(now, model.clone());
                }
                spans.push(Span {
                    call,
                    begin,
                    end,
                    before: checkpoint,
                    after: now,
                    model: model.clone(),
                });
                checkpoint = now;
            }
        });
        let history = |disk: &Rc<RamDisk>| disk.history().expect("it records");
        let histories: Vec<History> = disks.iter().map(history).collect();
        let recording = Self {
            histories,
            order: order.take(),
            checkpoints,
            overwrite: setup.overwrite,
            spans,
        };
        for (disk, before) in base.blocks.iter().enumerate() {
            recording.check_order(disk, before);
        }
        recording
    }

    /// The order of a disk's writes and flushes, which no crash can be too unlikely to show.
    fn check_order(&self, disk: usize, before: &[(u64, Rc<Block>)]) {
        let mut checker = Checker::new(before.iter().cloned());
        let at_first = self.spans.first().map(|span| (0, span.before));
        let syncs = self.spans.iter().filter(|span| span.call.is_sync());
        let synced = syncs.map(|span| (self.taken(span.end, disk), span.after));
        let synced: Vec<_> = at_first.into_iter().chain(synced).collect();
        for event in of_disk(&self.histories[disk], &synced) {
            checker.event(&event);
        }
        let breaches = &checker.breaches;
        assert!(breaches.is_empty(), "disk {disk}: {breaches:#?}");
        assert_eq!(checker.counts.synced as usize, synced.len(), "disk {disk}");
    }

    /// How many events a disk had taken when all had taken `taken`.
    pub fn taken(&self, taken: usize, disk: usize) -> usize {
        let order = &self.order[..taken];
        order.iter().filter(|&&of| of == disk).count()
    }

    /// When to crash: from the beginning of the workload's last call to the end. Before, a shorter
    /// workload has done the same.
    #[must_use]
    pub fn crashes(&self) -> std::ops::RangeInclusive<usize> {
        let last = self.spans.len().saturating_sub(2);
        self.spans[last].begin..=self.order.len()
    }

    /// The checkpoints that a crash may lead back to when the disks had taken `taken` events: while a
    /// sync is under way, that before and that after it; once it has returned, only that.
    #[must_use]
    pub fn allowed(&self, taken: usize) -> Vec<u64> {
        let under_way =
            |span: &&Span| span.begin <= taken && taken < span.end && span.call.is_sync();
        if let Some(span) = self.spans.iter().find(under_way) {
            return vec![span.before, span.after];
        }
        let ended = self.spans.iter().rfind(|span| span.end <= taken);
        let at_first = self.spans.first().map(|span| span.before);
        ended
            .map(|span| span.after)
            .or(at_first)
            .into_iter()
            .collect()
    }

    /// What may be in blocks that were overwritten in place between a checkpoint and a crash when the disks had
    /// taken `taken` events.
    #[must_use]
    pub fn overwrites(&self, checkpoint: u64, taken: usize) -> Overwrites {
        let mut overwrites = Overwrites::since(&self.checkpoints[&checkpoint]);
        for span in &self.spans {
            if span.before >= checkpoint && span.begin <= taken {
                overwrites.note(&span.model);
            }
        }
        overwrites
    }

    /// The same as if a disk had promised to flush and done nothing, that once. Returns whether it was asked
    /// so often.
    #[cfg(test)]
    pub fn lose_flush(&mut self, disk: usize, flush: usize) -> bool {
        self.histories[disk].lose_flush(flush)
    }

    /// Events from the first call to the first sync.
    #[cfg(test)]
    pub fn before_sync(&self) -> usize {
        let begin = |span: Option<&Span>| span.map_or(0, |span| span.begin);
        let sync = self.spans.iter().find(|span| span.call.is_sync());
        begin(sync).saturating_sub(begin(self.spans.first()))
    }
}
