//! What a power cut leaves of the writes that a disk held in its volatile cache.

use alloc::{collections::VecDeque, vec, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{random::Random, write_cache::Held};
use crate::block::SECTOR_BYTES;

/// What became of what was held when the power was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Sectors that were not flushed; one that was written twice counts twice.
    pub unflushed: u64,
    /// Of those, how many are on the medium.
    pub kept: u64,
    /// Writes of which a part reached the medium and a part did not.
    pub torn: u64,
}

fn sectors(write: &Held) -> impl Iterator<Item = (u64, &[u8])> {
    (write.sector..).zip(write.data.chunks_exact(SECTOR_BYTES))
}

/// What of the held writes reaches the medium, in the order in which it does: of each sector at most
/// one version; without chance, all of it. The ways in which disks lose data differ, so chance first
/// chooses among them.
pub fn leave<'a>(
    held: &'a VecDeque<Held>,
    random: Option<&mut Random>,
) -> (Vec<(u64, &'a [u8])>, Settled) {
    let all: Vec<(usize, u64, &[u8])> = held
        .iter()
        .enumerate()
        .flat_map(|(index, write)| sectors(write).map(move |(at, bytes)| (index, at, bytes)))
        .collect();
    let unflushed = all.len() as u64;
    let Some(random) = random else {
        let left = all.iter().map(|&(_, at, bytes)| (at, bytes)).collect();
        let settled = Settled {
            unflushed,
            kept: unflushed,
            torn: 0,
        };
        return (left, settled);
    };
    let way = random.below(6);
    let point = random.below(unflushed + 1);
    let odds: Vec<bool> = held.iter().map(|_| random.below(2) == 0).collect();
    let mut kept: Vec<(u64, &[u8])> = Vec::new();
    let mut reached = vec![0; held.len()];
    for (position, &(index, at, bytes)) in (0..).zip(&all) {
        let survives = match way {
            // Each sector by itself.
            0 | 1 => random.below(2) == 0,
            // Whole writes.
            2 => odds[index],
            // In order, up to a point within a write.
            3 => position < point,
            // All but what came in order up to a point: the last first.
            4 => position >= point,
            // Nearly everything.
            _ => random.below(16) != 0,
        };
        if survives {
            kept.push((at, bytes));
            reached[index] += 1;
        }
    }
    let is_torn =
        |(write, reached): (&Held, usize)| reached > 0 && reached < write.data.len() / SECTOR_BYTES;
    let torn = held.iter().zip(reached).map(is_torn);
    let torn = torn.map(u64::from).sum();
    // A later version replaces an earlier one, or, as the order is any, the other way round.
    let earlier_wins = random.below(2) == 0;
    if earlier_wins {
        kept.reverse();
    }
    let mut last: Vec<(u64, &[u8])> = Vec::new();
    let mut seen = hashbrown::HashSet::new();
    for &(at, bytes) in kept.iter().rev() {
        if seen.insert(at) {
            last.push((at, bytes));
        }
    }
    let settled = Settled {
        unflushed,
        kept: last.len() as u64,
        torn,
    };
    (last, settled)
}
