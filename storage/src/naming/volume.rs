//! The mounted volume: what is remembered of it between calls.

use alloc::{collections::VecDeque, rc::Rc};
use core::cell::{Cell, RefCell};

use super::{
    Limits, chores::Chore, directory::Directory, inode::Inode, numbers::Numbers, table::Table,
};
use crate::{
    Error, Result,
    file::{Attachment, FileNumber, Timestamp},
};

/// Least that a directory weighs, so that many small ones are bounded as well.
const DIRECTORY_WEIGHT_MIN: usize = 1024;

/// A mounted volume.
pub struct Volume {
    /// What names it.
    pub id: u128,
    /// The root directory.
    pub root: FileNumber,
    /// The directory of files that are open and have no name.
    pub orphans: FileNumber,
    /// Which number the next file gets.
    pub numbers: RefCell<Numbers>,
    /// The last checkpoint.
    pub checkpoint: Cell<Timestamp>,
    /// Open files, those included whose descriptor was closed while a call uses them.
    pub open_files: Cell<usize>,
    /// What remains to be done.
    pub chores: RefCell<VecDeque<Chore>>,
    /// There was no room even after a checkpoint, and nothing was freed since.
    pub full: Cell<bool>,
    /// Counts checkpoints, from one on.
    checkpoints: Cell<u64>,
    inodes: RefCell<Table<Inode>>,
    directories: RefCell<Table<Directory>>,
}

impl Volume {
    /// A volume of which nothing is remembered yet.
    pub fn new(attachment: Attachment, numbers: Numbers, limits: &Limits) -> Self {
        let (root, orphans) = Self::roots(&attachment);
        Self {
            id: attachment.volume,
            root,
            orphans,
            numbers: RefCell::new(numbers),
            checkpoint: Cell::new(attachment.checkpoint),
            open_files: Cell::new(0),
            chores: RefCell::new(VecDeque::new()),
            full: Cell::new(false),
            checkpoints: Cell::new(1),
            inodes: RefCell::new(Table::new(limits.inodes)),
            directories: RefCell::new(Table::new(limits.directory_bytes)),
        }
    }

    /// The numbers of the root and of the orphan directory: the first two that are usable. Zero is
    /// no file's number.
    pub fn roots(attachment: &Attachment) -> (FileNumber, FileNumber) {
        let root = attachment.first_file.0.max(1);
        (FileNumber(root), FileNumber(root + 1))
    }

    /// The lowest number that an entry may have.
    pub fn lowest_entry(&self) -> FileNumber {
        FileNumber(self.orphans.0 + 1)
    }

    /// How many checkpoints there were, to tell older from newer.
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints.get()
    }

    /// Notes that a checkpoint was made.
    pub fn checkpoint_made(&self, timestamp: Timestamp) {
        self.checkpoint.set(timestamp);
        self.checkpoints.set(self.checkpoints.get() + 1);
        self.numbers.borrow_mut().checkpoint();
    }

    /// The one inode of this number; of a file that is deleted it is a new one.
    pub fn inode(&self, number: FileNumber) -> Result<Rc<Inode>> {
        let mut inodes = self.inodes.borrow_mut();
        if let Some(inode) = inodes.get(number) {
            return Ok(inode);
        }
        let inode = Rc::new(Inode::unknown(number, self.checkpoints()));
        inodes.insert(number, inode.clone(), 1)?;
        Ok(inode)
    }

    /// Puts in the inode of a file that was just created.
    pub fn add_inode(&self, inode: Rc<Inode>) -> Result<()> {
        self.inodes.borrow_mut().insert(inode.number, inode, 1)
    }

    /// The one directory of this number, indexed or not.
    pub fn directory(&self, number: FileNumber) -> Result<Rc<Directory>> {
        let mut directories = self.directories.borrow_mut();
        if let Some(directory) = directories.get(number) {
            return Ok(directory);
        }
        if number == FileNumber(0) {
            return Err(Error::Corrupt);
        }
        let directory = Rc::new(Directory::new(number));
        directories.insert(number, directory.clone(), DIRECTORY_WEIGHT_MIN)?;
        Ok(directory)
    }

    /// Notes what a directory weighs.
    pub fn reweigh(&self, number: FileNumber, weight: usize) -> Result<()> {
        self.directories
            .borrow_mut()
            .reweigh(number, weight + DIRECTORY_WEIGHT_MIN)
    }

    /// Forgets what is remembered of the content of a directory: it is about to be changed below.
    pub fn forget_content(&self, number: FileNumber) {
        if let Some(directory) = self.directories.borrow_mut().get(number) {
            directory.forget();
        }
    }

    /// Forgets a file that is about to be deleted: whoever holds it sees that it is gone, and a
    /// later file of its number is another one.
    pub fn forget(&self, inode: &Inode) {
        inode.gone.set(true);
        self.inodes.borrow_mut().remove(inode.number);
        let mut directories = self.directories.borrow_mut();
        if let Some(directory) = directories.get(inode.number) {
            directory.gone.set(true);
            directories.remove(inode.number);
        }
    }
}
