//! What a power failure leaves of the writes that were not flushed.

use std::fmt;

use super::recording::Recording;

/// Most unflushed writes of which every pair is lost.
const PAIRS_MAX: usize = 16;

/// What of the unflushed writes of a disk, numbered from 0, is on its medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// So many, from the first on.
    First(usize),
    /// So many, up to the last: the disk took them in another order.
    Last(usize),
    /// One.
    Only(usize),
    /// All but one.
    But(usize),
    /// All but two.
    ButTwo(usize, usize),
    /// Those before this one, and a part of it.
    Torn(usize, Part),
    /// All, and only a part of this one.
    AllTorn(usize, Part),
}

/// Which sectors of a torn write are on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The first.
    FirstSector,
    /// All but the first.
    ButFirstSector,
    /// The first half.
    FirstHalf,
    /// The second half.
    SecondHalf,
    /// Every other.
    EverySecond,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::FirstSector,
        Self::ButFirstSector,
        Self::FirstHalf,
        Self::SecondHalf,
        Self::EverySecond,
    ];

    fn has(self, sector: u64, sectors: u64) -> bool {
        match self {
            Self::FirstSector => sector == 0,
            Self::ButFirstSector => sector > 0,
            Self::FirstHalf => sector < sectors / 2,
            Self::SecondHalf => sector >= sectors / 2,
            Self::EverySecond => sector.is_multiple_of(2),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |part: &Part| Part::ALL.iter().position(|it| it == part).unwrap_or(0);
        match self {
            Self::First(count) => write!(f, "first{count}"),
            Self::Last(count) => write!(f, "last{count}"),
            Self::Only(one) => write!(f, "only{one}"),
            Self::But(one) => write!(f, "but{one}"),
            Self::ButTwo(one, two) => write!(f, "but{one}.{two}"),
            Self::Torn(one, how) => write!(f, "torn{one}.{}", part(how)),
            Self::AllTorn(one, how) => write!(f, "alltorn{one}.{}", part(how)),
        }
    }
}

impl Kept {
    /// Everything that is tried with so many unflushed writes. The first two are all and nothing.
    fn choices(writes: usize) -> Vec<Self> {
        let mut all = vec![Self::First(writes)];
        all.extend((0..writes).map(Self::First));
        all.extend((1..writes).map(Self::Last));
        all.extend((1..writes).map(Self::Only));
        all.extend((0..writes.saturating_sub(1)).map(Self::But));
        if writes <= PAIRS_MAX {
            let pairs = (0..writes).flat_map(|one| (one + 1..writes).map(move |two| (one, two)));
            all.extend(pairs.map(|(one, two)| Self::ButTwo(one, two)));
        }
        for one in 0..writes {
            all.extend(Part::ALL.map(|part| Self::Torn(one, part)));
        }
        for one in 0..writes.saturating_sub(1) {
            all.extend([Part::FirstHalf, Part::SecondHalf].map(|part| Self::AllTorn(one, part)));
        }
        all
    }

    /// Whether a sector of a write, counted from the write's first, is there.
    pub fn has(self, write: usize, writes: usize, sector: u64, sectors: u64) -> bool {
        match self {
            Self::First(count) => write < count,
            Self::Last(count) => write + count >= writes,
            Self::Only(one) => write == one,
            Self::But(one) => write != one,
            Self::ButTwo(one, two) => write != one && write != two,
            Self::Torn(one, part) => write < one || write == one && part.has(sector, sectors),
            Self::AllTorn(one, part) => write != one || part.has(sector, sectors),
        }
    }
}

/// A disk at a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DiskState {
    /// Events that it had taken.
    pub taken: usize,
    /// Those of them, from the first on, that are on the medium.
    pub flushed: usize,
    /// Writes among the rest.
    pub unflushed: usize,
    /// What is there of these.
    pub kept: Kept,
}

/// What a crash leaves.
#[derive(Clone, Debug)]
pub struct State {
    /// Events of all disks before it.
    pub taken: usize,
    /// Each disk.
    pub disks: Vec<DiskState>,
    /// A disk that is gone, too.
    pub missing: Option<usize>,
    /// The checkpoints that it may lead back to.
    pub allowed: Vec<u64>,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept: Vec<String> = self
            .disks
            .iter()
            .map(|disk| disk.kept.to_string())
            .collect();
        write!(f, "{}/{}", self.taken, kept.join(","))?;
        match self.missing {
            Some(missing) => write!(f, "/without{missing}"),
            None => Ok(()),
        }
    }
}

/// All states in which a crash of this recording is tried.
#[must_use]
pub fn all(recording: &Recording) -> Vec<State> {
    let disks = recording.histories.len();
    let mut points: Vec<(usize, Vec<DiskState>, Vec<u64>)> = Vec::new();
    for taken in recording.crashes() {
        let now: Vec<DiskState> = (0..disks).map(|disk| at(recording, taken, disk)).collect();
        let allowed = recording.allowed(taken);
        // What a crash a little earlier can leave is a part of what this one can, unless there was a flush
        // or a sync returned in between.
        let same = |before: &(usize, Vec<DiskState>, Vec<u64>)| {
            let flushed =
                |disks: &[DiskState]| disks.iter().map(|it| it.flushed).collect::<Vec<_>>();
            flushed(&before.1) == flushed(&now) && before.2 == allowed
        };
        if points.last().is_some_and(same) {
            points.pop();
        }
        points.push((taken, now, allowed));
    }
    let mut all = Vec::new();
    for (taken, now, allowed) in points {
        for kept in combinations(&now) {
            let disks = now.iter().zip(&kept);
            let disks: Vec<DiskState> = disks
                .map(|(disk, &kept)| DiskState { kept, ..*disk })
                .collect();
            // The plainest states with either disk gone as well.
            let plain = kept.iter().all(|it| matches!(it, Kept::First(_)));
            let gone = if disks.len() > 1 && plain {
                0..disks.len()
            } else {
                0..0
            };
            for missing in std::iter::once(None).chain(gone.map(Some)) {
                all.push(State {
                    taken,
                    disks: disks.clone(),
                    missing,
                    allowed: allowed.clone(),
                });
            }
        }
    }
    all
}

/// One disk after so many events of all disks.
fn at(recording: &Recording, taken: usize, disk: usize) -> DiskState {
    let history = &recording.histories[disk];
    let taken = recording.taken(taken, disk);
    DiskState {
        taken,
        flushed: history.flushed(taken),
        unflushed: history.unflushed(taken).count(),
        kept: Kept::First(0),
    }
}

/// Every choice of one disk. On a mirror, each beside another that kept all or nothing; of one that lost two
/// writes or tore an early one, a store alone makes what it does.
fn combinations(disks: &[DiskState]) -> Vec<Vec<Kept>> {
    let choices = |disk: &DiskState| Kept::choices(disk.unflushed);
    let [one, two] = disks else {
        let all = disks.iter().flat_map(choices);
        return all.map(|kept| vec![kept]).collect();
    };
    let alone = |kept: &Kept| matches!(kept, Kept::ButTwo(..) | Kept::AllTorn(..));
    let [one, two] = [one, two].map(|disk| {
        let mut choices = choices(disk);
        choices.retain(|kept| !alone(kept));
        choices
    });
    // Beside a torn write, the other disk has everything.
    let beside = |kept: &Kept, others: &[Kept]| {
        let count = if matches!(kept, Kept::Torn(..)) { 1 } else { 2 };
        others[..others.len().min(count)].to_vec()
    };
    let mut all = Vec::new();
    for kept in &one {
        let others = beside(kept, &two);
        all.extend(others.into_iter().map(|other| vec![*kept, other]));
    }
    for kept in two.iter().skip(2) {
        let others = beside(kept, &one);
        all.extend(others.into_iter().map(|other| vec![other, *kept]));
    }
    all
}
