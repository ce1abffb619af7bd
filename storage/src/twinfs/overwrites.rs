//! Blocks of the last checkpoint that are overwritten in place: which of their versions can be on the
//! medium, and the checksum records that say so.
//!
//! ```text
//!   version    0           1           2           3       L  a log block with a record
//!   log         L1 F1       L2 F2       L3 F3              F  its flush
//!   data              w1          w2          w3           w  the overwrite
//! ```
//!
//! A flush makes durable what had been written when it began, the log's own flushes too. So when L3 is
//! sent, F2 has ended, which began after w1 had ended: version 0 is gone, and the record in L3 says
//! that version 1 is the *oldest* that can be there. It does not say so of version 1 itself: when L3
//! reaches the medium, F3 may not have been asked for yet, and w2 be in the disk's cache still. That is
//! the counter which the paper left out (section V-B): without it, an overwrite that the disk lost
//! would pass as the version before it, for ever.

use alloc::vec::Vec;

use hashbrown::HashMap;

use super::{
    layout::LOG_BLOCKS,
    record::{RECORDS_PER_BLOCK, Record},
};
use crate::checksum::Checksum;

/// A block of a file: physical file, block.
pub type Key = (u32, u32);

/// What can be on the medium of a block, in versions.
#[derive(Clone, Copy, Default)]
struct Versions {
    /// The last that was announced.
    newest: u32,
    /// The oldest that can be there when the next log block is sent.
    oldest: u32,
    /// The last that was written, and how many flushes of the log had begun by then.
    written: u32,
    flushes: u64,
    /// What the last record said, and the ticket that stands for it; none after a crash.
    announced: Option<(Checksum, Ticket)>,
}

/// What was overwritten in place since the last checkpoint. It takes memory for at most as many blocks
/// as the log has room for records: 43,095.
#[derive(Default)]
pub struct Overwrites {
    versions: HashMap<Key, Versions>,
    /// Records that are in no log block yet.
    pending: Vec<Record>,
    /// Blocks of the log that are in use.
    used: u64,
    /// The log takes nothing more before the next checkpoint.
    closed: bool,
    /// Flushes of the log that have begun.
    flushes: u64,
    announced: u64,
    logged: u64,
}

/// Stands for a record: it and all announced before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Records to be written to the log, and where.
pub struct Batch {
    /// The first block of the log that they go to.
    pub position: u64,
    /// The records, at least one.
    pub records: Vec<Record>,
    until: Ticket,
}

/// What is to be done so that a record is on the medium.
pub enum Next {
    /// It is there.
    Logged,
    /// It will never be.
    Closed,
    /// This has to be written.
    Write(Batch),
}

impl Overwrites {
    /// Whether the log has room for so many records more.
    pub fn has_room(&self, records: u64) -> bool {
        let pending = self.pending.len() as u64 + records;
        !self.closed && self.used + pending.div_ceil(RECORDS_PER_BLOCK as u64) <= LOG_BLOCKS
    }

    /// Makes a record, unless the last one says the same and has not been made true yet: the block is
    /// about to be overwritten. There must be room for it. Returns the version, and what has to be
    /// on the medium first.
    pub fn announce(&mut self, key: Key, checksum: Checksum) -> (u32, Ticket) {
        let flushes = self.flushes;
        let versions = self.versions.entry(key).or_default();
        if let Some((last, ticket)) = versions.announced
            && last == checksum
            && versions.newest > versions.written
        {
            return (versions.newest, ticket);
        }
        versions.note_durable(flushes);
        // A forged log can make it stand still: then more can be on the medium, not less.
        versions.newest = versions.newest.saturating_add(1);
        self.pending.push(Record {
            file: key.0,
            block: key.1,
            checksum,
            version: versions.newest,
            oldest: versions.oldest,
        });
        self.announced += 1;
        let ticket = Ticket(self.announced);
        versions.announced = Some((checksum, ticket));
        (versions.newest, ticket)
    }

    /// The overwrite with this version has ended.
    pub fn written(&mut self, key: Key, version: u32) {
        let flushes = self.flushes;
        if let Some(versions) = self.versions.get_mut(&key) {
            versions.note_durable(flushes);
            versions.written = version;
            versions.flushes = flushes;
        }
    }

    /// What has to be written so that `ticket` is on the medium. One at a time, and none while a
    /// flush of the log is under way.
    pub fn next(&mut self, ticket: Ticket) -> Next {
        if self.logged >= ticket.0 {
            return Next::Logged;
        }
        if self.closed {
            return Next::Closed;
        }
        let records = core::mem::take(&mut self.pending);
        let position = self.used;
        self.used += records.len().div_ceil(RECORDS_PER_BLOCK) as u64;
        Next::Write(Batch {
            position,
            records,
            until: Ticket(self.announced),
        })
    }

    /// The batch was written; its flush begins.
    pub fn flush_begins(&mut self) {
        self.flushes += 1;
    }

    /// The flush of the batch has ended.
    pub fn flushed(&mut self, batch: &Batch) {
        self.logged = batch.until.0;
    }

    /// The log takes nothing more.
    pub fn close(&mut self) {
        self.closed = true;
        self.pending.clear();
    }

    /// What a crash left: of this block, `version` is on the medium, and records up to `newest` are in
    /// the log. A flush comes before the next log block.
    pub fn found(&mut self, key: Key, version: u32, newest: u32) {
        let versions = Versions {
            newest,
            oldest: version,
            written: version,
            flushes: 0,
            announced: None,
        };
        self.versions.insert(key, versions);
    }

    /// The log goes on behind this many blocks.
    pub fn go_on_after(&mut self, used: u64) {
        self.used = used;
    }
}

impl Versions {
    /// If a flush began after the last overwrite had ended, that version or a later one is on the
    /// medium before the next log block is.
    fn note_durable(&mut self, flushes: u64) {
        if flushes > self.flushes {
            self.oldest = self.oldest.max(self.written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = (7, 3);

    fn log(overwrites: &mut Overwrites) -> Vec<Record> {
        let ticket = Ticket(overwrites.announced);
        let Next::Write(batch) = overwrites.next(ticket) else {
            panic!("nothing to be logged");
        };
        overwrites.flush_begins();
        overwrites.flushed(&batch);
        batch.records
    }

    #[test]
    fn a_version_is_obsolete_once_a_flush_began_after_the_next_was_written() {
        let mut overwrites = Overwrites::default();
        let mut oldest = Vec::new();
        for version in 1..=4 {
            assert_eq!(overwrites.announce(KEY, Checksum(0)).0, version);
            oldest.push(log(&mut overwrites)[0].oldest);
            overwrites.written(KEY, version);
        }
        assert_eq!(oldest, [0, 0, 1, 2]);
        // Another block's record makes the last version durable.
        overwrites.announce((9, 9), Checksum(0));
        log(&mut overwrites);
        overwrites.announce(KEY, Checksum(0));
        assert_eq!(log(&mut overwrites)[0].oldest, 4);
    }

    #[test]
    fn what_ends_during_a_flush_is_not_made_durable_by_it() {
        let mut overwrites = Overwrites::default();
        overwrites.announce(KEY, Checksum(0));
        log(&mut overwrites);
        overwrites.flush_begins();
        overwrites.written(KEY, 1);
        overwrites.announce(KEY, Checksum(0));
        assert_eq!(log(&mut overwrites)[0].oldest, 0);
        overwrites.announce(KEY, Checksum(1));
        assert_eq!(log(&mut overwrites)[0].oldest, 1);
    }

    #[test]
    fn a_full_log_takes_nothing_and_a_closed_one_says_so() {
        let mut overwrites = Overwrites::default();
        for sum in 0..LOG_BLOCKS - 1 {
            assert!(overwrites.has_room(1));
            overwrites.announce(KEY, Checksum(sum));
            log(&mut overwrites);
        }
        let most = RECORDS_PER_BLOCK as u64;
        assert!(overwrites.has_room(most) && !overwrites.has_room(most + 1));
        let (_, ticket) = overwrites.announce(KEY, Checksum(0));
        assert!(overwrites.has_room(most - 1) && !overwrites.has_room(most));
        overwrites.close();
        assert!(matches!(overwrites.next(ticket), Next::Closed));
        assert!(!overwrites.has_room(0));
    }

    #[test]
    fn what_was_announced_before_is_not_announced_again_until_it_is_written() {
        let mut overwrites = Overwrites::default();
        let (first, ticket) = overwrites.announce(KEY, Checksum(1));
        assert_eq!(overwrites.announce(KEY, Checksum(1)), (first, ticket));
        let (second, later) = overwrites.announce(KEY, Checksum(2));
        assert!((second, later) > (first, ticket));
        // The record of the last contents is another one's.
        assert_eq!(overwrites.announce(KEY, Checksum(1)).0, second + 1);
        assert_eq!(log(&mut overwrites).len(), 3);
        overwrites.written(KEY, second + 1);
        assert_eq!(overwrites.announce(KEY, Checksum(1)).0, second + 2);
    }
}
