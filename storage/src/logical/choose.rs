//! Which stores make up the volume, and which checkpoint they load.
//!
//! Every checkpoint records which stores took part in it, and a store whose newest checkpoint is finished on
//! all of them has been told so before the sync returned. Of the newest one:
//!
//! - a store that did not take part is *stale*: it was away, and is left out;
//! - if a participant lacks it, and nobody knows it to be finished, its sync was interrupted: all go back
//!   to the checkpoint before (paper, section IV-C);
//! - if somebody does, the participant that lacks it has lost a durable checkpoint (an old copy of the disk,
//!   a disk that lies about flushes, a damaged root): it is left out;
//! - so is one that lacks the checkpoint before, too: that one was finished when this was begun.
//!
//! After a death of tasks the cache knows more: which checkpoint is finished, and whether there may be a
//! newer one. Others do not count then.

use alloc::vec::Vec;
use core::ops::RangeInclusive;

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
    /// The checkpoints that it can load, and took part in, the newest first.
    fn checkpoints(&self) -> impl Iterator<Item = Checkpoint> {
        let both = [self.info.newest].into_iter().chain(self.info.previous);
        both.filter(|it| self.took_part(*it))
    }

    fn has(&self, checkpoint: Checkpoint) -> bool {
        self.checkpoints().any(|it| it == checkpoint)
    }

    fn took_part(&self, checkpoint: Checkpoint) -> bool {
        checkpoint.present & bit(self.info.index) != 0
    }

    /// Whether it knows that all participants have this checkpoint.
    pub fn knows_finished(&self, checkpoint: Checkpoint) -> bool {
        match self.info.previous {
            Some(previous) if previous == checkpoint => true,
            _ => self.info.newest == checkpoint && self.info.finished,
        }
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

/// Chooses members, and their checkpoint among those that are `allowed`.
///
/// Errors: [`Error::NotFormatted`] if there is no sensible store at all, [`Error::NoCheckpoint`] if none
/// of them has a checkpoint that is allowed.
pub(super) fn choose(parts: &[Part], allowed: &RangeInclusive<Timestamp>) -> Result<Choice> {
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

    let newest = newest_of(&parts, allowed).ok_or(Error::NoCheckpoint)?;
    let checkpoint = if is_settled(&parts, newest) {
        newest
    } else {
        before(&parts, newest, allowed).unwrap_or(newest)
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

/// The newest checkpoint that is allowed. There are two of the same timestamp if two stores went on
/// without each other; then one that all of its participants have wins over one that was being taken when
/// they were parted, and of equals that of the lowest slot.
fn newest_of(parts: &[Part], allowed: &RangeInclusive<Timestamp>) -> Option<Checkpoint> {
    let checkpoints = || parts.iter().flat_map(Part::checkpoints);
    let are_allowed = checkpoints().map(|it| it.timestamp);
    let newest = are_allowed.filter(|it| allowed.contains(it)).max()?;
    let candidates = || checkpoints().filter(|it| it.timestamp == newest);
    let is_complete = |it: &Checkpoint| {
        let mut participants = parts.iter().filter(|part| part.took_part(*it));
        participants.all(|part| part.has(*it))
    };
    let complete = candidates().find(is_complete);
    complete.or_else(|| candidates().next())
}

/// Whether a checkpoint counts: all participants have it, or one knows that they had.
fn is_settled(parts: &[Part], newest: Checkpoint) -> bool {
    let is_witness = |part: &&Part| {
        let lacks_the_one_before =
            part.info.newest.timestamp.0 < newest.timestamp.0.saturating_sub(1);
        part.took_part(newest) && !lacks_the_one_before
    };
    let mut witnesses = parts.iter().filter(is_witness);
    parts.iter().any(|part| part.knows_finished(newest)) || witnesses.all(|part| part.has(newest))
}

/// The checkpoint before `newest`, if a participant of `newest` has it and it is allowed.
fn before(
    parts: &[Part],
    newest: Checkpoint,
    allowed: &RangeInclusive<Timestamp>,
) -> Option<Checkpoint> {
    let before = Timestamp(newest.timestamp.0.checked_sub(1)?);
    let participants = parts.iter().filter(|part| part.took_part(newest));
    let participants: Vec<Part> = participants.copied().collect();
    newest_of(&participants, &(before..=before)).filter(|_| allowed.contains(&before))
}

#[cfg(test)]
mod tests;
