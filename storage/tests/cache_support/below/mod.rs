//! The layer below: made of memory, it checks its caller, and dies on command.

mod service;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use storage::{
    Error, Result,
    checksum::{Algorithm, Checksum},
    file::{Attachment, Attributes, FileNumber, Resume, Timestamp, Write},
};

use super::{
    PAGE,
    checksum::crc32c,
    random::{Random, yield_now},
};

#[derive(Clone, Default)]
pub struct StoredFile {
    pub attributes: Attributes,
    pub data: Vec<u8>,
}

#[derive(Clone, Default)]
pub struct Volume {
    pub files: BTreeMap<FileNumber, StoredFile>,
}

impl Volume {
    fn blocks(&self) -> u64 {
        self.files
            .values()
            .map(|file| file.data.len().div_ceil(PAGE) as u64)
            .sum()
    }
}

/// Which call of a file is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Shared,
    Alone,
}

pub struct State {
    pub now: Volume,
    pub checkpoint: Volume,
    pub timestamp: u64,
    pub attached: bool,
    pub instance: u64,
    pub random: Random,
    /// Steps until the next crash; none: no crashes.
    pub crash_in: Option<u64>,
    /// Average steps between crashes.
    pub crash_every: Option<u64>,
    pub crashes: u64,
    /// Crash at these points of the next syncs.
    pub crash_in_sync: Vec<SyncPoint>,
    /// Crash in the next attach calls: how many.
    pub crash_in_attach: u64,
    /// Of ten instances, so many die soon after they were attached to.
    pub replay_crashes_of_ten: u64,
    /// Crash when this many state-changing calls have arrived since the attach: one entry an
    /// instance.
    pub crash_in_replay: Vec<u64>,
    changes_since_attach: u64,
    under_way: Vec<(FileNumber, Kind)>,
    changing: u64,
    syncing: bool,
    /// What the caller said when it went on last.
    pub resumed: Option<Resume>,
    /// What the caller did wrong.
    pub violations: Vec<String>,
    /// Calls by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// Pages read.
    pub pages_read: u64,
    pub blocks_max: u64,
    pub files_max: usize,
    /// Pretends that this many writes from now did happen, without doing the last of them.
    pub lose_write: Option<u64>,
    pub write_errors: Vec<Error>,
    /// Errors of the next calls for attributes.
    pub getattr_errors: Vec<Error>,
    /// Errors of the next creations.
    pub create_errors: Vec<Error>,
    /// Errors of the next deletes.
    pub delete_errors: Vec<Error>,
    /// The next truncation comes as far as this size, and fails.
    pub truncate_error: Option<(u64, Error)>,
    /// Writes under way: instance, file, and the size and time they carry.
    writes: Vec<(u64, FileNumber, u64, u64)>,
    pub sync_errors: Vec<Error>,
    /// Blocks that cannot be read.
    pub bad: Vec<(FileNumber, u64)>,
    /// Blocks written with a checksum that is not theirs.
    pub mismatched: Vec<(FileNumber, u64)>,
    /// Most pages in one write.
    pub write_pages_max: usize,
    /// Calls wait while this holds.
    pub held: bool,
    /// Writes wait while this holds.
    pub held_writes: bool,
    /// Answers to reads of this file are on their way for as long as this says so.
    pub held_reads: Option<FileNumber>,
    pub delay_max: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncPoint {
    Before,
    After,
}

/// The layer below.
#[derive(Clone)]
pub struct Below(pub Rc<RefCell<State>>);

impl Below {
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            now: Volume::default(),
            checkpoint: Volume::default(),
            timestamp: 1,
            attached: false,
            instance: 0,
            random: Random::new(seed),
            crash_in: None,
            crash_every: None,
            crashes: 0,
            crash_in_sync: Vec::new(),
            crash_in_attach: 0,
            replay_crashes_of_ten: 0,
            crash_in_replay: Vec::new(),
            changes_since_attach: 0,
            under_way: Vec::new(),
            changing: 0,
            syncing: false,
            resumed: None,
            violations: Vec::new(),
            calls: BTreeMap::new(),
            pages_read: 0,
            blocks_max: 1 << 20,
            files_max: 1 << 20,
            lose_write: None,
            write_errors: Vec::new(),
            getattr_errors: Vec::new(),
            create_errors: Vec::new(),
            delete_errors: Vec::new(),
            truncate_error: None,
            writes: Vec::new(),
            sync_errors: Vec::new(),
            bad: Vec::new(),
            mismatched: Vec::new(),
            write_pages_max: 0,
            held: false,
            held_writes: false,
            held_reads: None,
            delay_max: 3,
        })))
    }

    pub fn state(&self) -> std::cell::RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// The instance dies and loses all since its checkpoint.
    pub fn crash(&self) {
        let mut state = self.state();
        state.instance += 1;
        state.attached = false;
        state.crashes += 1;
        state.now = state.checkpoint.clone();
        state.under_way.clear();
        state.changing = 0;
        state.syncing = false;
        let every = state.crash_every;
        state.crash_in = every.map(|every| 1 + state.random.below(2 * every));
    }

    pub fn calls(&self, name: &str) -> u64 {
        self.state().calls.get(name).copied().unwrap_or(0)
    }

    fn step(&self) {
        let due = {
            let mut state = self.state();
            match &mut state.crash_in {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            }
        };
        if due {
            self.crash();
        }
    }

    async fn delay(&self, instance: u64) -> Result<()> {
        let max = self.state().delay_max;
        let steps = if max == 0 {
            0
        } else {
            self.state().random.below(max + 1)
        };
        for _ in 0..steps {
            yield_now().await;
            self.step();
        }
        while self.state().held {
            yield_now().await;
        }
        if self.state().instance == instance {
            Ok(())
        } else {
            Err(Error::PeerDied)
        }
    }

    /// Serves a call: `effect` happens at once at some time, the answer comes later. An answer that
    /// was sent before a crash may arrive after it.
    async fn serve<T>(
        &self,
        name: &'static str,
        file: Option<(FileNumber, Kind)>,
        changes: bool,
        effect: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        *self.state().calls.entry(name).or_default() += 1;
        let instance = self.state().instance;
        if !self.state().attached {
            self.delay(instance).await?;
            return Err(Error::NotLoaded);
        }
        let _entered = self.enter(name, instance, file, changes);
        self.delay(instance).await?;
        while name == "write" && self.state().held_writes {
            yield_now().await;
        }
        if changes {
            let mut state = self.state();
            state.changes_since_attach += 1;
            if state.crash_in_replay.first() == Some(&state.changes_since_attach) {
                state.crash_in_replay.remove(0);
                drop(state);
                self.crash();
                return Err(Error::PeerDied);
            }
        }
        let answer = effect(&mut self.state());
        let sent = self.state().random.one_in(2);
        while name == "read" && file.is_some_and(|it| self.state().held_reads == Some(it.0)) {
            yield_now().await;
        }
        match self.delay(instance).await {
            Err(error) if !sent => Err(error),
            _ => answer,
        }
    }

    /// Whether the instance is to die in this sync; it then has made a checkpoint or not.
    fn sync_dies(&self) -> bool {
        let mut state = self.state();
        if state.changing > 0 {
            state
                .violations
                .push("sync while calls change state".into());
        }
        let point = state.crash_in_sync.pop();
        if point == Some(SyncPoint::After) {
            state.checkpoint = state.now.clone();
            state.timestamp += 1;
        }
        point.is_some()
    }

    fn enter(
        &self,
        name: &'static str,
        instance: u64,
        file: Option<(FileNumber, Kind)>,
        changes: bool,
    ) -> Entered {
        let mut state = self.state();
        if changes && state.syncing {
            state.violations.push(format!("{name} while a sync runs"));
        }
        if let Some((number, kind)) = file {
            let conflict = state.under_way.iter().any(|&(other, with)| {
                other == number && (kind == Kind::Alone || with == Kind::Alone)
            });
            if conflict {
                state
                    .violations
                    .push(format!("{name} of {number:?} beside a conflicting call"));
            }
            state.under_way.push((number, kind));
        }
        state.changing += u64::from(changes);
        Entered {
            below: self.clone(),
            instance,
            file,
            changes,
        }
    }
}

/// A write under way.
struct Alike {
    below: Below,
    write: (u64, FileNumber, u64, u64),
}

impl Below {
    /// Notes a write while it lasts. Copies of a file may commit writes that are under way at once in
    /// different orders, so they must agree on what a write says of the whole file.
    fn alike(&self, write: &Write<'_>) -> Alike {
        let mut state = self.state();
        let write = (state.instance, write.file, write.size, write.modified_ns);
        if let Some(other) = state
            .writes
            .iter()
            .find(|other| (other.0, other.1) == (write.0, write.1) && **other != write)
        {
            let what = format!("writes at once that differ: {write:?} and {other:?}");
            state.violations.push(what);
        }
        state.writes.push(write);
        Alike {
            below: self.clone(),
            write,
        }
    }
}

impl Drop for Alike {
    fn drop(&mut self) {
        let mut state = self.below.state();
        let at = state.writes.iter().position(|write| *write == self.write);
        state.writes.swap_remove(at.expect("a write under way"));
    }
}

struct Entered {
    below: Below,
    instance: u64,
    file: Option<(FileNumber, Kind)>,
    changes: bool,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.below.state();
        if state.instance != self.instance {
            return;
        }
        if let Some(entry) = self.file
            && let Some(at) = state.under_way.iter().position(|&other| other == entry)
        {
            state.under_way.swap_remove(at);
        }
        state.changing -= u64::from(self.changes);
    }
}

impl State {
    fn attachment(&self) -> Attachment {
        Attachment {
            volume: 77,
            checkpoint: Timestamp(self.timestamp),
            algorithm: Algorithm::Crc32c,
            first_file: FileNumber(2),
            stores: 1,
            stores_present: 1,
        }
    }

    fn file(&mut self, number: FileNumber) -> Result<&mut StoredFile> {
        self.now.files.get_mut(&number).ok_or(Error::NotFound)
    }

    fn check_write(&mut self, write: &Write<'_>, data: &[u8]) {
        let end = write.offset + data.len() as u64;
        let mut wrong = Vec::new();
        if !write.offset.is_multiple_of(PAGE as u64) || !data.len().is_multiple_of(PAGE) {
            wrong.push("not whole blocks".to_string());
        }
        if data.is_empty() || end.saturating_sub(write.size) >= PAGE as u64 {
            wrong.push(format!(
                "blocks up to {end} of a file of {} bytes",
                write.size
            ));
        }
        if end > write.size
            && data[(write.size - write.offset) as usize..]
                .iter()
                .any(|&b| b != 0)
        {
            wrong.push("last block not zero-padded".to_string());
        }
        let checksums: Vec<_> = data
            .chunks(PAGE)
            .map(|block| Checksum(crc32c(block)))
            .collect();
        let first = write.offset / PAGE as u64;
        for (block, (is, said)) in (first..).zip(checksums.iter().zip(write.checksums)) {
            let block = (write.file, block);
            self.mismatched.retain(|other| *other != block);
            if is != said {
                self.mismatched.push(block);
            }
        }
        if checksums != write.checksums {
            wrong.push("wrong checksums".to_string());
        }
        self.write_pages_max = self.write_pages_max.max(data.len() / PAGE);
        let file = write.file;
        self.violations.extend(
            wrong
                .into_iter()
                .map(|what| format!("write to {file:?}: {what}")),
        );
    }
}
