//! The rules there are: numbered, bounded in number, each counting itself down.

use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    kind::Kind,
    outcome::strikes,
    random::Random,
    rule::{Action, Operation, Place, Rule},
};
use crate::{
    BLOCK_BYTES, Error, Result,
    block::{Geometry, SECTOR_BYTES},
};

/// Most rules of one filter.
pub const RULES_MAX: usize = 64;

/// Sectors of a block.
pub(super) const BLOCK_SECTORS: u64 = (BLOCK_BYTES / SECTOR_BYTES) as u64;

/// A rule and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// Its number.
    pub number: u32,
    /// The rule.
    pub rule: Rule,
    /// Requests that it could have acted on, those that it spared among them.
    pub matched: u64,
    /// How often it acted.
    pub acted: u64,
}

impl Armed {
    /// How often it will act yet; none for until it is removed.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        self.rule
            .times
            .map(|times| times.saturating_sub(self.acted))
    }
}

/// A rule acts on a request.
pub struct Hit {
    /// What it does.
    pub action: Action,
    /// To which sectors of the request, in runs.
    pub runs: Vec<Range<u64>>,
    /// What chance follows from.
    pub random: Random,
}

/// The rules of a filter.
#[derive(Default)]
pub struct Rules {
    armed: Vec<Armed>,
}

impl Rules {
    /// Adds a rule. Its number is `number`, or one that is above all others.
    ///
    /// [`Error::BadArgument`] if it makes no sense; [`Error::Exists`] if there is one of this number;
    /// [`Error::NoMemory`] past [`RULES_MAX`]. Rules that have nothing left to do make room first.
    pub fn add(&mut self, number: Option<u32>, rule: Rule) -> Result<u32> {
        rule.check().map_err(|_| Error::BadArgument)?;
        let above = |armed: &[Armed]| armed.iter().map(|it| it.number).max().unwrap_or(0) + 1;
        let number = number.unwrap_or_else(|| above(&self.armed));
        if self.armed.iter().any(|armed| armed.number == number) {
            return Err(Error::Exists);
        }
        if self.armed.len() >= RULES_MAX {
            let done = |armed: &Armed| armed.left() == Some(0) && !armed.is_lasting();
            let index = self.armed.iter().position(done).ok_or(Error::NoMemory)?;
            self.armed.remove(index);
        }
        self.armed.push(Armed {
            number,
            rule,
            matched: 0,
            acted: 0,
        });
        Ok(number)
    }

    /// Removes a rule; [`Error::NotFound`].
    pub fn remove(&mut self, number: u32) -> Result<()> {
        let index = self
            .armed
            .iter()
            .position(|armed| armed.number == number)
            .ok_or(Error::NotFound)?;
        self.armed.remove(index);
        Ok(())
    }

    /// All rules, by the order in which they were added, which is that in which they act.
    pub fn all(&self) -> &[Armed] {
        &self.armed
    }

    /// Takes rules over from an instance before. What does not fit is refused as a whole.
    pub fn restore(&mut self, armed: Vec<Armed>) -> Result<()> {
        let sound = armed.len() <= RULES_MAX && armed.iter().all(|it| it.rule.check().is_ok());
        if !sound {
            return Err(Error::Corrupt);
        }
        self.armed = armed;
        Ok(())
    }

    /// Whether a rule has killed the disk.
    pub fn is_dead(&self) -> bool {
        self.armed
            .iter()
            .any(|armed| armed.rule.action == Action::Dead && armed.acted > 0)
    }

    /// Whether a rule that can still act asks for types of blocks.
    pub fn need_kinds(&self) -> bool {
        let by_kind = |armed: &Armed| matches!(armed.rule.place, Place::Kind(_));
        self.armed
            .iter()
            .any(|it| by_kind(it) && it.left() != Some(0))
    }

    /// Whether some rule may act on such a request, wherever it goes.
    pub fn concern(&self, operation: Operation) -> bool {
        let mut armed = self.armed.iter();
        armed.any(|it| it.left() != Some(0) && it.rule.concerns(operation))
    }

    /// What the rules do to a request, in their order, and counts them down. A request of which an action
    /// can change nothing does not match.
    pub fn hits(
        &mut self,
        operation: Operation,
        sectors: Range<u64>,
        geometry: &Geometry,
        kind_of: impl Fn(u64) -> Kind,
    ) -> Vec<Hit> {
        let mut hits = Vec::new();
        for armed in &mut self.armed {
            let rule = armed.rule;
            if armed.left() == Some(0) || !rule.concerns(operation) {
                continue;
            }
            let mut runs = matching(rule.place, operation, sectors.clone(), &kind_of);
            runs.retain(|run| strikes(rule.action, run, geometry));
            if runs.is_empty() {
                continue;
            }
            let mut random = Random::of_event(rule.seed, armed.matched);
            armed.matched += 1;
            if armed.matched <= rule.skip || random.below(rule.one_in.into()) != 0 {
                continue;
            }
            armed.acted += 1;
            hits.push(Hit {
                action: rule.action,
                runs,
                random,
            });
        }
        hits
    }
}

impl Armed {
    /// Whether it has an effect after it acted for the last time.
    fn is_lasting(&self) -> bool {
        self.rule.action == Action::Dead
    }
}

/// The parts of a request that a place covers. A flush is everywhere and has no sectors.
fn matching(
    place: Place,
    operation: Operation,
    sectors: Range<u64>,
    kind_of: &impl Fn(u64) -> Kind,
) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    match place {
        Place::Anywhere => runs.push(sectors),
        _ if operation == Operation::Flush => {}
        Place::Sectors { first, last } => {
            let run = sectors.start.max(first)..sectors.end.min(last.saturating_add(1));
            if !run.is_empty() {
                runs.push(run);
            }
        }
        Place::Kind(kind) => {
            let mut at = sectors.start;
            while at < sectors.end {
                let block = at / BLOCK_SECTORS;
                let end = ((block + 1) * BLOCK_SECTORS).min(sectors.end);
                if kind_of(block) == kind {
                    match runs.last_mut().filter(|run| run.end == at) {
                        Some(run) => run.end = end,
                        None => runs.push(at..end),
                    }
                }
                at = end;
            }
        }
    }
    runs
}
