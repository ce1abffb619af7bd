//! What ends of the machine left to be put right, and what they lost.

use serde::Serialize;

use crate::commands::campaign::record::{Cut, Record, Resync};

/// What was made equal again after crashes of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resynchronised {
    /// Crashes after which there was anything to compare.
    pub crashes: usize,
    /// Half of them had no more blocks to compare.
    pub blocks_median: u64,
    /// None had more.
    pub blocks_max: u64,
    /// Copies that were written again, in all.
    pub rewritten: u64,
    /// Blocks that had no good copy, in all.
    pub bad: u64,
}

/// What disks had not flushed when the power was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cuts {
    /// Cuts of which it was told.
    pub told: usize,
    /// Those that met anything.
    pub met: usize,
    /// Of those, half met no more sectors.
    pub sectors_median: u64,
    /// None met more.
    pub sectors_max: u64,
    /// Sectors that were not flushed, in all.
    pub sectors: u64,
    /// Of those, how many reached the medium.
    pub kept: u64,
    /// Writes of which a part reached the medium, in all.
    pub torn: u64,
}

impl Resynchronised {
    /// Of these; nothing if there was nothing to compare.
    pub fn of(records: &[&Record]) -> Option<Self> {
        let all: Vec<Resync> = records.iter().filter_map(|record| record.resync).collect();
        let blocks = sorted(all.iter().map(|resync| resync.blocks));
        let last = blocks.len().checked_sub(1)?;
        Some(Self {
            crashes: blocks.len(),
            blocks_median: blocks[last / 2],
            blocks_max: blocks[last],
            rewritten: all.iter().map(|resync| resync.rewritten).sum(),
            bad: all.iter().map(|resync| resync.bad).sum(),
        })
    }
}

impl Cuts {
    /// Of these; nothing if no power was cut.
    pub fn of(records: &[&Record]) -> Option<Self> {
        let all: Vec<Cut> = records.iter().filter_map(|record| record.cut).collect();
        let sectors = sorted(all.iter().map(|cut| cut.unflushed).filter(|&it| it > 0));
        let middle = sectors.len().saturating_sub(1) / 2;
        (!all.is_empty()).then(|| Self {
            told: all.len(),
            met: sectors.len(),
            sectors_median: sectors.get(middle).copied().unwrap_or(0),
            sectors_max: sectors.last().copied().unwrap_or(0),
            sectors: sectors.iter().sum(),
            kept: all.iter().map(|cut| cut.kept).sum(),
            torn: all.iter().map(|cut| cut.torn).sum(),
        })
    }
}

fn sorted(numbers: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut sorted: Vec<u64> = numbers.collect();
    sorted.sort_unstable();
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::campaign::record::Outcome;
    use crate::commands::campaign::results::tests::record;

    #[test]
    fn what_was_unflushed_and_what_was_compared_is_counted() {
        let mut records: Vec<Record> = (0..6).map(|it| record(it, Outcome::Recovered)).collect();
        assert_eq!(Cuts::of(&records.iter().collect::<Vec<_>>()), None);
        for record in &mut records[..3] {
            record.resync = Some(Resync {
                blocks: 10 * record.number,
                rewritten: 1,
                bad: 0,
            });
        }
        for (record, unflushed) in records.iter_mut().zip([0, 8, 80, 16, 0]) {
            record.cut = Some(Cut {
                unflushed,
                kept: unflushed / 2,
                torn: unflushed / 8,
            });
        }
        let records: Vec<&Record> = records.iter().collect();
        let resynchronised = Resynchronised::of(&records).expect("three");
        let Resynchronised {
            crashes,
            blocks_median,
            blocks_max,
            rewritten,
            bad,
        } = resynchronised;
        assert_eq!((crashes, blocks_median, blocks_max), (3, 10, 20));
        assert_eq!((rewritten, bad), (3, 0));
        let cuts = Cuts::of(&records).expect("five");
        assert_eq!((cuts.told, cuts.met), (5, 3));
        assert_eq!((cuts.sectors_median, cuts.sectors_max), (16, 80));
        assert_eq!((cuts.sectors, cuts.kept, cuts.torn), (104, 52, 13));
    }
}
