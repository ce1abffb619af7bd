//! Recovery from a crash below: attach to the next instance, and take what it lacks for not sent down.
//!
//! ```text
//!                 PeerDied                  attached: at the log's base, all that the log has is dirty
//!    Attached ──────────────> Broken ──> Recovering ───────────────────────────────────> Attached
//!                                            │ ^ └─ PeerDied (bounded) ─┐
//!                                            │ └────────────────────────┘
//!                                            └─ another checkpoint, or any other error ─> Stopped
//! ```
//!
//! The paper rolls forward: it issues every change since the checkpoint again before anything goes on
//! (section VI-B). Here nothing is sent down by the recovery. A page that had been written down is newer than
//! below again, so it is dirty, like any other that was not written down yet, and goes down like those; until
//! then it is read from here. What a file is owed beside that is seen to by [`super::redo`]. So how long a
//! recovery takes does not depend on what has been changed, a crash in the middle undoes nothing, and there
//! is no state between before and after.
//!
//! One recovery at a time; all other calls below wait for it in [`super::below`]. It takes no locks (those who
//! wait hold them) and needs none: it is over in the poll in which the next instance answers.
//!
//! A crash in the middle of a sync leaves two possibilities, told apart by the checkpoint that the
//! new instance has loaded: the log's base, then the log still applies; or a later one, then all
//! that the log has is in it, and the log is cleared. (Not always the next: the logical layer takes
//! a second one at once if a store fails in the first.)
//!
//! The cache's own death ends here too: [`super::revival`] restores the log as if all of it had been sent down.

use alloc::rc::Rc;

use super::{Inner, below::Phase, room::Space};
use crate::{
    Error, Result,
    clock::Clock,
    file::{Attachment, FileService, Resume},
    point::{self, Point},
    surviving::Memory,
};

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
        self.crashed(began);
        let (files, pages) = (
            self.log.borrow().len(),
            self.pool.borrow().counts().in_log(),
        );
        match self.attach_again().await {
            Ok(cleared) => {
                let ns = self.clock.now_ns().saturating_sub(began);
                self.count(|count| {
                    count.recoveries += 1;
                    count.recoveries_cleared += u64::from(cleared);
                    count.recovery_ns_last = ns;
                    count.recovery_ns_max = count.recovery_ns_max.max(ns);
                });
                ::log::info!(
                    target: crate::EVENT,
                    r#"{{"event":"replay","files":{files},"pages":{pages},"duration_ns":{ns},"skipped":{cleared}}}"#
                );
                self.enter(Phase::Attached);
                self.note_nothing_owed();
                self.work.notify();
                self.note_pressure();
            }
            Err(error) => {
                ::log::error!("cache: no recovery from a crash below: {error}");
                self.stop("what was stored since the last checkpoint is not below");
            }
        }
    }

    /// Attaches to the next instance, or to the one after it if that dies too. Returns whether the log was
    /// cleared.
    async fn attach_again(&self) -> Result<bool> {
        let from = {
            let link = self.link.borrow();
            Resume {
                base: link.base,
                syncing: link.syncing,
            }
        };
        let mut deaths = 0;
        loop {
            match self.lower.resume(&from).await {
                Err(error @ (Error::PeerDied | Error::NotLoaded | Error::PeerBusy)) => {
                    self.count(|count| count.recoveries_broken_off += 1);
                    deaths += 1;
                    if deaths > self.config.call_attempts {
                        return Err(error);
                    }
                }
                attached => return self.go_on_from(attached?, from),
            }
        }
    }

    /// Goes on from the checkpoint that the instance has loaded. Returns whether that has all that the log
    /// has.
    fn go_on_from(&self, attachment: Attachment, from: Resume) -> Result<bool> {
        point::pass(Point::Replaying);
        let Resume { base, syncing } = from;
        let volume = self.link.borrow().attachment.map(|before| before.volume);
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
            // A checkpoint of the sync under way has turned out to be there, or was given up. Where it could
            // not be forgotten, it must not count later, when the log has more.
            link.syncing = false;
        }
        if cleared {
            self.new_base(attachment.checkpoint);
        } else {
            self.write_down_volume();
            self.go_back();
        }
        Ok(cleared)
    }

    /// The layers below are at the checkpoint: all that the log has is newer than what they have.
    fn go_back(&self) {
        let files = self.log.borrow_mut().go_back();
        for (file, stands) in files {
            let mut state = file.state.borrow_mut();
            let mut pool = self.pool.borrow_mut();
            let newer = state.pages.iter().filter(|&(_, &id)| pool.go_back(id));
            let dirty = newer.map(|(&index, _)| index).collect();
            state.dirty = dirty;
            state.below.size = stands;
            state.below_unsure = true;
            state.blocks_unsure = true;
            drop((state, pool));
            self.mark_unclean(&file);
        }
        self.turns.clear();
        self.write_back_failed.set(false);
        // What is free now is asked for by the next who needs it.
        self.space.set(Space::default());
    }
}
