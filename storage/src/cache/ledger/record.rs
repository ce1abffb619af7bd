//! The records of the ledger: one of the volume, one of each file that has changed since the checkpoint.

use crate::{
    checksum::Algorithm,
    file::{Attachment, Attributes, Class, FileNumber, Redundancy, Timestamp},
};

/// Words of a record.
pub(super) const WORDS: usize = 12;

const KIND: u64 = 0xff;
const VOLUME: u64 = 0x56;
const FILE: u64 = 0x46;

const SYNCING: u64 = 1 << 8;

const REMOVED: u64 = 1 << 8;
const CREATED: u64 = 1 << 9;
const CUT: u64 = 1 << 10;
const PRESENT: u64 = 1 << 11;
const PROTECTED: u64 = 1 << 12;
const SINGLE: u64 = 1 << 13;

/// What is known of the volume, and of the layers below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct VolumeRecord {
    /// As told when the cache attached; its checkpoint is the one that the log is based on.
    pub attachment: Attachment,
    /// A sync has been sent down and not been answered.
    pub syncing: bool,
    /// When the layers below last died, nanoseconds; 0 if never.
    pub crashed_ns: u64,
    /// Names the unbroken history of what is held.
    pub history: u64,
    /// Counts checkpoints as the cache sees them: records and pages of an earlier epoch count for nothing.
    pub epoch: u64,
}

/// The net change of a file since the checkpoint, and how it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct FileRecord {
    /// Its number.
    pub number: FileNumber,
    /// The checkpoint's file was deleted.
    pub removed: bool,
    /// The file is not the checkpoint's.
    pub created: bool,
    /// The checkpoint's file was cut.
    pub cut: bool,
    /// Bytes of the checkpoint's file that were never cut off.
    pub stands: u64,
    /// The attributes as callers see them; `None` if there is no such file any more.
    pub now: Option<Attributes>,
    /// The sum of the guards of its pages.
    pub digest: u64,
}

fn halves(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl VolumeRecord {
    /// As it is stored.
    pub fn words(&self) -> [u64; WORDS] {
        let attachment = &self.attachment;
        [
            VOLUME | if self.syncing { SYNCING } else { 0 },
            attachment.volume as u64,
            (attachment.volume >> 64) as u64,
            attachment.checkpoint.0,
            attachment.first_file.0,
            halves(attachment.stores, attachment.stores_present),
            u64::from(attachment.algorithm.number()),
            self.history,
            self.epoch,
            self.crashed_ns,
            0,
            0,
        ]
    }

    /// From what was stored; `None` if that is no such record.
    pub fn from_words(words: &[u64; WORDS]) -> Option<Self> {
        if words[0] & KIND != VOLUME {
            return None;
        }
        Some(Self {
            attachment: Attachment {
                volume: u128::from(words[1]) | u128::from(words[2]) << 64,
                checkpoint: Timestamp(words[3]),
                first_file: FileNumber(words[4]),
                stores: words[5] as u32,
                stores_present: (words[5] >> 32) as u32,
                algorithm: Algorithm::from_number(u32::try_from(words[6]).ok()?)?,
            },
            syncing: words[0] & SYNCING != 0,
            history: words[7],
            epoch: words[8],
            crashed_ns: words[9],
        })
    }
}

impl FileRecord {
    /// As it is stored in an epoch.
    pub fn words(&self, epoch: u64) -> [u64; WORDS] {
        let now = self.now.unwrap_or_default();
        let flags = [
            (self.removed, REMOVED),
            (self.created, CREATED),
            (self.cut, CUT),
            (self.now.is_some(), PRESENT),
            (now.class.protected, PROTECTED),
            (now.class.redundancy == Redundancy::Single, SINGLE),
        ];
        let set = flags.iter().filter(|(is_set, _)| *is_set);
        [
            FILE | set.map(|(_, flag)| flag).sum::<u64>(),
            self.number.0,
            epoch,
            self.stands,
            halves(now.mode, now.uid),
            halves(now.gid, now.links),
            now.size,
            now.blocks,
            now.accessed_ns,
            now.modified_ns,
            now.changed_ns,
            self.digest,
        ]
    }

    /// From what was stored, with its epoch; `None` if that is no such record.
    pub fn from_words(words: &[u64; WORDS]) -> Option<(Self, u64)> {
        if words[0] & KIND != FILE {
            return None;
        }
        let has = |flag| words[0] & flag != 0;
        let now = Attributes {
            class: Class {
                redundancy: if has(SINGLE) {
                    Redundancy::Single
                } else {
                    Redundancy::Mirror
                },
                protected: has(PROTECTED),
            },
            mode: words[4] as u32,
            uid: (words[4] >> 32) as u32,
            gid: words[5] as u32,
            links: (words[5] >> 32) as u32,
            size: words[6],
            blocks: words[7],
            accessed_ns: words[8],
            modified_ns: words[9],
            changed_ns: words[10],
            logical: FileNumber(0),
        };
        let record = Self {
            number: FileNumber(words[1]),
            removed: has(REMOVED),
            created: has(CREATED),
            cut: has(CUT),
            stands: words[3],
            now: has(PRESENT).then_some(now),
            digest: words[11],
        };
        Some((record, words[2]))
    }
}
