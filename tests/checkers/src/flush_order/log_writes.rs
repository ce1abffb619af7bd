//! What QEMU's `blklogwrites` driver wrote: the format of Linux's `dm-log-writes`.
//!
//! ```text
//!   sector 0    magic u64, version u64 = 1, entries u64, bytes of a sector u32
//!   then        an entry: sector u64, sectors u64, flags u64, bytes of data u64; the rest of its sector
//!               its data, `sectors` of them, but of a discard
//! ```
//!
//! QEMU logs a request when the disk has carried it out and before the guest knows, and counts the entries in
//! sector 0 at each flush. So the log shows what a guest that waits for nothing could not know better: a write
//! that ended while a flush was under way is logged as flushed. Rules about writes that must *wait* for a
//! flush are seen; a flush that did not wait for its write is seen only if the write ended after it.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::trace::Event;
use crate::format::{u32_at, u64_at};

const MAGIC: u64 = 0x6a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// Bytes in a sector of ours.
const SECTOR_BYTES: u64 = 512;
/// Most bytes of one write; a log that says more is none.
const WRITE_BYTES_MAX: u64 = 64 << 20;

/// Why a log cannot be read.
#[derive(Debug)]
pub enum LogError {
    /// The file.
    Io(std::io::Error),
    /// What is in it.
    Format(&'static str),
}

impl From<std::io::Error> for LogError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "{error}"),
            Self::Format(what) => f.write_str(what),
        }
    }
}

/// Reads a log, event by event. `synced` says which checkpoint a sync had made when there were so many
/// entries.
///
/// # Errors
/// [`LogError`] if the file is no such log or ends too early.
pub fn read_log(
    path: &Path,
    synced: &[(u64, u64)],
    mut each: impl FnMut(&Event),
) -> Result<(), LogError> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut head = [0; SECTOR_BYTES as usize];
    file.read_exact(&mut head)?;
    if u64_at(&head, 0) != MAGIC || u64_at(&head, 8) != 1 {
        return Err(LogError::Format("this is no log of writes"));
    }
    let (entries, unit) = (u64_at(&head, 16), u64::from(u32_at(&head, 24)));
    if !unit.is_power_of_two() || !(SECTOR_BYTES..=1 << 20).contains(&unit) {
        return Err(LogError::Format(
            "the log has sectors of a size that cannot be",
        ));
    }
    file.seek(SeekFrom::Start(unit))?;
    let mut marks = synced.iter().peekable();
    for number in 0..entries {
        while let Some((_, checkpoint)) = marks.next_if(|mark| mark.0 <= number) {
            each(&Event::Synced(*checkpoint));
        }
        let mut entry = vec![0; unit as usize];
        file.read_exact(&mut entry)?;
        let (sector, sectors, flags) = (u64_at(&entry, 0), u64_at(&entry, 8), u64_at(&entry, 16));
        if flags & !(FLUSH | DISCARD | MARK) != 0 {
            let fua = flags & FUA != 0;
            return Err(LogError::Format(if fua {
                "the log has writes past the cache, which this disk does not offer"
            } else {
                "the log has entries of an unknown kind"
            }));
        }
        if flags & FLUSH != 0 {
            each(&Event::Flush { late: 0 });
        }
        let bytes = sectors
            .checked_mul(unit)
            .filter(|&bytes| bytes <= WRITE_BYTES_MAX);
        let bytes = bytes.ok_or(LogError::Format("the log has a write that is too long"))?;
        if bytes == 0 || flags & MARK != 0 {
            continue;
        }
        // After a discard a sector reads as anything.
        let mut data = vec![0; bytes as usize];
        if flags & DISCARD == 0 {
            file.read_exact(&mut data)?;
        }
        each(&Event::Write {
            sector: sector * (unit / SECTOR_BYTES),
            data: data.into(),
        });
    }
    for mark in marks {
        each(&Event::Synced(mark.1));
    }
    Ok(())
}
