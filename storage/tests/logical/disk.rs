//! What survives a store in memory: its disk, and the faults that a test has put on it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    rc::Rc,
    task::Poll,
};

use storage::{
    BLOCK_BYTES, Error, Result,
    file::{Attributes, Checkpoint, FileNumber, ResyncRange, StoreFormat},
};

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Info,
    Load,
    Create,
    Delete,
    Read,
    Write,
    Getattr,
    Setattr,
    Sync,
    Finish,
}

#[derive(Clone, Default)]
pub struct File {
    pub attributes: Attributes,
    pub blocks: BTreeMap<u64, Rc<[u8]>>,
}

#[derive(Clone, Default)]
pub struct State {
    pub files: BTreeMap<u64, File>,
}

/// The next `times` calls fail, after `spared` that do not.
struct Fault {
    call: Call,
    error: Error,
    spared: u32,
    times: u32,
}

/// What survives the store's process: its disk, and the faults the test has put on it.
#[derive(Default)]
pub struct Disk {
    pub format: RefCell<Option<StoreFormat>>,
    pub checkpoints: RefCell<Vec<(Checkpoint, State)>>,
    faults: RefCell<Vec<Fault>>,
    /// The next call of this kind is held.
    hold: Cell<Option<Call>>,
    released: Cell<bool>,
    /// A truncation stops at this size, in blocks, for want of memory.
    pub stop_at: Cell<Option<u64>>,
    /// What the store says that it has overwritten in place.
    pub ranges: RefCell<Vec<ResyncRange>>,
    /// Blocks that read as corrupt, by physical file.
    pub corrupt: RefCell<Vec<u64>>,
    /// The checkpoint before the newest was lost, and not forgotten as it should be.
    pub unfinished: Cell<bool>,
    /// Blocks that files may have in all.
    pub capacity: Cell<u64>,
    pub reads: Cell<u32>,
    pub calls: RefCell<Vec<Call>>,
}

impl Disk {
    pub fn new() -> Rc<Self> {
        let disk = Self::default();
        disk.capacity.set(100_000);
        Rc::new(disk)
    }

    /// The next `times` calls fail with `error`.
    pub fn fail(&self, call: Call, error: Error, times: u32) {
        self.fail_after(call, error, 0, times);
    }

    /// As [`Self::fail`], when `spared` calls have passed.
    pub fn fail_after(&self, call: Call, error: Error, spared: u32, times: u32) {
        self.faults.borrow_mut().push(Fault {
            call,
            error,
            spared,
            times,
        });
    }

    pub fn heal(&self) {
        self.faults.borrow_mut().clear();
        self.corrupt.borrow_mut().clear();
    }

    /// The checkpoint before the newest is not there any more, by mistake.
    pub fn lose_the_one_before(&self) {
        let mut checkpoints = self.checkpoints.borrow_mut();
        while checkpoints.len() > 1 {
            checkpoints.remove(0);
        }
        self.unfinished.set(true);
    }

    /// An independent copy, as of now.
    pub fn image(&self) -> Rc<Self> {
        let copy = Self::new();
        *copy.format.borrow_mut() = *self.format.borrow();
        *copy.checkpoints.borrow_mut() = self.checkpoints.borrow().clone();
        copy
    }

    /// Physical files at the last checkpoint, without the mapping.
    pub fn files(&self) -> usize {
        let checkpoints = self.checkpoints.borrow();
        checkpoints
            .last()
            .map_or(0, |(_, state)| state.files.len() - 1)
    }

    /// The next call of this kind waits, until it is told to go on. One at a time.
    pub fn hold(&self, call: Call) {
        self.hold.set(Some(call));
        self.released.set(false);
    }

    pub fn release(&self) {
        self.released.set(true);
    }

    /// Overwrites a block in place, as of the checkpoint, as a disk that is not told the rest would.
    pub fn overwrite(&self, file: u64, block: u64, fill: u8) {
        let mut checkpoints = self.checkpoints.borrow_mut();
        let (_, state) = checkpoints.last_mut().expect("formatted");
        let mut copies = state.files.values_mut();
        let copy = copies.find(|it| it.attributes.logical.0 == file);
        let blocks = &mut copy.expect("no such file").blocks;
        blocks.insert(block, [fill; BLOCK_BYTES].into());
    }

    /// The number of a logical file's copy.
    pub fn copy_of(&self, file: u64) -> FileNumber {
        let checkpoints = self.checkpoints.borrow();
        let files = &checkpoints.last().expect("formatted").1.files;
        let mut copies = files
            .iter()
            .filter(|(_, it)| it.attributes.logical.0 == file);
        FileNumber(*copies.next().expect("no such file").0)
    }

    /// The store says that it has overwritten this block of a logical file.
    pub fn report(&self, file: u64, block: u64) {
        let file = self.copy_of(file);
        let (offset, len) = (block * BLOCK_BYTES as u64, BLOCK_BYTES as u64);
        self.ranges
            .borrow_mut()
            .push(ResyncRange { file, offset, len });
    }

    pub async fn enter(&self, call: Call) -> Result<()> {
        self.calls.borrow_mut().push(call);
        if self.hold.get() == Some(call) {
            self.hold.set(None);
            poll_fn(|_| match self.released.get() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        }
        let mut faults = self.faults.borrow_mut();
        let hit = faults
            .iter_mut()
            .find(|fault| fault.call == call && fault.times > 0);
        hit.map_or(Ok(()), |fault| {
            if fault.spared > 0 {
                fault.spared -= 1;
                return Ok(());
            }
            fault.times -= 1;
            Err(fault.error)
        })
    }
}
