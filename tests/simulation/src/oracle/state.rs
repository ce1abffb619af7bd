//! What a client's directory held after an operation, and what it may hold if only a part of that came about.

use storage::{
    BLOCK_BYTES, Result,
    vfs::{Kind, OpenFlags},
};
use tests::{model::Model, operation::Operation, outcome::apply};

use super::Instant;

/// How an operation can be broken off that can neither be ended nor taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// A file is as long as neither before nor after, or has both names: one can work with that.
    Sound,
    /// A count of links is too high: what has it is never freed. It may have no name any more.
    Count,
    /// A directory has two names: nobody can work there any more.
    Twice,
}

/// What a client's directory held after an operation.
#[derive(Clone)]
pub(super) struct State {
    pub begun: Instant,
    pub ended: Option<Instant>,
    /// The operation that led to it, and the time that files got from it.
    pub by: Option<(Operation, u64)>,
    /// It changed something, for sure.
    pub changes: bool,
    /// Naming died while it was under way.
    pub is_disturbed: bool,
    /// It was broken off.
    pub half: Option<Half>,
    pub model: Model,
}

impl State {
    /// One that nothing led to: it was there from the beginning.
    pub fn first(model: Model) -> Self {
        Self {
            begun: 0,
            ended: Some(0),
            by: None,
            changes: false,
            is_disturbed: false,
            half: None,
            model,
        }
    }

    /// Whether an append led to it.
    pub fn appends(&self, before: &Model) -> bool {
        match &self.by {
            Some((Operation::Write(handle, None, ..), _)) => before.appends(*handle),
            _ => false,
        }
    }

    /// Those between `before` and this one, if a write led to it: after each part of it in whole blocks.
    pub fn parts(&self, before: &Model) -> Vec<Self> {
        let Some((Operation::Write(handle, offset, len, number), stamp_ns)) = &self.by else {
            return Vec::new();
        };
        let part = |bytes: usize| {
            let part = Operation::Write(*handle, *offset, bytes, *number);
            let mut model = before.clone();
            model.at(*stamp_ns);
            let written = apply(&mut model, &part).0.is_ok();
            written.then_some(Self {
                begun: self.begun,
                ended: self.ended,
                by: None,
                changes: false,
                is_disturbed: false,
                half: None,
                model,
            })
        };
        let bytes = before.bytes_to_boundaries(*handle, *offset, *len);
        bytes.into_iter().filter_map(part).collect()
    }

    /// What is left between `before` and this one if an operation can neither be ended nor be taken back, as what
    /// it works on cannot be read any more: of a change of names a count of links that is too high, or both names; of a
    /// truncation some size in whole blocks between the old and the new one.
    pub fn halves(&self, before: &Model) -> Vec<Self> {
        let Some((operation, stamp_ns)) = &self.by else {
            return Vec::new();
        };
        let half = |half: Half, change: &dyn Fn(&mut Model) -> Result<()>| {
            let mut model = before.clone();
            model.at(*stamp_ns);
            change(&mut model).is_ok().then_some(Self {
                begun: self.begun,
                ended: self.ended,
                by: None,
                changes: false,
                is_disturbed: false,
                half: Some(half),
                model,
            })
        };
        let count = |path: &[u8], of_parent: bool| {
            half(Half::Count, &|model| model.count_too_many(path, of_parent))
        };
        let halves = match operation {
            Operation::Mkdir(path, _) => vec![count(path, true)],
            Operation::Link(from, _) => vec![count(from, false)],
            Operation::Rename(from, to) => vec![
                count(from, false),
                count(to, true),
                half(twice(before, from, to), &|model| model.name_twice(from, to)),
            ],
            _ => Vec::new(),
        };
        let cut = |(node, size): (u64, usize)| {
            half(Half::Sound, &|model| {
                model.cut_off(node, size);
                Ok(())
            })
        };
        let cuts = cuts(before, operation).into_iter().map(cut);
        halves.into_iter().chain(cuts).flatten().collect()
    }

    /// The same, but that its write ended short.
    pub fn cut_to(&self, before: &Model, bytes: usize) -> std::result::Result<Self, String> {
        let Some((Operation::Write(handle, offset, len, number), stamp_ns)) = &self.by else {
            return Err("only a write is done in part".into());
        };
        let boundaries = before.bytes_to_boundaries(*handle, *offset, *len);
        if !boundaries.contains(&bytes) {
            return Err(format!("{bytes} bytes do not end at a block"));
        }
        let part = Operation::Write(*handle, *offset, bytes, *number);
        let mut model = before.clone();
        model.at(*stamp_ns);
        let written = apply(&mut model, &part).0;
        written.map_err(|error| error.to_string())?;
        Ok(Self {
            begun: self.begun,
            ended: self.ended,
            by: Some((part, *stamp_ns)),
            changes: true,
            is_disturbed: self.is_disturbed,
            half: None,
            model,
        })
    }
}

/// What is left if a rename can neither be ended nor be taken back, and what is moved has both names: a file that has lost
/// the second of them to it keeps its count of links.
fn twice(before: &Model, from: &[u8], to: &[u8]) -> Half {
    let moved = before.stat(from, false);
    let is_directory = moved.is_ok_and(|node| before.node(node).kind() == Kind::Directory);
    match (is_directory, before.stat(to, false)) {
        (true, _) => Half::Twice,
        (false, Ok(_)) => Half::Count,
        (false, Err(_)) => Half::Sound,
    }
}

/// Which file an operation makes shorter, if it does, and its sizes on the way.
fn cuts(before: &Model, operation: &Operation) -> Vec<(u64, usize)> {
    let (node, to) = match operation {
        Operation::Truncate(handle, size) => (before.fstat(*handle), *size as usize),
        Operation::Open(path, flags, _) if flags.contains(OpenFlags::TRUNCATE) => {
            (before.stat(path, true), 0)
        }
        _ => return Vec::new(),
    };
    let Ok(node) = node else { return Vec::new() };
    let from = before.bytes(node).map_or(0, |bytes| bytes.len());
    let sizes = (to.next_multiple_of(BLOCK_BYTES)..from).step_by(BLOCK_BYTES);
    sizes.map(|size| (node, size)).collect()
}

/// Whether an operation that succeeds changes something, so that the next sync makes a checkpoint.
pub(super) fn changes(before: &Model, operation: &Operation) -> bool {
    match operation {
        Operation::Write(..)
        | Operation::Truncate(..)
        | Operation::Mkdir(..)
        | Operation::Rmdir(..)
        | Operation::Unlink(..)
        | Operation::Link(..)
        | Operation::Symlink(..)
        | Operation::Chmod(..)
        | Operation::Chown(..)
        | Operation::Utimes(..) => true,
        // Two names of one file stay as they are.
        Operation::Rename(from, to) => before.stat(from, false) != before.stat(to, false),
        Operation::Open(path, flags, _) => {
            flags.contains(OpenFlags::CREATE) && before.stat(path, true).is_err()
        }
        _ => false,
    }
}
