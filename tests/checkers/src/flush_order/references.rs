//! Which blocks a checkpoint refers to.
//!
//! Nearly all of them are those of the checkpoint before: where two pointers have the same place and
//! checksum, everything below them is the same.

use std::{collections::HashMap, rc::Rc};

use crate::format::{Block, Child, Kind, Pointer, Root, children, tops};

use super::medium::Medium;

/// A block that a checkpoint needs.
#[derive(Clone, Copy, Debug)]
pub struct Reference {
    /// What it is.
    pub kind: Kind,
    /// What it must contain.
    pub sum: u64,
    /// It has a twin.
    pub protected: bool,
}

/// All blocks of a checkpoint, by place.
pub type References = HashMap<u64, Reference>;

/// What is wrong with a block.
pub struct Unsound {
    /// What it is.
    pub kind: Kind,
    /// Where.
    pub place: u64,
    /// Why.
    pub why: &'static str,
}

/// From one checkpoint to another.
pub struct Difference<'a> {
    medium: &'a Medium,
    root: &'a Root,
    /// No longer referred to.
    gone: Vec<u64>,
    /// Referred to now.
    new: Vec<(u64, Reference)>,
    /// Of those, what is not on the medium.
    pub unsound: Vec<Unsound>,
}

/// What `root` refers to and, of what `before` did not, what is not on the medium.
pub fn references(
    root: &Root,
    before: Option<(&Root, &References)>,
    medium: &Medium,
) -> (References, Vec<Unsound>) {
    let mut difference = Difference {
        medium,
        root,
        gone: Vec::new(),
        new: Vec::new(),
        unsound: Vec::new(),
    };
    let same_volume = before.filter(|(before, _)| before.layout == root.layout);
    let old = same_volume.map_or_else(Vec::new, |(before, _)| tops(before));
    difference.compare(&old, &tops(root));
    let mut all = same_volume.map_or_else(References::new, |(_, all)| all.clone());
    for place in difference.gone {
        all.remove(&place);
    }
    all.extend(difference.new);
    (all, difference.unsound)
}

impl Difference<'_> {
    /// Children of two versions of a block; of one that was not there, none.
    fn compare(&mut self, old: &[Child], new: &[Child]) {
        for index in 0..old.len().max(new.len()) {
            let of = |children: &[Child]| -> Option<(Kind, Pointer)> {
                let child = children.get(index)?;
                Some((child.kind, child.pointer?))
            };
            let (old, new) = (of(old), of(new));
            let same = |old: (Kind, Pointer), new: (Kind, Pointer)| {
                (old.1.place, old.1.sum) == (new.1.place, new.1.sum)
            };
            if old.zip(new).is_some_and(|(old, new)| same(old, new)) {
                continue;
            }
            let old = old.map_or_else(Vec::new, |(kind, pointer)| {
                self.gone.push(pointer.place);
                let block = self.medium.flushed(pointer.place);
                self.below(kind, pointer, block).unwrap_or_default()
            });
            let new = new.map_or_else(Vec::new, |(kind, pointer)| self.enter(kind, pointer));
            if !old.is_empty() || !new.is_empty() {
                self.compare(&old, &new);
            }
        }
    }

    /// What a block points to, if it is the one that is meant.
    fn below(&self, kind: Kind, pointer: Pointer, block: &Rc<Block>) -> Option<Vec<Child>> {
        let sound = self.root.algorithm.of(&block[..]) == pointer.sum;
        sound.then(|| children(kind, block, &self.root.layout))
    }

    fn enter(&mut self, kind: Kind, pointer: Pointer) -> Vec<Child> {
        let Pointer {
            place,
            sum,
            protected,
        } = pointer;
        self.new.push((
            place,
            Reference {
                kind,
                sum,
                protected,
            },
        ));
        let (mut why, mut found) = (None, Vec::new());
        if place >= self.root.layout.blocks {
            why = Some("is beyond the end of the volume");
        } else {
            match self.below(kind, pointer, self.medium.flushed(place)) {
                Some(children) => found = children,
                None => why = Some("is not on the medium"),
            }
            let algorithm = self.root.algorithm;
            if self
                .medium
                .unflushed(place)
                .any(|block| algorithm.of(&block[..]) != sum)
            {
                why = Some("may be overwritten by what was not flushed");
            }
        }
        if let Some(why) = why {
            self.unsound.push(Unsound { kind, place, why });
        }
        found
    }
}
