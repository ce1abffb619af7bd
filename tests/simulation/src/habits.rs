//! Habits of the clients of a run: what is rare among random operations, and needs a death to come at the right moment,
//! is done more often in some runs.

use storage::vfs::OpenFlags;
use tests::{
    model::Model,
    operation::{Operation, Path},
    random::Random,
};

/// What the clients of a run like to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// Nothing more than anything else.
    None,
    /// To append to files.
    Appends,
    /// To delete files that they have open, and to close them then.
    Unnames,
}

impl Habit {
    /// What a client does that was about to do `operation` in the directory `top`.
    pub fn turns(
        self,
        random: &mut Random,
        operation: Operation,
        model: &Model,
        top: &[u8],
    ) -> Operation {
        match (self, operation) {
            (Self::Appends, Operation::Open(path, flags, mode))
                if flags.contains(OpenFlags::WRITE) =>
            {
                let flags = (flags - OpenFlags::TRUNCATE) | OpenFlags::APPEND;
                Operation::Open(path, flags, mode)
            }
            (Self::Appends, Operation::Write(handle, _, len, number)) => {
                Operation::Write(handle, None, len, number)
            }
            (Self::Unnames, operation) if random.one_in(4) => {
                unname(random, model, top).unwrap_or(operation)
            }
            (_, operation) => operation,
        }
    }
}

/// Takes the name of a file that is open, or closes one that has no name any more.
fn unname(random: &mut Random, model: &Model, top: &[u8]) -> Option<Operation> {
    let handles = model.handles();
    if handles.is_empty() {
        return None;
    }
    let handle = random.pick(&handles);
    let node = model.fstat(handle).ok()?;
    model.bytes(node)?;
    let mut paths = model.paths().into_iter();
    Some(match paths.find(|(_, it)| *it == node) {
        Some((path, _)) if path.starts_with(top) => Operation::Unlink(Path(path)),
        Some(_) => return None,
        None => Operation::Close(handle),
    })
}
