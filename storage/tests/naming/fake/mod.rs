//! A file service in memory that fails the test when naming breaks the rules of `FileService`.
//!
//! It checks: nothing before `attach` or `format`; no call on a file that is not there (but
//! `getattr`, which may ask); no number reused before the next checkpoint; nothing that changes
//! state while a `sync` runs; no read or write beside a truncate or a delete of the same file; and
//! that every checkpoint holds a whole file system (see `fsck`). Every call gives way a few times,
//! from a seed, so that calls interleave.

mod file;
mod service;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use storage::{
    Error, Result,
    checksum::Algorithm,
    file::{Attachment, FileNumber, Timestamp},
};

pub use file::File;

/// What the volume holds.
pub type Files = BTreeMap<u64, File>;

/// What goes wrong, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The call fails and has no effect.
    Fail(Error),
    /// The call has its effect and fails all the same.
    FailAfter(Error),
    /// A write of data takes half of them, and further ones fail until a sync. Any other call
    /// fails and has no effect.
    Half(Error),
    /// The call has no effect and never returns; nothing comes after it.
    Hang,
    /// The call has its effect and never returns; nothing comes after it.
    HangAfter,
}

#[derive(Default)]
struct Busy {
    shared: u32,
    exclusive: bool,
}

#[derive(Default)]
pub struct State {
    pub files: Files,
    /// What the last checkpoint holds.
    pub checkpoint: Files,
    pub timestamp: u64,
    formatted: bool,
    attached: bool,
    syncing: bool,
    changing: u32,
    busy: BTreeMap<u64, Busy>,
    pub freed: BTreeSet<u64>,
    /// Calls by name since the last `take_calls`.
    calls: Vec<&'static str>,
    /// The faults to come, and calls that change state until each strikes, counted from the one before.
    faults: VecDeque<(u64, Fault)>,
    hung: bool,
    /// Why data cannot be written before the next sync.
    pub short: Option<Error>,
    /// Nor can they after it.
    pub short_for_good: bool,
    seed: u64,
    /// Whether hostile contents excuse calls on files that are not there.
    pub lenient: bool,
    /// Whether checkpoints are checked.
    pub unchecked: bool,
    pub syncs: u64,
    /// Names what it holds without a break.
    pub history: u64,
}

/// The fake; clones share what they hold.
#[derive(Clone, Default)]
pub struct Fake(pub Rc<RefCell<State>>);

/// Gives way `0` times or more.
struct GiveWay(u32);

impl Future for GiveWay {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Counts a creation for as long as it lasts.
struct Changing(Fake);

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.0.borrow_mut().changing -= 1;
    }
}

/// Marks a file busy for as long as a call on it lasts.
struct Hold {
    fake: Fake,
    file: u64,
    exclusive: bool,
    changes: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.fake.0.borrow_mut();
        let busy = state.busy.get_mut(&self.file).expect("held");
        if self.exclusive {
            busy.exclusive = false;
        } else {
            busy.shared -= 1;
        }
        state.changing -= u32::from(self.changes);
    }
}

impl Fake {
    pub fn new(seed: u64) -> Self {
        let fake = Self::default();
        fake.0.borrow_mut().seed = seed | 1;
        fake
    }

    /// The same volume as a restarted naming layer finds it: nothing below has changed.
    pub fn restarted(&self) -> Self {
        let fake = Self::new(self.0.borrow().seed);
        {
            let (mut new, old) = (fake.0.borrow_mut(), self.0.borrow());
            new.files = old.files.clone();
            new.checkpoint = old.checkpoint.clone();
            new.timestamp = old.timestamp;
            new.formatted = old.formatted;
            new.freed = old.freed.clone();
            new.history = old.history;
            new.lenient = old.lenient;
            new.unchecked = old.unchecked;
        }
        fake
    }

    /// The volume as it is after the power failed: the last checkpoint.
    pub fn after_power_failure(&self) -> Self {
        let fake = self.restarted();
        {
            let mut state = fake.0.borrow_mut();
            state.files = state.checkpoint.clone();
            state.freed.clear();
        }
        fake
    }

    /// Lets a fault strike at the `after`th call from now that changes state, counted from zero.
    pub fn set_fault(&self, after: u64, fault: Fault) {
        self.0.borrow_mut().faults = [(after, fault)].into();
    }

    /// Lets another fault strike, at the `after`th call from the one that the last strikes at.
    pub fn add_fault(&self, after: u64, fault: Fault) {
        self.0.borrow_mut().faults.push_back((after, fault));
    }

    /// Takes the faults away; whether one was still to strike.
    pub fn clear_fault(&self) -> bool {
        !std::mem::take(&mut self.0.borrow_mut().faults).is_empty()
    }

    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.borrow_mut().calls)
    }

    pub fn files(&self) -> Files {
        self.0.borrow().files.clone()
    }

    fn give_way(&self) -> GiveWay {
        let mut state = self.0.borrow_mut();
        state.seed = state
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        GiveWay(((state.seed >> 33) % 3) as u32)
    }

    fn hold(
        &self,
        name: &'static str,
        file: FileNumber,
        exclusive: bool,
        changes: bool,
    ) -> Result<Hold> {
        let mut state = self.0.borrow_mut();
        state.calls.push(name);
        assert!(state.attached, "{name} before attach");
        assert!(
            !(changes && state.syncing),
            "{name} of {} while a sync runs",
            file.0
        );
        if !state.files.contains_key(&file.0) {
            assert!(
                state.lenient || name == "getattr",
                "{name} of {}, which is not there",
                file.0
            );
            return Err(Error::NotFound);
        }
        let busy = state.busy.entry(file.0).or_default();
        assert!(
            !busy.exclusive || name == "getattr",
            "{name} of {} beside a truncate or a delete",
            file.0
        );
        if exclusive {
            assert_eq!(
                busy.shared, 0,
                "{name} of {} beside other calls on it",
                file.0
            );
            busy.exclusive = true;
        } else {
            busy.shared += 1;
        }
        state.changing += u32::from(changes);
        drop(state);
        Ok(Hold {
            fake: self.clone(),
            file: file.0,
            exclusive,
            changes,
        })
    }

    /// Lets the fault strike, or not; whether the call is to have its effect, and how it ends.
    async fn strike(&self) -> (bool, Result<()>) {
        self.strike_write(false).await
    }

    /// The same for a write, which may be one that can be made by halves.
    async fn strike_write(&self, takes_halves: bool) -> (bool, Result<()>) {
        if takes_halves && let Some(error) = self.0.borrow().short {
            return (false, Err(error));
        }
        let fault = {
            let mut state = self.0.borrow_mut();
            match state.faults.front_mut() {
                None => None,
                Some((0, fault)) => {
                    let fault = *fault;
                    state.faults.pop_front();
                    state.hung = matches!(fault, Fault::Hang | Fault::HangAfter);
                    Some(fault)
                }
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
            }
        };
        if self.0.borrow().hung && fault != Some(Fault::HangAfter) {
            std::future::pending::<()>().await;
        }
        match fault {
            Some(Fault::Fail(error)) => (false, Err(error)),
            Some(Fault::FailAfter(error)) => (true, Err(error)),
            Some(Fault::Half(error)) if takes_halves => {
                self.0.borrow_mut().short = Some(error);
                (true, Ok(()))
            }
            Some(Fault::Half(error)) => (false, Err(error)),
            // The reply never comes: see `reply`.
            Some(Fault::Hang | Fault::HangAfter) | None => (true, Ok(())),
        }
    }

    fn put(&self, number: FileNumber, offset: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0
                .borrow_mut()
                .files
                .get_mut(&number.0)
                .expect("held")
                .write(offset, bytes);
        }
    }

    /// Where a call returns, unless it hangs.
    async fn reply<T>(&self, result: Result<T>) -> Result<T> {
        if self.0.borrow().hung {
            std::future::pending::<()>().await;
        }
        result
    }

    /// Whether a call hangs.
    pub fn is_hung(&self) -> bool {
        self.0.borrow().hung
    }

    /// From now on no call has an effect, nor does any return.
    pub fn hang(&self) {
        self.0.borrow_mut().faults.clear();
        self.0.borrow_mut().hung = true;
    }

    /// Lets calls return again after a hang.
    pub fn heal(&self) {
        self.0.borrow_mut().hung = false;
    }

    fn attachment(&self) -> Attachment {
        Attachment {
            volume: 7,
            checkpoint: Timestamp(self.0.borrow().timestamp),
            algorithm: Algorithm::Xxh64,
            first_file: FileNumber(1),
            stores: 2,
            stores_present: 2,
        }
    }
}
