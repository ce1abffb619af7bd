//! What a client's directory held after an operation, and what it may hold if only a part of that came about.

use storage::Result;
use tests::{model::Model, operation::Operation, outcome::apply};

use super::Instant;

/// What a client's directory held after an operation.
#[derive(Clone)]
pub(super) struct State {
    pub begun: Instant,
    pub ended: Option<Instant>,
    /// The operation that led to it, and the time that files got from it.
    pub by: Option<(Operation, u64)>,
    /// It changed something, for sure.
    pub changes: bool,
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
            model,
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
                model,
            })
        };
        let bytes = before.bytes_to_boundaries(*handle, *offset, *len);
        bytes.into_iter().filter_map(part).collect()
    }

    /// What is left between `before` and this one if a change of names can neither be ended nor be taken back, as what
    /// it works on cannot be read any more: a count of links that is too high, or both names.
    pub fn halves(&self, before: &Model) -> Vec<Self> {
        let Some((operation, stamp_ns)) = &self.by else {
            return Vec::new();
        };
        let half = |change: &dyn Fn(&mut Model) -> Result<()>| {
            let mut model = before.clone();
            model.at(*stamp_ns);
            change(&mut model).is_ok().then_some(Self {
                begun: self.begun,
                ended: self.ended,
                by: None,
                changes: false,
                model,
            })
        };
        let halves = match operation {
            Operation::Mkdir(path, _) => vec![half(&|model| model.count_too_many(path, true))],
            Operation::Link(from, _) => vec![half(&|model| model.count_too_many(from, false))],
            Operation::Rename(from, to) => vec![
                half(&|model| model.count_too_many(from, false)),
                half(&|model| model.count_too_many(to, true)),
                half(&|model| model.link(from, to)),
            ],
            _ => Vec::new(),
        };
        halves.into_iter().flatten().collect()
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
            model,
        })
    }
}

/// Whether an operation that succeeds changes something, so that the next sync makes a checkpoint.
pub(super) fn changes(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Write(..)
            | Operation::Truncate(..)
            | Operation::Mkdir(..)
            | Operation::Rmdir(..)
            | Operation::Unlink(..)
            | Operation::Link(..)
            | Operation::Symlink(..)
            | Operation::Chmod(..)
            | Operation::Chown(..)
            | Operation::Utimes(..)
    )
}
