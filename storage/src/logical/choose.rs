//! Which stores make up the volume, and which checkpoint they load.
//!
//! Every checkpoint records which stores took part in it. Of the newest one:
//!
//! - a store that did not take part is *stale*: it was away, and is left out;
//! - a participant that lacks it means a crash in the middle of its sync, if all participants that
//!   are here can go back to the checkpoint before: they do (paper, section IV-C);
//! - if they cannot, that sync had ended, and the participant that lacks it has lost a durable
//!   checkpoint (an old copy of the disk, a disk that lies about flushes): it is left out;
//! - so it is if each participant that lacks it is damaged where it would be: the sync may have ended,
//!   and what it made durable must not be undone for one bad block.

use alloc::vec::Vec;

use super::entry::COPIES_MAX;
use crate::{
    Error, Result,
    checksum::Algorithm,
    file::{Checkpoint, StoreInfo, Timestamp},
};

/// What a store in a slot says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub slot: usize,
    pub info: StoreInfo,
}

impl Part {
    fn has(&self, checkpoint: Checkpoint) -> bool {
        self.info.newest == checkpoint || self.info.previous == Some(checkpoint)
    }

    fn took_part(&self, checkpoint: Checkpoint) -> bool {
        checkpoint.present & bit(self.info.index) != 0
    }

    fn identity(&self) -> (u128, u32, Algorithm) {
        (self.info.volume, self.info.stores, self.info.algorithm)
    }
}

/// Why a store is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// What it says of itself makes no sense.
    Nonsense,
    /// It is a part of another volume.
    OtherVolume,
    /// Another store claims to be the same part, and is newer.
    Duplicate,
    /// It was away when the checkpoint was taken.
    Stale,
    /// It took part in the checkpoint and has lost it.
    RolledBack,
}

impl LeftOut {
    /// The reason, in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Nonsense => "its description of itself makes no sense",
            Self::OtherVolume => "it is a part of another volume",
            Self::Duplicate => "another store is the same part of the volume",
            Self::Stale => "it is stale: the volume went on without it",
            Self::RolledBack => "it lost a checkpoint that it had taken",
        }
    }
}

/// The volume that the stores make up.
#[derive(Debug)]
pub(super) struct Choice {
    /// What all members load.
    pub checkpoint: Checkpoint,
    /// The stores to use, at least one, of distinct indices below [`COPIES_MAX`].
    pub members: Vec<Part>,
    /// The others, by slot.
    pub left_out: Vec<(usize, LeftOut)>,
}

/// The bit that stands for a store in the set of stores present.
pub(super) fn bit(index: u32) -> u32 {
    1u32.checked_shl(index).unwrap_or(0)
}

/// Chooses members and checkpoint. [`Error::NotFormatted`] if there is no sensible store at all.
pub(super) fn choose(parts: &[Part]) -> Result<Choice> {
    let mut left_out = Vec::new();
    let (mut parts, nonsense): (Vec<Part>, Vec<Part>) =
        parts.iter().partition(|part| is_sensible(&part.info));
    left_out.extend(nonsense.iter().map(|part| (part.slot, LeftOut::Nonsense)));

    // The volume with most parts here; of equals the one in the lowest slot.
    let mut volume = parts.first().ok_or(Error::NotFormatted)?.identity();
    let count = |identity| {
        parts
            .iter()
            .filter(|part| part.identity() == identity)
            .count()
    };
    for part in &parts {
        if count(part.identity()) > count(volume) {
            volume = part.identity();
        }
    }
    let mut drop_unless = |parts: &mut Vec<Part>, why: LeftOut, keep: &dyn Fn(&Part) -> bool| {
        parts.retain(|part| {
            let stays = keep(part);
            if !stays {
                left_out.push((part.slot, why));
            }
            stays
        });
    };
    drop_unless(&mut parts, LeftOut::OtherVolume, &|part| {
        part.identity() == volume
    });

    let all = parts.clone();
    drop_unless(&mut parts, LeftOut::Duplicate, &|part| {
        all.iter()
            .filter(|other| other.info.index == part.info.index)
            .all(|other| {
                let (mine, its) = (part.info.newest.timestamp, other.info.newest.timestamp);
                mine > its || (mine == its && part.slot <= other.slot)
            })
    });

    let newest = parts.iter().map(|part| part.info.newest.timestamp).max();
    let newest = newest_of(&parts, newest.ok_or(Error::NotFormatted)?);
    let checkpoint = match interrupted(&parts, newest) {
        Some(before) => before,
        None => newest,
    };
    drop_unless(&mut parts, LeftOut::Stale, &|part| {
        part.took_part(checkpoint)
    });
    drop_unless(&mut parts, LeftOut::RolledBack, &|part| {
        part.has(checkpoint)
    });
    Ok(Choice {
        checkpoint,
        members: parts,
        left_out,
    })
}

/// A store must name itself as a participant of its own newest checkpoint.
fn is_sensible(info: &StoreInfo) -> bool {
    (1..=COPIES_MAX as u32).contains(&info.stores)
        && info.index < info.stores
        && info.newest.present & bit(info.index) != 0
        && info
            .previous
            .is_none_or(|previous| previous.timestamp < info.newest.timestamp)
}

/// The checkpoint of the newest timestamp. There are two of the same timestamp if two stores went
/// on without each other; then one that all of its participants have wins over one that was being
/// taken when they were parted, and of equals that of the lowest slot.
fn newest_of(parts: &[Part], timestamp: Timestamp) -> Checkpoint {
    let candidates = || {
        parts
            .iter()
            .map(|part| part.info.newest)
            .filter(move |it| it.timestamp == timestamp)
    };
    let complete = |it: &Checkpoint| {
        parts
            .iter()
            .filter(|part| part.took_part(*it))
            .all(|part| part.has(*it))
    };
    let all = Checkpoint {
        timestamp,
        present: 0,
    };
    candidates()
        .find(complete)
        .or_else(|| candidates().next())
        .unwrap_or(all)
}

/// The checkpoint before `newest`, if the sync of `newest` was interrupted.
fn interrupted(parts: &[Part], newest: Checkpoint) -> Option<Checkpoint> {
    let participants = || parts.iter().filter(|part| part.took_part(newest));
    let lacks = |part: &&Part| !part.has(newest) && !part.info.damaged;
    let before = participants().find(lacks)?.info.newest;
    participants()
        .all(|part| part.has(before))
        .then_some(before)
}

#[cfg(test)]
mod tests;
