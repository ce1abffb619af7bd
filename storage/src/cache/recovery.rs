//! Recovery from a crash below: attach to the next instance, bring it to where the last one was.
//!
//! ```text
//!                 PeerDied                 attached, log replayed
//!    Attached ──────────────> Broken ──> Recovering ──────────────> Attached
//!                                            │ ^ └─ PeerDied (bounded) ─┐
//!                                            │ └────────────────────────┘
//!                                            └─ another checkpoint, or any other error ─> Stopped
//! ```
//!
//! One recovery at a time; all other calls below wait for it in [`super::below`]. It takes no file
//! locks (those who wait hold them) and needs none: the log changes when calls below succeed, and
//! none is issued meanwhile. The cache goes on serving what it has. Pages rewritten or under way
//! are left out of the replay, as they will be written anyway.
//!
//! A crash in the middle of a sync leaves two possibilities, told apart by the checkpoint that the
//! new instance has loaded: the log's base, then the log still applies; or a later one, then all
//! that the log has is in it, and the log is cleared. (Not always the next: the logical layer takes
//! a second one at once if a store fails in the first.)

use alloc::{rc::Rc, vec::Vec};

use futures_util::{StreamExt, stream};

use super::{Inner, below::Phase, files::File, log::Record, writeback::Run};
use crate::{
    Error, Result,
    clock::Clock,
    file::{AttributeChange, Attributes, FileNumber, FileService, Resume},
    point::{self, Point},
    surviving::Memory,
};

/// Files replayed at once.
const FILES_AT_ONCE: usize = 8;
/// Times that a call of the replay is issued again because memory below was short: others at work
/// there have it.
const SHORTAGES_MAX: usize = 64;
/// Writes to one file replayed at once.
const RUNS_AT_ONCE: usize = 4;

impl<L: FileService + 'static, C: Clock + 'static, M: Memory + 'static> Inner<L, C, M> {
    /// Sees to a layer below that died. Ends in `Attached` or `Stopped`.
    pub(super) async fn recover(self: &Rc<Self>) {
        if self.phase() != Phase::Broken {
            return;
        }
        if !self.config.roll_forward {
            self.stop("a layer below died, and no roll-forward log is kept");
            return;
        }
        self.enter(Phase::Recovering);
        let began = self.clock.now_ns();
        self.crashed_ns.set(Some(began));
        let (files, pages) = (self.log.borrow().len(), self.pool.borrow().counts().logged);
        let mut attempts = 0;
        let mut calls_best = 0;
        let outcome = loop {
            let calls_before = self.statistics.borrow().replay_calls;
            match self.roll_forward().await {
                Err(Error::PeerDied | Error::NotLoaded | Error::PeerBusy) => {}
                outcome => break outcome,
            }
            self.count(|count| count.replays_broken_off += 1);
            // A death in the middle of a replay. One that got further than any before is progress.
            let calls = self.statistics.borrow().replay_calls - calls_before;
            attempts = if calls > calls_best { 1 } else { attempts + 1 };
            calls_best = calls_best.max(calls);
            if attempts >= self.config.replay_attempts {
                break Err(Error::PeerDied);
            }
        };
        match outcome {
            Ok(cleared) => {
                let ns = self.clock.now_ns().saturating_sub(began);
                self.count(|count| {
                    count.replays += 1;
                    count.replays_cleared += u64::from(cleared);
                    count.replay_ns_last = ns;
                    count.replay_ns_max = count.replay_ns_max.max(ns);
                });
                ::log::info!(
                    target: crate::EVENT,
                    r#"{{"event":"replay","files":{files},"pages":{pages},"duration_ns":{ns},"skipped":{cleared}}}"#
                );
                self.enter(Phase::Attached);
                self.note_pressure();
            }
            Err(error) => {
                ::log::error!("cache: the roll-forward log could not be replayed: {error}");
                self.stop("what was stored since the last checkpoint is not below");
            }
        }
    }

    /// Attaches and replays once. Returns whether the log was cleared instead.
    async fn roll_forward(self: &Rc<Self>) -> Result<bool> {
        let (from, volume) = {
            let link = self.link.borrow();
            let from = Resume {
                base: link.base,
                syncing: link.syncing,
            };
            (from, link.attachment.map(|before| before.volume))
        };
        let attachment = self.lower.resume(&from).await?;
        point::pass(Point::Replaying);
        let Resume { base, syncing } = from;
        if volume != Some(attachment.volume) {
            ::log::error!("cache: another volume below: {:032x}", attachment.volume);
            return Err(Error::NoCheckpoint);
        }
        let cleared = attachment.checkpoint > base && syncing;
        if attachment.checkpoint != base && !cleared {
            ::log::error!(
                "cache: checkpoint {} below, the roll-forward log is based on {}",
                attachment.checkpoint.0,
                base.0
            );
            return Err(Error::NoCheckpoint);
        }
        {
            // From here on an answer of an earlier instance no longer counts.
            let mut link = self.link.borrow_mut();
            link.generation += 1;
            link.attachment = Some(attachment);
            // A checkpoint of the sync under way was given up, if not. Where it could not be forgotten, it must
            // not count later, when the log has more.
            link.syncing = cleared;
        }
        self.write_down_volume();
        if cleared {
            self.new_base(attachment.checkpoint);
            return Ok(true);
        }
        let records: Vec<_> = self.log.borrow().snapshot().collect();
        let mut replays = stream::iter(records)
            .map(|(number, record)| self.replay(number, record))
            .buffer_unordered(FILES_AT_ONCE);
        while let Some(outcome) = replays.next().await {
            outcome?;
        }
        Ok(false)
    }

    /// Replays one file: delete, create, cut, pages, attributes.
    async fn replay(self: &Rc<Self>, number: FileNumber, record: Record) -> Result<()> {
        let Record {
            sent,
            removed,
            created,
            cut,
            file,
            ..
        } = record;
        if !sent {
            return Ok(());
        }
        if removed {
            self.again(async |lower: &L| lower.delete(number).await)
                .await?;
        }
        let Some(file) = file else { return Ok(()) };
        let below = file.state.borrow().below;
        if created {
            let empty = Attributes {
                size: 0,
                blocks: 0,
                ..below
            };
            self.again(async |lower: &L| lower.create(number, &empty).await)
                .await?;
        } else if let Some(cut) = cut {
            self.again(async |lower: &L| lower.truncate(number, cut, below.modified_ns).await)
                .await?;
        }
        let mut wrote = 0;
        let mut writes = stream::iter(self.logged_runs(&file))
            .map(|(first, count)| self.replay_run(&file, first, count, &below))
            .buffer_unordered(RUNS_AT_ONCE);
        while let Some(outcome) = writes.next().await {
            wrote += outcome?;
        }
        // Writes bring the size with them. Without any, it must come by itself.
        let resized = wrote == 0 && (!created || below.size > 0);
        if resized {
            self.again(async |lower: &L| {
                lower.truncate(number, below.size, below.modified_ns).await
            })
            .await?;
        }
        // Writes and truncations set both times alike.
        let times_set = (wrote > 0 || resized) && below.changed_ns != below.modified_ns;
        if !created || times_set {
            self.again(async |lower: &L| lower.setattr(number, &AttributeChange::to(&below)).await)
                .await?;
        }
        Ok(())
    }

    /// Issues a call of the replay.
    async fn again(&self, mut call: impl AsyncFnMut(&L) -> Result<()>) -> Result<()> {
        let mut shortages_left = SHORTAGES_MAX;
        loop {
            let permit = self.permits.acquire().await;
            let result = self.issue(permit, &mut call).await;
            self.count(|count| count.replay_calls += 1);
            match result {
                Err(Error::NoMemory) if shortages_left > 0 => shortages_left -= 1,
                result => return result,
            }
        }
    }

    /// The pages of a file that the log has, as runs: first page, count.
    fn logged_runs(&self, file: &File) -> Vec<(u64, u64)> {
        let state = file.state.borrow();
        let mut pool = self.pool.borrow_mut();
        let logged = state
            .pages
            .iter()
            .filter(|&(_, &id)| pool.is_replayable(id));
        super::writeback::runs(logged.map(|(&index, _)| index))
    }

    /// Writes those pages of a run that still must be; returns in how many calls.
    async fn replay_run(
        self: &Rc<Self>,
        file: &Rc<File>,
        first: u64,
        count: u64,
        below: &Attributes,
    ) -> Result<usize> {
        let algorithm = self.algorithm();
        let mut pieces: Vec<Run<M>> = Vec::new();
        {
            let state = file.state.borrow();
            let mut pool = self.pool.borrow_mut();
            for (&index, &id) in state.pages.range(first..first + count) {
                let Some((page, checksum)) = pool.replay(id, algorithm) else {
                    continue;
                };
                super::writeback::add_to(&mut pieces, index, page, checksum);
            }
        }
        for piece in &pieces {
            self.again(async |lower: &L| {
                let write = piece.write(file.number, below.size, below.modified_ns);
                piece.is_whole(lower.write(write).await?)
            })
            .await?;
        }
        Ok(pieces.len())
    }
}
