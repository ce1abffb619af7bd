//! A directory in memory: its blocks as they are on disk, a hash table of positions over them, and
//! which block has room.
//!
//! The names are not kept twice: the table holds positions (4 bytes an entry) and looks at the
//! blocks to compare. A change is prepared as an [`Edit`] on a copy of one block, written below,
//! and then committed here, so that lookups meanwhile see the directory as it was.

use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;

use hashbrown::HashTable;
use xxhash_rust::xxh64::xxh64;

use super::{
    format::{self, BLOCKS_MAX, Block, Entry},
    room::Rooms,
};
use crate::{BLOCK_BYTES, Error, Result, file::FileNumber, vfs::Kind};

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub number: FileNumber,
    /// Its kind, as the directory says.
    pub kind: Kind,
    /// Where the entry is, bytes from the start of the directory.
    pub position: usize,
}

/// A change of one block that is not committed yet.
pub struct Edit {
    /// Which block; one past the last to add it.
    block: usize,
    image: Box<Block>,
    changed: Option<Range<usize>>,
    removed: Option<usize>,
    added: Option<usize>,
}

impl Edit {
    /// Removes the entry at this position.
    pub fn remove(&mut self, position: usize) -> Result<()> {
        let changed = format::remove(&mut self.image, position % BLOCK_BYTES)?;
        self.removed = Some(position);
        self.touch(changed);
        Ok(())
    }

    /// Adds an entry; whether there was room.
    pub fn insert(&mut self, entry: Entry<'_>) -> Result<bool> {
        let Some((at, changed)) = format::insert(&mut self.image, entry)? else {
            return Ok(false);
        };
        self.added = Some(self.block * BLOCK_BYTES + at);
        self.touch(changed);
        Ok(true)
    }

    /// Makes the entry at this position name another file.
    pub fn replace(&mut self, position: usize, number: FileNumber, kind: Kind) -> Result<()> {
        let changed = format::replace(&mut self.image, position % BLOCK_BYTES, number, kind)?;
        self.touch(changed);
        Ok(())
    }

    /// Makes another directory the parent; only in block 0.
    pub fn set_parent(&mut self, parent: FileNumber) {
        let changed = format::set_parent(&mut self.image, parent);
        self.touch(changed);
    }

    /// Where in the file to write, and what.
    pub fn bytes(&self) -> (u64, &[u8]) {
        let changed = self.changed.clone().unwrap_or(0..0);
        (
            (self.block * BLOCK_BYTES + changed.start) as u64,
            &self.image[changed],
        )
    }

    fn touch(&mut self, range: Range<usize>) {
        self.changed = Some(match self.changed.take() {
            None => range,
            Some(changed) => changed.start.min(range.start)..changed.end.max(range.end),
        });
    }
}

/// A directory in memory.
pub struct Index {
    directory: FileNumber,
    blocks: Vec<Box<Block>>,
    positions: HashTable<u32>,
    rooms: Rooms,
}

fn hash(directory: FileNumber, name: &[u8]) -> u64 {
    xxh64(name, directory.0)
}

/// The entry at a position of the checked blocks.
fn entry_at(blocks: &[Box<Block>], position: usize) -> Option<Entry<'_>> {
    let block = blocks.get(position / BLOCK_BYTES)?;
    format::record_at(block, position % BLOCK_BYTES).ok()?.entry
}

impl Index {
    /// Checks the blocks of a directory and indexes them. [`Error::Corrupt`] if anything is not as
    /// the format says, or a name is there twice.
    pub fn build(
        directory: FileNumber,
        blocks: Vec<Box<Block>>,
        lowest: FileNumber,
    ) -> Result<Self> {
        if blocks.is_empty() || blocks.len() > BLOCKS_MAX {
            return Err(Error::Corrupt);
        }
        let mut index = Self {
            directory,
            blocks,
            positions: HashTable::new(),
            rooms: Rooms::new(),
        };
        for (number, block) in index.blocks.iter().enumerate() {
            format::check(block, directory, number, lowest)?;
            for record in format::records(block) {
                let record = record?;
                let Some(entry) = record.entry else { continue };
                let hashed = hash(directory, entry.name);
                let same = |&at: &u32| {
                    entry_at(&index.blocks, at as usize).is_some_and(|e| e.name == entry.name)
                };
                if index.positions.find(hashed, same).is_some() {
                    return Err(Error::Corrupt);
                }
                let position = (number * BLOCK_BYTES + record.at) as u32;
                index
                    .positions
                    .insert_unique(hashed, position, rehash(directory, &index.blocks));
            }
            index.rooms.push(format::room(block)?);
        }
        Ok(index)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// The parent directory.
    pub fn parent(&self) -> FileNumber {
        self.blocks
            .first()
            .map_or(FileNumber(0), |block| format::parent(block))
    }

    /// Bytes of memory it takes, about.
    pub fn weight(&self) -> usize {
        let table = self.positions.capacity() * 8 / 7 * (size_of::<u32>() + 1);
        self.blocks.len() * (BLOCK_BYTES + size_of::<usize>()) + table + self.rooms.weight()
    }

    /// What `name` stands for.
    pub fn find(&self, name: &[u8]) -> Option<Found> {
        let same =
            |&at: &u32| entry_at(&self.blocks, at as usize).is_some_and(|entry| entry.name == name);
        let position = *self.positions.find(hash(self.directory, name), same)? as usize;
        let entry = entry_at(&self.blocks, position)?;
        Some(Found {
            number: entry.number,
            kind: entry.kind,
            position,
        })
    }

    /// The entries from a position on, each with the position that follows it. Positions of
    /// records that are gone are as good as any other.
    pub fn entries_from(&self, position: usize) -> impl Iterator<Item = (Entry<'_>, usize)> {
        let first = position / BLOCK_BYTES;
        let blocks = self.blocks.iter().enumerate().skip(first);
        blocks.flat_map(move |(number, block)| {
            format::records(block)
                .map_while(Result::ok)
                .filter_map(move |record| {
                    let at = number * BLOCK_BYTES + record.at;
                    if at < position {
                        None
                    } else {
                        Some((record.entry?, at + record.len))
                    }
                })
        })
    }

    /// Begins a change of the block that this position is in.
    pub fn edit(&self, position: usize) -> Result<Edit> {
        let block = position / BLOCK_BYTES;
        let image = self.blocks.get(block).ok_or(Error::Corrupt)?.clone();
        Ok(Edit {
            block,
            image,
            changed: None,
            removed: None,
            added: None,
        })
    }

    /// What is where an edit writes; nothing if it adds a block.
    pub fn before(&self, edit: &Edit) -> Option<&[u8]> {
        let block = self.blocks.get(edit.block)?;
        block.get(edit.changed.clone()?)
    }

    /// Prepares a new entry in the first block with room, or in a block more.
    /// [`Error::NoSpace`] if the directory is as long as it can be.
    pub fn insertion(&self, entry: Entry<'_>) -> Result<Edit> {
        debug_assert!(format::is_name(entry.name));
        if let Some(block) = self.rooms.first_with(format::record_bytes(entry.name)) {
            let mut edit = self.edit(block * BLOCK_BYTES)?;
            if edit.insert(entry)? {
                return Ok(edit);
            }
        }
        let block = self.blocks.len();
        if block >= BLOCKS_MAX {
            return Err(Error::NoSpace);
        }
        let image = format::empty(self.directory, FileNumber(0), block);
        let changed = Some(0..BLOCK_BYTES);
        let mut edit = Edit {
            block,
            image,
            changed,
            removed: None,
            added: None,
        };
        if edit.insert(entry)? {
            Ok(edit)
        } else {
            Err(Error::NameTooLong)
        }
    }

    /// Whether an edit has been made.
    pub fn holds(&self, edit: &Edit) -> bool {
        self.blocks
            .get(edit.block)
            .is_some_and(|block| *block == edit.image)
    }

    /// Makes an edit of this index, which has been written below, visible.
    pub fn commit(&mut self, edit: Edit) {
        let directory = self.directory;
        if let Some(position) = edit.removed
            && let Some(entry) = entry_at(&self.blocks, position)
        {
            let hashed = hash(directory, entry.name);
            let same = |&at: &u32| at as usize == position;
            if let Ok(entry) = self.positions.find_entry(hashed, same) {
                entry.remove();
            }
        }
        let room = format::room(&edit.image).unwrap_or(0);
        if edit.block < self.blocks.len() {
            self.blocks[edit.block] = edit.image;
            self.rooms.set(edit.block, room);
        } else {
            self.blocks.push(edit.image);
            self.rooms.push(room);
        }
        if let Some(position) = edit.added
            && let Some(entry) = entry_at(&self.blocks, position)
        {
            let hashed = hash(directory, entry.name);
            let rehash = rehash(directory, &self.blocks);
            self.positions
                .insert_unique(hashed, position as u32, rehash);
        }
    }
}

fn rehash(directory: FileNumber, blocks: &[Box<Block>]) -> impl Fn(&u32) -> u64 + '_ {
    move |&at| entry_at(blocks, at as usize).map_or(0, |entry| hash(directory, entry.name))
}
