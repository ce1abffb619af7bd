//! The bytes of a directory: `docs/formats/directories.md`.
//!
//! ```text
//! block    magic "GDIR" | version u16 | 0 u16 | directory u64 | parent u64 | index u32 | 0 u32 |
//!          records up to the end of the block
//! record   file u64 | length u16 | kind u8 | name length u8 | name | zeros up to length
//! ```
//!
//! Records fill the block without gaps and never cross its end; a free one has kind 0. A record
//! stays where it is until it is removed, so a position in the file is a cookie for `readdir`.
//! Nothing here trusts what it reads: whatever is not as above is [`Error::Corrupt`].

use alloc::boxed::Box;
use core::ops::Range;

use crate::{BLOCK_BYTES, Error, Result, file::FileNumber, vfs::Kind};

/// One block of a directory.
pub type Block = [u8; BLOCK_BYTES];

/// Where the records of a block begin.
pub const HEADER_BYTES: usize = 32;
/// Bytes of a record before its name.
pub const RECORD_BYTES: usize = 12;
/// Most blocks in a directory: 16 MiB, about 500,000 names of 20 bytes.
pub const BLOCKS_MAX: usize = 4096;

const MAGIC: [u8; 4] = *b"GDIR";
const VERSION: u16 = 1;
const ALIGNMENT: usize = 4;
const PARENT: Range<usize> = 16..24;

/// What a record says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its number.
    pub number: FileNumber,
    /// Its kind.
    pub kind: Kind,
    /// Its name here.
    pub name: &'a [u8],
}

/// Where a record lies, whatever it says.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    len: usize,
    is_free: bool,
}

/// A record of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where it begins.
    pub at: usize,
    /// How long it is.
    pub len: usize,
    /// What it says; nothing if it is free.
    pub entry: Option<Entry<'a>>,
}

fn field<const N: usize>(block: &Block, at: usize) -> [u8; N] {
    block
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::File => 1,
        Kind::Directory => 2,
        Kind::Link => 3,
    }
}

/// Bytes that a record for this name takes.
pub fn record_bytes(name: &[u8]) -> usize {
    (RECORD_BYTES + name.len()).next_multiple_of(ALIGNMENT)
}

/// Whether this can be the name of an entry.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= crate::vfs::NAME_BYTES_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|&byte| byte == b'/' || byte == 0)
}

/// A block without entries. The parent is in block 0 only.
pub fn empty(directory: FileNumber, parent: FileNumber, index: usize) -> Box<Block> {
    let mut block = Box::new([0; BLOCK_BYTES]);
    block[..4].copy_from_slice(&MAGIC);
    block[4..6].copy_from_slice(&VERSION.to_le_bytes());
    block[8..16].copy_from_slice(&directory.0.to_le_bytes());
    block[24..28].copy_from_slice(&(index as u32).to_le_bytes());
    if index == 0 {
        set_parent(&mut block, parent);
    }
    put_free(&mut block, HEADER_BYTES, BLOCK_BYTES - HEADER_BYTES);
    block
}

/// The parent directory that block 0 names.
pub fn parent(block: &Block) -> FileNumber {
    FileNumber(u64::from_le_bytes(field(block, PARENT.start)))
}

/// Sets the parent directory in block 0; returns what has changed.
pub fn set_parent(block: &mut Block, parent: FileNumber) -> Range<usize> {
    block[PARENT].copy_from_slice(&parent.0.to_le_bytes());
    PARENT
}

/// Checks the header and every record. An entry's number must be `lowest` or more, so that no
/// damaged or hostile block can name the root or the orphan directory.
pub fn check(block: &Block, directory: FileNumber, index: usize, lowest: FileNumber) -> Result<()> {
    if block[..4] != MAGIC {
        return Err(Error::Corrupt);
    }
    if field(block, 4) != VERSION.to_le_bytes() {
        return Err(Error::WrongVersion);
    }
    let parent_is_right = (parent(block) != FileNumber(0)) == (index == 0);
    if field(block, 6) != [0; 2]
        || field(block, 8) != directory.0.to_le_bytes()
        || field(block, 24) != (index as u32).to_le_bytes()
        || field(block, 28) != [0; 4]
        || !parent_is_right
    {
        return Err(Error::Corrupt);
    }
    for record in records(block) {
        if record?.entry.is_some_and(|entry| entry.number < lowest) {
            return Err(Error::Corrupt);
        }
    }
    Ok(())
}

/// Where the record lies that begins at `at`.
fn place_at(block: &Block, at: usize) -> Result<Place> {
    if at < HEADER_BYTES || !at.is_multiple_of(ALIGNMENT) || at + RECORD_BYTES > BLOCK_BYTES {
        return Err(Error::Corrupt);
    }
    let len = usize::from(u16::from_le_bytes(field(block, at + 8)));
    if len < RECORD_BYTES || !len.is_multiple_of(ALIGNMENT) || at + len > BLOCK_BYTES {
        return Err(Error::Corrupt);
    }
    let [kind] = field(block, at + 10);
    let is_free = kind == 0;
    Ok(Place { at, len, is_free })
}

/// The record that begins at `at`.
pub fn record_at(block: &Block, at: usize) -> Result<Record<'_>> {
    let Place { len, .. } = place_at(block, at)?;
    let number = FileNumber(u64::from_le_bytes(field(block, at)));
    let [kind, name_len] = field(block, at + 10);
    let kind = match kind {
        0 => {
            return Ok(Record {
                at,
                len,
                entry: None,
            });
        }
        1 => Kind::File,
        2 => Kind::Directory,
        3 => Kind::Link,
        _ => return Err(Error::Corrupt),
    };
    let name = &block[at + RECORD_BYTES..at + len];
    let name = name.get(..usize::from(name_len)).ok_or(Error::Corrupt)?;
    if !is_name(name) {
        return Err(Error::Corrupt);
    }
    Ok(Record {
        at,
        len,
        entry: Some(Entry { number, kind, name }),
    })
}

/// Where the records of a block lie that was checked, in order: a change of one need not look at what the
/// others say. Ends after the first that is damaged.
fn places(block: &Block) -> impl Iterator<Item = Result<Place>> {
    let mut next = Some(HEADER_BYTES);
    core::iter::from_fn(move || {
        let at = next.filter(|&at| at < BLOCK_BYTES)?;
        let place = place_at(block, at);
        next = place.ok().map(|place| at + place.len);
        Some(place)
    })
}

/// All records of a block, in order; ends after the first that is damaged. Each is at least
/// [`RECORD_BYTES`] long, so there are at most 338.
pub fn records(block: &Block) -> impl Iterator<Item = Result<Record<'_>>> {
    let mut next = Some(HEADER_BYTES);
    core::iter::from_fn(move || {
        let at = next.filter(|&at| at < BLOCK_BYTES)?;
        let record = record_at(block, at);
        next = record.ok().map(|record| at + record.len);
        Some(record)
    })
}

/// Length of the longest free record.
pub fn room(block: &Block) -> Result<usize> {
    let mut longest = 0;
    for place in places(block) {
        let place = place?;
        if place.is_free {
            longest = longest.max(place.len);
        }
    }
    Ok(longest)
}

/// Puts an entry into the first free record that is long enough; returns where it is and what has
/// changed, or nothing if there is no room.
pub fn insert(block: &mut Block, entry: Entry<'_>) -> Result<Option<(usize, Range<usize>)>> {
    let need = record_bytes(entry.name);
    let mut found = None;
    for place in places(block) {
        let place = place?;
        if place.is_free && place.len >= need {
            found = Some((place.at, place.len));
            break;
        }
    }
    let Some((at, free)) = found else {
        return Ok(None);
    };
    // What is left over becomes a free record, unless it is too short to be one.
    let (len, changed) = match free - need {
        rest if rest >= RECORD_BYTES => {
            put_free(block, at + need, rest);
            (need, at..at + need + RECORD_BYTES)
        }
        _ => (free, at..at + free),
    };
    put_header(
        block,
        at,
        entry.number,
        len,
        kind_number(entry.kind),
        entry.name.len() as u8,
    );
    let name_end = at + RECORD_BYTES + entry.name.len();
    block[at + RECORD_BYTES..name_end].copy_from_slice(entry.name);
    block[name_end..at + len].fill(0);
    Ok(Some((at, changed)))
}

/// Frees the record at `at` and joins it with free neighbours; returns what has changed.
pub fn remove(block: &mut Block, at: usize) -> Result<Range<usize>> {
    let (mut start, mut end) = (at, 0);
    let mut previous: Option<Place> = None;
    for place in places(block) {
        let place = place?;
        if place.at == at {
            end = at + place.len;
            if let Some(previous) = previous.filter(|previous| previous.is_free) {
                start = previous.at;
            }
        } else if place.at > at {
            if place.is_free {
                end += place.len;
            }
            break;
        }
        previous = Some(place);
    }
    if end <= start {
        return Err(Error::Corrupt);
    }
    put_free(block, start, end - start);
    Ok(start..start + RECORD_BYTES)
}

/// Makes the entry at `at` name another file; returns what has changed.
pub fn replace(
    block: &mut Block,
    at: usize,
    number: FileNumber,
    kind: Kind,
) -> Result<Range<usize>> {
    let record = record_at(block, at)?;
    let name_len = record.entry.ok_or(Error::Corrupt)?.name.len() as u8;
    let len = record.len;
    put_header(block, at, number, len, kind_number(kind), name_len);
    Ok(at..at + RECORD_BYTES)
}

fn put_free(block: &mut Block, at: usize, len: usize) {
    put_header(block, at, FileNumber(0), len, 0, 0);
}

fn put_header(
    block: &mut Block,
    at: usize,
    number: FileNumber,
    len: usize,
    kind: u8,
    name_len: u8,
) {
    block[at..at + 8].copy_from_slice(&number.0.to_le_bytes());
    block[at + 8..at + 10].copy_from_slice(&(len as u16).to_le_bytes());
    block[at + 10] = kind;
    block[at + 11] = name_len;
}
